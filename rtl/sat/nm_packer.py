"""Pack compact N:M groups into memory words: what stands between SORE and the memory port."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.sat.spec import PackerSpec
from rtl.sat.gearbox import Gearbox
from rtl.sat.topn_sorter import slot_layout

__all__ = ["NmPacker", "group_layout", "timing"]


def timing(spec: PackerSpec) -> UnitTiming:
    """Return the cycle contract of packer and unpacker alike; a transfer is a group.

    The latency counts from what completes an output. The interval is the longest between groups.
    """
    return UnitTiming(1, ceil_div(spec.group_bits, spec.word_bits))


def group_layout(spec: PackerSpec) -> data.ArrayLayout:
    """Return the layout of a group; raise :class:`SpecError` for no pattern that SORE emits."""
    sorter = spec.sorter
    if sorter.nm_m < 2 or sorter.nm_n > sorter.nm_m:
        found = f"nm_n={sorter.nm_n}, nm_m={sorter.nm_m}"
        raise SpecError("sore.sorter", "nm_m >= 2 and nm_n <= nm_m", found)
    return data.ArrayLayout(slot_layout(sorter), sorter.nm_n)


class NmPacker(wiring.Component):
    """Emit the bits of all groups without gaps, in words; a block of groups begins a word.

    Groups follow each other lowest bit first, slot 0 lowest, a value below its index, across word
    boundaries. The unused bits of the last word of a block are zero.

    Parameters
    ----------
    spec : PackerSpec
        Pattern as for :class:`rtl.sat.topn_sorter.TopNSorter`, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout({value, index}, nm_n)))
        Groups, as SORE emits them.
    i_groups : In(32)
        Groups per block, constant while any is inside; 0 stands for 2**32.
    o : Out(stream.Signature({data: word_bits, last: 1}))
        Words; ``last`` marks the last one of a block.

    Timing
    ------
    A word is offered 1 cycle after the group that completes it (or ends the block) was accepted.
    Groups are accepted every cycle while words are at least as wide and accepted, otherwise as fast
    as one word per cycle carries them; if the last group of a block reaches into a further
    word, that one takes a cycle of its own. ``o.valid`` and the data are registers, ``i.ready``
    depends combinationally on ``o.ready``.

    Reset
    -----
    Empty, at the begin of a block; ``o.valid`` is 0.
    """

    def __init__(self, spec: PackerSpec) -> None:
        self.spec = spec
        word = data.StructLayout({"data": unsigned(spec.word_bits), "last": unsigned(1)})
        super().__init__(
            {
                "i": In(stream.Signature(group_layout(spec))),
                "i_groups": In(32),
                "o": Out(stream.Signature(word)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.gearbox = Gearbox(spec.group_bits, spec.word_bits)
        self.accepted = Signal(32)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.gearbox = gearbox = self.gearbox
        is_last = Signal()
        m.d.comb += [
            is_last.eq(self._is_last()),
            gearbox.i.valid.eq(self.i.valid),
            gearbox.i.payload.eq(Value.cast(self.i.payload)),
            self.i.ready.eq(gearbox.i.ready),
            gearbox.i_is_last.eq(is_last),
            self.o.valid.eq(gearbox.o.valid),
            self.o.payload.data.eq(gearbox.o.payload),
            self.o.payload.last.eq(gearbox.o_is_last),
            gearbox.o.ready.eq(self.o.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.accepted.eq(Mux(is_last, 0, self.accepted + 1))
        return m

    def _is_last(self) -> Value:
        """Return whether the group offered is the last one of its block."""
        return self.accepted == (self.i_groups - 1)[:32]
