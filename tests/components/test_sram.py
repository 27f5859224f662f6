"""A bank serves one access per port and cycle; the others wait, in order, and are counted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import gcd, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hwsim.components import sram_kernels as kernels
from hwsim.components.sram import KINDS, SramRun, SramSpec, bank_of, play_requests, sram_state
from hwsim.core.errors import InputError

READ, WRITE, ATOMIC = range(len(KINDS))


def vectors(
    spec: SramSpec, stride: int, count: int = 20, base: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``count`` vectors of one word per port, ``stride`` words apart, all there at 0."""
    element = np.arange(count * spec.ports)
    return element * 0, element % spec.ports, (base + element * stride) * spec.word_bytes


def makespan(spec: SramSpec, stride: int, count: int = 20, base: int = 0) -> int:
    """Return the cycle after the last grant."""
    run = play_requests(spec, *vectors(spec, stride, count, base))
    return int(run.grant_cycles.max()) + 1


@pytest.mark.parametrize("banks", [4, 8, 12, 13])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6, 8, 12, 24, 26])
def test_stride_s_over_b_banks_has_throughput_b_over_gcd(banks: int, stride: int) -> None:
    spec = SramSpec(banks=banks, ports=banks)
    per_cycle = banks // gcd(stride, banks)
    assert makespan(spec, stride) == 20 * banks // per_cycle


@pytest.mark.parametrize("shift", range(12))
@pytest.mark.parametrize("vectors_before", [0, 5])
def test_xor_removes_the_conflicts_of_power_of_two_strides(shift: int, vectors_before: int) -> None:
    """Of an aligned vector the bits shift .. shift + 2 differ, each in a bit of its own."""
    stride = 1 << shift
    base = vectors_before * 8 * stride
    hashed = SramSpec(banks=8, ports=8, bank_selection="xor")
    assert makespan(hashed, stride, base=base) == 20
    plain = SramSpec(banks=8, ports=8)
    assert makespan(plain, stride, base=base) == 20 * min(stride, 8)


def test_xor_has_bad_strides_too() -> None:
    """Stride B + 1 repeats each digit in the next one: they cancel for the first B words."""
    spec = SramSpec(banks=8, ports=8, bank_selection="xor")
    assert [bank_of(spec, 9 * i * 8) for i in range(8)] == [0] * 8
    assert makespan(spec, 9, count=1) == 8
    assert makespan(SramSpec(banks=8, ports=8), 9, count=1) == 1


def test_bank_is_the_low_digit_or_the_xor_of_all_digits() -> None:
    word = 0o7654321
    plain, hashed = (
        SramSpec(banks=8, bank_selection=selection, word_bytes=4)
        for selection in ("interleave", "xor")
    )
    assert bank_of(plain, word * 4 + 3) == 1
    assert bank_of(hashed, word * 4 + 3) == 7 ^ 6 ^ 5 ^ 4 ^ 3 ^ 2 ^ 1
    assert bank_of(SramSpec(banks=1, bank_selection="xor"), word * 8) == 0


def first_cycle_conflicts(rng: np.random.Generator, banks: int, ports: int, rounds: int) -> float:
    """Return the mean number of ports that a round of random requests leaves waiting."""
    spec = SramSpec(banks=banks, ports=ports)
    port = np.tile(np.arange(ports), rounds)
    cycle = np.repeat(np.arange(rounds) * (ports + 1), ports)  # each round finds all banks free
    run = play_requests(spec, cycle, port, rng.integers(0, 1 << 20, len(port)) * 8)
    assert (run.grant_cycles - cycle).max() < ports
    return int(run.port_delayed.sum()) / rounds


def occupancy(banks: int, balls: int) -> tuple[float, float]:
    """Return mean and variance of the number of occupied bins (balls into bins)."""
    one, two = (1 - 1 / banks) ** balls, (1 - 2 / banks) ** balls
    mean = banks * (1 - one)
    return mean, banks * (banks - 1) * two + banks * one - (banks * one) ** 2


@pytest.mark.parametrize(("banks", "ports"), [(16, 16), (32, 16), (8, 24)])
def test_random_requests_collide_as_balls_in_bins(banks: int, ports: int) -> None:
    rounds = 4000
    mean, variance = occupancy(banks, ports)
    found = first_cycle_conflicts(np.random.default_rng(7), banks, ports, rounds)
    assert abs(found - (ports - mean)) < 5 * sqrt(variance / rounds)


def test_the_bound_on_random_conflicts_refutes_one_bank_more() -> None:
    rounds = 4000
    mean, variance = occupancy(17, 16)
    found = first_cycle_conflicts(np.random.default_rng(7), 16, 16, rounds)
    assert abs(found - (16 - mean)) > 5 * sqrt(variance / rounds)


