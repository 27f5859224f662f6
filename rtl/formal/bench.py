"""Wrap a unit for proof: free inputs, the stream rules, and properties of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.asserts import AnySeq
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Module, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.cosim.harness import plain_ports, streams

__all__ = ["Properties", "proof_rtlil"]

Properties = Callable[[Module, Any], None]
"""Adds assertions about a unit to a module that already drives its inputs."""

TOP = "proof"


def proof_rtlil(unit: wiring.Component, properties: Properties) -> str:
    """Return RTLIL that asserts the stream rules and ``properties`` of ``unit``.

    Every input is free in every cycle, reset included, except that sources obey the stream rules
    themselves. No rule holds for streams without back-pressure, in which nothing ever waits. A
    proof by induction needs ``properties`` to relate the unit's registers to what its streams did
    so far; they may add state of their own in the ``sync`` domain.

    Parameters
    ----------
    unit : wiring.Component
        Not yet elaborated.
    properties : (m, unit) -> None
        Called once, before the unit is elaborated.
    """
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.unit = unit
    was_reset = Signal(reset_less=True)
    m.d.sync += was_reset.eq(ResetSignal())
    for name, port in streams(unit, In).items():
        m.d.comb += port.valid.eq(AnySeq(1))
        m.d.comb += Value.cast(port.payload).eq(AnySeq(len(Value.cast(port.payload))))
        m.d.comb += Assume(_is_offer_held(m, port, name))
    for port in plain_ports(unit, In).values():
        m.d.comb += port.eq(AnySeq(len(port)))
    for name, port in streams(unit, Out).items():
        if port.signature.always_ready:
            continue
        m.d.comb += port.ready.eq(AnySeq(1))
        m.d.comb += Assert(_is_offer_held(m, port, name))
        m.d.comb += Assert(~(was_reset & port.valid))
    properties(m, unit)
    return rtlil.convert(m, name=TOP, ports=[domain.clk, domain.rst], emit_src=False)


def _is_offer_held(m: Module, port: stream.Interface, name: str) -> Value:
    """Return whether what was offered and not accepted in the last cycle is still there."""
    # Else a signed word would be compared with one of no sign.
    payload = Value.cast(port.payload).as_unsigned()
    was_waiting = Signal(name=f"{name}_was_waiting")
    last_payload = Signal(len(payload), name=f"{name}_last_payload")
    m.d.sync += [was_waiting.eq(port.valid & ~port.ready), last_payload.eq(payload)]
    return ~was_waiting | (port.valid & (payload == last_payload))
