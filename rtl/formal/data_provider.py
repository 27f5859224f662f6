"""State where the data provider puts every word: once, in the place the direction says."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal

from rtl.sat.data_provider import DataProvider

__all__ = ["data_provider_properties"]


def data_provider_properties(m: Module, unit: DataProvider) -> None:
    """Assert that a word watched anywhere in any block leaves where its direction puts it.

    The watched place (row of the block, lane) is an arbitrary constant, so what is asserted of it
    holds for every word: unchanged, it is in the next row that leaves, in its lane; transposed, in
    row ``column`` of the block that leaves, in lane ``tile + row``. One row leaves per row
    accepted, and none is refused unless it has nowhere to go. The
    direction may change in every cycle.
    """
    nm_m, lanes = unit.spec.sorter.nm_m, unit.spec.lanes
    accepted = unit.i.valid & unit.i.ready
    emitted = unit.o.valid & unit.o.ready
    arrived, is_turned_q1 = Signal(range(nm_m)), Signal()
    is_turned, is_waiting = Signal(), Signal()
    # Rows that are still to leave of the block or row that moved to the output last.
    due, is_due_turned = Signal(range(nm_m + 1)), Signal()
    m.d.comb += is_turned.eq(Mux(arrived == 0, unit.i_dir, is_turned_q1))
    m.d.comb += is_waiting.eq(is_turned & (arrived != nm_m - 1))
    with m.If(emitted):
        m.d.sync += due.eq(due - 1)
    with m.If(accepted):
        m.d.sync += arrived.eq(Mux(arrived == nm_m - 1, 0, arrived + 1))
        m.d.sync += is_turned_q1.eq(is_turned)
        with m.If(~is_waiting):
            m.d.sync += [due.eq(Mux(is_turned, nm_m, 1)), is_due_turned.eq(is_turned)]
    m.d.comb += Assert(unit.o.valid == (due != 0))
    is_leaving = (due == 0) | ((due == 1) & unit.o.ready)
    m.d.comb += Assert(unit.i.ready == (is_waiting | is_leaving))

    row, lane = Signal(range(nm_m), name="watch_row"), Signal(range(lanes), name="watch_lane")
    m.d.comb += [row.eq(AnyConst(len(row))), lane.eq(AnyConst(len(lane)))]
    m.d.comb += [Assume(row < nm_m), Assume(lane < lanes)]
    # What the watched place held in the block that fills, and in the one that leaves.
    filling, leaving = Signal(unit.spec.sorter.value_bits), Signal(unit.spec.sorter.value_bits)
    is_watched = Signal()
    with m.If(accepted):
        with m.If(arrived == row):
            m.d.sync += filling.eq(unit.i.payload[lane])
        with m.If(~is_waiting):
            m.d.sync += leaving.eq(Mux(arrived == row, unit.i.payload[lane], filling))
            m.d.sync += is_watched.eq(is_turned | (arrived == row))
    tile, column = lane - lane % nm_m, lane % nm_m
    with m.If((due != 0) & is_watched & ~is_due_turned):
        m.d.comb += Assert(unit.o.payload[lane] == leaving)
    with m.If((due != 0) & is_due_turned & (due + column == nm_m)):
        m.d.comb += Assert(unit.o.payload[(tile + row)[: len(lane)]] == leaving)

    # Where the words lie; the induction starts from states that satisfy this.
    m.d.comb += [Assert(unit.position == arrived), Assert(arrived < nm_m)]
    m.d.comb += [Assert(unit.left == due), Assert(due <= nm_m)]
    m.d.comb += Assert((due <= 1) | is_due_turned)
    with m.If(arrived != 0):
        m.d.comb += Assert(unit.dir_q1 == is_turned_q1)
    with m.If((arrived > row) & is_turned_q1):
        # The newest row lies last.
        place = nm_m - 1 + row - arrived
        m.d.comb += Assert(Array(unit.filling)[place][lane] == filling)
    with m.If((due != 0) & is_due_turned & (due + column >= nm_m)):
        place = due + column - nm_m
        m.d.comb += Assert(Array(unit.leaving)[place][(tile + row)[: len(lane)]] == leaving)
