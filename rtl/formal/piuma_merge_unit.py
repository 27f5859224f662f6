"""State that a merge cell emits ascending coordinates, each with the sum of its two values."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from rtl.piuma.merge_unit import MergeUnit, rank

__all__ = ["merge_unit_properties"]


def merge_unit_properties(m: Module, unit: MergeUnit) -> None:
    """Assert order and conservation of a tree of one cell; larger trees are such cells.

    Assumed: coordinates of each list ascend. The watched coordinate is an arbitrary constant: it is
    emitted once if it is in either list, with the sum of its values, else not; lists end together.
    """
    bits = unit.spec.coordinate_bits
    watched = Signal(bits, name="watch_coordinate")
    m.d.comb += watched.eq(AnyConst(bits))
    # Rank of the last element that left its list for the register, in this pair of lists.
    has_moved = Signal()
    last = Signal(bits + 1)
    moved = [port.valid & port.ready for port in unit.i]
    moves = moved[0] | moved[1]
    lowest = Mux(moved[0], rank(unit.i[0].payload), rank(unit.i[1].payload))
    ends = moves & lowest[-1]
    with m.If(moves):
        m.d.sync += [has_moved.eq(~lowest[-1]), last.eq(lowest)]
        # Strictly ascending, so that no coordinate comes twice.
        m.d.comb += Assert(~has_moved | (lowest > last))
    m.d.comb += Assert(~ends | (moved[0] & moved[1]))

    seen = Signal(2)
    total = Signal(unit.spec.value_bits)
    values = []
    for side, port in enumerate(unit.i):
        is_refused, has_last, own = Signal(), Signal(), Signal(bits + 1)
        here = rank(port.payload)
        m.d.comb += Assume(~(port.valid & has_last) | (here > own))
        with m.If(moved[side]):
            m.d.sync += [has_last.eq(~port.payload.is_end), own.eq(here)]
        with m.If(moves):
            m.d.sync += is_refused.eq(~moved[side])
        # A head that was refused is still there, and behind what was taken instead of it.
        m.d.comb += Assert(~is_refused | (port.valid & (here > last) & has_moved))
        m.d.comb += Assert(~has_last | has_moved)
        m.d.comb += Assert(is_refused | (has_last == has_moved))
        m.d.comb += Assert(is_refused | ~has_last | (own == last))
        is_watched = moved[side] & ~port.payload.is_end & (port.payload.coordinate == watched)
        values.append(Mux(is_watched, port.payload.value, 0))
        with m.If(ends):
            m.d.sync += seen[side].eq(0)
        with m.Elif(is_watched):
            m.d.comb += Assert(~seen[side])
            m.d.sync += seen[side].eq(1)
        # Once it was taken from one list, the other list has none of it left.
        m.d.comb += Assert(~seen[side] | (has_moved & (last >= watched)))
    with m.If(moves):
        m.d.sync += total.eq(values[0] + values[1])

    is_held, was_end = Signal(), Signal()
    with m.If(unit.o.valid & unit.o.ready):
        m.d.sync += is_held.eq(0)
    with m.If(moves):
        m.d.sync += [is_held.eq(1), was_end.eq(lowest[-1])]
    m.d.comb += Assert(unit.o.valid == is_held)
    with m.If(is_held):
        m.d.comb += Assert(unit.o.payload.is_end == was_end)
        with m.If(~was_end):
            m.d.comb += Assert(rank(unit.o.payload) == last)
            with m.If(unit.o.payload.coordinate == watched):
                m.d.comb += Assert(seen.any() & (unit.o.payload.value == total))
