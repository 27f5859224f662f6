"""Put several units side by side, so that one compiled simulation plays them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.cosim.harness import connect_stream, plain_ports, streams
from rtl.cosim.observed import Observed
from rtl.cosim.vectors import Vectors
from rtl.cosim.verilator import run_verilator

__all__ = ["Bundle", "run_bundle"]


class Bundle(wiring.Component):
    """Offer the ports of every unit under its name; wires only.

    Parameters
    ----------
    units : {name: wiring.Component}
        Not yet elaborated.

    Attributes
    ----------
    <name> : Out(unit.signature)
    """

    def __init__(self, units: Mapping[str, wiring.Component]) -> None:
        self.units = dict(units)
        super().__init__({name: Out(unit.signature) for name, unit in self.units.items()})

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules += self.units.values()
        sources, sinks = streams(self, In), streams(self, Out)
        inputs, outputs = plain_ports(self, In), plain_ports(self, Out)
        for name, unit in self.units.items():
            for port, stream in streams(unit, In).items():
                connect_stream(m, sources[f"{name}__{port}"], stream)
            for port, stream in streams(unit, Out).items():
                connect_stream(m, stream, sinks[f"{name}__{port}"])
            for port, value in plain_ports(unit, In).items():
                m.d.comb += value.eq(inputs[f"{name}__{port}"])
            for port, value in plain_ports(unit, Out).items():
                m.d.comb += outputs[f"{name}__{port}"].eq(value)
        return m


def run_bundle(
    units: Mapping[str, wiring.Component],
    batches: Sequence[tuple[str, Vectors]],
    cells: str = "",
) -> list[Observed]:
    """Return what the named unit of each (name, vectors) does on Verilator; the others rest.

    One compilation and one process for all; ``cells`` as for :func:`run_verilator`.
    """
    bundle = Bundle(units)
    ports = {
        flow: {name: list(streams(unit, flow)) for name, unit in units.items()}
        for flow in (In, Out)
    }
    spread = [_spread(name, vectors, ports) for name, vectors in batches]
    played = run_verilator(bundle, spread, cells)
    return [_pick(name, observed) for (name, _), observed in zip(batches, played, strict=True)]


def _spread(
    name: str, vectors: Vectors, ports: Mapping[wiring.Flow, Mapping[str, list[str]]]
) -> Vectors:
    """Return ``vectors`` under the bundle's names, with no words for the other units."""

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{name}__{port}": value for port, value in values.items()}

    nothing = {
        flow: {f"{unit}__{port}": [] for unit, names in found.items() for port in names}
        for flow, found in ports.items()
    }
    return replace(
        vectors,
        inputs={**nothing[In], **renamed(vectors.inputs)},
        expected={**nothing[Out], **renamed(vectors.expected)},
        source_gaps=renamed(vectors.source_gaps),
        sink_stalls=renamed(vectors.sink_stalls),
        statics=renamed(vectors.statics),
        waves=renamed(vectors.waves),
    )


def _pick(name: str, observed: Observed) -> Observed:
    """Return what concerns unit ``name``, under its own names of ports."""
    start = f"{name}__"
    traces = {
        port.removeprefix(start): replace(trace, name=port.removeprefix(start))
        for port, trace in observed.streams.items()
        if port.startswith(start)
    }
    probes = {
        port.removeprefix(start): values
        for port, values in observed.probes.items()
        if port.startswith(start)
    }
    return replace(observed, streams=traces, probes=probes)
