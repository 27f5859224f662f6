"""State what one SORE lane keeps: the N largest of every M, ties to the lowest index."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value

from rtl.sat.topn_sorter import TopNSorter

__all__ = ["topn_sorter_properties"]


@dataclass(frozen=True)
class _Watch:
    """Any one position of the group, and what the solver says arrives there.

    ``at_least`` counts the values of the group so far that are not smaller; ``beaten_by`` those
    that rank before the watched one, once it has arrived.
    """

    position: Signal
    word: Signal
    arrived: Signal
    at_least: Signal
    beaten_by: Signal
    is_kept: Signal


def topn_sorter_properties(m: Module, unit: TopNSorter) -> None:
    """Assert one group out per ``nm_m`` values in, ascending positions, and the top-n function.

    The watched position and its value are arbitrary constants, so what is asserted of them holds
    for all positions and values: it is in the group that leaves exactly if fewer than
    ``nm_n`` values of the group rank before it (larger ones anywhere, equal ones earlier).
    """
    accepted = unit.i.valid & unit.i.ready
    last = unit.spec.nm_m - 1
    arrived = Signal(range(unit.spec.nm_m))
    is_pending = Signal()
    with m.If(unit.o.valid & unit.o.ready):
        m.d.sync += is_pending.eq(0)
    with m.If(accepted):
        m.d.sync += arrived.eq(Mux(arrived == last, 0, arrived + 1))
        with m.If(arrived == last):
            m.d.sync += is_pending.eq(1)
    m.d.comb += Assert(unit.o.valid == is_pending)
    # Only the last value of a group ever waits, and only behind an unread group.
    m.d.comb += Assert(unit.i.ready == ~((arrived == last) & is_pending))

    watch = _watch(m, unit, arrived, accepted)
    with m.If(unit.o.valid):
        _assert_ascending(m, [slot.index for slot in unit.o.payload], unit.spec.nm_m)
        hits = Cat(slot.index == watch.position for slot in unit.o.payload)
        m.d.comb += Assert(hits.any() == watch.is_kept)
        for j, slot in enumerate(unit.o.payload):
            m.d.comb += Assert(~hits[j] | (slot.value == watch.word))
    _assert_slots(m, unit, watch)
    _assert_ranks(m, unit)


def _watch(m: Module, unit: TopNSorter, arrived: Signal, accepted: Value) -> _Watch:
    nm_n, nm_m = unit.spec.nm_n, unit.spec.nm_m
    watch = _Watch(
        position=Signal(range(nm_m), name="watch_position"),
        word=Signal(unit.spec.value_bits, name="watch_word"),
        arrived=arrived,
        at_least=Signal(range(nm_m + 1), name="watch_at_least"),
        beaten_by=Signal(range(nm_m + 1), name="watch_beaten_by"),
        is_kept=Signal(name="watch_is_kept"),
    )
    m.d.comb += watch.position.eq(AnyConst(len(watch.position)))
    m.d.comb += watch.word.eq(AnyConst(len(watch.word)))
    m.d.comb += Assume(watch.position < nm_m)
    is_watched = arrived == watch.position
    m.d.comb += Assume(~(accepted & is_watched) | (unit.i.payload == watch.word))

    magnitude, limit = _magnitude(unit.i.payload), _magnitude(watch.word)
    beaten_by = Signal.like(watch.beaten_by, name="watch_next_beaten_by")
    m.d.comb += beaten_by.eq(Mux(is_watched, watch.at_least, watch.beaten_by + (magnitude > limit)))
    with m.If(accepted):
        m.d.sync += watch.beaten_by.eq(beaten_by)
        m.d.sync += watch.at_least.eq(watch.at_least + (magnitude >= limit))
        with m.If(arrived == nm_m - 1):
            m.d.sync += [watch.at_least.eq(0), watch.is_kept.eq(beaten_by < nm_n)]
    return watch


def _assert_slots(m: Module, unit: TopNSorter, watch: _Watch) -> None:
    """Assert what the slots hold of the group so far."""
    nm_n = unit.spec.nm_n
    arrived = watch.arrived
    m.d.comb += Assert(unit.position == arrived)
    m.d.comb += Assert(arrived < unit.spec.nm_m)
    m.d.comb += Assert(watch.at_least <= arrived)
    hits = Signal(nm_n, name="watch_hits")
    larger = Signal(nm_n, name="watch_larger")
    for j, slot in enumerate(unit.slots):
        used = unit.is_used[j]
        m.d.comb += Assert(used == (arrived >= nm_n - j))
        m.d.comb += Assert(~used | (slot.index < arrived))
        if j:
            m.d.comb += Assert(~unit.is_used[j - 1] | (unit.slots[j - 1].index < slot.index))
        m.d.comb += hits[j].eq(used & (slot.index == watch.position))
        m.d.comb += larger[j].eq(used & (_magnitude(slot.value) >= _magnitude(watch.word)))
        with m.If(hits[j]):
            m.d.comb += Assert(slot.value == watch.word)
            m.d.comb += Assert(unit.ranks[j] == watch.beaten_by)
    has_come = arrived > watch.position
    # The watched value itself is not smaller, so it counts in at_least only.
    m.d.comb += Assert(~has_come | (watch.beaten_by < watch.at_least))
    m.d.comb += Assert(~has_come | (hits.any() == (watch.beaten_by < nm_n)))
    kept_larger = sum((larger[j] for j in range(nm_n)), Const(0, 1))
    m.d.comb += Assert(kept_larger == Mux(watch.at_least > nm_n, nm_n, watch.at_least))


def _assert_ranks(m: Module, unit: TopNSorter) -> None:
    """Assert that ranks order the slots: by magnitude, then by age; empty slots come last."""
    nm_n = unit.spec.nm_n
    for j in range(nm_n):
        m.d.comb += Assert(unit.ranks[j] < nm_n)
        m.d.comb += Assert(unit.is_used[j] | (unit.ranks[j] == nm_n - 1 - j))
        for k in range(j + 1, nm_n):
            m.d.comb += Assert(unit.ranks[j] != unit.ranks[k])
            is_not_smaller = _magnitude(unit.slots[j].value) >= _magnitude(unit.slots[k].value)
            with m.If(unit.is_used[j]):
                m.d.comb += Assert((unit.ranks[j] < unit.ranks[k]) == is_not_smaller)


def _assert_ascending(m: Module, indices: list[Value], bound: int) -> None:
    for left, right in zip(indices, indices[1:], strict=False):
        m.d.comb += Assert(left < right)
    m.d.comb += Assert(indices[-1] < bound)


def _magnitude(word: Value) -> Value:
    return word[:-1]
