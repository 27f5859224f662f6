"""Select the N of every M along all lanes at once: the sparse online reduction engine (SORE)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SoreSpec
from rtl.sat import topn_sorter
from rtl.sat.data_provider import row_layout
from rtl.sat.topn_sorter import TopNSorter, slot_layout

__all__ = ["Sore", "groups_layout", "timing"]


def timing(spec: SoreSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a set of ``lanes`` groups of ``nm_m`` values."""
    return topn_sorter.timing(spec.sorter)


def groups_layout(spec: SoreSpec) -> data.ArrayLayout:
    """Return the layout of one compact group per lane, lane 0 and slot 0 lowest."""
    group = data.ArrayLayout(slot_layout(spec.sorter), spec.sorter.nm_n)
    return data.ArrayLayout(group, spec.lanes)


class Sore(wiring.Component):
    """Emit, for every ``nm_m`` rows accepted, the N:M group of each lane.

    Lane l sorts column l of the rows (:class:`~rtl.sat.topn_sorter.TopNSorter`: order, ties). All
    lanes accept and emit together, so their groups start and end in the same cycles.

    Parameters
    ----------
    spec : SoreSpec
        Lanes, and a sorter that :class:`~rtl.sat.topn_sorter.TopNSorter` accepts.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout(16, lanes)))
        One FP16 word per lane; ``nm_m`` consecutive transfers hold one group per lane.
    o : Out(stream.Signature(ArrayLayout(ArrayLayout({value, index}, nm_n), lanes)))
        One compact group per lane.

    Timing
    ------
    Accepts ``lanes`` values per cycle: ``lanes`` groups per ``nm_m`` cycles, whatever ``nm_n`` is,
    while the consumer accepts in time. Latency 1 from the last row of a set of groups. ``i.ready``
    is decoded from registers only; outputs are the lanes' registers.

    Reset
    -----
    Drops started groups; ``o.valid`` is 0.
    """

    def __init__(self, spec: SoreSpec) -> None:
        self.spec = spec
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.sorters = [TopNSorter(spec.sorter) for _ in range(spec.lanes)]
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(spec))),
                "o": Out(stream.Signature(groups_layout(spec))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.d.comb += self.i.ready.eq(Cat(sorter.i.ready for sorter in self.sorters).all())
        m.d.comb += self.o.valid.eq(Cat(sorter.o.valid for sorter in self.sorters).all())
        for lane, sorter in enumerate(self.sorters):
            m.submodules[f"sorter{lane}"] = sorter
            m.d.comb += [
                sorter.i.valid.eq(self.i.valid & self.i.ready),
                sorter.i.payload.eq(self.i.payload[lane]),
                sorter.o.ready.eq(self.o.valid & self.o.ready),
                self.o.payload[lane].eq(sorter.o.payload),
            ]
        return m
