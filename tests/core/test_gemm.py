"""Check the lowering to matrix products against convolutions written as plain loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.gemm import (
    GemmDims,
    activation_matrix,
    gemm_dims,
    output_tensor,
    weight_matrix,
    weight_tensor,
)

Array = NDArray[Any]


def direct_conv(x: Array, w: Array, dims: dict[str, int], attrs: dict[str, Any]) -> Array:
    """Return the convolution by definition: one loop per output element and weight."""
    per_in, per_out = dims["ci"] // dims["groups"], dims["co"] // dims["groups"]
    (sh, sw), (dh, dw), pads = attrs["strides"], attrs["dilations"], attrs["pads"]
    out = np.zeros((dims["batch"], dims["co"], dims["oh"], dims["ow"]))
    for b, co, oh, ow in product(*(range(extent) for extent in out.shape)):
        for ci, kh, kw in product(range(per_in), range(dims["kh"]), range(dims["kw"])):
            row, col = oh * sh + kh * dh - pads[0], ow * sw + kw * dw - pads[1]
            if 0 <= row < dims["ih"] and 0 <= col < dims["iw"]:
                channel = co // per_out * per_in + ci
                out[b, co, oh, ow] += x[b, channel, row, col] * w[co, ci, kh, kw]
    return out


def direct_conv_transpose(x: Array, w: Array, dims: dict[str, int], attrs: dict[str, Any]) -> Array:
    """Return the transposed convolution: every input element adds a scaled window."""
    per_in, per_out = dims["ci"] // dims["groups"], dims["co"] // dims["groups"]
    (sh, sw), (dh, dw), pads = attrs["strides"], attrs["dilations"], attrs["pads"]
    out = np.zeros((dims["batch"], dims["co"], dims["oh"], dims["ow"]))
    for b, ci, ih, iw in product(*(range(extent) for extent in x.shape)):
        for co, kh, kw in product(range(per_out), range(dims["kh"]), range(dims["kw"])):
            row, col = ih * sh + kh * dh - pads[0], iw * sw + kw * dw - pads[1]
            if 0 <= row < dims["oh"] and 0 <= col < dims["ow"]:
                channel = ci // per_in * per_out + co
                out[b, channel, row, col] += x[b, ci, ih, iw] * w[ci, co, kh, kw]
    return out


def by_product(kind: str, x: Array, w: Array, dims: dict[str, int], attrs: dict[str, Any]) -> Array:
    a, b = activation_matrix(kind, dims, attrs, x), weight_matrix(kind, dims, w)
    extents = gemm_dims(kind, dims)
    assert a.shape == (extents.groups, extents.m, extents.k)
    assert b.shape == (extents.groups, extents.k, extents.n)
    return output_tensor(kind, dims, attrs, a @ b)


@st.composite
def windows(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, Any]]:
    """Draw extents and attributes shared by both kinds of convolution."""
    groups = draw(st.integers(1, 3))
    dims = {"batch": draw(st.integers(1, 2)), "groups": groups}
    dims |= {"ci": groups * draw(st.integers(1, 3)), "co": groups * draw(st.integers(1, 3))}
    dims |= {name: draw(st.integers(1, 6)) for name in ("ih", "iw")}
    dims |= {name: draw(st.integers(1, 3)) for name in ("kh", "kw")}
    attrs: dict[str, Any] = {
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(2)],
        "pads": [draw(st.integers(0, 2)) for _ in range(4)],
    }
    return dims, attrs


def integers(shape: tuple[int, ...], seed: int) -> Array:
    """Return small integers as float64, whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)


