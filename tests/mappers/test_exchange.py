"""Check that an improved placement is one that no single move or swap improves further."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.mapping import Mapping
from mappers.deferral import Loads
from mappers.exchange import improved_placement
from mappers.slots import Slot
from mappers.work import Work

CYCLES = st.integers(0, 20)


def work(cycles: int, memory: int, *, is_product: bool) -> Work:
    mapping = Mapping(op="op", dataflow="ws" if is_product else "vector")
    return Work(0, [mapping], is_product, cycles, memory, cycles)


def loads_of(slots: list[tuple[int, int, int]], products: list[tuple[int, int, int]]) -> Loads:
    """Return loads of (array, others, memory) slots and of (cycles, memory, released) products."""
    backbone = [
        Slot(
            [work(array, memory, is_product=True)],
            [work(other, 0, is_product=False)] if other else [],
        )
        for array, other, memory in slots
    ]
    deferred = [work(cycles, memory, is_product=True) for cycles, memory, _ in products]
    for one, (*_, released) in zip(deferred, products, strict=True):
        if 0 <= released < len(slots):
            one.before.append(backbone[released].products[0])
    return Loads(backbone, deferred)


def changes(loads: Loads, placement: dict[Work, int]) -> list[dict[Work, int]]:
    """Return every placement that is one move or swap away."""
    moved = [
        {**placement, one: gap}
        for one in loads.products
        for gap in loads.gaps
        if gap > loads.released[one]
    ]
    swapped = [
        {**placement, one: placement[other], other: placement[one]}
        for one in placement
        for other in placement
        if placement[other] > loads.released[one] and placement[one] > loads.released[other]
    ]
    return moved + swapped


@given(
    st.lists(st.tuples(CYCLES, CYCLES, CYCLES), max_size=6),
    st.lists(st.tuples(CYCLES, CYCLES, st.integers(-1, 5)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_no_single_change_saves_more(slots, products, random) -> None:
    loads = loads_of(slots, products)
    start = {}
    for one in loads.products:
        allowed = [gap for gap in loads.gaps if gap > loads.released[one]]
        if allowed and random.random() < 0.5:
            start[one] = random.choice(allowed)
    found = improved_placement(loads, start)
    assert all(found[one] > loads.released[one] and found[one] in loads.gaps for one in found)
    assert loads.cycles(found) <= loads.cycles(start)
    assert all(loads.cycles(found) <= loads.cycles(other) for other in changes(loads, found))


def test_a_swap_is_found_where_no_move_helps() -> None:
    # Slots with 10 and 4 cycles to hide, products of 4 and 10 the wrong way round.
    loads = loads_of([(0, 10, 0), (0, 4, 0)], [(4, 0, -1), (10, 0, -1)])
    short, long = loads.products
    assert loads.cycles({short: 0, long: 1}) == 20
    assert improved_placement(loads, {short: 0, long: 1}) == {short: 1, long: 0}
    assert loads.cycles({short: 1, long: 0}) == 14


def test_memory_can_forbid_a_gap_that_the_array_would_fill() -> None:
    # The first gap hides 9 cycles of array work, but its memory is busy for all of them already.
    loads = loads_of([(0, 9, 9), (0, 9, 0)], [(9, 6, -1)])
    (product,) = loads.products
    assert improved_placement(loads, {product: 0}) == {product: 1}
