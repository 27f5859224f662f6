"""State that a pipeline stalling as a whole loses, repeats and reorders nothing."""

from __future__ import annotations

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Module, Mux, ResetSignal, Signal

from rtl.sat.float_parts import FloatPipeline

__all__ = ["float_pipeline_properties"]


def float_pipeline_properties(m: Module, unit: FloatPipeline) -> None:
    """Assert that the k-th word emitted went through all steps from the k-th pair accepted.

    The solver marks any one accepted pair: it moves one stage per move and must leave after the
    pairs accepted before it. Every stage register takes what its step gives of the stage before
    in a move, and holds its word otherwise. What the steps compute is not stated here.
    """
    latency = unit.latency_cycles
    accepted = unit.i.valid & unit.i.ready
    emitted = unit.o.valid & unit.o.ready
    held = Signal(range(latency + 1))
    m.d.sync += held.eq(held + accepted - emitted)
    m.d.comb += Assert(unit.i.ready == (~unit.o.valid | unit.o.ready))
    m.d.comb += Assert(held == sum(unit.is_used))

    is_marked = Signal()
    ahead = Signal(range(latency + 1))
    place = Signal(range(latency + 1))
    with m.If(~is_marked & accepted & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(held - emitted), place.eq(0)]
    with m.Elif(is_marked & unit.i.ready):
        m.d.sync += place.eq(place + 1)
    with m.If(is_marked & emitted):
        m.d.sync += ahead.eq(ahead - 1)
        with m.If(ahead == 0):
            m.d.sync += is_marked.eq(0)
    _assert_place(m, unit, is_marked, ahead, place)
    _assert_words(m, unit)


def _assert_place(
    m: Module, unit: FloatPipeline, is_marked: Signal, ahead: Signal, place: Signal
) -> None:
    """Assert that the marked pair lies where as many pairs are before it as were accepted."""
    latency = unit.latency_cycles
    before = Array(sum(unit.is_used[k + 1 :]) if k + 1 < latency else 0 for k in range(latency))
    with m.If(is_marked):
        m.d.comb += Assert(place < latency)
        m.d.comb += Assert(unit.is_used.bit_select(place, 1))
        m.d.comb += Assert(ahead == before[place])
        # It is the one emitted exactly if none is ahead of it.
        m.d.comb += Assert(~unit.o.valid | ((ahead == 0) == (place == latency - 1)))


def _assert_words(m: Module, unit: FloatPipeline) -> None:
    """Assert that every stage register takes its step's value in a move and holds otherwise."""
    was_reset, was_moving = Signal(init=1, reset_less=True), Signal()
    m.d.sync += [was_reset.eq(ResetSignal()), was_moving.eq(unit.i.ready)]
    for number, (register, value) in enumerate(unit.moves):
        offered = Signal(len(register), name=f"offered{number}")
        last = Signal(len(register), name=f"last{number}")
        m.d.sync += [offered.eq(value), last.eq(register)]
        m.d.comb += Assert(was_reset | (register == Mux(was_moving, offered, last)))
    m.d.comb += Assert(unit.o.payload == unit.stages[-1]["result"])
