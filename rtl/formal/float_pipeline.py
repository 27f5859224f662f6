"""State that a pipeline stalling as a whole loses, repeats and reorders nothing."""

from __future__ import annotations

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Module, Mux, ResetSignal, Signal, Value

from rtl.sat.float_parts import FloatPipeline

__all__ = ["assert_order", "assert_words", "float_pipeline_properties"]


def float_pipeline_properties(m: Module, unit: FloatPipeline) -> None:
    """Assert that the k-th word emitted went through all steps from the k-th pair accepted.

    What the steps compute is not stated here.
    """
    accepted = unit.i.valid & unit.i.ready
    m.d.comb += Assert(unit.i.ready == (~unit.o.valid | unit.o.ready))
    m.d.comb += Assert(unit.o.valid == unit.is_used[-1])
    assert_order(m, unit.is_used, accepted, unit.i.ready)
    assert_words(m, unit.moves, unit.i.ready)
    m.d.comb += Assert(unit.o.payload == unit.stages[-1]["result"])


def assert_order(m: Module, is_used: Signal, accepted: Value, is_moving: Value) -> None:
    """Assert that the k-th transfer to leave the last stage is the k-th one accepted.

    The solver marks any one accepted transfer: it moves one stage per move and must leave after
    those accepted before it.

    Parameters
    ----------
    is_used : Signal(stages)
        Which stages hold a transfer; the last one leaves in a move.
    accepted, is_moving : Value(1)
        In this cycle; nothing is accepted without a move.
    """
    latency = len(is_used)
    emitted = is_used[-1] & is_moving
    held = Signal(range(latency + 1))
    m.d.sync += held.eq(held + accepted - emitted)
    m.d.comb += Assert(held == sum(is_used))
    m.d.comb += Assert(~accepted | is_moving)

    is_marked = Signal()
    ahead = Signal(range(latency + 1))
    place = Signal(range(latency + 1))
    with m.If(~is_marked & accepted & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(held - emitted), place.eq(0)]
    with m.Elif(is_marked & is_moving):
        m.d.sync += place.eq(place + 1)
    with m.If(is_marked & emitted):
        m.d.sync += ahead.eq(ahead - 1)
        with m.If(ahead == 0):
            m.d.sync += is_marked.eq(0)
    # It lies where as many transfers are before it as were accepted before it.
    before = Array(sum(is_used[k + 1 :]) if k + 1 < latency else 0 for k in range(latency))
    with m.If(is_marked):
        m.d.comb += Assert(place < latency)
        m.d.comb += Assert(is_used.bit_select(place, 1))
        m.d.comb += Assert(ahead == before[place])
        # It is the one emitted exactly if none is ahead of it.
        m.d.comb += Assert(~is_used[-1] | ((ahead == 0) == (place == latency - 1)))


def assert_words(m: Module, moves: list[tuple[Signal, Value]], is_moving: Value) -> None:
    """Assert that every stage register takes its step's value in a move and holds otherwise."""
    was_reset, was_moving = Signal(init=1, reset_less=True), Signal()
    m.d.sync += [was_reset.eq(ResetSignal()), was_moving.eq(is_moving)]
    for number, (register, value) in enumerate(moves):
        offered = Signal(len(register), name=f"offered{number}")
        last = Signal(len(register), name=f"last{number}")
        m.d.sync += [offered.eq(value), last.eq(register)]
        m.d.comb += Assert(was_reset | (register.as_unsigned() == Mux(was_moving, offered, last)))
