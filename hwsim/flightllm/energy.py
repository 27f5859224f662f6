"""Turn the counts of a run into energy per component, and name what the board takes beside them."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.components.dram.controller import Counts
from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.components.energy_dram import dram_energy
from hwsim.core.result import Stats
from hwsim.core.units import ceil_div
from hwsim.flightllm.spec import FlightSpec

__all__ = ["REST", "run_energy"]

REST = "unmodelled"
"""The component that a board's measured power leaves for what no count stands for."""

_LARGE_BUFFERS = ("a_buffer", "global_buffer", "bias_buffer")
"""Charged as arrays of 1 MB, the others as arrays of 32 KB (the nearest sizes in the table)."""
_TO_PJ = 1e12


def run_energy(stats: Stats, spec: FlightSpec, dram: Sequence[Counts] = ()) -> dict[str, float]:
    """Return picojoules per component; they sum to the run's energy.

    Every issued slot of the matrix engine is one product and one addition. A byte that a load fills
    a buffer with is read once by an engine, one that a store drains was written once (assumed). HBM
    is charged by what ``dram`` counted, or by its bytes in whole rows (assumed: long bursts). Its
    background is part of ``static``, the card at rest. Where a board's power under load was
    measured, ``unmodelled`` is what it leaves: soft logic, clocks, controllers.
    """
    slots = stats.issued_macs
    counts = {"mpe": {"int8_mult": slots, "int32_add": slots}}
    counts["buffers"] = dict.fromkeys(("sram_1mb_byte", "sram_32kb_byte"), 0)
    for level, moved in stats.bytes.items():
        if level != "dram":
            size = "sram_1mb_byte" if level in _LARGE_BUFFERS else "sram_32kb_byte"
            counts["buffers"][size] += 2 * sum(moved.values())
    power = spec.power
    table = EnergyTable.named(power.technology)
    found = energy_by_component(
        table, counts, stats.cycles, spec.clock_hz, static_mw=1000 * power.static_w
    )
    found["hbm"] = _hbm_pj(stats, spec, dram)
    if power.board_w is not None:
        is_working = any(unit.busy for unit in stats.units.values())
        board_pj = power.board_w * _TO_PJ * stats.cycles / spec.clock_hz
        found[REST] = max(0.0, board_pj - sum(found.values())) if is_working else 0.0
    return found


def _hbm_pj(stats: Stats, spec: FlightSpec, dram: Sequence[Counts]) -> float:
    """Return what HBM's commands take, its background left out."""
    device = spec.memory.dram_device()
    moved = stats.bytes.get("dram", {"read": 0, "write": 0})
    commands = {
        "RD": ceil_div(moved["read"], device.burst_bytes),
        "WR": ceil_div(moved["write"], device.burst_bytes),
        "ACT": ceil_div(sum(moved.values()), device.row_bytes),
    }
    if dram:
        names = dram[0].commands
        commands = {name: sum(count.commands[name] for count in dram) for name in names}
    parts = dram_energy(device, commands, stats.cycles, spec.clock_hz)
    return sum(pj for part, pj in parts.items() if part != "background")
