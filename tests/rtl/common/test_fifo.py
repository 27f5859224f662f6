"""Does the FIFO keep order and its cycle contract?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.fifo import fifo_case
from hwsim.core.machine import UnitTiming
from rtl.common.fifo import Fifo, FifoSpec, timing
from rtl.cosim.check import check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Vectors
from rtl.cosim.verilator import run_verilator


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    depth=st.integers(1, 9),
    words=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40),
    stall_share=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 1000),
)
def test_words_come_out_once_and_in_order(depth, words, stall_share, seed):
    spec = FifoSpec(depth=depth)
    vectors, schedule = fifo_case(spec, words, stall_share=stall_share, seed=seed)
    check(run_pysim(Fifo(spec), vectors), vectors, schedule)


def test_words_come_out_once_and_in_order_on_verilator():
    spec = FifoSpec(width_bits=40, depth=8)
    words = np.random.default_rng(2).integers(0, 1 << 40, 5000).tolist()
    drawn = [fifo_case(spec, words, stall_share=share, seed=2) for share in (0.0, 0.5)]
    played = run_verilator(Fifo(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)


@pytest.mark.parametrize("depth", [1, 2, 3, 16])
def test_timing_is_what_is_measured(depth):
    spec = FifoSpec(depth=depth)
    vectors, _ = fifo_case(spec, list(range(20)))
    observed = run_pysim(Fifo(spec), vectors)
    [latency] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    assert timing(spec) == UnitTiming(latency, interval)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_exactly_depth_words_are_accepted_while_nobody_reads(depth):
    words = list(range(2 * depth + 2))
    stall_cycles = 4 * depth + 8
    vectors = Vectors(
        {"i": words}, {"o": words}, sink_stalls={"o": np.ones(stall_cycles, dtype=np.bool_)}
    )
    observed = run_pysim(Fifo(FifoSpec(depth=depth)), vectors)
    check(observed, vectors)
    accepts = observed.accept_cycles["i"]
    assert accepts[:depth].tolist() == list(range(depth))
    # The first word leaves in cycle stall_cycles; a place is free in the cycle after.
    assert int(accepts[depth]) == stall_cycles + 1
