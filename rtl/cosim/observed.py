"""Hold what a simulator showed of a unit, cycle by cycle, and read transfers out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtl.cosim.player import RESET_CYCLES, Player
from rtl.cosim.ports import PortMap, mask

__all__ = ["Observed", "StreamTrace"]


@dataclass(frozen=True)
class StreamTrace:
    """One stream in every cycle; index 0 is the first cycle of reset.

    Attributes
    ----------
    name : str
        Path of the stream.
    is_output : bool
        Whether the unit is the side that offers.
    valid, ready : bool[cycles]
        The handshake.
    payload : list[int], length cycles
        Meaningful where ``valid``.
    """

    name: str
    is_output: bool
    valid: NDArray[np.bool_]
    ready: NDArray[np.bool_]
    payload: list[int]

    @property
    def transfer_cycles(self) -> NDArray[np.int64]:
        """Return the cycles of accepted transfers, counted from the end of reset."""
        moved = self.valid & self.ready
        moved[:RESET_CYCLES] = False
        return np.flatnonzero(moved) - RESET_CYCLES

    @property
    def words(self) -> list[int]:
        """Return the accepted payload words, in order."""
        return [self.payload[cycle + RESET_CYCLES] for cycle in self.transfer_cycles.tolist()]


@dataclass(frozen=True)
class Observed:
    """What one simulator showed for one batch.

    Attributes
    ----------
    driver : str
        The simulator.
    streams : {name: StreamTrace}
        Every stream of the unit.
    unknown_cycles : int64[*]
        Cycles, from the first of reset, in which a bit was neither 0 nor 1.
    probes : {name: list[int]}
        Every plain output in every cycle; index 0 is the first cycle of reset.
    """

    driver: str
    streams: dict[str, StreamTrace]
    unknown_cycles: NDArray[np.int64]
    probes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, list[int]]:
        """Return the words emitted per output stream, in order."""
        return {name: trace.words for name, trace in self.streams.items() if trace.is_output}

    @property
    def accept_cycles(self) -> dict[str, NDArray[np.int64]]:
        """Return the cycle of every accepted input per input stream, 0 = first after reset."""
        return self._cycles(is_output=False)

    @property
    def emit_cycles(self) -> dict[str, NDArray[np.int64]]:
        """Return the cycle of every emitted output per output stream, 0 = first after reset."""
        return self._cycles(is_output=True)

    def _cycles(self, *, is_output: bool) -> dict[str, NDArray[np.int64]]:
        return {
            name: trace.transfer_cycles
            for name, trace in self.streams.items()
            if trace.is_output is is_output
        }

    @classmethod
    def from_words(cls, driver: str, ports: PortMap, stim: list[int], seen: list[int]) -> Observed:
        """Return the record of a batch from its words driven and seen (-1: had unknown bits)."""
        unknown = np.flatnonzero(np.array([word < 0 for word in seen], dtype=np.bool_))
        seen = [max(word, 0) for word in seen]
        traces: dict[str, StreamTrace] = {}
        for number, (port, bit) in enumerate(
            zip(ports.sources, ports.source_offsets(), strict=True)
        ):
            payload = _field(stim, bit + 1, port.width_bits)
            traces[port.name] = StreamTrace(
                port.name, False, _bit(stim, bit), _bit(seen, number), payload
            )
        for port, bit, ready in zip(
            ports.sinks, ports.sink_offsets(), ports.ready_offsets(), strict=True
        ):
            payload = _field(seen, bit + 1, port.width_bits)
            accepts = np.ones(len(stim), np.bool_) if port.is_always_ready else _bit(stim, ready)
            traces[port.name] = StreamTrace(port.name, True, _bit(seen, bit), accepts, payload)
        probes = {
            name: _field(seen, bit, width_bits)
            for (name, width_bits), bit in zip(ports.probes, ports.probe_offsets(), strict=True)
        }
        return cls(driver, traces, unknown, probes)

    @classmethod
    def from_player(cls, driver: str, ports: PortMap, player: Player) -> Observed:
        """Return the record of a batch that was just played."""
        return cls.from_words(driver, ports, player.stim, player.seen)


def _bit(words: list[int], bit: int) -> NDArray[np.bool_]:
    return np.array([word >> bit & 1 for word in words], dtype=np.bool_)


def _field(words: list[int], bit: int, width_bits: int) -> list[int]:
    ones = mask(width_bits)
    return [word >> bit & ones for word in words]
