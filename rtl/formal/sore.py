"""State that SORE's lanes run in lock step, each of them a sorter of its own column."""

from __future__ import annotations

from amaranth.hdl import Assert, Module

from rtl.formal.topn_sorter import topn_sorter_properties
from rtl.sat.sore import Sore

__all__ = ["sore_properties"]


def sore_properties(m: Module, unit: Sore) -> None:
    """Assert that every row goes to all lanes and every group leaves with those of all lanes.

    With what is asserted of each lane (one group per ``nm_m`` values, the top-n function), one set
    of groups leaves per ``nm_m`` rows, and lane l's group is that of column l.
    """
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    first = unit.sorters[0]
    for lane, sorter in enumerate(unit.sorters):
        topn_sorter_properties(m, sorter)
        m.d.comb += Assert(sorter.position == first.position)
        m.d.comb += Assert(sorter.o.valid == unit.o.valid)
        m.d.comb += Assert((sorter.i.valid & sorter.i.ready) == accepted)
        m.d.comb += Assert((sorter.o.valid & sorter.o.ready) == emitted)
        m.d.comb += Assert(sorter.i.payload == unit.i.payload[lane])
        m.d.comb += Assert(sorter.o.payload.as_value() == unit.o.payload[lane].as_value())
