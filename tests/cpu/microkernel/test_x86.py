"""What an engine makes of WebAssembly touches the bytes that AArch64 code touches, in order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import MappingError
from hwsim.cpu import isa
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call, depthwise_call, first_conv_call, gemm_call, spmm_call
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.machine_code import MachineCode
from hwsim.cpu.microkernel.target import AARCH64, WASM
from hwsim.cpu.microkernel.uops import lower_uops
from hwsim.cpu.microkernel.x86 import select_x86
from tests.cpu.layers import Layer, layers, make_layer
from tests.cpu.uop_trace import walk

STACK = 1 << 30


def accesses(code: MachineCode, call: Call) -> list[tuple[int, bool]]:
    """Return (address, is_write) of every 4 bytes beside the stack, prefetches left out."""
    bound = lower_uops(code, call.arguments, call.arrays)
    steps = walk(bound, {**Arena(call.arrays).address, "stack": STACK})
    opcodes = bound.kernel.rows["opcode"]
    return [
        (at, is_write)
        for row, address, size, is_write in steps
        if isa.OPCODES[opcodes[row]] != "prefetch" and address < STACK - 4096
        for at in range(address, address + size, 4)
    ]


def check_same_bytes(call: Call) -> None:
    mine, other = (accesses(select(call.kernel), call) for select in (select_x86, select_aarch64))
    assert mine == other


@settings(max_examples=15, deadline=None)
@given(layers(), st.sampled_from([(16, 1, "plain"), (8, 1, "u2"), (8, 1, "pipelined")]))
def test_sparse_kernels(layer: Layer, kernel: tuple[int, int, str]) -> None:
    mr, nr, form = kernel
    terms = (layer.weights, layer.bias, layer.x)
    check_same_bytes(spmm_call(AARCH64, *terms, mr=mr, nr=nr, form=form))
    # Described for WebAssembly the same bytes are touched in another order.
    mine = spmm_call(WASM, *terms, mr=mr, nr=nr, form=form)
    other = spmm_call(AARCH64, *terms, mr=mr, nr=nr, form=form)
    assert Counter(accesses(select_x86(mine.kernel), mine)) == Counter(
        accesses(select_aarch64(other.kernel), other)
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 11), st.integers(1, 19), st.integers(1, 9))
def test_dense_kernels(rows: int, co: int, ci: int) -> None:
    layer = make_layer(co, ci, rows, 1.0, seed=rows)
    check_same_bytes(gemm_call(AARCH64, layer.weights, layer.bias, layer.x.T, mr=4))


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_stencils(size: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.random((3, size, size)), rng.random((3, 9, 11))
    check_same_bytes(depthwise_call(weights, np.zeros(3), x, stride=stride))
    image = rng.random((9, 2 * size + stride, 3))
    check_same_bytes(first_conv_call(rng.random((6, 3, 3, 3)), np.zeros(6), image))


def test_what_the_host_cannot_hold_passes_through_the_stack() -> None:
    layer = make_layer(4, 6, 32, 1.0, seed=1)
    call = spmm_call(WASM, layer.weights, layer.bias, layer.x, mr=32)  # 12 vectors

    def spills(vectors: int) -> int:
        bound = lower_uops(select_x86(call.kernel, vectors), call.arguments, call.arrays)
        steps = walk(bound, {**Arena(call.arrays).address, "stack": STACK})
        return sum(STACK - 4096 <= address < STACK for _, address, _, _ in steps)

    assert spills(16) == spills(12) == 0
    # Registers 8 to 11 move out: per nonzero two sums, weight and pixels, each read or written.
    assert spills(11) > 24 * 4
    assert spills(8) > spills(11)
    with pytest.raises(MappingError, match="need 4 vector registers, found 3"):
        select_x86(call.kernel, 3)
