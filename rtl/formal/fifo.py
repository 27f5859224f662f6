"""State why a FIFO is a FIFO: every word accepted is emitted once, in order."""

from __future__ import annotations

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Module, Mux, Signal

from rtl.common.fifo import Fifo

__all__ = ["fifo_properties"]


def fifo_properties(m: Module, unit: Fifo) -> None:
    """Assert order, no loss, no duplication, and when the unit may refuse or offer.

    The solver marks any one accepted word. With ``ahead`` words accepted before it and not yet
    emitted, it must be the emission after those. Since the mark is arbitrary, the k-th word
    emitted is the k-th accepted for every k.
    """
    depth = unit.spec.depth
    accepted = unit.i.valid & unit.i.ready
    emitted = unit.o.valid & unit.o.ready
    held = Signal(range(depth + 1))
    m.d.sync += held.eq(held + accepted - emitted)
    # Nothing is invented, nothing is stuck.
    m.d.comb += Assert(unit.o.valid == (held != 0))
    m.d.comb += Assert(unit.i.ready == (held != depth))

    is_marked = Signal()
    ahead = Signal(range(depth + 1))
    word = Signal(unit.spec.width_bits)
    with m.If(~is_marked & accepted & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(held - emitted), word.eq(unit.i.payload)]
    with m.If(is_marked & emitted):
        m.d.sync += ahead.eq(ahead - 1)
        with m.If(ahead == 0):
            m.d.comb += Assert(unit.o.payload == word)
            m.d.sync += is_marked.eq(0)
    _assert_invariants(m, unit, held, is_marked, ahead, word)


def _assert_invariants(
    m: Module, unit: Fifo, held: Signal, is_marked: Signal, ahead: Signal, word: Signal
) -> None:
    """Assert where the marked word lies; the induction starts from states that satisfy this."""
    m.d.comb += Assert(unit.level == held)
    m.d.comb += Assert(held <= unit.spec.depth)
    with m.If(is_marked):
        m.d.comb += Assert(ahead < held)
        with m.If(ahead == 0):
            m.d.comb += Assert(unit.o.payload == word)
    if not unit.places:
        return
    places = unit.places
    stored = Mux(held == 0, 0, held - 1)
    end = unit.read_at + stored
    m.d.comb += Assert(unit.read_at < places)
    m.d.comb += Assert(unit.write_at == Mux(end >= places, end - places, end))
    peek = unit.storage.read_port(domain="comb")
    place = unit.read_at + ahead - 1
    m.d.comb += peek.addr.eq(Mux(place >= places, place - places, place))
    with m.If(is_marked & (ahead != 0)):
        m.d.comb += Assert(peek.data == word)
