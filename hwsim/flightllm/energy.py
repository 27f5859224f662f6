"""Turn the counts of a run into energy per component, and name what the board takes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwsim.components.area import cells_of
from hwsim.components.dram.controller import Counts
from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.components.energy_dram import dram_energy
from hwsim.core.result import Stats
from hwsim.core.units import ceil_div
from hwsim.flightllm.area import flight_area
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
    background is part of ``static``, the card at rest. Look-up tables toggle while their unit works
    and clocks run while any does (assumed), cells by the area model. Where a board's power under
    load was measured, ``unmodelled`` is what it leaves: parts without RTL, controllers, regulators.
    """
    is_working = any(unit.busy for unit in stats.units.values())
    slots = stats.issued_macs
    counts = {"mpe": {"int8_mult": slots, "int32_add": slots}}
    counts["buffers"] = dict.fromkeys(("sram_1mb_byte", "sram_32kb_byte"), 0)
    for level, moved in stats.bytes.items():
        if level != "dram":
            size = "sram_1mb_byte" if level in _LARGE_BUFFERS else "sram_32kb_byte"
            counts["buffers"][size] += 2 * sum(moved.values())
    counts |= _cells(stats, spec) if is_working else {}
    power = spec.power
    table = EnergyTable.named(power.technology)
    found = energy_by_component(
        table, counts, stats.cycles, spec.clock_hz, static_mw=1000 * power.static_w
    )
    found["hbm"] = _hbm_pj(stats, spec, dram)
    if power.board_w is not None:
        board_pj = power.board_w * _TO_PJ * stats.cycles / spec.clock_hz
        found[REST] = max(0.0, board_pj - sum(found.values())) if is_working else 0.0
    return found


def _cells(stats: Stats, spec: FlightSpec) -> dict[str, dict[str, int]]:
    """Return in how many cycles look-up tables toggle and registers are clocked.

    A chain works in its issues, an unpacker while it fills a lane's port, the vector unit of every
    core while ``misc`` does.
    """
    parts = flight_area(spec).parts
    filled = sum(stats.bytes.get(name, {}).get("write", 0) for name in ("a_buffer", "b_buffer"))
    misc = stats.units.get("misc")
    worked = {
        "flightllm/csd_chain": ceil_div(stats.issued_macs, 2 * spec.chain.dsps),
        "flightllm/dequant": ceil_div(filled, spec.dequant.lanes),
        "flightllm/vector_sfu": spec.cores * (misc.busy if misc is not None else 0),
    }
    toggled = sum(
        worked[part.unit] * cells_of([replace(part, count=1)])["lut"]
        for part in parts
        if part.unit in worked
    )
    registers = cells_of(parts)["ff"]
    return {
        "soft_logic": {"lut_cycle": toggled},
        "clocks": {"register_cycle": registers * stats.cycles},
    }


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
