"""Micro-ops of a call: loops that are advanced at once equal loops stepped turn by turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cpu import isa
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import (
    Call,
    depthwise_call,
    depthwise_rows_call,
    first_conv_call,
    gemm_call,
    global_pool_call,
    igemm_call,
    spmm_call,
)
from hwsim.cpu.microkernel import repetition, uops
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.target import AARCH64
from tests.cpu.layers import Layer, layers, make_layer
from tests.cpu.uop_trace import walk


def lower(call: Call) -> uops.BoundKernel:
    return uops.lower_uops(select_aarch64(call.kernel), call.arguments, call.arrays)


def trace(bound: uops.BoundKernel, call: Call) -> list[tuple[int, int, int, bool]]:
    """Return (opcode, address, bytes, is_write) of every instruction."""
    address = {**Arena(call.arrays).address, "stack": 1 << 30}
    opcodes = bound.kernel.rows["opcode"]
    return [(int(opcodes[row]), *rest) for row, *rest in walk(bound, address)]


def check_fast_forward(call: Call) -> None:
    fast = lower(call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition.Change, "__eq__", lambda self, other: False)
        stepped = lower(call)
    assert trace(fast, call) == trace(stepped, call)


@settings(max_examples=20, deadline=None)
@given(
    layers(),
    st.sampled_from(
        [(4, 1, "plain"), (8, 1, "u2"), (4, 1, "pipelined"), (1, 2, "plain"), (8, 4, "plain")]
    ),
)
def test_sparse_products_of_any_layer(layer: Layer, kernel: tuple[int, int, str]) -> None:
    mr, nr, form = kernel
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=mr, nr=nr, form=form)
    check_fast_forward(call)


def test_dense_layers() -> None:
    layer = make_layer(19, 11, 13, 1.0, seed=1)
    check_fast_forward(gemm_call(AARCH64, layer.weights, layer.bias, layer.x.T, mr=4))
    x, weights = np.ones((4, 8, 22)), np.ones((4, 3, 3))
    for stride in (1, 2):
        check_fast_forward(depthwise_call(weights, np.ones(4), x, stride=stride))
    image = np.ones((7, 17, 3))
    check_fast_forward(first_conv_call(np.ones((14, 3, 3, 3)), np.ones(14), image))
    check_fast_forward(global_pool_call(np.ones((19, 33))))
    image = np.ones((5, 7, 3))
    check_fast_forward(igemm_call(AARCH64, np.ones((19, 3, 3, 3)), np.ones(19), image, mr=4))
    image = np.ones((4, 5, 10))
    check_fast_forward(depthwise_rows_call(np.ones((10, 5, 5)), np.ones(10), image, stride=2))


def test_a_large_layer_is_a_short_program() -> None:
    layer = make_layer(64, 32, 640, 0.1, seed=1)
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=32, form="pipelined")
    bound = lower(call)
    assert len(bound.kernel.rows) < 300
    # Per nonzero and whole strip 8 multiply-adds of 4 lanes: all pixels are in whole strips.
    fma = isa.OPCODES.index("fma_q")
    inner = bound.kernel.rows[bound.kernel.rows["opcode"] == fma]
    assert int(inner["macs"].sum()) % 32 == 0
    counts = bound.kernel.dynamic_counts(bound.streams)
    macs = int((counts * bound.kernel.rows["macs"]).sum())
    assert macs == int((layer.weights != 0).sum()) * 640


def test_pointers_start_in_the_arrays_of_the_call() -> None:
    layer = make_layer(4, 6, 9, 0.5, seed=2)
    layer.weights[0] = [0, 0, 1, 1, 0, 1]
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=4)
    bound = lower(call)
    assert bound.starts["input.x2"] == ("input", 2 * 4 * 9)  # the first nonzero's channel
    assert {name for name, _ in bound.starts.values()} <= {*call.arrays, "stack"}
    assert set(bound.streams) == {"nnzmap", "dmap"}
