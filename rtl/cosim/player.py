"""Decide, cycle by cycle, what a bench drives: the same code behind every simulator.

Plain Python, because it is imported inside the simulator process.
"""

from __future__ import annotations

from typing import Any

from rtl.cosim.ports import PortMap

__all__ = ["RESET_CYCLES", "SETTLE_CYCLES", "Player"]

RESET_CYCLES = 3
"""Reset is held this long before cycle 0."""

SETTLE_CYCLES = 8
"""Cycles played after the last expected output, to catch surplus ones."""


class Player:
    """Drive one batch of vectors and record every cycle.

    A source offers its next word in the first cycle without a gap and then holds it until it is
    accepted; a sink is ready in every cycle without a stall. A wave gives a plain input one value
    per cycle, and keeps the last. Patterns end in "no gap, no stall".

    Parameters
    ----------
    ports : PortMap
        Layout of the words.
    batch : dict
        ``Vectors.to_json()``.

    Attributes
    ----------
    stim, seen : list[int]
        Per cycle, reset included: the word driven and the word seen (-1 if it had unknown bits).
    """

    def __init__(self, ports: PortMap, batch: dict[str, Any]) -> None:
        self.stim: list[int] = []
        self.seen: list[int] = []
        self._statics = ports.pack_statics(batch["statics"])
        self._waves = [
            [ports.pack_statics({name: value}) for value in batch["waves"][name]]
            for name, _ in ports.statics
            if batch["waves"].get(name)
        ]
        self._limit = int(batch["limit_cycles"])
        self._cycle = -RESET_CYCLES
        self._sources = [
            _Source(number, offset, batch["inputs"][port.name], batch["gaps"].get(port.name, ""))
            for number, (port, offset) in enumerate(
                zip(ports.sources, ports.source_offsets(), strict=True)
            )
        ]
        self._sinks = [
            (valid, 1 << ready, batch["stalls"].get(port.name, ""))
            for port, valid, ready in zip(
                ports.sinks, ports.sink_offsets(), ports.ready_offsets(), strict=True
            )
        ]
        self._missing = [len(batch["expected"][port.name]) for port in ports.sinks]
        self._quiet_cycles = 0

    @property
    def is_reset(self) -> bool:
        """Whether reset is to be driven in the coming cycle."""
        return self._cycle < 0

    @property
    def is_done(self) -> bool:
        """Whether all was played and nothing more is expected, or the limit is reached."""
        return self._quiet_cycles > SETTLE_CYCLES or self._cycle >= self._limit

    def drive(self) -> int:
        """Return the word to drive in the coming cycle."""
        word = self._statics
        cycle = self._cycle
        if cycle >= 0:
            for source in self._sources:
                word |= source.drive(cycle)
            for wave in self._waves:
                word |= wave[min(cycle, len(wave) - 1)]
            for _, ready, stalls in self._sinks:
                if cycle >= len(stalls) or stalls[cycle] == "0":
                    word |= ready
        self.stim.append(word)
        return word

    def observe(self, seen: int) -> None:
        """Take the settled word of the cycle whose word was driven last."""
        self.seen.append(seen)
        self._cycle += 1
        cycles = self._cycle
        if cycles <= 0 or seen < 0:
            return
        is_quiet = True
        for source in self._sources:
            source.observe(seen)
            is_quiet &= source.is_empty
        for wave in self._waves:
            is_quiet &= cycles >= len(wave)
        for number, (valid, ready, _) in enumerate(self._sinks):
            if seen >> valid & 1 and self.stim[-1] & ready:
                self._missing[number] -= 1
            is_quiet &= self._missing[number] <= 0
        self._quiet_cycles = self._quiet_cycles + 1 if is_quiet else 0


class _Source:
    def __init__(self, number: int, offset: int, words: list[int], gaps: str) -> None:
        self._ready_bit = number
        self._offers = [(word << 1 | 1) << offset for word in words]
        self._gaps = gaps
        self._next = 0
        self._offer = 0

    @property
    def is_empty(self) -> bool:
        return self._next == len(self._offers)

    def drive(self, cycle: int) -> int:
        is_gap = cycle < len(self._gaps) and self._gaps[cycle] != "0"
        if not self._offer and not is_gap and self._next < len(self._offers):
            self._offer = self._offers[self._next]
        return self._offer

    def observe(self, seen: int) -> None:
        if self._offer and seen >> self._ready_bit & 1:
            self._offer = 0
            self._next += 1
