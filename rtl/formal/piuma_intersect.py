"""State that the intersection emits exactly what both lists hold, each with its places."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.asserts import AnyConst
from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal, Value

from rtl.piuma.intersect import Intersect, Side

__all__ = ["intersect_properties"]


@dataclass(frozen=True)
class _List:
    """What one list has dropped since the pair began: the last coordinate, and the watched one."""

    has_last: Signal
    last: Signal
    has_watched: Signal
    place: Signal
    is_passing: Value


def intersect_properties(m: Module, unit: Intersect) -> None:
    """Assert, for lists that skip ahead, one match per common coordinate and one end per pair.

    Assumed: each list's coordinates ascend. The watched coordinate is an arbitrary constant: when a
    pair of lists has ended, it was emitted if and only if both have held it.
    """
    watched = Signal(unit.spec.coordinate_bits, name="watch_coordinate")
    m.d.comb += watched.eq(AnyConst(len(watched)))
    lists = [_list(m, unit, side, watched) for side in unit.sides]
    emits = unit.steps & unit.is_match & (unit.sides[0].head == watched)
    ends = unit.steps & unit.is_end
    is_matched = Signal(name="watch_is_matched")
    with m.If(ends):
        m.d.sync += is_matched.eq(0)
        m.d.comb += Assert(is_matched == (lists[0].has_watched & lists[1].has_watched))
    with m.Elif(emits):
        m.d.comb += Assert(~is_matched)
        m.d.comb += Assert(lists[0].is_passing & lists[1].is_passing)
        m.d.sync += is_matched.eq(1)
    m.d.comb += Assert(~is_matched | (lists[0].has_watched & lists[1].has_watched))
    m.d.comb += Assert(is_matched | ~(lists[0].has_watched & lists[1].has_watched))

    for one, other, side in (
        (lists[0], lists[1], unit.sides[1]),
        (lists[1], lists[0], unit.sides[0]),
    ):
        # What one list dropped alone, the other cannot have left.
        is_beyond = other.has_last & (other.last >= watched)
        is_head_beyond = side.is_there & ~side.is_empty & (side.head > watched)
        is_over = side.is_through | is_beyond | is_head_beyond
        m.d.comb += Assert(~one.has_watched | is_over)
    _assert_offer(m, unit, lists, watched)


def _list(m: Module, unit: Intersect, side: Side, watched: Signal) -> _List:
    """Follow one list; assume that it ascends, assert what its registers say."""
    spec, block = unit.spec, side.port.payload
    name = "a" if side is unit.sides[0] else "b"
    has_last, last = Signal(name=f"{name}_has_last"), Signal(spec.coordinate_bits)
    has_watched = Signal(name=f"{name}_has_watched")
    dropped, place = Signal(spec.position_bits), Signal(spec.position_bits)
    ends = unit.steps & unit.is_end
    is_new = side.at == 0
    is_passing: Value = Signal(name=f"{name}_is_passing")
    m.d.comb += Assume(block.count <= spec.block)
    latest, has_latest, number = last, has_last, dropped
    moves = unit.steps & side.is_there
    after = Mux(side.is_used_up, block.count, side.at)
    after = Mux(moves & ~side.is_used_up & ~unit.is_end, Mux(_goes(unit), side.drops, after), after)
    for k in range(spec.block):
        coordinate = block.coordinates[k]
        if k:
            is_order = block.coordinates[k - 1] < coordinate
            m.d.comb += Assume((block.count <= k) | is_order)
        # A block begins behind what was dropped before it.
        with m.If(side.port.valid & is_new & has_last & (block.count > 0)):
            m.d.comb += Assume(block.coordinates[0] > last)
        goes = moves & side.left[k] & (after > k)
        with m.If(goes & (coordinate == watched)):
            m.d.comb += is_passing.eq(1)
            m.d.sync += [has_watched.eq(1), place.eq(number)]
        latest = Mux(goes, coordinate, latest)
        has_latest = has_latest | goes
        number = number + goes
    m.d.sync += [last.eq(latest), has_last.eq(has_latest), dropped.eq(number)]
    with m.If(ends):
        m.d.sync += [has_last.eq(0), has_watched.eq(0), dropped.eq(0)]
    _assert_side(m, side, dropped, has_last, last, has_watched & (~has_last | (last < watched)))
    return _List(has_last, last, has_watched, place, is_passing)


def _goes(unit: Intersect) -> Value:
    """Return whether both lists have heads, so that a step moves within blocks."""
    a, b = unit.sides
    return a.is_there & b.is_there & ~a.is_empty & ~b.is_empty


def _assert_side(
    m: Module, side: Side, dropped: Signal, has_last: Signal, last: Signal, is_wrong: Value
) -> None:
    block = side.port.payload
    m.d.comb += Assert(dropped == (side.start + side.at)[: len(dropped)])
    m.d.comb += Assert(~is_wrong)
    m.d.comb += Assert(~(side.is_through & (side.at != 0)))
    with m.If(side.at != 0):
        # Part of a block is gone: it is still on offer, and the last one gone is before its head.
        coordinates = Array(block.coordinates[k] for k in range(len(side.left)))
        m.d.comb += Assert(side.port.valid & (side.at < block.count) & has_last)
        m.d.comb += Assert(coordinates[side.at - 1] == last)


def _assert_offer(m: Module, unit: Intersect, lists: list[_List], watched: Signal) -> None:
    is_held, is_end, is_watched = Signal(), Signal(), Signal()
    with m.If(unit.o.ready):
        m.d.sync += is_held.eq(0)
    with m.If(unit.steps & (unit.is_match | unit.is_end)):
        m.d.sync += [is_held.eq(1), is_end.eq(unit.is_end)]
        m.d.sync += is_watched.eq(unit.is_match & (unit.sides[0].head == watched))
    m.d.comb += Assert(unit.o.valid == is_held)
    match = unit.o.payload
    with m.If(is_held):
        m.d.comb += Assert(match.is_end == is_end)
        m.d.comb += Assert(is_end | ((match.coordinate == watched) == is_watched))
    was_emitted = Signal()
    m.d.sync += was_emitted.eq(unit.steps & unit.is_match & (unit.sides[0].head == watched))
    with m.If(was_emitted):
        m.d.comb += Assert((match.place_a == lists[0].place) & (match.place_b == lists[1].place))