@pytest.mark.parametrize("policy", ["round_robin", "oldest"])
def test_a_round_takes_as_long_as_its_fullest_bank_over_all_assignments(policy: str) -> None:
    """Every one of the 3^4 ways in which four ports meet three banks, against counting."""
    spec = SramSpec(banks=3, ports=4, policy=policy)
    rounds = np.array(list(product(range(3), repeat=4)))
    cycle = np.repeat(np.arange(len(rounds)) * 10, 4)
    run = play_requests(spec, cycle, np.tile(np.arange(4), len(rounds)), rounds.ravel() * 8)
    last = (run.grant_cycles - cycle).reshape(-1, 4).max(axis=1)
    load = np.array([np.bincount(chosen, minlength=3) for chosen in rounds])
    assert last.tolist() == (load.max(axis=1) - 1).tolist()
    waits = (load * (load - 1) // 2).sum()  # a bank's k requests wait 0, 1, ... k - 1 cycles
    assert run.port_conflict_cycles.sum() == waits
    assert run.port_delayed.sum() == (load - 1).clip(0).sum()
    assert run.bank_conflict_cycles.tolist() == (load - 1).clip(0).sum(axis=0).tolist()


def replay(spec: SramSpec, trace: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Serve a trace by the contract, each bank looking at all ports in each cycle."""
    interval = [spec.read_interval_cycles, spec.write_interval_cycles, spec.atomic_interval_cycles]
    latency = [spec.read_latency_cycles, spec.write_latency_cycles, spec.atomic_latency_cycles]
    queues = {port: [i for i, r in enumerate(trace) if r[1] == port] for port in range(spec.ports)}
    since = dict.fromkeys(range(len(trace)), -1)
    free = {(bank, slot): 0 for bank in range(spec.banks) for slot in range(spec.bank_ports)}
    last = dict.fromkeys(range(spec.banks), -1)
    served: dict[int, tuple[int, int]] = {}
    t = 0
    while any(queues.values()):
        heads = {p: queue[0] for p, queue in queues.items() if queue and trace[queue[0]][0] <= t}
        for head in heads.values():
            since[head] = t if since[head] < 0 else since[head]
        for bank, slot in free:
            here = [p for p, head in heads.items() if bank_of(spec, trace[head][2]) == bank]
            if not here or free[bank, slot] > t:
                continue
            if spec.policy == "oldest":
                port = min(here, key=lambda p: (since[heads[p]], p))
            else:
                port = min(here, key=lambda p: (p - last[bank] - 1) % spec.ports)
            head = heads.pop(port)
            queues[port].pop(0)
            last[bank] = port
            kind = trace[head][3]
            free[bank, slot] = t + interval[kind]
            served[head] = (t, t + latency[kind])
        t += 1
    return [served[i] for i in range(len(trace))]


requests = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 200), st.integers(0, 2)),
    max_size=40,
)
specs = st.builds(
    SramSpec,
    banks=st.sampled_from([1, 2, 4]),
    ports=st.just(4),
    bank_ports=st.integers(1, 2),
    word_bytes=st.sampled_from([4, 8]),
    bank_selection=st.sampled_from(["interleave", "xor"]),
    policy=st.sampled_from(["round_robin", "oldest"]),
    read_latency_cycles=st.integers(1, 4),
    write_latency_cycles=st.integers(1, 2),
    atomic_latency_cycles=st.integers(1, 6),
    write_interval_cycles=st.integers(1, 2),
    atomic_interval_cycles=st.integers(1, 3),
)


def play(spec: SramSpec, trace: list[tuple[int, int, int, int]]) -> SramRun:
    columns = np.array(trace, np.int64).reshape(-1, 4).T
    return play_requests(spec, *columns)


@given(spec=specs, trace=requests.map(sorted))
@settings(max_examples=120, deadline=None)
def test_any_trace_is_served_by_the_contract(
    spec: SramSpec, trace: list[tuple[int, int, int, int]]
) -> None:
    run = play(spec, trace)
    expected = replay(spec, trace)
    assert list(zip(run.grant_cycles.tolist(), run.done_cycles.tolist(), strict=True)) == expected
    assert run.bank_accesses.sum() == len(trace)
    assert run.cycles == max((done for _, done in expected), default=0)


def test_the_contract_check_sees_another_policy() -> None:
    """After port 2 the rotation goes on at port 3; age serves equals from the lowest index on."""
    trace = [(0, 2, 0, READ), (1, 1, 0, READ), (1, 3, 0, READ)]
    by_age, rotating = (
        SramSpec(banks=1, ports=4, policy=policy) for policy in ("oldest", "round_robin")
    )
    assert replay(by_age, trace) == [(0, 1), (1, 2), (2, 3)]
    assert replay(rotating, trace) == [(0, 1), (2, 3), (1, 2)]
    assert play(by_age, trace).grant_cycles.tolist() == [0, 1, 2]
    assert play(rotating, trace).grant_cycles.tolist() == [0, 2, 1]


def test_age_serves_who_has_asked_longest() -> None:
    """Port 1 comes back in cycle 1, with a lower index than ports 2 and 3 that wait since 0."""
    trace = [(0, 1, 0, READ), (0, 2, 0, READ), (0, 3, 0, READ), (1, 1, 0, READ)]
    spec = SramSpec(banks=1, ports=4, policy="oldest")
    assert play(spec, trace).grant_cycles.tolist() == [0, 1, 2, 3]


def test_data_is_ready_after_the_latency_of_its_kind() -> None:
    spec = SramSpec(read_latency_cycles=3, write_latency_cycles=1, atomic_latency_cycles=10)
    run = play(spec, [(5, 0, 0, READ), (6, 0, 0, WRITE), (7, 0, 0, ATOMIC)])
    assert run.grant_cycles.tolist() == [5, 6, 7]
    assert run.done_cycles.tolist() == [8, 7, 17]


@pytest.mark.parametrize("interval", [1, 2, 5])
def test_atomics_on_one_bank_start_an_interval_apart(interval: int) -> None:
    spec = SramSpec(banks=4, ports=4, atomic_interval_cycles=interval)
    run = play(spec, [(0, port, 0, ATOMIC) for port in range(4)])
    assert run.grant_cycles.tolist() == [0, interval, 2 * interval, 3 * interval]


def test_two_bank_ports_double_the_throughput_of_one_bank() -> None:
    spec = SramSpec(banks=8, ports=8, bank_ports=2)
    assert makespan(spec, 8) == 20 * 8 // 2


def test_a_port_issues_once_per_cycle_even_to_different_banks() -> None:
    run = play(SramSpec(banks=4, ports=4), [(0, 0, 8 * i, READ) for i in range(4)])
    assert run.grant_cycles.tolist() == [0, 1, 2, 3]
    assert run.port_conflict_cycles.sum() == 0


def test_a_blocked_request_blocks_its_port_only() -> None:
    trace = [(0, 0, 0, READ), (0, 1, 0, READ), (0, 1, 8, READ), (0, 2, 16, READ)]
    assert play(SramSpec(banks=4, ports=4), trace).grant_cycles.tolist() == [0, 1, 2, 0]


def test_interpreted_kernels_agree_with_compiled_ones(interpret: Callable[..., None]) -> None:
    rng = np.random.default_rng(3)
    spec = SramSpec(banks=4, ports=4, bank_ports=2, bank_selection="xor", policy="oldest")
    cycle = np.sort(rng.integers(0, 40, 200))
    columns = (rng.integers(0, 4, 200), rng.integers(0, 999, 200), rng.integers(0, 3, 200))
    compiled = play_requests(spec, cycle, *columns)
    interpret(kernels)
    plain = play_requests(spec, cycle, *columns)
    for name, values in vars(plain).items():
        assert np.array_equal(values, getattr(compiled, name)), name


def test_stepping_gives_the_grants_of_playing(interpret: Callable[..., None]) -> None:
    """A machine that presents requests itself sees what :func:`play_requests` reports."""
    spec = SramSpec(banks=2, ports=4)
    run = play(spec, [(0, port, 16 * port, READ) for port in range(4)])
    interpret(kernels)
    state = sram_state(spec)
    for port in range(4):
        kernels.sram_present(state, port, 16 * port, READ, 0)
    assert [kernels.sram_cycle(state, t) for t in range(4)] == [3, 2, 1, 0]
    assert state.ports[:, kernels.GRANT_CYCLE].tolist() == run.grant_cycles.tolist()


def test_what_cannot_be_served_is_refused() -> None:
    spec = SramSpec(banks=4, ports=2)
    with pytest.raises(InputError, match="sram.ports: need values from 0 below 2, found 2"):
        play(spec, [(0, 2, 0, READ)])
    with pytest.raises(InputError, match="sram.kinds: need values from 0 below 3, found 3"):
        play(spec, [(0, 1, 0, 3)])
    with pytest.raises(InputError, match="sram.addresses: need values from 0, found -8"):
        play(spec, [(0, 1, -8, READ)])
    with pytest.raises(InputError, match="do not decrease on a port"):
        play(spec, [(1, 0, 0, READ), (0, 0, 0, READ)])
    with pytest.raises(InputError, match="columns of one length"):
        play_requests(spec, np.zeros(2), np.zeros(1), np.zeros(2))
    with pytest.raises(ValidationError, match="banks: need a power of two for xor, found 12"):
        SramSpec(banks=12, bank_selection="xor")


def test_an_empty_trace_takes_no_time() -> None:
    assert play(SramSpec(), []).cycles == 0
