"""Define the derivatives that the reference of a training iteration evaluates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from models.reference_functions import resize_axis

__all__ = [
    "DERIVATIVES",
    "gather_backward",
    "normalization_gradient",
    "normalize",
    "pool_backward",
    "resize_backward",
]

Array = NDArray[Any]
Attrs = Mapping[str, Any]
Shape = tuple[int, ...]
Derivative = Callable[..., Array]


def _operands(attrs: Attrs, saved: tuple[Array, ...]) -> tuple[list[Array], int]:
    """Return a binary function's operands with its scalar, and the position differentiated."""
    values, position = list(saved), int(attrs["operand"])
    if "scalar" in attrs:
        side = 0 if attrs.get("scalar_side") == "left" else 1
        values.insert(side, np.asarray(attrs["scalar"], dtype=saved[0].dtype))
        position = 1 - side
    return values, position


def _divide(attrs: Attrs, dy: Array, *saved: Array) -> Array:
    (a, b), position = _operands(attrs, saved)
    return dy / b if position == 0 else -dy * a / (b * b)


def _power(attrs: Attrs, dy: Array, *saved: Array) -> Array:
    (a, b), position = _operands(attrs, saved)
    return np.asarray(dy * b * a ** (b - 1) if position == 0 else dy * a**b * np.log(a))


def _extremum(is_larger: Callable[..., Any]) -> Derivative:
    def derive(attrs: Attrs, dy: Array, *saved: Array) -> Array:
        (a, b), position = _operands(attrs, saved)
        # Of equal operands the first has the gradient.
        first = is_larger(a, b) | (a == b)
        return np.asarray(dy * (first if position == 0 else ~first))

    return derive


def _where(attrs: Attrs, dy: Array, condition: Array, a: Array, b: Array) -> Array:
    del a, b
    return np.asarray(np.where(condition if attrs["operand"] == 1 else ~condition, dy, 0))


def _gelu(attrs: Attrs, dy: Array, x: Array) -> Array:
    density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return np.asarray(dy * (0.5 * (1 + special.erf(x * np.sqrt(0.5))) + x * density))


def _gelu_tanh(attrs: Attrs, dy: Array, x: Array) -> Array:
    scale = np.sqrt(2.0 / np.pi)
    t = np.tanh(scale * (x + 0.044715 * x**3))
    return np.asarray(
        dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x))
    )


def _silu(attrs: Attrs, dy: Array, x: Array) -> Array:
    s = special.expit(x)
    return np.asarray(dy * s * (1 + x * (1 - s)))


def _clip(attrs: Attrs, dy: Array, x: Array) -> Array:
    low, high = attrs.get("min"), attrs.get("max")
    inside = (x >= (-np.inf if low is None else low)) & (x <= (np.inf if high is None else high))
    return np.asarray(dy * inside)


def _hard_sigmoid(attrs: Attrs, dy: Array, x: Array) -> Array:
    linear = attrs["alpha"] * x + attrs["beta"]
    return np.asarray(dy * attrs["alpha"] * ((linear > 0) & (linear < 1)))


def _hard_swish(attrs: Attrs, dy: Array, x: Array) -> Array:
    inside = (x > -3) & (x < 3)
    return np.asarray(dy * np.where(inside, x / 3 + 0.5, x >= 3))


DERIVATIVES: dict[str, Derivative] = {
    "relu_backward": lambda attrs, dy, y: dy * (y > 0),
    "sigmoid_backward": lambda attrs, dy, y: dy * y * (1 - y),
    "tanh_backward": lambda attrs, dy, y: dy * (1 - y * y),
    "exp_backward": lambda attrs, dy, y: dy * y,
    "sqrt_backward": lambda attrs, dy, y: dy / (2 * y),
    "reciprocal_backward": lambda attrs, dy, y: -dy * y * y,
    "log_backward": lambda attrs, dy, x: dy / x,
    "abs_backward": lambda attrs, dy, x: dy * np.sign(x),
    "sin_backward": lambda attrs, dy, x: dy * np.cos(x),
    "cos_backward": lambda attrs, dy, x: -dy * np.sin(x),
    "erf_backward": lambda attrs, dy, x: dy * np.exp(-x * x) * (2 / np.sqrt(np.pi)),
    "softplus_backward": lambda attrs, dy, x: dy * special.expit(x),
    "leaky_relu_backward": lambda attrs, dy, x: np.where(x < 0, dy * attrs["alpha"], dy),
    "elu_backward": lambda attrs, dy, x: np.where(
        x < 0, dy * attrs["alpha"] * np.exp(np.minimum(x, 0)), dy
    ),
    "prelu_backward": lambda attrs, dy, x, slope: np.where(
        x < 0, dy * (slope if attrs["operand"] == 0 else x), dy if attrs["operand"] == 0 else 0
    ),
    "gelu_backward": _gelu,
    "gelu_tanh_backward": _gelu_tanh,
    "silu_backward": _silu,
    "clip_backward": _clip,
    "hard_sigmoid_backward": _hard_sigmoid,
    "hard_swish_backward": _hard_swish,
    "div_backward": _divide,
    "pow_backward": _power,
    "min_backward": _extremum(np.less),
    "max_backward": _extremum(np.greater),
    "where_backward": _where,
}
"""attrs["function"] of a backward ELEMENTWISE op -> (attrs, dY, saved operands…) -> gradient."""


