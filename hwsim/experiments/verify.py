"""Check, layer by layer, that the simulator computes what the golden model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.gemm import activation_matrix, weight_matrix
from hwsim.core.graph import Op, OpGraph, Stage
from hwsim.core.sparsity import NM
from models.sparsify.magnitude import mask_of

if TYPE_CHECKING:
    from hwsim.experiments.pipeline import Session

__all__ = [
    "MAX_COLUMNS",
    "MAX_GROUPS",
    "MAX_REDUCTION",
    "MAX_ROWS",
    "layer_operands",
    "verify_layers",
]

MAX_ROWS = 48
"""Rows of the product that are checked; more would only repeat the same columns' work."""
MAX_COLUMNS = 64
MAX_GROUPS = 32
MAX_REDUCTION = 2048
"""Longest reduction that is checked for products that sum over a batch's pixels."""


def layer_operands(graph: OpGraph, op: Op, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return cropped operands of a GEMM-like ``op``: a, b and mask, [groups, ...] each.

    Activations are standard normal, weights the graph's own (He-scaled normal if it has none),
    both rounded to FP16. Convolutions are cropped to a corner of the output *before* the lowering
    to a matrix product, so that rows have the layer's real pattern of padding and repeated
    inputs; the reduction is never cut. Products of the backward pass are checked as matrices,
    their reduction cut to MAX_REDUCTION; one with sparse activations transposed, as machines that
    skip zeros of the right operand compute it.
    """
    if op.stage in (Stage.BP, Stage.WU):
        return _backward_operands(op, rng)
    dims, attrs = dict(op.dims), dict(op.attrs)
    full = op.gemm()
    if "oh" in dims and "ow" in dims and op.kind.value == "conv":
        a = _cropped_conv_input(dims, attrs, rng)
    else:
        m = min(full.m, MAX_ROWS)
        a = rng.standard_normal((full.groups, m, full.k))
    stored = graph.weight_values(op)
    if op.weight is None or stored is None:
        b = rng.standard_normal((full.groups, full.k, full.n)) * np.sqrt(2.0 / full.k)
    else:
        b = weight_matrix(op.kind.value, op.dims, stored)
    b16 = b.astype(np.float16)
    mask = np.ones(b16.shape, dtype=bool)
    if op.weight is not None and not op.weight.pattern.is_dense:
        stacked = b16.astype(np.float32).reshape(-1, full.n)
        mask = mask_of(op, stacked, op.weight.pattern).reshape(b16.shape)
    groups, columns = slice(0, MAX_GROUPS), slice(0, MAX_COLUMNS)
    return {
        "a": a.astype(np.float16)[groups],
        "b": b16[groups, :, columns],
        "mask": mask[groups, :, columns],
    }


def _backward_operands(op: Op, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return random operands of a cropped matrix product, masked where the op is sparse."""
    dims = op.gemm()
    pattern = op.weight.pattern if op.weight is not None else op.inputs[1].pattern
    rows, columns = dims.m, dims.n
    if not op.inputs[0].pattern.is_dense:
        pattern, rows, columns = op.inputs[0].pattern, dims.n, dims.m
    groups, k = min(dims.groups, MAX_GROUPS), min(dims.k, MAX_REDUCTION)
    a = rng.standard_normal((groups, min(rows, MAX_ROWS), k))
    b = rng.standard_normal((groups, k, min(columns, MAX_COLUMNS)))
    mask = np.ones(b.shape, dtype=bool)
    if isinstance(pattern, NM):
        mask = NM(nm_n=pattern.nm_n, nm_m=pattern.nm_m, axis=1).sample_mask(b.shape, rng)
    return {"a": a.astype(np.float16), "b": b.astype(np.float16), "mask": mask}


def _cropped_conv_input(
    dims: dict[str, int], attrs: dict[str, Any], rng: np.random.Generator
) -> NDArray[Any]:
    width = min(dims["ow"], MAX_ROWS)
    height = min(dims["oh"], max(1, MAX_ROWS // width))
    strides, dilations = attrs["strides"], attrs["dilations"]
    top, left = attrs["pads"][:2]
    high = (height - 1) * strides[0] + (dims["kh"] - 1) * dilations[0] + 1 - top
    wide = (width - 1) * strides[1] + (dims["kw"] - 1) * dilations[1] + 1 - left
    ih, iw = min(max(high, 1), dims["ih"]), min(max(wide, 1), dims["iw"])
    # Where the crop reaches the image's lower or right border, padding follows as in the layer.
    pads = (top, left, max(0, high - ih), max(0, wide - iw))
    crop = {**dims, "batch": 1, "oh": height, "ow": width, "ih": ih, "iw": iw}
    x = rng.standard_normal((1, dims["ci"], ih, iw))
    return activation_matrix("conv", crop, {**attrs, "pads": pads}, x)


def verify_layers(session: Session, *, seed: int) -> list[dict[str, Any]]:
    """Return one record per GEMM-like layer: what was compared and whether it was equal.

    Outputs must be equal bit for bit: both sides sum in the order of k with FP32 roundings.
    """
    machine, program = session.machine, session.program
    records: list[dict[str, Any]] = []
    for op in session.graph.ops():
        if not op.is_gemm:
            continue
        operands = layer_operands(session.graph, op, np.random.default_rng([seed, len(records)]))
        program.tensors = {f"{op.name}.b": operands["b"], f"{op.name}.mask": operands["mask"]}
        inputs = {f"{op.name}.a": operands["a"]}
        simulated = machine.execute(program, inputs)[op.name]
        golden = machine.golden(program, inputs)[op.name]
        full = op.gemm()
        groups, rows, columns = golden.shape
        records.append(
            {
                "layer": op.name,
                "groups": f"{groups} of {full.groups}",
                "rows": f"{rows} of {full.m}",
                "columns": f"{columns} of {full.n}",
                "reduction": f"{operands['b'].shape[1]} of {full.k}",
                "equal": bool(np.array_equal(simulated, golden)),
                "max_abs_error": float(np.abs(simulated - golden).max()),
            }
        )
    program.tensors = {}
    return records
