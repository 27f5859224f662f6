"""Unpack compact N:M groups from memory words: what feeds the array from the memory port."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.sat.spec import PackerSpec
from rtl.sat.gearbox import Gearbox
from rtl.sat.nm_packer import group_layout, timing

__all__ = ["NmUnpacker", "timing"]


class NmUnpacker(wiring.Component):
    """Emit the groups of every block of words that :class:`rtl.sat.nm_packer.NmPacker` packed.

    Parameters
    ----------
    spec : PackerSpec
        The packer's.

    Attributes
    ----------
    i : In(stream.Signature(word_bits))
        Words of whole blocks, as they lie in memory; padding is dropped whatever it is.
    i_groups : In(32)
        Groups per block, constant while any is inside; 0 stands for 2**32.
    o : Out(stream.Signature(ArrayLayout({value, index}, nm_n)))
        Groups, slot 0 holding the lowest index.

    Timing
    ------
    A group is offered 1 cycle after the word that completes it was accepted, or as soon as the
    one before it was accepted: a group per cycle while words are at least as wide and come in time,
    otherwise a word per cycle. ``o.valid`` and ``o.payload`` are registers, ``i.ready`` depends
    combinationally on ``o.ready``.

    Reset
    -----
    Empty, at the begin of a block; ``o.valid`` is 0.
    """

    def __init__(self, spec: PackerSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(spec.word_bits))),
                "i_groups": In(32),
                "o": Out(stream.Signature(group_layout(spec))),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.gearbox = Gearbox(spec.word_bits, spec.group_bits)
        self.emitted = Signal(32)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.gearbox = gearbox = self.gearbox
        is_last = Signal()
        m.d.comb += [
            is_last.eq(self._is_last()),
            gearbox.i.valid.eq(self.i.valid),
            gearbox.i.payload.eq(self.i.payload),
            self.i.ready.eq(gearbox.i.ready),
            gearbox.i_is_dropping.eq(is_last),
            self.o.valid.eq(gearbox.o.valid),
            Value.cast(self.o.payload).eq(gearbox.o.payload),
            gearbox.o.ready.eq(self.o.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.emitted.eq(Mux(is_last, 0, self.emitted + 1))
        return m

    def _is_last(self) -> Value:
        """Return whether the group offered is the last one of its block."""
        return self.emitted == (self.i_groups - 1)[:32]
