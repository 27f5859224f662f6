"""Change the width of a stream of bits: what packer and unpacker of compact groups share."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """Emit the bits accepted, lowest first, ``out_bits`` at a time; blocks begin at an output.

    Parameters
    ----------
    in_bits, out_bits : int
        Width of either stream; no multiple of each other is needed.

    Attributes
    ----------
    i : In(stream.Signature(in_bits))
    o : Out(stream.Signature(out_bits))
    i_is_last : In(1)
        What is offered at ``i`` ends a block: its last output is padded with zeros.
    i_is_dropping : In(1)
        What is offered at ``o`` ends a block: the bits left after it are dropped.
    o_is_last : Out(1)
        What is offered at ``o`` is the padded (or just full) end of a block.

    Timing
    ------
    An output is offered 1 cycle after the input that completes it was accepted; ``o.valid`` and
    ``o.payload`` are registers. An input is accepted if fewer than ``out_bits`` wait, counted after
    the output accepted in the same cycle, and nothing of an ended block: ``i.ready`` depends
    combinationally on ``o.ready``, ``o_is_last`` on registers only. So the narrower side is
    served in every cycle.

    Reset
    -----
    Empty; ``o.valid`` is 0.
    """

    def __init__(self, in_bits: int, out_bits: int) -> None:
        self.in_bits = in_bits
        self.out_bits = out_bits
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(in_bits))),
                "o": Out(stream.Signature(unsigned(out_bits))),
                "i_is_last": In(1),
                "i_is_dropping": In(1),
                "o_is_last": Out(1),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        # Bits from the level on are zero: they are the padding.
        capacity = in_bits + out_bits - 1
        self.held = Signal(capacity)
        self.level = Signal(range(capacity + 1))
        self.is_ending = Signal()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        accepted = self.i.valid & self.i.ready
        emitted = self.o.valid & self.o.ready
        is_partial = self.level < self.out_bits
        # What is left if the output is accepted.
        left = Signal.like(self.level)
        m.d.comb += left.eq(Mux(self.i_is_dropping | is_partial, 0, self.level - self.out_bits))
        is_free = (left < self.out_bits) & ~(self.is_ending & (left != 0))
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | (self.o.ready & is_free)),
            self.o.payload.eq(self.held),
            self.o_is_last.eq(self.is_ending & (self.level <= self.out_bits)),
        ]

        rest, rest_level = Signal.like(self.held), Signal.like(self.level)
        m.d.comb += [rest.eq(self.held), rest_level.eq(self.level)]
        with m.If(emitted):
            m.d.comb += rest.eq(Mux(self.i_is_dropping, 0, self.held >> self.out_bits))
            m.d.comb += rest_level.eq(left)
        held, level = Signal.like(self.held), Signal.like(self.level)
        is_ending = Signal()
        m.d.comb += [held.eq(rest), level.eq(rest_level)]
        m.d.comb += is_ending.eq(self.is_ending & (rest_level != 0))
        with m.If(accepted):
            # Shifted by no more than fits: less than an output waits.
            places = rest_level[: self.out_bits.bit_length()]
            m.d.comb += [
                held.eq(rest | (self.i.payload << places)),
                level.eq(rest_level + self.in_bits),
                is_ending.eq(self.i_is_last),
            ]
        m.d.sync += [
            self.held.eq(held),
            self.level.eq(level),
            self.is_ending.eq(is_ending),
            self.o.valid.eq((level >= self.out_bits) | (is_ending & (level != 0))),
        ]
        return m
