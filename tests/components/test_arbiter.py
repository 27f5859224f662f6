"""Arbiters grant one requester that asks, in the order they promise, and starve nobody."""

from __future__ import annotations

from collections import deque
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components import arbiter
from hwsim.components.arbiter import NOBODY, matrix_state
from hwsim.components.jit import interpreted, njit_entry

round_robin = interpreted(arbiter.grant_round_robin)
oldest = interpreted(arbiter.grant_oldest)
matrix = interpreted(arbiter.grant_matrix)
update = interpreted(arbiter.update_matrix)

patterns = st.lists(
    st.lists(st.booleans(), min_size=5, max_size=5).filter(any), min_size=1, max_size=60
)


@njit_entry
def compiled_round_robin(requests: np.ndarray, last: int) -> int:
    return arbiter.grant_round_robin(requests, last)


@njit_entry
def compiled_oldest(requests: np.ndarray, arrival: np.ndarray) -> int:
    return arbiter.grant_oldest(requests, arrival)


@njit_entry
def compiled_matrix(requests: np.ndarray, priority: np.ndarray) -> int:
    granted = arbiter.grant_matrix(requests, priority)
    if granted >= 0:
        arbiter.update_matrix(priority, granted)
    return granted


@njit_entry
def compiled_rank(requester: int, last: int, n: int) -> int:
    return arbiter.rotating_rank(requester, last, n)


def ask(*requesters: int, n: int = 5) -> np.ndarray:
    requests = np.zeros(n, np.int64)
    requests[list(requesters)] = 1
    return requests


class RoundRobin:
    """A round-robin arbiter with its state."""

    def __init__(self) -> None:
        self.last = -1

    def grant(self, requests: np.ndarray) -> int:
        self.last = round_robin(requests, self.last)
        return int(self.last)


class Matrix:
    """A matrix arbiter with its state."""

    def __init__(self, n: int = 5) -> None:
        self.priority = matrix_state(n)

    def grant(self, requests: np.ndarray) -> int:
        granted = int(matrix(requests, self.priority))
        update(self.priority, granted)
        return granted


class FixedPriority:
    """What fairness excludes: the lowest index always wins."""

    def grant(self, requests: np.ndarray) -> int:
        return int(requests.argmax())


def longest_wait(arbiter_: RoundRobin | Matrix | FixedPriority, rounds: list[list[bool]]) -> int:
    """Return the most grants to others that anybody saw while asking all the time."""
    waited = np.zeros(len(rounds[0]), np.int64)
    longest = 0
    for asking in rounds:
        requests = np.array(asking, np.int64)
        granted = arbiter_.grant(requests)
        assert requests[granted], "granted somebody who did not ask"
        waited = np.where(requests != 0, waited + 1, 0)
        waited[granted] = 0
        longest = max(longest, int(waited.max()))
    return longest


def test_nobody_is_granted_if_nobody_asks() -> None:
    assert round_robin(ask(), 2) == oldest(ask(), ask()) == matrix(ask(), matrix_state(5)) == NOBODY


def test_round_robin_grants_the_next_requester_in_cyclic_order() -> None:
    for requests, last in product(product((0, 1), repeat=4), range(-1, 4)):
        order = [(last + 1 + step) % 4 for step in range(4)]
        expected = next((r for r in order if requests[r]), -1)
        assert round_robin(np.array(requests, np.int64), last) == expected


def test_rank_is_the_place_in_cyclic_order_after_the_last_grant() -> None:
    rank = interpreted(arbiter.rotating_rank)
    for last in range(-1, 7):
        order = [(last + 1 + step) % 7 for step in range(7)]
        assert [rank(r, last, 7) for r in order] == list(range(7))
        assert [compiled_rank(r, last, 7) for r in order] == list(range(7))


@given(rounds=patterns)
@settings(max_examples=60, deadline=None)
def test_a_requester_waits_for_at_most_n_minus_1_grants(rounds: list[list[bool]]) -> None:
    assert longest_wait(RoundRobin(), rounds) <= 4
    assert longest_wait(Matrix(), rounds) <= 4


def test_the_bound_of_n_minus_1_grants_is_reached() -> None:
    everybody = [[True] * 5] * 5
    assert longest_wait(RoundRobin(), everybody) == 4
    assert longest_wait(Matrix(), everybody) == 4


def test_fixed_priority_breaks_the_bound() -> None:
    assert longest_wait(FixedPriority(), [[True] * 5] * 9) == 9


@pytest.mark.parametrize("make", [RoundRobin, Matrix])
def test_constant_requesters_get_equal_shares(make: type[RoundRobin] | type[Matrix]) -> None:
    chosen = make()
    grants = [chosen.grant(ask(0, 2, 3)) for _ in range(30)]
    assert np.bincount(grants, minlength=5).tolist() == [10, 0, 10, 10, 0]


@given(rounds=patterns)
@settings(max_examples=60, deadline=None)
def test_matrix_grants_the_least_recently_granted(rounds: list[list[bool]]) -> None:
    chosen, recency = Matrix(), deque(range(5))
    for asking in rounds:
        expected = next(r for r in recency if asking[r])
        assert chosen.grant(np.array(asking, np.int64)) == expected
        recency.remove(expected)
        recency.append(expected)


def test_round_robin_and_matrix_differ_after_a_gap() -> None:
    """Both granted 0, then 4; the rotation goes on at 0, the matrix prefers who never had one."""
    rotating, least_recent = RoundRobin(), Matrix()
    for chosen in (rotating, least_recent):
        assert [chosen.grant(ask(0)), chosen.grant(ask(4))] == [0, 4]
    assert rotating.grant(ask(0, 3)) == 0
    assert least_recent.grant(ask(0, 3)) == 3


@given(
    asking=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
    arrival=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_age_grants_strictly_the_oldest(asking: list[bool], arrival: list[int]) -> None:
    granted = int(oldest(np.array(asking, np.int64), np.array(arrival, np.int64)))
    assert granted == min((age, r) for r, age in enumerate(arrival) if asking[r])[1]


def test_age_serves_a_backlog_in_order_of_arrival() -> None:
    """Every requester is re-armed at once with a new arrival; nobody is overtaken."""
    arrival = np.array([4, 2, 0, 3, 1], np.int64)
    served, now = [], 5
    for _ in range(20):
        granted = oldest(ask(0, 1, 2, 3, 4), arrival)
        served.append(int(arrival[granted]))
        arrival[granted] = now
        now += 1
    assert served == list(range(20))


def test_interpreted_arbiters_agree_with_compiled_ones() -> None:
    rng = np.random.default_rng(1)
    plain, compiled, last = matrix_state(6), matrix_state(6), -1
    for _ in range(200):
        requests = (rng.random(6) < 0.4).astype(np.int64)
        arrival = rng.integers(0, 4, 6)
        granted = round_robin(requests, last)
        assert compiled_round_robin(requests, last) == granted
        last = granted if granted >= 0 else last
        assert compiled_oldest(requests, arrival) == oldest(requests, arrival)
        winner = matrix(requests, plain)
        if winner >= 0:
            update(plain, winner)
        assert compiled_matrix(requests, compiled) == winner
        assert compiled.tolist() == plain.tolist()


def test_views_of_a_larger_array_can_be_arbitrated() -> None:
    requests = np.zeros((3, 4), np.int64)
    requests[1, 2] = 1
    assert [compiled_round_robin(row, -1) for row in requests] == [-1, 2, -1]
