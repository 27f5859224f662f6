"""Lay the ports of a unit out in two words: what the bench drives and what it sees.

Plain Python, because it is imported inside the simulator process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PortMap", "StreamPort", "mask"]


def mask(width_bits: int) -> int:
    """Return ``width_bits`` ones."""
    return (1 << width_bits) - 1


@dataclass(frozen=True)
class StreamPort:
    """One stream of a unit: its path joined by ``__`` and the width of its payload.

    ``is_always_ready``: the side that receives cannot refuse.
    """

    name: str
    width_bits: int
    is_always_ready: bool = False


@dataclass(frozen=True)
class PortMap:
    """All ports of a unit that a bench handles.

    The word driven (``stim``) holds, least significant first, {valid, payload} per source, ready
    per sink (of no effect if it is always ready), the value per plain input. The word seen
    (``seen``) holds ready per source (1 if it is always ready), {valid, payload} per sink, the
    value per plain output.

    Attributes
    ----------
    sources : tuple[StreamPort, ...]
        Streams into the unit.
    sinks : tuple[StreamPort, ...]
        Streams out of the unit.
    statics : tuple[tuple[str, int], ...]
        Plain inputs {name, width in bits}: constant during a batch, or played as a wave.
    probes : tuple[tuple[str, int], ...]
        Plain outputs {name, width in bits}.
    """

    sources: tuple[StreamPort, ...]
    sinks: tuple[StreamPort, ...]
    statics: tuple[tuple[str, int], ...] = ()
    probes: tuple[tuple[str, int], ...] = ()

    def source_offsets(self) -> list[int]:
        """Return the bit of ``stim`` holding each source's valid; its payload follows."""
        return _offsets(1 + port.width_bits for port in self.sources)

    def sink_offsets(self) -> list[int]:
        """Return the bit of ``seen`` holding each sink's valid; its payload follows."""
        start = len(self.sources)
        return [start + bit for bit in _offsets(1 + port.width_bits for port in self.sinks)]

    def ready_offsets(self) -> list[int]:
        """Return the bit of ``stim`` holding each sink's ready."""
        start = sum(1 + port.width_bits for port in self.sources)
        return [start + number for number in range(len(self.sinks))]

    def pack_statics(self, values: dict[str, int]) -> int:
        """Return the bits of ``stim`` that stay constant; absent statics are 0."""
        word = 0
        bit = sum(1 + port.width_bits for port in self.sources) + len(self.sinks)
        for name, width_bits in self.statics:
            word |= (values.get(name, 0) & mask(width_bits)) << bit
            bit += width_bits
        return word

    def probe_offsets(self) -> list[int]:
        """Return the lowest bit of ``seen`` of each plain output."""
        start = len(self.sources) + sum(1 + port.width_bits for port in self.sinks)
        return [start + bit for bit in _offsets(width_bits for _, width_bits in self.probes)]

    @property
    def stim_bits(self) -> int:
        """Return the width of the word driven."""
        streams = sum(1 + port.width_bits for port in self.sources) + len(self.sinks)
        return streams + sum(width_bits for _, width_bits in self.statics)

    @property
    def seen_bits(self) -> int:
        """Return the width of the word seen."""
        streams = len(self.sources) + sum(1 + port.width_bits for port in self.sinks)
        return streams + sum(width_bits for _, width_bits in self.probes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description, read back by :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PortMap:
        """Return the map that :meth:`to_json` described."""
        return cls(
            tuple(StreamPort(**port) for port in values["sources"]),
            tuple(StreamPort(**port) for port in values["sinks"]),
            tuple((name, width_bits) for name, width_bits in values["statics"]),
            tuple((name, width_bits) for name, width_bits in values["probes"]),
        )


def _offsets(widths: Iterable[int]) -> list[int]:
    offsets, bit = [], 0
    for width_bits in widths:
        offsets.append(bit)
        bit += width_bits
    return offsets
