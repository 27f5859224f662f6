"""Check the closed forms of peer accelerators at hand-computed points."""

from __future__ import annotations

import pytest

from hwsim.experiments import spgemm_peers
from hwsim.experiments.spgemm_peers import gamma_ns, outerspace_ns

GIB_PER_NS = 128 * 2**30 / 1e9


def test_gamma_takes_the_longer_of_memory_and_mergers() -> None:
    assert gamma_ns(0, 3200) == 100.0
    assert gamma_ns(137_438_953_472, 0) == pytest.approx(1e9)
    assert gamma_ns(10**9, 32) == 10**9 / GIB_PER_NS


def test_outerspace_moves_partial_products_twice() -> None:
    one = outerspace_ns(1, 0, 0, 0)
    assert one * GIB_PER_NS == pytest.approx(24)
    assert outerspace_ns(0, 0, 0, 1) * GIB_PER_NS == pytest.approx(12)
    assert outerspace_ns(0, 1, 0, 0) * GIB_PER_NS == pytest.approx(8 + 2 * 12)
    assert outerspace_ns(0, 0, 1, 0) * GIB_PER_NS == pytest.approx(8 + 2 * 4)


def test_the_order_of_draws_and_the_bound_can_be_missed() -> None:
    names = list(spgemm_peers._UNIFORM_REPORTED)
    falling = {name: 4.0 - place for place, name in enumerate(names)}
    rising = {name: 4e9 + place for place, name in enumerate(names)}
    assert [c.passed for c in spgemm_peers._outerspace_order(falling)] == [True, True]
    assert [c.passed for c in spgemm_peers._outerspace_order(rising)] == [False, False]
