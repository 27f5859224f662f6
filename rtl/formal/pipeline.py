"""State what holds of every pipeline that moves and waits as a whole."""

from __future__ import annotations

from amaranth.hdl import Assert, Module, Value

from rtl.common.pipeline import Pipeline
from rtl.formal.float_pipeline import assert_order, assert_words

__all__ = ["pipeline_properties"]


def pipeline_properties(m: Module, unit: Pipeline) -> None:
    """Assert that the k-th word emitted went through all registers from the k-th accepted.

    That is order, no loss and no duplication; what the registers compute is not stated here.
    """
    accepted = unit.i.valid & unit.i.ready
    m.d.comb += Assert(unit.is_moving == (~unit.o.valid | unit.o.ready))
    m.d.comb += Assert(unit.i.ready == (unit.is_moving & unit.may_accept))
    m.d.comb += Assert(unit.o.valid == (unit.is_used[-1] & unit.is_emitted))
    assert_order(m, unit.is_used, accepted, unit.is_moving)
    assert_words(m, unit.moves, unit.is_moving)
    m.d.comb += Assert(Value.cast(unit.o.payload) == unit.result)
