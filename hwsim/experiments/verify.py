"""Check, op by op, that the simulator computes what the golden model computes.

Products, weight updates and N:M selections are compared on cropped operands; a training iteration
of a small network is compared as a whole too, values flowing from op to op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats.quantized import int8_codes
from hwsim.core.gemm import activation_matrix, weight_matrix
from hwsim.core.graph import Op, OpGraph, OpKind, Stage
from hwsim.core.sparsity import NM
from models.sparsify.magnitude import mask_of

if TYPE_CHECKING:
    from hwsim.experiments.pipeline import Session

__all__ = [
    "MAX_COLUMNS",
    "MAX_ELEMS",
    "MAX_GROUPS",
    "MAX_ITERATION_MACS",
    "MAX_REDUCTION",
    "MAX_ROWS",
    "lane_operands",
    "layer_operands",
    "verify_layers",
]

MAX_ROWS = 48
"""Rows of the product that are checked; more would only repeat the same columns' work."""
MAX_COLUMNS = 64
MAX_GROUPS = 32
MAX_REDUCTION = 2048
"""Longest reduction that is checked for products that sum over a batch's pixels."""
MAX_ELEMS = 4096
"""Weights of an update, values of a selection, that are checked."""
MAX_ITERATION_MACS = 1 << 24
"""Dense multiply-accumulates up to which a training iteration is compared as a whole (seconds)."""

Array = NDArray[Any]

_RULE = np.array([0.05, 0.9, 5e-4, 1 / 128], dtype=np.float32)
"""Learning rate, momentum, weight decay and 1 / loss scale of the checked updates."""


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
    is_dense = op.weight is None or op.weight.pattern.is_dense
    if op.weight is None or stored is None:
        n = min(full.n, MAX_COLUMNS) if is_dense else full.n  # a mask takes the whole matrix
        b = rng.standard_normal((full.groups, full.k, n)) * np.sqrt(2.0 / full.k)
    else:
        b = weight_matrix(op.kind.value, op.dims, stored)
    b16 = b.astype(np.float16)
    mask = np.ones(b16.shape, dtype=bool)
    if op.weight is not None and not is_dense:
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


