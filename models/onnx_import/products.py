"""Import matrix products: convolutions, Gemm and MatMul; fold batch normalisations into them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, Operand, OpKind
from hwsim.core.units import ceil_div
from models.onnx_import.state import ImportState, Node, UnsupportedError, handles

__all__ = ["fold_batch_norm", "same_pads"]

Shape = tuple[int, ...]


def same_pads(total: int, *, upper: bool) -> tuple[int, int]:
    """Split ``total`` padding elements: the odd one goes to the end if ``upper``."""
    small = max(total, 0) // 2
    large = max(total, 0) - small
    return (small, large) if upper else (large, small)


def window(node: Node, spatial: Shape, kernel: Shape) -> dict[str, list[int]]:
    """Return strides, dilations and pads (begins, then ends) of a windowed node."""
    rank = len(kernel)
    strides = list(node.attrs.get("strides", [1] * rank))
    dilations = list(node.attrs.get("dilations", [1] * rank))
    pads = list(node.attrs.get("pads", [0] * 2 * rank))
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        for axis in range(rank):
            windows = ceil_div(spatial[axis], strides[axis])
            span = (windows - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
            begin, end = same_pads(span - spatial[axis], upper=auto == "SAME_UPPER")
            pads[axis], pads[rank + axis] = begin, end
    elif auto == "VALID":
        pads = [0] * 2 * rank
    return {"strides": strides, "dilations": dilations, "pads": pads}


def two_axes(values: list[int], neutral: int) -> list[int]:
    """Return ``values`` of one or two spatial axes for two axes (a leading one is neutral)."""
    half = len(values)
    return values if half == 2 else [neutral, *values]


def two_axes_pads(pads: list[int]) -> list[int]:
    """Return begins and ends for two axes as (top, left, bottom, right)."""
    return pads if len(pads) == 4 else [0, pads[0], 0, pads[1]]


@handles("Conv", "ConvTranspose")
def convolution(state: ImportState, node: Node) -> None:
    transposed = node.operator == "ConvTranspose"
    x, w = state.shape(node.inputs[0]), state.shape(node.inputs[1])
    kernel, groups = w[2:], int(node.attrs.get("group", 1))
    co = w[1] * groups if transposed else w[0]
    out = node.shape
    if len(kernel) not in (1, 2):
        pixels = x[2:] if transposed else out[2:]
        macs = x[0] * math.prod(pixels) * math.prod(w)
        raise UnsupportedError(f"{len(kernel)} spatial axes", macs)
    if not state.is_const(node.inputs[1]):
        raise UnsupportedError("its weights are computed at run time")
    attrs = window(node, x[2:], kernel)
    if transposed:
        attrs["pads"] = _transposed_pads(node, attrs, x[2:], kernel, out[2:])
    ih, iw = two_axes(list(x[2:]), 1)
    oh, ow = two_axes(list(out[2:]), 1)
    kh, kw = two_axes(list(kernel), 1)
    dims = {"batch": x[0], "ci": x[1], "co": co, "ih": ih, "iw": iw, "oh": oh, "ow": ow}
    dims |= {"kh": kh, "kw": kw, "groups": groups}
    flat = {key: two_axes(attrs[key], 1) for key in ("strides", "dilations")}
    flat["pads"] = two_axes_pads(attrs["pads"])
    operands: list[str | Operand] = list(node.inputs[:2])
    if node.has(2):
        state.const(node, 2, "biases")
        operands.append(node.inputs[2])
    kind = OpKind.CONV_TRANSPOSE if transposed else OpKind.CONV
    state.emit(node, kind, operands, dims=dims, attrs=flat)


def _transposed_pads(
    node: Node, attrs: dict[str, list[int]], spatial: Shape, kernel: Shape, out: Shape
) -> list[int]:
    """Return pads; with auto_pad or output_shape they follow from the output extents."""
    auto = node.attrs.get("auto_pad", "NOTSET")
    if not (auto.startswith("SAME") or "output_shape" in node.attrs):
        return attrs["pads"]
    rank = len(kernel)
    extra = node.attrs.get("output_padding", [0] * rank)
    pads = [0] * 2 * rank
    for axis in range(rank):
        span = attrs["dilations"][axis] * (kernel[axis] - 1) + 1
        full = attrs["strides"][axis] * (spatial[axis] - 1) + extra[axis] + span
        total = full - out[axis]
        pads[axis], pads[rank + axis] = same_pads(total, upper=auto == "SAME_UPPER")
    return pads


def _linear(
    state: ImportState,
    node: Node,
    x: str | Operand,
    lead: Shape,
    weights: Operand,
    bias: Operand | None,
    *,
    suffix: str = "",
    shape: Shape | None = None,
) -> str:
    k, n = state.builder.shape(weights.tensor)
    dims = {"batch": lead[0] if lead else 1, "m": math.prod(lead[1:]), "k": k, "n": n}
    operands = [x, weights] + ([] if bias is None else [bias])
    return state.emit(node, OpKind.LINEAR, operands, dims=dims, suffix=suffix, shape=shape)


@handles("Gemm")
def gemm(state: ImportState, node: Node) -> None:
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    weights = state.const(node, 1, "weights")
    n = weights.shape[0] if node.attrs.get("transB") else weights.shape[1]
    bias = _gemm_bias(state, node, n, beta)
    if node.attrs.get("transB") or alpha != 1.0:
        turned = weights.T if node.attrs.get("transB") else weights
        scaled = (turned * alpha).astype(weights.dtype) if alpha != 1.0 else turned
        operand = state.weight(f"{node.name}.weight", scaled)
    else:
        operand = state.operand(node.inputs[1])
    x, shape = node.inputs[0], state.shape(node.inputs[0])
    if node.attrs.get("transA"):
        shape = shape[::-1]
        attrs = {"perm": [1, 0]}
        x = state.emit(node, OpKind.TRANSPOSE, [x], suffix="a", shape=shape, attrs=attrs)
    _linear(state, node, x, shape[:-1], operand, bias)


def _gemm_bias(state: ImportState, node: Node, n: int, beta: float) -> Operand | None:
    if not node.has(2):
        return None
    values = state.const(node, 2, "biases")
    if math.prod(values.shape[:-1]) != 1:
        raise UnsupportedError("its bias differs between rows")
    full = np.broadcast_to(values.reshape(-1), (n,)) * values.dtype.type(beta)
    if beta == 1.0 and values.shape == (n,):
        return state.operand(node.inputs[2])
    return state.weight(f"{node.name}.bias", np.asarray(full, dtype=values.dtype))


@handles("MatMul")
def matmul(state: ImportState, node: Node) -> None:
    a, b = node.inputs
    a_shape, b_shape = state.shape(a), state.shape(b)
    if state.is_const(b) and len(b_shape) <= 2:
        values = state.constants[b]
        weights = state.operand(b)
        if values.ndim == 1:
            weights = state.weight(f"{node.name}.weight", values.reshape(-1, 1))
        _linear(state, node, a, a_shape[:-1], weights, None)
    elif state.is_const(a):
        _left_weights(state, node, state.constants[a], b)
    else:
        _batched(state, node, state.operand(a), state.operand(b), a_shape, b_shape)


def _left_weights(state: ImportState, node: Node, values: NDArray[Any], x: str) -> None:
    """W X as (X^T W^T)^T: the weights are the right operand of every product."""
    shape = state.shape(x)
    if values.ndim != 2 or len(shape) < 2:
        raise UnsupportedError("weights of more than two axes on the left")
    rank = len(shape)
    perm = [*range(rank - 2), rank - 1, rank - 2]
    turned_shape = tuple(shape[axis] for axis in perm)
    turned = state.emit(
        node, OpKind.TRANSPOSE, [x], suffix="b", shape=turned_shape, attrs={"perm": perm}
    )
    weights = state.weight(f"{node.name}.weight", values.T)
    lead = turned_shape[:-1]
    product = _linear(
        state, node, turned, lead, weights, None, suffix="product", shape=(*lead, values.shape[0])
    )
    state.emit(node, OpKind.TRANSPOSE, [product], attrs={"perm": perm})


def _batched(
    state: ImportState, node: Node, a: Operand, b: Operand, a_shape: Shape, b_shape: Shape
) -> None:
    if len(a_shape) < 2 or len(b_shape) < 2:
        raise UnsupportedError("a vector operand computed at run time")
    (m, k), n = a_shape[-2:], b_shape[-1]
    lead_a, lead_b = a_shape[:-2], b_shape[:-2]
    if math.prod(lead_b) == 1 and len(lead_a) >= len(lead_b):
        # One right matrix for all: the batch is more rows.
        dims = {"batch": 1, "m": math.prod(lead_a) * m, "k": k, "n": n}
    elif math.prod(lead_a) == math.prod(lead_b) == math.prod(node.shape[:-2]):
        dims = {"batch": math.prod(lead_a), "m": m, "k": k, "n": n}
    else:
        macs = math.prod(node.shape[:-2]) * m * k * n
        raise UnsupportedError(f"batches {lead_a} and {lead_b} broadcast", macs)
    state.emit(node, OpKind.MATMUL, [a, b], dims=dims)


@handles("BatchNormalization")
def batch_norm(state: ImportState, node: Node) -> None:
    if node.attrs.get("training_mode"):
        raise UnsupportedError("training mode")
    names = ("scales", "shifts", "means", "variances")
    scale, shift, mean, variance = (
        state.const(node, i, what).astype(np.float64) for i, what in enumerate(names, start=1)
    )
    factor = scale / np.sqrt(variance + float(node.attrs.get("epsilon", 1e-5)))
    offset = shift - mean * factor
    if fold_batch_norm(state, node, factor, offset):
        return
    attrs = {"function": "batch", "axis": 1}
    operands: list[str | Operand] = [
        node.inputs[0],
        state.weight(f"{node.name}.scale", factor.astype(np.float32)),
        state.weight(f"{node.name}.shift", offset.astype(np.float32)),
    ]
    state.emit(node, OpKind.NORMALIZATION, operands, attrs=attrs)


def fold_batch_norm(
    state: ImportState, node: Node, factor: NDArray[np.float64], offset: NDArray[np.float64]
) -> bool:
    """Scale the weights of the product that alone feeds ``node``; return whether there is one."""
    x = node.inputs[0]
    ops = state.builder.ops
    position = next((i for i, op in enumerate(ops) if op.output == x), None)
    if position is None or state.uses[x] != 1:
        return False
    op = ops[position]
    is_linear = op.kind is OpKind.LINEAR and len(state.builder.shape(x)) == 2
    if not (op.kind in (OpKind.CONV, OpKind.CONV_TRANSPOSE) or is_linear):
        return False
    weights = _scale_outputs(op, state.builder.weights[op.inputs[1].tensor], factor)
    bias = offset
    if len(op.inputs) > 2:
        bias = offset + state.builder.weights[op.inputs[2].tensor] * factor
    inputs = (
        op.inputs[0],
        state.weight(f"{op.name}.weight.folded", weights.astype(np.float32)),
        state.weight(f"{op.name}.bias.folded", bias.astype(np.float32)),
    )
    state.builder.tensors[node.outputs[0]] = state.builder.tensors[x].model_copy(
        update={"name": node.outputs[0]}
    )
    ops[position] = op.model_copy(update={"inputs": inputs, "output": node.outputs[0]})
    return True


def _scale_outputs(
    op: Op, weights: NDArray[Any], factor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``weights`` with every output channel multiplied by its ``factor``."""
    scaled: NDArray[np.float64]
    if op.kind is OpKind.CONV:
        scaled = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
    elif op.kind is OpKind.CONV_TRANSPOSE:
        # [ci, co / groups, ...]: the rows of group g produce channels g * co / groups onward.
        per_row = np.repeat(
            factor.reshape(op.dims["groups"], -1), weights.shape[0] // op.dims["groups"], axis=0
        )
        scaled = weights * per_row.reshape(*per_row.shape, *[1] * (weights.ndim - 2))
    else:
        scaled = weights * factor
    return scaled
