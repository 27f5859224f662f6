"""Pass the elements of a wide transfer on one by one."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Serializer"]


class Serializer(wiring.Component):
    """Emit ``elems`` words of ``elem_bits`` for every wide word accepted, lowest first.

    Parameters
    ----------
    elem_bits, elems : int
        Width of an element in bits, elements per wide word, at least 2.

    Attributes
    ----------
    i : In(stream.Signature(elem_bits * elems))
    o : Out(stream.Signature(elem_bits))

    Timing
    ------
    The first element is offered 1 cycle after its word was accepted. A word is accepted in the
    cycle in which the last element of the one before leaves, or later: one element per cycle.
    ``o.payload`` is a register, ``o.valid`` decoded from one; ``i.ready`` depends combinationally
    on ``o.ready``.

    Reset
    -----
    Empty; ``o.valid`` is 0. Data registers keep stale words.
    """

    def __init__(self, elem_bits: int, elems: int) -> None:
        self.elem_bits = elem_bits
        self.elems = elems
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(elem_bits * elems))),
                "o": Out(stream.Signature(unsigned(elem_bits))),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.held = Signal(elem_bits * elems, reset_less=True)
        self.left = Signal(range(elems + 1))

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.left.any()),
            self.o.payload.eq(self.held[: self.elem_bits]),
            self.i.ready.eq(~self.o.valid | ((self.left == 1) & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.left.eq(self.left - 1), self.held.eq(self._rest())]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.left.eq(self.elems), self.held.eq(self.i.payload)]
        return m

    def _rest(self) -> Value:
        """Return what is held once the lowest element has left."""
        return self.held >> self.elem_bits
