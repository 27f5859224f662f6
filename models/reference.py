"""Execute an operator graph in numpy: the golden model of every machine's functional result.

Matrix products go through the lowering of :mod:`hwsim.core.gemm`, so that a wrong lowering shows
as a wrong output. Nothing here is shared with a simulator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.block_mask import read_mask_text
from hwsim.core.gemm import activation_matrix, output_tensor, weight_matrix
from hwsim.core.graph import Op, OpGraph, OpKind
from models.reference_functions import FUNCTIONS, pool_windows, resize_axis

__all__ = ["GemmFunction", "VectorFunction", "execute", "execute_op", "seen_elements"]

Array = NDArray[Any]
VectorFunction = Callable[[Op, list[Array], tuple[int, ...]], "Array | None"]
"""(op that is no product, operands, shape of the output) -> values, or None for the reference's."""
GemmFunction = Callable[[Op, Array, Array], Array]
"""(op, A[groups, m, k], B[groups, k, n]) -> C[groups, m, n]."""

Kernel = Callable[[Op, list[Array], tuple[int, ...]], Array]


def execute(
    graph: OpGraph,
    inputs: Mapping[str, Array],
    gemm: GemmFunction | None = None,
    vector: VectorFunction | None = None,
) -> dict[str, Array]:
    """Return every activation tensor of ``graph`` by name, inputs included.

    Parameters
    ----------
    graph : OpGraph
        All its weights have values.
    inputs : mapping from graph input to array of the declared shape
        Values.
    gemm : callable, optional
        Computes the matrix products (before the bias); default: numpy in the operands' dtype.
    vector : callable, optional
        Computes the other ops, or some of them.

    Raises
    ------
    InputError
        If an input or weight has no values, a shape differs, or an op is unmodelled.
    """
    tensors: dict[str, Array] = dict(graph.weights)
    for name in graph.inputs:
        info = graph.tensors[name]
        if name not in inputs:
            raise InputError(f"input {name}", f"values of shape {info.shape}", "none")
        if inputs[name].shape != info.shape:
            raise InputError(f"input {name}", f"shape {info.shape}", f"{inputs[name].shape}")
        tensors[name] = inputs[name].astype(_storage(info.dtype), copy=False)
    for op in graph.ops():
        info = graph.tensors[op.output]
        for operand in op.inputs:
            if operand.tensor not in tensors:
                raise InputError(f"op {op.name}", f"values of weight {operand.tensor}", "none")
        operands = [tensors[operand.tensor] for operand in op.inputs]
        result = None if vector is None or op.is_gemm else vector(op, operands, info.shape)
        if result is None:
            result = execute_op(op, operands, info.shape, gemm)
        if result.shape != info.shape:
            raise InputError(f"op {op.name}", f"output shape {info.shape}", f"{result.shape}")
        tensors[op.output] = result.astype(_storage(info.dtype), copy=False)
    return {name: values for name, values in tensors.items() if name not in graph.weights}


def execute_op(
    op: Op, operands: list[Array], shape: tuple[int, ...], gemm: GemmFunction | None = None
) -> Array:
    """Return the output of one op, of extents ``shape``, for its operands in order."""
    if op.is_gemm:
        return _product(op, operands, gemm or _matmul).reshape(shape)
    if op.kind not in _KERNELS:
        found = str(op.attrs.get("operator", op.kind.value))
        raise InputError(f"op {op.name}", "an operator with a reference", found)
    return _KERNELS[op.kind](op, operands, shape)


def _storage(dtype: str) -> np.dtype[Any]:
    # numpy has no bfloat16 and int4; values are held in the next larger type.
    return np.dtype({"bfloat16": "float32", "int4": "int8"}.get(dtype, dtype))


def _matmul(op: Op, a: Array, b: Array) -> Array:
    return np.asarray(np.matmul(a, b))


def _product(op: Op, operands: list[Array], gemm: GemmFunction) -> Array:
    kind, dims = op.kind.value, op.dims
    x, weights = operands[:2]
    if "ih" in dims:
        x = x.reshape(dims["batch"], dims["ci"], dims["ih"], dims["iw"])
    a = activation_matrix(kind, dims, op.attrs, x)
    b = weight_matrix(kind, dims, weights, op.attrs)
    out = output_tensor(kind, dims, op.attrs, gemm(op, a, b))
    if len(operands) > 2:
        out = out + (operands[2].reshape(1, -1, 1, 1) if "ih" in dims else operands[2])
    return out


