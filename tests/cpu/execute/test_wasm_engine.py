"""Generated WebAssembly, run for real, computes what the golden model says."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call, gemm_call, spmm_call
from hwsim.cpu.execute.wasm_engine import WasmModule, run_wasm
from hwsim.cpu.golden import clamp, gemm, rounding_bound, spmm
from hwsim.cpu.microkernel.spmm import STRIP_PIXELS
from hwsim.cpu.microkernel.target import WASM, WASM_RELAXED, Target
from tests.cpu.layers import Layer, layers, make_layer

BOTH = pytest.mark.parametrize("target", [WASM, WASM_RELAXED], ids=lambda target: target.name)
KERNELS = [
    *((mr, 1, form) for mr in STRIP_PIXELS for form in ("plain", "u2", "pipelined")),
    *((mr, nr, "plain") for mr in (4, 8, 16) for nr in (2, 4, 8, 16)),
]


@BOTH
@pytest.mark.parametrize(("mr", "nr", "form"), KERNELS)
def test_every_spmm_kernel_on_every_tail_of_a_ragged_layer(
    target: Target, mr: int, nr: int, form: str
) -> None:
    # Two whole strips and all narrower ones; 17 channels are whole blocks and one alone.
    layer = make_layer(17, 9, 3 * mr - 1, 0.3, seed=mr * 100 + nr)
    layer.weights[[2, 16]] = 0  # empty rows, one of them alone
    call = spmm_call(target, layer.weights, layer.bias, layer.x, mr=mr, nr=nr, form=form)
    np.testing.assert_array_equal(run_wasm(call, target), _spmm(layer))


@settings(max_examples=40, deadline=None)
@given(layers(), st.sampled_from(KERNELS), st.sampled_from([WASM, WASM_RELAXED]))
def test_spmm_of_any_layer(layer: Layer, kernel: tuple[int, int, str], target: Target) -> None:
    mr, nr, form = kernel
    call = spmm_call(target, layer.weights, layer.bias, layer.x, mr=mr, nr=nr, form=form)
    np.testing.assert_array_equal(run_wasm(call, target), _spmm(layer))


def test_a_layer_with_one_nonzero_and_one_pixel() -> None:
    weights = np.zeros((3, 5), np.float32)
    weights[1, 4] = 2
    bias, x = np.array([1, 2, 3], np.float32), np.arange(5, dtype=np.float32)[:, None]
    for form in ("plain", "u2", "pipelined"):
        call = spmm_call(WASM, weights, bias, x, mr=16, form=form)
        np.testing.assert_array_equal(run_wasm(call, WASM), [[1], [10], [3]])


@BOTH
def test_float_sums_stay_within_their_rounding(target: Target) -> None:
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((24, 200)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.8] = 0
    bias, x = rng.standard_normal(24).astype(np.float32), rng.standard_normal((200, 49))
    call = spmm_call(target, weights, bias, x, mr=16)
    exact = spmm(weights, bias, x.astype(np.float32))
    bound = rounding_bound(spmm(np.abs(weights), np.abs(bias), np.abs(x)), terms=201)
    assert (np.abs(run_wasm(call, target) - exact) <= bound).all()


@BOTH
@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 14),
    co=st.integers(1, 19),
    ci=st.integers(1, 11),
    mr=st.sampled_from([1, 4, 5, 6]),
    seed=st.integers(0, 2**31),
)
def test_dense_gemm_of_any_size(
    target: Target, rows: int, co: int, ci: int, mr: int, seed: int
) -> None:
    layer = make_layer(co, ci, rows, 1.0, seed)
    call = gemm_call(target, layer.weights, layer.bias, layer.x.T, mr=mr)
    expected = gemm(layer.x.T, layer.weights, layer.bias)
    np.testing.assert_array_equal(run_wasm(call, target), expected)


def test_outputs_are_clamped() -> None:
    layer = make_layer(9, 8, 21, 0.6, seed=4)
    limits = (0.0, 6.0)
    dense = gemm(layer.x.T, layer.weights, layer.bias)
    assert (dense < 0).any()
    assert (dense > 6).any()
    call = gemm_call(WASM, layer.weights, layer.bias, layer.x.T, mr=4, limits=limits)
    np.testing.assert_array_equal(run_wasm(call, WASM), clamp(dense, *limits))
    sparse = spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=8, limits=limits)
    np.testing.assert_array_equal(run_wasm(sparse, WASM), clamp(dense.T, *limits))


def test_the_comparison_sees_a_wrong_increment() -> None:
    layer = make_layer(4, 6, 5, 0.8, seed=9)
    call = spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=4)
    call.arrays["dmap"][0] += 20
    call.arrays["dmap"][1] -= 20
    assert not np.array_equal(run_wasm(call, WASM), _spmm(layer))


def test_several_kernels_share_a_module_and_calls_are_timed() -> None:
    layer = make_layer(4, 6, 5, 0.8, seed=9)
    calls: list[Call] = [
        spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=4, form=form)
        for form in ("plain", "u2")
    ]
    arena = Arena(calls[0].arrays)
    module = WasmModule.of([call.kernel for call in calls], WASM, arena, is_timed=True)
    name, values = calls[1].kernel.name, calls[1].values(arena.address)
    assert module.seconds_of(name, values, calls[1].clamp_limits, times=20_000) > 0
    np.testing.assert_array_equal(module.read("output"), _spmm(layer))


def test_a_sample_counts_calls_inside_the_engine_not_the_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = make_layer(4, 6, 5, 0.8, seed=9)
    call = spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=4)
    arena = Arena(call.arrays)
    module = WasmModule.of([call.kernel], WASM, arena, is_timed=True)
    ticks = iter([0, 300, 1000])  # entering alone takes 300, with four calls 700
    monkeypatch.setattr("time.thread_time_ns", lambda: next(ticks))
    values = call.values(arena.address)
    found = module.seconds_of(call.kernel.name, values, call.clamp_limits, times=4)
    assert found == pytest.approx((700 - 300) / 4 * 1e-9)
    np.testing.assert_array_equal(module.read("output"), _spmm(layer))


def test_without_the_engine_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    layer = make_layer(2, 2, 2, 1.0, seed=1)
    call = spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=4)
    with pytest.raises(InputError) as caught:
        run_wasm(call, WASM)
    need = "the package wasmtime (pip install 'hwsim[wasm]')"
    assert str(caught.value) == f"WebAssembly engine: need {need}, found none installed"


def test_shapes_that_do_not_meet_are_named() -> None:
    with pytest.raises(InputError, match=r"layer: need .* found \(2, 3\) and \(4, 5\)"):
        spmm_call(WASM, np.ones((2, 3)), np.ones(2), np.ones((4, 5)), mr=4)


def _spmm(layer: Layer) -> np.ndarray:
    return spmm(layer.weights, layer.bias, layer.x)