@settings(max_examples=60)
@given(windows(), st.integers(0, 99))
def test_conv_equals_its_definition(
    drawn: tuple[dict[str, int], dict[str, Any]], seed: int
) -> None:
    dims, attrs = drawn
    for axis, (size, kernel, out) in enumerate((("ih", "kh", "oh"), ("iw", "kw", "ow"))):
        span = attrs["dilations"][axis] * (dims[kernel] - 1) + 1
        padded = dims[size] + attrs["pads"][axis] + attrs["pads"][axis + 2]
        dims[size] += max(0, span - padded)
        padded = max(padded, span)
        dims[out] = (padded - span) // attrs["strides"][axis] + 1
    x = integers((dims["batch"], dims["ci"], dims["ih"], dims["iw"]), seed)
    w = integers((dims["co"], dims["ci"] // dims["groups"], dims["kh"], dims["kw"]), seed + 1)
    found = by_product("conv", x, w, dims, attrs)
    assert np.array_equal(found, direct_conv(x, w, dims, attrs))
    assert np.array_equal(weight_tensor("conv", dims, weight_matrix("conv", dims, w)), w)


@settings(max_examples=60)
@given(windows(), st.integers(0, 99), st.integers(0, 2))
def test_conv_transpose_equals_its_definition(
    drawn: tuple[dict[str, int], dict[str, Any]], seed: int, extra: int
) -> None:
    dims, attrs = drawn
    for axis, (size, kernel, out) in enumerate((("ih", "kh", "oh"), ("iw", "kw", "ow"))):
        span = attrs["dilations"][axis] * (dims[kernel] - 1) + 1
        full = (dims[size] - 1) * attrs["strides"][axis] + span
        cut = attrs["pads"][axis] + attrs["pads"][axis + 2]
        dims[out] = max(1, full - cut) + extra  # output padding
    x = integers((dims["batch"], dims["ci"], dims["ih"], dims["iw"]), seed)
    w = integers((dims["ci"], dims["co"] // dims["groups"], dims["kh"], dims["kw"]), seed + 1)
    found = by_product("conv_transpose", x, w, dims, attrs)
    assert np.array_equal(found, direct_conv_transpose(x, w, dims, attrs))
    again = weight_tensor("conv_transpose", dims, weight_matrix("conv_transpose", dims, w))
    assert np.array_equal(again, w)


def test_the_reduction_runs_over_input_channels_fastest() -> None:
    # So that N:M groups of consecutive k are consecutive input channels of one tap.
    dims = {"batch": 1, "ci": 4, "co": 1, "ih": 2, "iw": 2, "oh": 1, "ow": 1}
    dims |= {"kh": 2, "kw": 2, "groups": 1}
    w = np.arange(16).reshape(1, 4, 2, 2)
    column = weight_matrix("conv", dims, w)[0, :, 0]
    assert column[:4].tolist() == w[0, :, 0, 0].tolist()
    assert column[4:8].tolist() == w[0, :, 0, 1].tolist()


@pytest.mark.parametrize(
    ("kind", "dims", "x_shape", "w_shape"),
    [
        ("linear", {"batch": 3, "m": 5, "k": 7, "n": 2}, (3, 5, 7), (7, 2)),
        ("matmul", {"batch": 3, "m": 5, "k": 7, "n": 2}, (3, 5, 7), (3, 7, 2)),
    ],
)
def test_plain_products_equal_numpy(
    kind: str, dims: dict[str, int], x_shape: tuple[int, ...], w_shape: tuple[int, ...]
) -> None:
    x, w = integers(x_shape, 0), integers(w_shape, 1)
    found = by_product(kind, x, w, dims, {})
    assert np.array_equal(found.reshape((x @ w).shape), x @ w)


def test_extents_of_every_kind() -> None:
    dims = {"batch": 2, "ci": 6, "co": 8, "ih": 9, "iw": 9, "oh": 4, "ow": 5}
    dims |= {"kh": 3, "kw": 2, "groups": 2}
    assert gemm_dims("conv", dims) == GemmDims(2, 2 * 4 * 5, 3 * 3 * 2, 4)
    assert gemm_dims("conv_transpose", dims) == GemmDims(2, 2 * 9 * 9, 3, 4 * 3 * 2)
    flat = {"batch": 2, "m": 3, "k": 4, "n": 5}
    assert gemm_dims("linear", flat) == GemmDims(1, 6, 4, 5)
    assert gemm_dims("matmul", flat) == GemmDims(2, 3, 4, 5)
    assert gemm_dims("matmul", flat).macs == 2 * 3 * 4 * 5
    with pytest.raises(KeyError):
        gemm_dims("pool", dims)


def test_the_comparison_notices_a_shifted_window() -> None:
    dims = {"batch": 1, "ci": 1, "co": 1, "ih": 4, "iw": 4, "oh": 4, "ow": 4}
    dims |= {"kh": 3, "kw": 3, "groups": 1}
    attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
    x, w = integers((1, 1, 4, 4), 3), integers((1, 1, 3, 3), 4)
    shifted = {**attrs, "pads": [0, 1, 2, 1]}
    assert not np.array_equal(
        by_product("conv", x, w, dims, shifted), direct_conv(x, w, dims, attrs)
    )


def test_weight_gradients_reduce_over_pixels_into_the_layout_of_the_weights() -> None:
    dims = {"batch": 2, "ci": 6, "co": 4, "ih": 5, "iw": 4, "oh": 3, "ow": 2}
    dims |= {"kh": 3, "kw": 2, "groups": 2}
    attrs: dict[str, Any] = {"strides": [2, 2], "dilations": [1, 1], "pads": [1, 0, 1, 0]}
    x, dy = integers((2, 6, 5, 4), 0), integers((2, 4, 3, 2), 1)
    extents = gemm_dims("conv_wgrad", dims)
    assert extents == GemmDims(2, 3 * 3 * 2, 2 * 3 * 2, 2)
    assert extents.macs == gemm_dims("conv", dims).macs
    assert extents.output_elems(dims, "conv_wgrad") == 4 * 3 * 3 * 2
    dw = by_product("conv_wgrad", x, dy, dims, attrs)
    # y is linear in w, so <dw, w> = <dy, y> for every w.
    for seed in range(3):
        w = integers((4, 3, 3, 2), seed)
        assert (dw * w).sum() == (dy * direct_conv(x, w, dims, attrs)).sum()
    assert dw.shape == (4, 3, 3, 2)


def test_matmul_operands_are_read_transposed() -> None:
    dims = {"batch": 3, "m": 5, "k": 7, "n": 2}
    a, b = integers((3, 5, 7), 0), integers((3, 7, 2), 1)
    attrs = {"transpose_a": True, "transpose_b": True}
    left = activation_matrix("matmul", dims, attrs, np.ascontiguousarray(a.transpose(0, 2, 1)))
    right = weight_matrix("matmul", dims, np.ascontiguousarray(b.transpose(0, 2, 1)), attrs)
    assert np.array_equal(left @ right, a @ b)


def test_inputs_are_spread_with_zeros_and_cropped_by_negative_pads() -> None:
    dims = {"batch": 1, "ci": 1, "co": 1, "ih": 2, "iw": 3, "oh": 4, "ow": 5}
    dims |= {"kh": 1, "kw": 1, "groups": 1}
    attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, -1, 0, 0]}
    x = np.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    found = activation_matrix("conv", dims, {**attrs, "input_dilations": [2, 3]}, x)
    # rows: a zero of padding, then 1 0 0 2 0 0 3 without its first column, zeros, 4 0 0 5 0 0 6
    wanted = [[0] * 5, [0, 0, 2, 0, 0], [0] * 5, [0, 0, 5, 0, 0]]
    assert found.reshape(4, 5).tolist() == wanted