def _elementwise(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    function = op.attrs["function"]
    if function not in FUNCTIONS:
        raise InputError(f"op {op.name}", f"one of {', '.join(sorted(FUNCTIONS))}", function)
    values: list[Any] = list(operands)
    if "scalar" in op.attrs:
        position = 0 if op.attrs.get("scalar_side") == "left" else len(values)
        values.insert(position, operands[0].dtype.type(op.attrs["scalar"]))
    return np.broadcast_to(FUNCTIONS[function](op.attrs, *values), shape)


def _normalization(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    x, scale = operands[:2]
    if op.attrs["function"] == "batch":
        per_channel = [1, -1] + [1] * (x.ndim - 2)
        return np.asarray(x * scale.reshape(per_channel) + operands[2].reshape(per_channel))
    axes = tuple(range(op.attrs["axis"], x.ndim))
    centred = x
    if op.attrs["function"] == "layer":
        centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    out = centred / np.sqrt(variance + x.dtype.type(op.attrs["epsilon"])) * scale
    return np.asarray(out + operands[2] if len(operands) > 2 else out)


def seen_elements(op: Op, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which scores of ``shape`` [.., rows, tokens] the op's block mask keeps, causally."""
    tokens = shape[-1]
    heads = math.prod(shape[:-1]) // tokens
    mask = read_mask_text(op.attrs["kept_blocks"], heads, tokens)
    return np.stack([mask.elements(head) for head in range(heads)]).reshape(shape)


def _softmax(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    axes = tuple(op.attrs["axes"])
    scores = operands[0] * operands[0].dtype.type(op.attrs.get("scale", 1.0))
    if op.attrs.get("is_causal"):  # row i of each head sees the columns up to i
        tokens = scores.shape[-1]
        rows = np.arange(scores.shape[-2])[:, None] % tokens
        seen = np.broadcast_to(np.arange(tokens) <= rows, scores.shape)
        if "kept_blocks" in op.attrs:
            seen = seen & seen_elements(op, scores.shape)
        scores = np.where(seen, scores, scores.dtype.type(-np.inf))
    x = np.exp(scores - scores.max(axis=axes, keepdims=True))
    result: Array = x / x.sum(axis=axes, keepdims=True)
    return result


def _pool(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    x = operands[0]
    image = x.reshape(*x.shape[:2], *((1,) * (4 - x.ndim)), *x.shape[2:])
    extents = (*shape[:2], *((1,) * (4 - len(shape))), *shape[2:])
    return pool_windows(op.attrs, image, (extents[2], extents[3])).reshape(shape)


def _reduce(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    function = getattr(operands[0], op.attrs["function"])
    result = function(axis=tuple(op.attrs["axes"]), keepdims=op.attrs["keepdims"])
    return np.asarray(result)


def _resize(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    x = operands[0]
    for axis, (extent, scale) in enumerate(zip(shape, op.attrs["scales"], strict=True)):
        if extent != x.shape[axis] or scale != 1.0:
            x = resize_axis(op.attrs, x, axis, extent, scale)
    return x


def _slice(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    x = operands[0]
    steps = zip(op.attrs["starts"], op.attrs["steps"], shape, strict=True)
    return x[np.ix_(*(start + step * np.arange(count) for start, step, count in steps))]


def _pad(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    widths = list(zip(op.attrs["begins"], op.attrs["ends"], strict=True))
    if op.attrs["mode"] == "constant":
        return np.pad(operands[0], widths, constant_values=op.attrs["value"])
    return np.pad(operands[0], widths, mode=op.attrs["mode"])


def _gather(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    axis: int = op.attrs["axis"]
    if "first" in op.attrs:
        rows = np.arange(op.attrs["first"], op.attrs["first"] + shape[axis])
        return np.asarray(np.take(operands[0], rows, axis, mode="wrap"))
    data, indices = operands
    return np.asarray(np.take(data, indices.astype(np.int64) % data.shape[axis], axis=axis))


_KERNELS: dict[OpKind, Kernel] = {
    OpKind.ELEMENTWISE: _elementwise,
    OpKind.NORMALIZATION: _normalization,
    OpKind.SOFTMAX: _softmax,
    OpKind.POOL: _pool,
    OpKind.REDUCE: _reduce,
    OpKind.RESIZE: _resize,
    OpKind.CONCAT: lambda op, xs, shape: np.concatenate(xs, axis=op.attrs["axis"]),
    OpKind.TRANSPOSE: lambda op, xs, shape: xs[0].transpose(op.attrs["perm"]),
    OpKind.RESHAPE: lambda op, xs, shape: xs[0].reshape(shape),
    OpKind.SLICE: _slice,
    OpKind.PAD: _pad,
    OpKind.GATHER: _gather,
}
