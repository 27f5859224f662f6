"""State that an array takes every word it needs, stands still as a whole, and loses no result."""

from __future__ import annotations

from amaranth.hdl import Assert, Module, ResetSignal, Signal, Value

from rtl.sat.systolic_tile import SystolicTile

__all__ = ["systolic_tile_properties"]


def systolic_tile_properties(m: Module, unit: SystolicTile) -> None:
    """Assert the lock-step of the array with its streams.

    A word is accepted exactly if the array moves and its schedule takes one, and the array moves
    only if all words taken are there; what leaves the array is offered in the next cycle; while
    the array stands still, no register of its control and its pipelines changes.
    """
    core = unit.core
    needed = [
        *zip(unit.i_west, core.i_west, strict=True),
        (unit.i_weights, core.i_weights),
        (unit.i_sums, core.i_sums),
    ]
    for outer, inner in needed:
        is_accepted = outer.valid & outer.ready
        m.d.comb += Assert(is_accepted == (unit.is_moving & inner.ready))
    is_lost = unit.is_moving & unit.o.valid & ~unit.o.ready
    m.d.comb += Assert(~is_lost)

    was_reset, left = Signal(init=1, reset_less=True), Signal()
    word = Signal.like(Value.cast(unit.o.payload), name="word_left")
    m.d.sync += was_reset.eq(ResetSignal())
    m.d.sync += [left.eq(unit.is_moving & core.o.valid), word.eq(core.o.payload)]
    with m.If(left):
        m.d.comb += Assert(unit.o.valid)
        m.d.comb += Assert(Value.cast(unit.o.payload) == word)
    _assert_still(m, unit, was_reset)


def _assert_still(m: Module, unit: SystolicTile, was_reset: Signal) -> None:
    core = unit.core
    control = core.control
    kept = [control.tiles_left, control.loaded, control.is_running, control.rows_left]
    for lane in core.lanes:
        kept += [lane.left, lane.fill_left, lane.lead, lane.turn, lane.slot, lane.beat]
    for pes in core.pes:
        for pe in pes:
            kept += [Value.cast(pe.shadow), Value.cast(pe.weights), pe.is_used[1:]]
            kept += [Value.cast(op) for op in pe.ops[1:]]
    was_moving = Signal()
    m.d.sync += was_moving.eq(unit.is_moving)
    for number, register in enumerate(kept):
        last = Signal(len(register), name=f"last_kept{number}")
        m.d.sync += last.eq(register)
        m.d.comb += Assert(was_reset | was_moving | (register == last))
