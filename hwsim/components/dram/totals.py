"""Add up what the memories of a run did: commands, how rows were found, energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwsim.components.dram.controller import Counts
from hwsim.components.dram.devices import Device
from hwsim.components.energy_dram import dram_energy

__all__ = ["command_counts", "dram_total_pj"]

_OUTCOMES = ("hits", "misses", "conflicts")


def command_counts(counts: Sequence[Counts]) -> dict[str, Any]:
    """Return a run's ``dram_commands`` and ``dram_rows``; nothing without counts."""
    if not counts:
        return {}
    rows = {name: sum(getattr(count, name) for count in counts) for name in _OUTCOMES}
    return {"dram_commands": _commands(counts), "dram_rows": rows}


def dram_total_pj(device: Device, counts: Sequence[Counts], cycles: int, clock_hz: int) -> float:
    """Return the picojoules of commands and background over ``cycles`` of ``clock_hz``."""
    return sum(dram_energy(device, _commands(counts), cycles, clock_hz).values())


def _commands(counts: Sequence[Counts]) -> dict[str, int]:
    return {name: sum(count.commands[name] for count in counts) for name in counts[0].commands}
