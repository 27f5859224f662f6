"""The memory serves at exactly its rate, in order, and never early or late by a cycle."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram import simple as dram
from hwsim.components.dram.simple import FixedRateMemory, MemoryParameters, Request
from hwsim.components.jit import interpreted, njit_entry
from hwsim.core.errors import InputError

rates = st.tuples(st.integers(1, 999_983), st.integers(1, 997))


def cycles_of(memory: FixedRateMemory, until: int) -> list[int]:
    return [done.cycle for done in memory.advance(until)]


def test_request_completes_after_data_phase_and_latency() -> None:
    memory = FixedRateMemory(MemoryParameters(num=16, den=1, latency_cycles=40))
    memory.submit(Request(0, 7, 100), 5)
    expected = 5 + ceil(100 / 16) + 40
    assert memory.next_time() == expected
    assert memory.advance(expected - 1) == []
    assert memory.advance(expected) == [dram.Completion(0, 7, expected)]
    assert memory.next_time() is None


def test_ideal_memory_completes_in_the_cycle_of_submission() -> None:
    memory = FixedRateMemory(MemoryParameters(latency_cycles=9, is_ideal=True))
    memory.submit(Request(3, 1, 1 << 20), 12)
    assert memory.advance(11) == []
    assert memory.advance(12) == [dram.Completion(3, 1, 12)]


def test_back_to_back_requests_share_one_server_without_rounding_up_each() -> None:
    memory = FixedRateMemory(MemoryParameters(num=3, den=2))
    for tag in range(3):
        memory.submit(Request(tag, tag, 1), 0)
    assert cycles_of(memory, 100) == [ceil(Fraction(2, 3) * n) for n in (1, 2, 3)]


def test_server_is_free_at_once_after_an_idle_gap() -> None:
    memory = FixedRateMemory(MemoryParameters(num=2, den=1))
    memory.submit(Request(0, 0, 3), 0)  # ends at 1.5
    memory.submit(Request(0, 1, 2), 1)  # from 1.5 to 2.5
    memory.submit(Request(0, 2, 2), 3)  # idle since 2.5: from 3 to 4
    assert cycles_of(memory, 100) == [2, 3, 4]


@given(
    rate=rates,
    sizes=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=40),
    latency=st.integers(0, 50),
)
@settings(max_examples=50, deadline=None)
def test_saturated_memory_moves_bytes_at_exactly_its_rate(
    rate: tuple[int, int], sizes: list[int], latency: int
) -> None:
    memory = FixedRateMemory(MemoryParameters(*rate, latency_cycles=latency))
    for tag, size in enumerate(sizes):
        memory.submit(Request(0, tag, size), 0)
    sums = np.cumsum(sizes).tolist()
    expected = [ceil(Fraction(total * rate[1], rate[0])) + latency for total in sums]
    assert cycles_of(memory, 1 << 62) == expected


@given(
    rate=rates,
    requests=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5000)), max_size=30),
)
@settings(max_examples=50, deadline=None)
def test_any_arrivals_match_exact_fractions(
    rate: tuple[int, int], requests: list[tuple[int, int]]
) -> None:
    memory = FixedRateMemory(MemoryParameters(*rate))
    t, free = 0, Fraction(0)
    expected = []
    for gap, size in requests:
        t += gap
        memory.submit(Request(0, 0, size), t)
        free = max(free, Fraction(t)) + Fraction(size * rate[1], rate[0])
        expected.append(ceil(free))
    assert cycles_of(memory, 1 << 62) == expected


def test_data_cycles_count_shared_cycles_once_and_not_the_latency() -> None:
    memory = FixedRateMemory(MemoryParameters(num=2, den=1, latency_cycles=10))
    memory.submit(Request(0, 0, 3), 0)  # data in cycles 0, 1
    memory.submit(Request(0, 1, 3), 0)  # data in cycles 1, 2
    memory.submit(Request(1, 2, 2), 0)  # data in cycle 3
    assert memory.data_cycles(0, 0, 100) == 3
    assert memory.data_cycles(1, 0, 100) == 1
    assert [memory.data_cycles(0, t, t + 1) for t in range(4)] == [1, 1, 1, 0]


@njit_entry
def submit(memory: np.ndarray, requester: int, tag: int, size_bytes: int, t: int) -> None:
    dram.memory_submit(memory, requester, tag, size_bytes, t)


@njit_entry
def pop(memory: np.ndarray, until: int) -> int:
    return dram.memory_pop(memory, until)


@njit_entry
def data_cycles(memory: np.ndarray, requester: int, since: int, until: int) -> int:
    return dram.memory_data_cycles(memory, requester, since, until)


def test_snapshot_is_the_same_at_another_time_and_differs_by_the_fraction() -> None:
    write = interpreted(dram.memory_snapshot)

    def snapshot(sizes: list[int], t: int) -> list[int]:
        memory = dram.memory_state(MemoryParameters(num=7, den=3, latency_cycles=5), 4)
        for size in sizes:
            interpreted(dram.memory_submit)(memory, 0, 0, size, t)
        table = np.zeros((2, 30), np.int64)
        return table[1, : write(memory, t + 1, table, 1, 0)].tolist()

    assert snapshot([10, 20], 0) == snapshot([10, 20], 1000)
    assert snapshot([10, 20], 0) != snapshot([10, 21], 0)


def test_shift_moves_completions() -> None:
    memory = dram.memory_state(MemoryParameters(num=4, den=1, latency_cycles=3), 2)
    interpreted(dram.memory_submit)(memory, 0, 0, 8, 0)
    interpreted(dram.memory_shift)(memory, 100)
    assert interpreted(dram.memory_next_time)(memory) == 100 + 2 + 3


def test_interpreted_kernels_agree_with_compiled_ones() -> None:
    compiled = dram.memory_state(MemoryParameters(num=7, den=3, latency_cycles=5), 4)
    plain = compiled.copy()
    for tag, (size, t) in enumerate(((10, 0), (1, 2), (99, 50))):
        submit(compiled, tag % 2, tag, size, t)
        interpreted(dram.memory_submit)(plain, tag % 2, tag, size, t)
    assert compiled.tolist() == plain.tolist()
    for since in (0, 3, 60):
        moved = data_cycles(compiled, 0, since, 70)
        assert moved == interpreted(dram.memory_data_cycles)(plain, 0, since, 70)
    for t in (0, 40, 1000):
        assert pop(compiled, t) == interpreted(dram.memory_pop)(plain, t)
    assert compiled.tolist() == plain.tolist()


def test_full_memory_and_empty_request_are_refused() -> None:
    memory = FixedRateMemory(MemoryParameters(), capacity=1)
    with pytest.raises(InputError, match="request.size_bytes: need at least 1, found 0"):
        memory.submit(Request(0, 0, 0), 0)
    memory.submit(Request(0, 0, 1), 0)
    with pytest.raises(InputError, match="memory.capacity"):
        memory.submit(Request(0, 0, 1), 0)


def test_rate_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="memory.num: need an integer from 1"):
        MemoryParameters(num=0)


def test_rate_is_taken_exactly_from_a_fraction() -> None:
    assert MemoryParameters.from_rate(Fraction(544, 5), 40) == MemoryParameters(544, 5, 40)
