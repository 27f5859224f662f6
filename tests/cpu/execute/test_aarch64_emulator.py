"""Generated AArch64 code computes what golden says, by exactly the simulator's micro-ops."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, MappingError
from hwsim.cpu import isa
from hwsim.cpu.execute.aarch64_emulator import DATA_START, STACK_TOP, assemble, run_aarch64
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call, gemm_call, spmm_call
from hwsim.cpu.golden import clamp, gemm, spmm
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.spmm import STRIP_PIXELS, describe_spmm
from hwsim.cpu.microkernel.target import AARCH64
from hwsim.cpu.microkernel.uops import lower_uops
from tests.cpu.layers import Layer, layers, make_layer
from tests.cpu.uop_trace import walk

KERNELS = [
    *((mr, 1, form) for mr in STRIP_PIXELS for form in ("plain", "u2", "pipelined")),
    *((mr, nr, "plain") for mr, nr in ((4, 2), (8, 2), (16, 2), (32, 2), (4, 4), (8, 4), (16, 4))),
    *((mr, nr, "plain") for mr, nr in ((4, 8), (8, 8), (4, 16), (1, 16))),
]


def check_trace(call: Call) -> np.ndarray:
    """Compare the emulator's instructions and accesses with the micro-ops; return the output."""
    execution = run_aarch64(call, is_traced=True)
    assert execution.keeps_saved
    arena = Arena(call.arrays, DATA_START)
    data = {name: call.arrays[name] for name in ("nnzmap", "dmap", "table") if name in call.arrays}
    bound = lower_uops(select_aarch64(call.kernel), call.arguments, data)
    steps = walk(bound, {**arena.address, "stack": STACK_TOP})
    assert len(steps) == len(execution.addresses)
    # Row by row the same control flow: an instruction's micro-op follows another's exactly where
    # its code address does, as far as a row stands for one address.
    classes: dict[int, set[int]] = {}
    for step, at in zip(steps, execution.addresses, strict=True):
        classes.setdefault(at, set()).add(int(bound.kernel.rows["opcode"][step[0]]))
    assert all(len(found) == 1 for found in classes.values())
    accesses: list[tuple[int, int, int, bool]] = []
    for turn, (row, address, size, is_write) in enumerate(steps):
        if size and isa.OPCODES[bound.kernel.rows["opcode"][row]] != "prefetch":
            chunk = min(size, 8)
            accesses += [
                (turn, at, chunk, is_write) for at in range(address, address + size, chunk)
            ]
    assert accesses == execution.accesses
    return execution.output


@pytest.mark.parametrize(("mr", "nr", "form"), KERNELS)
def test_spmm_on_every_tail_and_its_micro_ops(mr: int, nr: int, form: str) -> None:
    layer = make_layer(17, 9, 3 * mr - 1, 0.3, seed=mr * 100 + nr)  # two strips and all tails
    layer.weights[[2, 16]] = 0
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=mr, nr=nr, form=form)
    np.testing.assert_array_equal(check_trace(call), _spmm(layer))


@settings(max_examples=25, deadline=None)
@given(layers(), st.sampled_from(KERNELS))
def test_spmm_of_any_layer_and_its_micro_ops(layer: Layer, kernel: tuple[int, int, str]) -> None:
    mr, nr, form = kernel
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=mr, nr=nr, form=form)
    np.testing.assert_array_equal(check_trace(call), _spmm(layer))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 19),
    st.integers(1, 11),
    st.sampled_from([1, 4, 6]),
    st.integers(0, 2**31),
)
def test_dense_gemm_of_any_size(rows: int, co: int, ci: int, mr: int, seed: int) -> None:
    layer = make_layer(co, ci, rows, 1.0, seed)
    limits = (-20.0, 30.0)
    call = gemm_call(AARCH64, layer.weights, layer.bias, layer.x.T, mr=mr, limits=limits)
    expected = clamp(gemm(layer.x.T, layer.weights, layer.bias), *limits)
    np.testing.assert_array_equal(check_trace(call), expected)


def test_the_trace_comparison_sees_an_address_that_is_off() -> None:
    layer = make_layer(4, 6, 9, 0.7, seed=3)
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=4)
    bound = lower_uops(select_aarch64(call.kernel), call.arguments, call.arrays)
    address = {**Arena(call.arrays, DATA_START).address, "stack": STACK_TOP}
    right = walk(bound, address)
    bound.streams["dmap"][1] += 4
    assert walk(bound, address) != right


def test_one_row_per_static_instruction_of_a_straight_run() -> None:
    # A layer of one strip and one channel runs each instruction of the first strip once.
    call = spmm_call(AARCH64, np.ones((1, 1)), np.zeros(1), np.ones((1, 4)), mr=4)
    execution = run_aarch64(call, is_traced=True)
    assert all(b - a == 4 for a, b in pairwise(execution.addresses[:10]))
    assert len(assemble(call.kernel)) >= 4 * len(set(execution.addresses))


def test_a_kernel_beyond_the_register_file_says_what_it_needs() -> None:
    # 32x4: 32 accumulators, 8 vectors of pixels, 1 of weights, 2 limits.
    kernel = describe_spmm(AARCH64, 32, 4)
    with pytest.raises(MappingError) as caught:
        select_aarch64(kernel)
    line = "kernel spmm_32x4 on aarch64: need 43 vector registers, found 32 vector registers"
    assert str(caught.value) == line


def test_without_the_emulator_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystone", None)
    layer = make_layer(2, 2, 2, 1.0, seed=1)
    with pytest.raises(InputError) as caught:
        run_aarch64(spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=4))
    need = "the package keystone-engine (pip install 'hwsim[aarch64]')"
    assert str(caught.value) == f"AArch64 emulator: need {need}, found none installed"


def _spmm(layer: Layer) -> np.ndarray:
    return spmm(layer.weights, layer.bias, layer.x)