def lane_operands(
    graph: OpGraph, op: Op, rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (inputs, tensors) of a weight update or a selection, as a program takes them.

    Updates: gradients of deviation 1 times the loss scale, masters the graph's own weights.
    Selections: FP16 words in steps of 1/8, so that many groups have equal magnitudes.
    """
    if op.kind is OpKind.WEIGHT_UPDATE:
        count = min(op.dims["elems"], MAX_ELEMS)
        stored = graph.weights.get(op.attrs["of"])
        weights = rng.standard_normal(count) if stored is None else stored.reshape(-1)[:count]
        tensors = {"w32": weights.astype(np.float32)}
        tensors |= {"v32": rng.standard_normal(count).astype(np.float32), "rule": _RULE}
        inputs = {"dw16": (rng.standard_normal(count) / _RULE[3]).astype(np.float16)}
    else:
        nm_m = op.attrs["nm_m"]
        groups = max(1, min(op.dims["elems"], MAX_ELEMS) // nm_m)
        values = np.round(8 * rng.standard_normal((groups, nm_m))) / 8
        inputs = {"words": values.astype(np.float16).view(np.uint16)}
        tensors = {"nm_n": np.array(op.attrs["nm_n"])}
    named = [
        {f"{op.name}.{key}": value for key, value in part.items()} for part in (inputs, tensors)
    ]
    return named[0], named[1]


def verify_layers(session: Session, *, seed: int) -> list[dict[str, Any]]:
    """Return one record per checked op: what was compared and whether it was equal.

    Outputs must be equal bit for bit: both sides sum in the order of k with FP32 roundings, or
    exactly in integers. A small training iteration, a small quantised model adds a record of its
    own, values flowing from op to op.
    """
    graph, program = session.graph, session.program
    lanes = {OpKind.WEIGHT_UPDATE, OpKind.NM_PRUNE}
    executed = session.machine.capabilities().op_kinds
    records: list[dict[str, Any]] = []
    for op in graph.ops():
        rng = np.random.default_rng([seed, len(records)])
        if op.is_gemm:
            records.append(_product_record(session, op, rng))
        elif op.kind in lanes and op.kind.value in executed:
            records.append(_lane_record(session, op, rng))
    program.tensors = {}
    if session.machine.capabilities().operands == "int8":
        from hwsim.experiments.quantised_model import compare_model

        records += compare_model(session, seed=seed)
    kinds = {op.kind for op in graph.ops()}
    is_small = sum(op.macs() for op in graph.ops()) <= MAX_ITERATION_MACS
    if is_small and kinds & lanes and {kind.value for kind in kinds} <= executed:
        from hwsim.experiments.training_iteration import compare_with_golden

        records.append(compare_with_golden(graph, program, seed=seed))
    return records


def _product_record(session: Session, op: Op, rng: np.random.Generator) -> dict[str, Any]:
    operands = layer_operands(session.graph, op, rng)
    if session.machine.capabilities().operands == "int8":
        return _coded_record(session, op, operands)
    tensors = {f"{op.name}.{key}": operands[key] for key in ("b", "mask")}
    return _product_facts(session, op, operands, tensors)


def _coded_record(session: Session, op: Op, operands: dict[str, Array]) -> dict[str, Any]:
    """Compare a product of integers, weights as the machine stores them."""
    from hwsim.experiments.quantised_model import spec_of
    from hwsim.experiments.weight_codes import weight_codes

    is_dense = op.weight is None or op.weight.pattern.is_dense
    mask = None if is_dense else operands["mask"]
    b = np.where(operands["mask"], operands["b"], 0).astype(np.float32)
    stored = weight_codes(op, b, mask, spec_of(session.machine)).stored
    operands = operands | {"a": int8_codes(operands["a"], 2)[0]}
    tensors = {f"{op.name}.{key}": values for key, values in stored.items()}
    return _product_facts(session, op, operands, tensors)


def _product_facts(
    session: Session, op: Op, operands: dict[str, Array], tensors: dict[str, Array]
) -> dict[str, Any]:
    simulated, golden = _outputs(session, op, {f"{op.name}.a": operands["a"]}, tensors)
    full = op.gemm()
    groups, rows, columns = golden.shape
    return {
        "layer": op.name,
        "groups": f"{groups} of {full.groups}",
        "rows": f"{rows} of {full.m}",
        "columns": f"{columns} of {full.n}",
        "reduction": f"{operands['b'].shape[1]} of {full.k}",
        **_equality(simulated, golden),
    }


def _lane_record(session: Session, op: Op, rng: np.random.Generator) -> dict[str, Any]:
    inputs, tensors = lane_operands(session.graph, op, rng)
    simulated, golden = _outputs(session, op, inputs, tensors)
    (given,) = inputs.values()
    return {
        "layer": op.name,
        "elements": f"{given.size} of {op.dims['elems']}",
        **_equality(simulated, golden),
    }


def _outputs(
    session: Session, op: Op, inputs: dict[str, Array], tensors: dict[str, Array]
) -> tuple[Array, Array]:
    session.program.tensors = tensors
    simulated = session.machine.execute(session.program, inputs)[op.name]
    return simulated, session.machine.golden(session.program, inputs)[op.name]


def _equality(simulated: Array, golden: Array) -> dict[str, Any]:
    """Compare bit for bit; the error of a selection is that of its words, read as integers."""
    is_alike = simulated.shape == golden.shape and simulated.dtype == golden.dtype
    gap = np.abs(simulated.astype(np.float64) - golden.astype(np.float64)).max()
    return {
        "equal": is_alike and simulated.tobytes() == golden.tobytes(),
        "max_abs_error": float(gap),
    }
