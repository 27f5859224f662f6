"""Priorities grant one requester that asks, in the order they promise, and starve nobody."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components import arbiter
from hwsim.components.arbiter import OLDEST, POLICIES, ROUND_ROBIN
from hwsim.components.jit import interpreted, njit_entry

interpreted_priority = interpreted(arbiter.priority_of)
Asking = list[bool]
Grant = Callable[[Asking], int]

patterns = st.lists(
    st.lists(st.booleans(), min_size=5, max_size=5).filter(any), min_size=1, max_size=60
)


@njit_entry
def priority(policy: int, requester: int, n: int, last: int, arrival: int) -> int:
    return arbiter.priority_of(policy, requester, n, last, arrival)


def granted(policy: int, asking: Asking, last: int, arrival: list[int]) -> int:
    """Return who wins as the components choose: the least priority, then the lowest index."""
    n = len(asking)
    found = [(priority(policy, r, n, last, arrival[r]), r) for r in range(n) if asking[r]]
    return min(found)[1] if found else -1


class RoundRobin:
    """A round-robin arbiter with its state."""

    def __init__(self) -> None:
        self.last = -1

    def __call__(self, asking: Asking) -> int:
        self.last = granted(ROUND_ROBIN, asking, self.last, [0] * len(asking))
        return self.last


def fixed_priority(asking: Asking) -> int:
    """Grant what fairness excludes: the lowest index always wins."""
    return asking.index(True)


def longest_wait(grant: Grant, rounds: list[Asking]) -> int:
    """Return the most grants to others that anybody saw while asking all the time."""
    waited = np.zeros(len(rounds[0]), np.int64)
    longest = 0
    for asking in rounds:
        winner = grant(asking)
        assert asking[winner], "granted somebody who did not ask"
        waited = np.where(asking, waited + 1, 0)
        waited[winner] = 0
        longest = max(longest, int(waited.max()))
    return longest


def test_round_robin_grants_the_next_requester_in_cyclic_order() -> None:
    for asking, last in product(product((False, True), repeat=4), range(-1, 4)):
        order = [(last + 1 + step) % 4 for step in range(4)]
        expected = next((r for r in order if asking[r]), -1)
        assert granted(ROUND_ROBIN, list(asking), last, [3, 2, 1, 0]) == expected


def test_rank_is_the_place_in_cyclic_order_after_the_last_grant() -> None:
    for last in range(-1, 7):
        order = [(last + 1 + step) % 7 for step in range(7)]
        assert [interpreted_priority(0, r, 7, last, 99) for r in order] == list(range(7))
        assert [priority(ROUND_ROBIN, r, 7, last, 99) for r in order] == list(range(7))
        assert [priority(OLDEST, r, 7, last, 9 - r) for r in order] == [9 - r for r in order]


@given(rounds=patterns)
@settings(max_examples=60, deadline=None)
def test_a_requester_waits_for_at_most_n_minus_1_grants(rounds: list[Asking]) -> None:
    assert longest_wait(RoundRobin(), rounds) <= 4


def test_the_bound_of_n_minus_1_grants_is_reached_and_fixed_priority_breaks_it() -> None:
    assert longest_wait(RoundRobin(), [[True] * 5] * 5) == 4
    assert longest_wait(fixed_priority, [[True] * 5] * 9) == 9


def test_constant_requesters_get_equal_shares() -> None:
    chosen = RoundRobin()
    grants = [chosen([True, False, True, True, False]) for _ in range(30)]
    assert np.bincount(grants, minlength=5).tolist() == [10, 0, 10, 10, 0]


@given(
    asking=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
    arrival=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_age_grants_strictly_the_oldest(asking: Asking, arrival: list[int]) -> None:
    expected = min((age, r) for r, age in enumerate(arrival) if asking[r])[1]
    assert granted(OLDEST, asking, 2, arrival) == expected


def test_age_serves_a_backlog_in_order_of_arrival() -> None:
    """Every requester is re-armed at once with a new arrival; nobody is overtaken."""
    arrival = [4, 2, 0, 3, 1]
    served = []
    for now in range(5, 25):
        winner = granted(OLDEST, [True] * 5, -1, arrival)
        served.append(arrival[winner])
        arrival[winner] = now
    assert served == list(range(20))


@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_is_granted_if_nobody_asks(policy: str) -> None:
    assert granted(POLICIES[policy], [False] * 3, 1, [0, 1, 2]) == -1
