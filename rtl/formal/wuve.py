"""State that the weight update engine pairs its streams and loses, repeats, reorders nothing."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Module, Signal, Value

from rtl.formal.float_pipeline import assert_order, assert_words
from rtl.sat.wuve import Wuve

__all__ = ["wuve_properties"]


def wuve_properties(m: Module, unit: Wuve) -> None:
    """Assert that the k-th word of every output came from the k-th words of all inputs.

    The inputs are accepted in the same cycles. Each transfer passes the stages in order; of the one
    in the last stage every output has emitted its word or still offers it. What the stages compute
    is not stated here. The rates are arbitrary constants.
    """
    for rate in unit.rates.values():
        m.d.comb += rate.eq(AnyConst(32))
    accepted = [port.valid & port.ready for port in unit.sources.values()]
    for other in accepted[1:]:
        m.d.comb += Assert(other == accepted[0])
    assert_order(m, unit.is_used, accepted[0], unit.is_moving)
    assert_words(m, unit.moves, unit.is_moving)
    for number, (name, port) in enumerate(unit.sinks.items()):
        emitted = port.valid & port.ready
        owed = Signal(range(len(unit.is_used) + 1), name=f"owed_{name}")
        m.d.sync += owed.eq(owed + accepted[0] - emitted)
        is_sent = unit.is_sent[number]
        m.d.comb += Assert(owed == sum(unit.is_used) - is_sent)
        m.d.comb += Assert(~is_sent | unit.is_used[-1])
        m.d.comb += Assert(port.valid == (unit.is_used[-1] & ~is_sent))
        for lane, result in enumerate(unit.results[name]):
            m.d.comb += Assert(Value.cast(port.payload[lane]) == result)
