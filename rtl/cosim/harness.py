"""Put a unit behind two packed words, so that one bench drives every unit."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockDomain, Module, Shape, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import InputError
from rtl.cosim.ports import PortMap, StreamPort

__all__ = ["Harness", "connect_stream", "plain_ports", "port_map", "streams"]


def streams(unit: wiring.Component, flow: wiring.Flow) -> dict[str, stream.Interface]:
    """Return the streams of ``unit`` that flow in (``In``) or out (``Out``), by joined path."""
    found: dict[str, stream.Interface] = {}

    def visit(path: str, member: wiring.Member, value: object) -> None:
        is_stream = member.is_signature and isinstance(member.signature, stream.Signature)
        if is_stream and member.flow == flow:
            found[path] = value

    _walk(unit, visit)
    return found


def port_map(unit: wiring.Component) -> PortMap:
    """Return how a bench sees ``unit``.

    Raises :class:`InputError` for an input that must be valid in every cycle: a bench that pauses
    its source cannot drive one.
    """
    for name, port in streams(unit, In).items():
        if port.signature.always_valid:
            raise InputError(name, "an input stream that may pause", "always_valid=True")
    return PortMap(
        _stream_ports(unit, In),
        _stream_ports(unit, Out),
        tuple((name, _width(value)) for name, value in plain_ports(unit, In).items()),
        tuple((name, _width(value)) for name, value in plain_ports(unit, Out).items()),
    )


def _stream_ports(unit: wiring.Component, flow: wiring.Flow) -> tuple[StreamPort, ...]:
    return tuple(
        StreamPort(name, _width(port.payload), port.signature.always_ready)
        for name, port in streams(unit, flow).items()
    )


class Harness(wiring.Component):
    """Wrap a unit: ``stim`` drives all its inputs, ``seen`` shows all its outputs.

    Parameters
    ----------
    unit : wiring.Component
        Any unit; its inputs may pause.
    domain : ClockDomain, optional
        Its ``sync`` domain; absent: clock and reset become top-level ports.

    Attributes
    ----------
    stim, seen : In(stim_bits), Out(seen_bits)
        Laid out by :class:`PortMap`.

    Timing
    ------
    Wires only.
    """

    def __init__(self, unit: wiring.Component, domain: ClockDomain | None = None) -> None:
        self.unit = unit
        self.ports = port_map(unit)
        self._domain = domain
        super().__init__(
            {
                "stim": In(unsigned(self.ports.stim_bits)),
                "seen": Out(unsigned(self.ports.seen_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        if self._domain is not None:
            m.domains.sync = self._domain
        m.submodules.unit = self.unit
        sources, sinks = streams(self.unit, In), streams(self.unit, Out)
        driven: list[Value] = []
        for port in sources.values():
            driven += [port.valid, Value.cast(port.payload)]
        for port in sinks.values():
            # A constant cannot be driven; the bit keeps its place in the layout.
            driven.append(Signal() if port.signature.always_ready else port.ready)
        driven += plain_ports(self.unit, In).values()
        m.d.comb += Cat(driven).eq(self.stim)
        shown: list[Value] = [port.ready for port in sources.values()]
        for port in sinks.values():
            shown += [port.valid, Value.cast(port.payload)]
        shown += plain_ports(self.unit, Out).values()
        m.d.comb += self.seen.eq(Cat(shown))
        return m


def connect_stream(m: Module, source: stream.Interface, sink: stream.Interface) -> None:
    """Let ``sink`` take what ``source`` offers; payloads may be laid out differently."""
    m.d.comb += [
        Value.cast(sink.payload).eq(Value.cast(source.payload)),
        sink.valid.eq(source.valid),
    ]
    if not source.signature.always_ready:
        m.d.comb += source.ready.eq(sink.ready)


def plain_ports(unit: wiring.Component, flow: wiring.Flow) -> dict[str, Value]:
    """Return the plain inputs or outputs of ``unit`` by joined path."""
    found: dict[str, Value] = {}

    def visit(path: str, member: wiring.Member, value: object) -> None:
        if member.is_port and member.flow == flow:
            found[path] = Value.cast(value)

    _walk(unit, visit)
    return found


def _walk(unit: wiring.Component, visit: object) -> None:
    """Call ``visit(path, member, value)`` for every top-level port, stream and port array."""
    for name, member in unit.signature.members.items():
        _visit(name, member, getattr(unit, name), visit)


def _visit(path: str, member: wiring.Member, value: object, visit: object) -> None:
    if member.dimensions:
        inner = wiring.Member(
            member.flow, member.signature if member.is_signature else member.shape
        )
        for dimension in member.dimensions[:0:-1]:
            inner = inner.array(dimension)
        for number, element in enumerate(value):
            _visit(f"{path}__{number}", inner, element, visit)
    elif member.is_signature and not isinstance(member.signature, stream.Signature):
        for name, nested in member.signature.members.items():
            below = nested if member.flow == Out else nested.flip()
            _visit(f"{path}__{name}", below, getattr(value, name), visit)
    else:
        visit(path, member, value)


def _width(value: object) -> int:
    return Shape.cast(Value.cast(value).shape()).width
