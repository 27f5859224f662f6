"""State that a serializer emits every element of every word once, in order."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Signal

from rtl.sat.serializer import Serializer

__all__ = ["serializer_properties"]


def serializer_properties(m: Module, unit: Serializer) -> None:
    """Assert that the watched element, any one of a word, is the emission after those below it."""
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    due = Signal(range(unit.elems + 1))
    place, elem = Signal(range(unit.elems)), Signal(unit.elem_bits)
    m.d.comb += [place.eq(AnyConst(len(place))), Assume(place < unit.elems)]
    with m.If(emitted):
        m.d.sync += due.eq(due - 1)
    with m.If(accepted):
        m.d.sync += due.eq(unit.elems)
        m.d.sync += elem.eq(unit.i.payload.word_select(place, unit.elem_bits))
    m.d.comb += Assert(unit.o.valid == (due != 0))
    is_last = (due == 1) & unit.o.ready
    m.d.comb += Assert(unit.i.ready == ((due == 0) | is_last))
    with m.If((due != 0) & (due + place == unit.elems)):
        m.d.comb += Assert(unit.o.payload == elem)
    # Where the elements lie; the induction starts from states that satisfy this.
    m.d.comb += [Assert(unit.left == due), Assert(due <= unit.elems)]
    ahead = due + place - unit.elems
    with m.If((due != 0) & (due + place >= unit.elems)):
        held = unit.held.word_select(ahead[: len(place)], unit.elem_bits)
        m.d.comb += Assert(held == elem)
