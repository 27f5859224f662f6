"""Check where deferred products go, against all placements where these can be counted."""

from __future__ import annotations

from itertools import product as combinations

import numpy as np
import pytest

from hwsim.core.mapping import Mapping
from mappers.deferral import Loads, deferrable, place_deferred
from mappers.relaxation import relaxed_cycles
from mappers.slots import Slot, list_slots
from mappers.work import Work


def work(position: int, cycles: int, *, is_product: bool, memory: int = 0) -> Work:
    mapping = Mapping(op=f"op{position}", dataflow="ws" if is_product else "vector")
    return Work(position, [mapping], is_product, cycles, memory, max(cycles, memory))


def chain(lengths: list[tuple[int, int, int]]) -> list[Work]:
    """Return a backward chain: per layer other work, BP and WU of given cycles."""
    works: list[Work] = []
    last = None
    for other, bp, wu in lengths:
        for cycles, is_product in ((other, False), (bp, True), (wu, True)):
            works.append(work(len(works), cycles, is_product=is_product, memory=cycles // 3))
        vector, input_gradient, weight_gradient = works[-3:]
        if last is not None:
            link(last, vector)
        link(vector, input_gradient)
        link(vector, weight_gradient)
        last = input_gradient
    tail = work(len(works), 1, is_product=True)
    link(last, tail)
    works.append(tail)
    for one in reversed(works):
        one.rank_cycles = one.cycles + max((w.rank_cycles for w in one.after), default=0)
    return works


def link(before: Work, after: Work) -> None:
    before.after.append(after)
    after.before.append(before)


def random_chain(seed: int, layers: int) -> list[Work]:
    rng = np.random.default_rng(seed)
    return chain([tuple(int(x) for x in rng.integers(1, 100, 3)) for _ in range(layers)])  # type: ignore[misc]


def problem(works: list[Work]) -> tuple[list[Slot], Loads, list[Work]]:
    products, trailing = deferrable(works)
    left_out = {*products, *trailing}
    backbone = list_slots([w for w in works if w not in left_out])
    return backbone, Loads(backbone, products), trailing


def test_only_products_that_no_product_waits_for_are_deferred() -> None:
    works = chain([(5, 10, 20), (6, 11, 21)])
    update = work(len(works), 3, is_product=False)
    link(works[2], update)
    products, trailing = deferrable([*works, update])
    assert products == [works[2], works[5], works[6]]  # both WU, and the tail
    assert trailing == [update]


@pytest.mark.parametrize("seed", range(12))
def test_placement_is_near_the_best_of_all_and_above_the_relaxed_bound(seed: int) -> None:
    backbone, loads, trailing = problem(random_chain(seed, 4))
    slots = place_deferred(backbone, loads, trailing)
    choices = [
        [None, *(gap for gap in loads.gaps if gap > loads.released[w])] for w in loads.products
    ]
    best = min(
        loads.cycles(
            {w: at for w, at in zip(loads.products, choice, strict=True) if at is not None}
        )
        for choice in combinations(*choices)
    )
    found = sum(slot.cycles for slot in slots)
    assert best <= found <= 1.1 * best
    assert relaxed_cycles(loads) <= best


def test_a_long_gap_gets_the_product_that_covers_it() -> None:
    # The second layer's other work lasts 50: the first layer's WU of 60 hides it, although the
    # third layer's gap, which comes later, could use it too.
    backbone, loads, trailing = problem(chain([(1, 5, 60), (50, 5, 2), (2, 5, 2)]))
    slots = place_deferred(backbone, loads, trailing)
    (gap,) = (slot for slot in slots if any(w.cycles == 50 for w in slot.others))
    assert [w.cycles for w in gap.products] == [60]


def test_no_product_runs_beside_what_it_needs() -> None:
    for seed in range(20):
        backbone, loads, trailing = problem(random_chain(seed, 6))
        for slot in place_deferred(backbone, loads, trailing):
            assert not {b for w in slot.products for b in w.before} & {*slot.products, *slot.others}


def test_work_that_follows_a_deferred_product_comes_in_a_later_slot() -> None:
    works = random_chain(3, 5)
    updates = []
    for weight_gradient in works[2:-1:3]:
        updates.append(work(len(works) + len(updates), 4, is_product=False))
        link(weight_gradient, updates[-1])
    backbone, loads, trailing = problem([*works, *updates])
    slots = place_deferred(backbone, loads, trailing)
    position = {w: i for i, slot in enumerate(slots) for w in [*slot.products, *slot.others]}
    assert len(position) == len(works) + len(updates)
    for update in updates:
        assert position[update] > position[update.before[0]]


def test_the_memorys_work_counts_too() -> None:
    slot = Slot([work(0, 10, is_product=True, memory=8)], [work(1, 9, is_product=False, memory=7)])
    assert slot.cycles == 15
