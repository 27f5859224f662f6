"""Depthwise, first convolution and pooling, run for real on both back ends, equal golden.

On AArch64 the executed instructions and addresses are compared with the micro-ops too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.cpu.execute.calls import (
    Call,
    depthwise_call,
    depthwise_rows_call,
    first_conv_call,
    global_pool_call,
    igemm_call,
)
from hwsim.cpu.execute.wasm_engine import run_wasm
from hwsim.cpu.golden import clamp, conv, conv_first, depthwise, global_mean
from hwsim.cpu.microkernel.depthwise import describe_depthwise
from hwsim.cpu.microkernel.target import AARCH64, WASM
from tests.cpu.execute.test_aarch64_emulator import check_trace

Runner = Callable[[Call], np.ndarray]
BOTH = pytest.mark.parametrize(
    "run", [lambda call: run_wasm(call, WASM), check_trace], ids=["wasm", "aarch64"]
)
SHAPES = [(3, 1), (3, 2), (5, 1), (5, 2)]


def integers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


@BOTH
@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 11), width=st.integers(1, 19), seed=st.integers(0, 2**31))
def test_depthwise_of_any_plane(
    run: Runner, kernel: int, stride: int, height: int, width: int, seed: int
) -> None:
    x, weights, bias = (
        integers(seed, 3, height, width),
        integers(seed + 1, 3, kernel, kernel),
        integers(seed + 2, 3),
    )
    limits = (-30.0, 25.0)
    call = depthwise_call(weights, bias, x, stride=stride, limits=limits)
    expected = clamp(depthwise(x, weights, bias, stride), *limits)
    np.testing.assert_array_equal(run(call), expected)


@BOTH
@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
def test_depthwise_at_the_sizes_of_the_networks(run: Runner, kernel: int, stride: int) -> None:
    # 14 and 7 are the planes whose rows are no multiple of a vector.
    for extent in (14, 7):
        x, weights = integers(extent, 2, extent, extent), integers(1, 2, kernel, kernel)
        call = depthwise_call(weights, integers(2, 2), x, stride=stride)
        np.testing.assert_array_equal(run(call), depthwise(x, weights, integers(2, 2), stride))


@BOTH
@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 13),
    co=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_first_convolution_of_any_image(
    run: Runner, height: int, width: int, co: int, seed: int
) -> None:
    x, weights, bias = (
        integers(seed, height, width, 3),
        integers(seed + 1, co, 3, 3, 3),
        integers(seed + 2, co),
    )
    limits = (-40.0, 35.0)
    call = first_conv_call(weights, bias, x, limits=limits)
    np.testing.assert_array_equal(run(call), clamp(conv_first(x, weights, bias), *limits))


@BOTH
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    ci=st.integers(1, 6),
    co=st.integers(1, 17),
    form=st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 2)]),
    mr=st.sampled_from([1, 4, 6]),
    seed=st.integers(0, 2**31),
)
def test_convolution_through_a_table_of_any_image(
    run: Runner,
    height: int,
    width: int,
    ci: int,
    co: int,
    form: tuple[int, int],
    mr: int,
    seed: int,
) -> None:
    kernel, stride = form
    x, weights = integers(seed, height, width, ci), integers(seed + 1, co, kernel, kernel, ci)
    bias, limits = integers(seed + 2, co), (-60.0, 50.0)
    target = AARCH64 if run is check_trace else WASM
    call = igemm_call(target, weights, bias, x, mr=mr, stride=stride, limits=limits)
    np.testing.assert_array_equal(run(call), clamp(conv(x, weights, bias, stride), *limits))


@BOTH
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 11),
    form=st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 1), (7, 2)]),
    seed=st.integers(0, 2**31),
)
def test_channels_last_depthwise_of_any_image(
    run: Runner, height: int, width: int, channels: int, form: tuple[int, int], seed: int
) -> None:
    kernel, stride = form
    x, weights = integers(seed, height, width, channels), integers(seed, channels, kernel, kernel)
    bias, limits = integers(seed + 2, channels), (-40.0, 35.0)
    call = depthwise_rows_call(weights, bias, x, stride=stride, limits=limits)
    planes = depthwise(x.transpose(2, 0, 1), weights, bias, stride)
    np.testing.assert_array_equal(run(call), clamp(planes.transpose(1, 2, 0), *limits))


def test_the_comparison_sees_a_step_that_is_off() -> None:
    x, weights, bias = integers(1, 4, 4, 3), integers(2, 5, 3, 3, 3), integers(3, 5)
    call = igemm_call(WASM, weights, bias, x, mr=4)
    call.arrays["table"][5] += 4
    assert not np.array_equal(run_wasm(call, WASM), conv(x, weights, bias))


@BOTH
@settings(max_examples=12, deadline=None)
@given(channels=st.integers(1, 11), pixels=st.integers(1, 60), seed=st.integers(0, 2**31))
def test_global_pool_of_any_plane(run: Runner, channels: int, pixels: int, seed: int) -> None:
    x = integers(seed, channels, pixels)
    # An exact sum, times 1 / pixels rounded once, rounded once more.
    np.testing.assert_allclose(run(global_pool_call(x)), global_mean(x), rtol=2**-22, atol=1e-30)


def test_the_comparison_sees_a_wrong_mask() -> None:
    x, weights, bias = integers(1, 1, 4, 6), integers(2, 1, 3, 3), integers(3, 1)
    call = depthwise_call(weights, bias, x, stride=1)
    call.arrays["edge"][:4] = 0xFFFFFFFF
    expected = depthwise(x, weights, bias, 1)
    assert not np.array_equal(run_wasm(call, WASM), expected)


def test_rows_at_once_are_chosen_and_their_registers_counted() -> None:
    default, more = describe_depthwise(5, 1), describe_depthwise(5, 1, rows=2)
    # Per line of input one vector stays; per output row one accumulator; 7 weights, 2 limits and
    # 2 to work with.
    assert default.vectors == 8 + 4 + 7 + 2 + 2
    assert more.vectors == 6 + 2 + 7 + 2 + 2
    AARCH64.check(default.name, default.vectors, default.integers)


@pytest.mark.parametrize(("kernel", "stride", "rows"), [(7, 1, None), (3, 3, None), (3, 1, 5)])
def test_other_stencils_are_refused(kernel: int, stride: int, rows: int | None) -> None:
    with pytest.raises(InputError, match="kernel: need"):
        describe_depthwise(kernel, stride, rows)