def _statistics(attrs: Attrs, x: Array) -> tuple[Array, Array, tuple[int, ...]]:
    """Return the normalised ``x``, 1 / deviation and the axes reduced over."""
    if attrs["function"].startswith("batch"):
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    else:
        axes = tuple(range(attrs["axis"], x.ndim))
    is_centred = not attrs["function"].startswith("rms")
    centred = x - x.mean(axis=axes, keepdims=True) if is_centred else x
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + x.dtype.type(attrs.get("epsilon", 1e-5)))
    return centred * inverse, inverse, axes


def _scale_shape(attrs: Attrs, x: Array, parameter: Array) -> Array:
    is_batch = attrs["function"].startswith("batch")
    return parameter.reshape([1, -1] + [1] * (x.ndim - 2)) if is_batch else parameter


def normalize(attrs: Attrs, x: Array, scale: Array, shift: Array | None) -> Array:
    """Return scale times ``x``, normalised by the statistics of this very batch, plus shift."""
    normal, _, _ = _statistics(attrs, x)
    out = normal * _scale_shape(attrs, x, scale)
    return np.asarray(out if shift is None else out + _scale_shape(attrs, x, shift))


def normalization_gradient(attrs: Attrs, dy: Array, x: Array, scale: Array | None) -> Array:
    """Return dX (function ``…_backward``) or the gradient of scale or shift."""
    normal, inverse, axes = _statistics(attrs, x)
    if attrs["function"].endswith("_backward"):
        assert scale is not None
        g = dy * _scale_shape(attrs, x, scale)
        g = g - normal * (g * normal).mean(axis=axes, keepdims=True)
        if not attrs["function"].startswith("rms"):
            # normal has zero mean, so the order of the two projections does not matter.
            g = g - g.mean(axis=axes, keepdims=True)
        return np.asarray(g * inverse)
    if attrs["function"].endswith("scale_gradient"):
        dy = dy * normal
    is_batch = attrs["function"].startswith("batch")
    rest = axes if is_batch else tuple(axis for axis in range(x.ndim) if axis not in axes)
    return np.asarray(dy.sum(axis=rest))


def pool_backward(attrs: Attrs, dy: Array, saved: list[Array], shape: Shape) -> Array:
    """Return dX of a pooling over [batch, c, ih, iw]; of equal maxima the first has it all."""
    top, left = attrs["pads"][:2]
    taps, extents = _windows(attrs, dy.shape, shape)
    inside = (..., slice(top, top + shape[2]), slice(left, left + shape[3]))
    out = np.zeros((*shape[:2], *extents), dtype=dy.dtype)
    if attrs["function"] == "max_backward":
        padded = np.full(out.shape, -np.inf, dtype=dy.dtype)
        padded[inside] = saved[0]
        is_open = np.ones(dy.shape, dtype=bool)
        for tap in taps:
            is_peak = is_open & (padded[tap] == saved[1])
            out[tap] += dy * is_peak
            is_open &= ~is_peak
        return out[inside]
    counted = np.zeros((1, 1, *extents), dtype=dy.dtype)
    counted[inside] = 1
    if attrs["count_include_pad"]:
        bottom, right = attrs["pads"][2:]
        counted[..., : top + shape[2] + bottom, : left + shape[3] + right] = 1
    share = dy / np.add.reduce([counted[tap] for tap in taps])
    for tap in taps:
        out[tap] += share
    return out[inside]


def _windows(attrs: Attrs, out: Shape, shape: Shape) -> tuple[list[tuple[Any, ...]], Shape]:
    """Return, per tap, where in the padded image the windows see it, and that image's extents."""
    spans, slices = [], []
    for axis in range(2):
        stride, dilation = attrs["strides"][axis], attrs["dilations"][axis]
        kernel, reach = attrs["forward_kernel"][axis], (out[2 + axis] - 1) * stride + 1
        starts = [tap * dilation for tap in range(kernel)]
        slices.append([slice(start, start + reach, stride) for start in starts])
        spans.append(max(starts[-1] + reach, attrs["pads"][axis] + shape[2 + axis]))
    taps = [(..., row, col) for row in slices[0] for col in slices[1]]
    return taps, tuple(spans)


def resize_backward(attrs: Attrs, dy: Array, shape: Shape) -> Array:
    """Return dX: per axis, the transpose of the matrix that resizes."""
    for axis, (size, scale) in enumerate(zip(shape, attrs["scales"], strict=True)):
        if size != dy.shape[axis] or scale != 1.0:
            matrix = resize_axis(attrs, np.eye(size, dtype=dy.dtype), 0, dy.shape[axis], scale)
            dy = np.moveaxis(np.moveaxis(dy, axis, -1) @ matrix, -1, axis)
    return dy


def gather_backward(attrs: Attrs, dy: Array, indices: Array, shape: Shape) -> Array:
    """Return the gradient of the gathered data: rows of dY added where they came from."""
    axis = int(attrs["axis"])
    out = np.zeros(shape, dtype=dy.dtype)
    lines = np.moveaxis(out, axis, 0)
    given = dy.reshape(*shape[:axis], -1, *shape[axis + 1 :])
    np.add.at(
        lines, indices.reshape(-1).astype(np.int64) % shape[axis], np.moveaxis(given, axis, 0)
    )
    return out
