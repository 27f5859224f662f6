"""State that turns are fair."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal, Value

__all__ = ["assert_turns"]


def assert_turns(
    m: Module, wanting: Sequence[Value], taken: Value, winner: Value, turn: Signal
) -> None:
    """Assert that whoever keeps wanting is served after at most ``places - 1`` others."""
    places = len(wanting)
    watched = Signal(range(max(2, places)))
    m.d.comb += [watched.eq(AnyConst(len(watched))), Assume(watched < places)]
    wants = Signal()
    for k, want in enumerate(wanting):
        with m.If(watched == k):
            m.d.comb += wants.eq(want)
    passed = Signal(range(places + 1))
    with m.If(~wants | (taken & (winner == watched))):
        m.d.sync += passed.eq(0)
    with m.Elif(taken):
        m.d.sync += passed.eq(passed + 1)
    distance = Mux(watched >= turn, watched - turn, watched + places - turn)
    m.d.comb += Assert(turn < places)
    m.d.comb += Assert(passed < places)
    # Every grant to another brings the turn nearer.
    m.d.comb += Assert(passed + distance < places)
