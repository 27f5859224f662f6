"""Define the element-by-element functions, pooling and resizing of the reference executor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["FUNCTIONS", "pool_windows", "resize_axis"]

Array = NDArray[Any]
Attrs = Mapping[str, Any]
Function = Callable[..., Array]


def _divide(attrs: Attrs, a: Array, b: Array) -> Array:
    # Integer division truncates toward zero, as in ONNX.
    is_float = np.result_type(a, b).kind == "f"
    quotient = a / b
    return np.asarray(quotient if is_float else np.trunc(quotient))


def _gelu_tanh(attrs: Attrs, x: Array) -> Array:
    # Hendrycks & Gimpel 2016, the tanh approximation.
    inner = x.dtype.type(np.sqrt(2.0 / np.pi)) * (x + x.dtype.type(0.044715) * x**3)
    return np.asarray(x.dtype.type(0.5) * x * (1 + np.tanh(inner)))


def _gelu(attrs: Attrs, x: Array) -> Array:
    half = x.dtype.type(0.5)
    result: Array = half * x * (1 + special.erf(x * x.dtype.type(np.sqrt(0.5))))
    return result


def _fold(function: Callable[[Array, Array], Array]) -> Function:
    return lambda attrs, *xs: functools.reduce(function, xs)


def _plain(function: Callable[[Array], Array]) -> Function:
    return lambda attrs, x: function(x)


def _hard_sigmoid(attrs: Attrs, x: Array) -> Array:
    return np.asarray(np.clip(x.dtype.type(attrs["alpha"]) * x + x.dtype.type(attrs["beta"]), 0, 1))


def _rotate_half_mul(attrs: Attrs, x: Array, table: Array) -> Array:
    """Return rotate_half(x) * table, halves of each head of ``head_dim`` (Su et al. 2021, RoPE)."""
    heads = x.reshape(*x.shape[:-1], -1, attrs["head_dim"])
    low, high = np.split(heads, 2, axis=-1)
    return np.asarray(np.concatenate([-high, low], axis=-1).reshape(x.shape) * table)


def _where(attrs: Attrs, condition: Array, a: Array, b: Array) -> Array:
    return np.asarray(np.where(condition, a, b))


FUNCTIONS: dict[str, Function] = {
    "add": _fold(np.add),
    "sub": _fold(np.subtract),
    "mul": _fold(np.multiply),
    "min": _fold(np.minimum),
    "max": _fold(np.maximum),
    "and": _fold(np.logical_and),
    "or": _fold(np.logical_or),
    "div": _divide,
    "pow": _fold(np.power),
    "equal": _fold(np.equal),
    "greater": _fold(np.greater),
    "less": _fold(np.less),
    "rotate_half_mul": _rotate_half_mul,
    "where": _where,
    "prelu": lambda attrs, x, slope: np.where(x < 0, x * slope, x),
    "relu": lambda attrs, x: np.maximum(x, 0),
    "leaky_relu": lambda attrs, x: np.where(x < 0, x * x.dtype.type(attrs["alpha"]), x),
    "elu": lambda attrs, x: np.where(
        x < 0, x.dtype.type(attrs["alpha"]) * np.expm1(np.minimum(x, 0)), x
    ),
    "clip": lambda attrs, x: np.clip(x, attrs.get("min"), attrs.get("max")),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda attrs, x: x * np.clip(x / 6 + x.dtype.type(0.5), 0, 1),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "sigmoid": _plain(special.expit),
    "silu": lambda attrs, x: x * special.expit(x),
    "tanh": _plain(np.tanh),
    "erf": _plain(special.erf),
    "softplus": lambda attrs, x: np.logaddexp(x, x.dtype.type(0)),
    "sqrt": _plain(np.sqrt),
    "exp": _plain(np.exp),
    "log": _plain(np.log),
    "neg": _plain(np.negative),
    "abs": _plain(np.abs),
    "reciprocal": _plain(np.reciprocal),
    "floor": _plain(np.floor),
    "ceil": _plain(np.ceil),
    "sin": _plain(np.sin),
    "cos": _plain(np.cos),
    "not": _plain(np.logical_not),
    "identity": lambda attrs, x: x,
    "cast": lambda attrs, x: x.astype(attrs["to"]),
}
"""attrs["function"] of an ELEMENTWISE op -> (attrs, operands…) -> values."""


def pool_windows(attrs: Attrs, x: Array, out: tuple[int, int]) -> Array:
    """Return the max or average over windows of ``x`` [batch, c, ih, iw], ``out`` = (oh, ow).

    Windows that reach past the declared padding (ceiling of the output extent) see nothing there.
    """
    top, left, bottom, right = attrs["pads"]
    strides, dilations, kernel = attrs["strides"], attrs["dilations"], attrs["kernel"]
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    counted = np.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if attrs["count_include_pad"]:
        counted = np.ones((1, 1, x.shape[2] + top + bottom, x.shape[3] + left + right), x.dtype)
    needed = [(o - 1) * s + span for o, s, span in zip(out, strides, spans, strict=True)]

    def windows(values: Array, offset: tuple[int, int], fill: float) -> Array:
        widths = [(0, 0), (0, 0)]
        for axis in range(2):
            short = needed[axis] - values.shape[2 + axis] - offset[axis]
            widths.append((offset[axis], max(short, 0)))
        padded = np.pad(values, widths, constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
        view = view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
        return view[:, :, : out[0], : out[1]]

    if attrs["function"] == "max":
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        peak: Array = windows(x, (top, left), lowest).max(axis=(4, 5))
        return peak
    offset = (0, 0) if attrs["count_include_pad"] else (top, left)
    total = windows(x, (top, left), 0.0).sum(axis=(4, 5))
    result: Array = total / windows(counted, offset, 0.0).sum(axis=(4, 5))
    return result


def _source_positions(attrs: Attrs, size: int, extent: int, scale: float) -> NDArray[np.float64]:
    """Return where each of ``extent`` outputs lies among ``size`` inputs (ONNX Resize)."""
    x = np.arange(extent, dtype=np.float64)
    coordinates = attrs["coordinates"]
    if coordinates == "asymmetric":
        return x / scale
    if coordinates == "align_corners":
        return x * (size - 1) / (extent - 1) if extent > 1 else np.zeros(1)
    if coordinates == "pytorch_half_pixel" and extent == 1:
        return np.zeros(1)
    centred: NDArray[np.float64] = (x + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":
        centred += size / 2 * (1 - extent / (scale * size))
    return centred


def _nearest(attrs: Attrs, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    rounding = attrs["rounding"]
    if rounding == "floor":
        return np.floor(positions)
    if rounding == "ceil":
        return np.ceil(positions)
    if rounding == "round_prefer_ceil":
        return np.floor(positions + 0.5)
    return np.ceil(positions - 0.5)


def resize_axis(attrs: Attrs, x: Array, axis: int, extent: int, scale: float) -> Array:
    """Return ``x`` resampled to ``extent`` elements along ``axis`` by mode nearest or linear."""
    size = x.shape[axis]
    positions = _source_positions(attrs, size, extent, scale)
    if attrs["mode"] == "nearest":
        index = np.clip(_nearest(attrs, positions), 0, size - 1).astype(np.int64)
        return np.take(x, index, axis=axis)
    positions = np.clip(positions, 0, size - 1)
    low = np.floor(positions).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    along = [1] * x.ndim
    along[axis] = extent
    fraction = (positions - low).astype(x.dtype).reshape(along)
    below, above = np.take(x, low, axis=axis), np.take(x, high, axis=axis)
    return np.asarray(below * (1 - fraction) + above * fraction)
