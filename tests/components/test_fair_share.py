"""Rates are max-min fair: feasible, and every flow has a bottleneck."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from hwsim.components import fair_share
from hwsim.components.fair_share import max_min_rates
from hwsim.components.jit import interpreted
from hwsim.core.errors import InputError

LINKS = 5
flow_lists = st.lists(
    st.lists(st.integers(0, LINKS - 1), min_size=1, max_size=4), min_size=1, max_size=8
)
capacity_lists = st.lists(st.integers(0, 40), min_size=LINKS, max_size=LINKS)


def has_bottleneck(flows: list[list[int]], capacities: list[int], rates: np.ndarray) -> bool:
    """Return whether ``rates`` satisfy the definition: feasible, a bottleneck for every flow."""
    load = np.zeros(len(capacities))
    for flow, rate in zip(flows, rates, strict=True):
        for link in flow:
            load[link] += rate
    is_full = np.isclose(load, capacities, atol=1e-9)
    greatest = [
        max((r for f, r in zip(flows, rates, strict=True) if link in f), default=0.0)
        for link in range(len(capacities))
    ]
    return bool((load <= np.array(capacities) + 1e-9).all()) and all(
        any(is_full[link] and rate >= greatest[link] - 1e-9 for link in flow)
        for flow, rate in zip(flows, rates, strict=True)
    )


def rates_by_programs(flows: list[list[int]], capacities: list[int]) -> list[float]:
    """Raise the least rate by linear programs, fixing those that cannot be above it."""
    use = np.zeros((len(capacities), len(flows)))
    for index, flow in enumerate(flows):
        for link in flow:
            use[link, index] += 1
    fixed: dict[int, float] = {}
    while len(fixed) < len(flows):
        free = [i for i in range(len(flows)) if i not in fixed]
        level = _raise_least(use, capacities, fixed, free)
        above = {i: _raise_one(use, capacities, fixed, free, level, i) for i in free}
        fixed |= {i: level for i in free if above[i] <= level + 1e-7}
    return [fixed[i] for i in range(len(flows))]


def _raise_least(use, capacities, fixed, free) -> float:
    """Return the greatest level that all free flows can have."""
    room = np.array(capacities) - sum(use[:, i] * r for i, r in fixed.items())
    demand = use[:, free].sum(axis=1, keepdims=True)
    return float(-linprog([-1], A_ub=demand, b_ub=room + 1e-12).fun)


def _raise_one(use, capacities, fixed, free, level, flow) -> float:
    """Return the greatest rate of ``flow`` if no other free flow may fall below ``level``."""
    room = np.array(capacities) - sum(use[:, i] * r for i, r in fixed.items())
    goal = [-1.0 if i == flow else 0.0 for i in free]
    bounds = [(max(level - 1e-9, 0), None)] * len(free)
    return float(-linprog(goal, A_ub=use[:, free], b_ub=room + 1e-9, bounds=bounds).fun)


@given(flows=flow_lists, capacities=capacity_lists)
@settings(max_examples=150, deadline=None)
def test_every_flow_has_a_bottleneck(flows: list[list[int]], capacities: list[int]) -> None:
    assert has_bottleneck(flows, capacities, max_min_rates(flows, capacities))


@given(flows=flow_lists, capacities=st.lists(st.integers(1, 9), min_size=LINKS, max_size=LINKS))
@settings(max_examples=25, deadline=None)
def test_rates_are_those_of_successive_linear_programs(
    flows: list[list[int]], capacities: list[int]
) -> None:
    expected = rates_by_programs(flows, capacities)
    assert max_min_rates(flows, capacities) == pytest.approx(expected, abs=1e-5)


def test_the_definition_refutes_equal_and_greedy_shares() -> None:
    flows, capacities = [[0], [0, 1], [1]], [10, 4]
    assert has_bottleneck(flows, capacities, np.array([8.0, 2.0, 2.0]))
    assert max_min_rates(flows, capacities).tolist() == [8.0, 2.0, 2.0]
    assert not has_bottleneck(flows, capacities, np.array([2.0, 2.0, 2.0]))
    assert not has_bottleneck(flows, capacities, np.array([10.0, 0.0, 4.0]))
    assert not has_bottleneck(flows, capacities, np.array([8.0, 2.0, 3.0]))


def test_parking_lot_shares_each_link_with_the_long_flow() -> None:
    """One flow over all n links and one per link: everybody gets half."""
    flows = [list(range(6)), *([link] for link in range(6))]
    assert max_min_rates(flows, [Fraction(3)] * 6).tolist() == [1.5] * 7


def test_a_link_named_twice_is_used_twice() -> None:
    assert max_min_rates([[0, 0], [0]], [9]).tolist() == [3.0, 3.0]


def test_a_flow_without_links_is_not_limited_and_a_dead_link_stops_its_flows() -> None:
    assert max_min_rates([[], [0], [1]], [0, 7]).tolist() == [np.inf, 0.0, 7.0]
    assert max_min_rates([], [1.0]).tolist() == []


def test_interpreted_kernel_agrees_with_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    links, first = rng.integers(0, 7, 60), np.arange(0, 61, 3)
    results = []
    for is_compiled in (True, False):
        if not is_compiled:
            for name in ("find_bottleneck", "fill_progressively"):
                monkeypatch.setattr(fair_share, name, interpreted(getattr(fair_share, name)))
        room, rates = np.arange(1.0, 8.0), np.zeros(20)
        fair_share.fill_progressively(first, links, room, np.zeros(7, np.int64), rates)
        results.append((room.tolist(), rates.tolist()))
    assert results[0] == results[1]


def test_unknown_links_and_bad_capacities_are_refused() -> None:
    with pytest.raises(InputError, match="flows: need links from 0 below 2, found 2"):
        max_min_rates([[0, 2]], [1, 1])
    with pytest.raises(InputError, match=r"capacities\[1\]: need a finite number >= 0, found -1"):
        max_min_rates([[0]], [1, -1])
    with pytest.raises(InputError, match="found nan"):
        max_min_rates([[0]], [float("nan")])
