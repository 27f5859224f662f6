"""The input gradient of a convolution, by phases and spread, equals its definition."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.gemm import activation_matrix, gemm_dims, output_tensor, weight_matrix
from models.training.input_gradient import GradientConv, phase_convs, spread_conv

Array = NDArray[Any]
Drawn = tuple[dict[str, int], dict[str, Any]]


def by_definition(dy: Array, w: Array, dims: dict[str, int], attrs: dict[str, Any]) -> Array:
    """Return dX: every output gradient adds its weights to the inputs that its window saw."""
    per_in, per_out = dims["ci"] // dims["groups"], dims["co"] // dims["groups"]
    (sh, sw), (dh, dw), pads = attrs["strides"], attrs["dilations"], attrs["pads"]
    dx = np.zeros((dims["batch"], dims["ci"], dims["ih"], dims["iw"]))
    for o, p in product(range(dims["oh"]), range(dims["ow"])):
        for r, c in product(range(dims["kh"]), range(dims["kw"])):
            row, col = o * sh + r * dh - pads[0], p * sw + c * dw - pads[1]
            if not (0 <= row < dims["ih"] and 0 <= col < dims["iw"]):
                continue
            for co, ci in product(range(dims["co"]), range(per_in)):
                channel = co // per_out * per_in + ci
                dx[:, channel, row, col] += dy[:, co, o, p] * w[co, ci, r, c]
    return dx


def run(conv: GradientConv, dy: Array, w: Array) -> Array:
    groups = conv.dims["groups"]
    taps = w[:, :, conv.rows][:, :, :, conv.cols]
    split = taps.reshape(groups, -1, *taps.shape[1:]).swapaxes(1, 2)
    flipped = split.reshape(-1, *split.shape[2:])
    a = activation_matrix("conv", conv.dims, conv.attrs, dy)
    extents = gemm_dims("conv", conv.dims)
    assert a.shape == (extents.groups, extents.m, extents.k)
    return output_tensor(
        "conv", conv.dims, conv.attrs, a @ weight_matrix("conv", conv.dims, flipped)
    )


def by_phases(dy: Array, w: Array, dims: dict[str, int], attrs: dict[str, Any]) -> Array:
    dx = np.zeros((dims["batch"], dims["ci"], dims["ih"], dims["iw"]))
    sh, sw = attrs["strides"]
    for conv in phase_convs(dims, attrs):
        dx[:, :, conv.offset[0] :: sh, conv.offset[1] :: sw] = run(conv, dy, w)
    return dx


@st.composite
def convolutions(draw: st.DrawFn) -> Drawn:
    groups = draw(st.integers(1, 2))
    dims = {"batch": draw(st.integers(1, 2)), "groups": groups}
    dims |= {name: groups * draw(st.integers(1, 2)) for name in ("ci", "co")}
    attrs: dict[str, Any] = {"strides": [], "dilations": [], "pads": [0, 0, 0, 0]}
    for axis, (size, kernel, out) in enumerate((("ih", "kh", "oh"), ("iw", "kw", "ow"))):
        taps, stride, dilation = (draw(st.integers(1, 4)) for _ in range(3))
        begin, end = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        span = dilation * (taps - 1) + 1
        extent = max(draw(st.integers(1, 7)), span - begin - end)
        dims |= {size: extent, kernel: taps, out: (extent + begin + end - span) // stride + 1}
        attrs["strides"].append(stride)
        attrs["dilations"].append(dilation)
        attrs["pads"][axis], attrs["pads"][axis + 2] = begin, end
    return dims, attrs


def sample(dims: dict[str, int], seed: int) -> tuple[Array, Array]:
    """Return dY and W of small integers as float64, whose sums are exact in any order."""
    rng = np.random.default_rng(seed)
    shapes = (
        (dims["batch"], dims["co"], dims["oh"], dims["ow"]),
        (dims["co"], dims["ci"] // dims["groups"], dims["kh"], dims["kw"]),
    )
    dy, w = (rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes)
    return dy, w


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(0, 99))
def test_phases_and_spread_gradients_equal_the_definition(drawn: Drawn, seed: int) -> None:
    dims, attrs = drawn
    dy, w = sample(dims, seed)
    wanted = by_definition(dy, w, dims, attrs)
    assert np.array_equal(by_phases(dy, w, dims, attrs), wanted)
    assert np.array_equal(run(spread_conv(dims, attrs), dy, w), wanted)


def strided(size: int, kernel: int, stride: int, pad: int) -> Drawn:
    out = (size + 2 * pad - kernel) // stride + 1
    dims = {"batch": 1, "ci": 4, "co": 4, "groups": 1, "ih": size, "iw": size}
    dims |= {"oh": out, "ow": out, "kh": kernel, "kw": kernel}
    attrs = {"strides": [stride] * 2, "dilations": [1, 1], "pads": [pad] * 4}
    return dims, attrs


def macs(dims: dict[str, int]) -> int:
    return gemm_dims("conv", dims).macs


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"),
    [(8, 3, 1, 1), (8, 3, 2, 1), (8, 5, 2, 2), (8, 1, 2, 0), (12, 7, 3, 3), (12, 4, 4, 0)],
)
def test_phases_have_the_products_of_ff_and_spreading_stride_squared(
    size: int, kernel: int, stride: int, pad: int
) -> None:
    # derived: holds where the stride divides the input and windows start once per stride.
    dims, attrs = strided(size, kernel, stride, pad)
    assert sum(macs(conv.dims) for conv in phase_convs(dims, attrs)) == macs(dims)
    assert macs(spread_conv(dims, attrs).dims) == stride**2 * macs(dims)


def test_taps_split_over_the_phases_of_a_3x3_layer_at_stride_2() -> None:
    # derived: i = 2 q + c meets taps r = c + 1 mod 2: one of three for c = 0, two for c = 1.
    convs = phase_convs(*strided(8, 3, 2, 1))
    assert [(conv.rows, conv.cols) for conv in convs] == [
        ([1], [1]),
        ([1], [2, 0]),
        ([2, 0], [1]),
        ([2, 0], [2, 0]),
    ]
    assert [conv.offset for conv in convs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_phases_without_taps_are_left_out() -> None:
    assert [conv.offset for conv in phase_convs(*strided(8, 1, 2, 0))] == [(0, 0)]


def test_a_lost_tap_is_seen() -> None:
    dims, attrs = strided(8, 3, 2, 1)
    dy, w = sample(dims, 0)
    wanted = by_definition(dy, w, dims, attrs)
    w[:, :, 2, 0] = 0
    assert not np.array_equal(by_phases(dy, w, dims, attrs), wanted)
