"""Break a unit on purpose, in one known way, so that every check can be shown to fail."""

from __future__ import annotations

from typing import Literal, get_args

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import InputError
from rtl.common.fifo import Fifo, FifoSpec
from rtl.cosim.harness import connect_stream, plain_ports, streams

__all__ = ["FAULTS", "Fault", "Faulty"]

Fault = Literal["flip", "drop", "retract", "late"]

FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Every fault; "flip" and "drop" change outputs, "retract" breaks a stream rule, "late" is slow."""


class Faulty(wiring.Component):
    """Pass every port of ``unit`` through, with one fault on its first output stream.

    Parameters
    ----------
    unit : wiring.Component
        With at least one output stream.
    fault : Fault
        ``flip``: the lowest payload bit of every fourth transfer is inverted. ``drop``: every
        fourth transfer is swallowed. ``retract``: an offer that was not accepted is taken back for
        one cycle. ``late``: every transfer comes one cycle later.

    Attributes
    ----------
    Those of ``unit``.
    """

    def __init__(self, unit: wiring.Component, fault: Fault) -> None:
        if fault not in FAULTS:
            raise InputError("fault", f"one of {', '.join(FAULTS)}", repr(fault))
        self.unit = unit
        self.fault = fault
        super().__init__(unit.signature)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.unit = self.unit
        inner, outer = streams(self.unit, In), streams(self, In)
        for name, port in inner.items():
            connect_stream(m, outer[name], port)
        for name, port in plain_ports(self.unit, In).items():
            m.d.comb += port.eq(plain_ports(self, In)[name])
        for name, port in plain_ports(self, Out).items():
            m.d.comb += port.eq(plain_ports(self.unit, Out)[name])
        inner, outer = streams(self.unit, Out), streams(self, Out)
        first, *rest = inner
        for name in rest:
            connect_stream(m, inner[name], outer[name])
        self._break(m, inner[first], outer[first])
        return m

    def _break(self, m: Module, source: stream.Interface, sink: stream.Interface) -> None:
        if self.fault == "late":
            width_bits = len(Value.cast(source.payload))
            m.submodules.late = late = Fifo(FifoSpec(width_bits=width_bits, depth=2))
            connect_stream(m, source, late.i)
            connect_stream(m, late.o, sink)
            return
        connect_stream(m, source, sink)
        number = Signal(2)
        was_refused = Signal()
        with m.If(source.valid & source.ready):
            m.d.sync += number.eq(number + 1)
        m.d.sync += was_refused.eq(sink.valid & ~sink.ready)
        if self.fault == "flip":
            m.d.comb += Value.cast(sink.payload).eq(Value.cast(source.payload) ^ (number == 3))
        elif self.fault == "drop":
            with m.If(number == 3):
                m.d.comb += sink.valid.eq(0)
                if not source.signature.always_ready:
                    m.d.comb += source.ready.eq(1)
        else:
            with m.If(was_refused):
                m.d.comb += [sink.valid.eq(0), source.ready.eq(0)]
