"""Turn the counts of a run into energy per component."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.components.dram.totals import dram_total_pj
from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.core.result import Stats
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.statistics import OpCounts, commands_of

__all__ = ["BLOCK_STATIC_MW", "REGISTER_BYTES", "run_energy"]

_TECHNOLOGY = "asic-7nm"
"""The silicon is a 7 nm chip (PIUMA 2020, abstract)."""

BLOCK_STATIC_MW = 9.2 * 20.0
"""9.2 mm2 of a block (Hot Chips 2023, by the press) at 20 mW per mm2 (assumed, as ``asic-7nm``)."""

REGISTER_BYTES = 3 * 8
"""Of registers per instruction: two read, one written (assumed). 16 threads of 32 registers (press)
are an array of 4 KB, which a simple core's instruction does not pay for; charged as one of 8 KB."""


def run_energy(stats: Stats, counts: Sequence[OpCounts], spec: PiumaSpec) -> dict[str, float]:
    """Return picojoules per component; they sum to the run's energy.

    Every instruction is charged alike, its registers apart; a cache is charged 8 bytes per access
    and what it is filled with. Off-chip memory is charged by bytes on its bus, or with ``dram`` by
    its commands and background. Static power is that of the blocks' area.
    """
    hits = sum(count.cache_hits for count in counts)
    cached = 8 * hits + sum(stats.bytes["cache"].values())
    instructions = sum(sum(count.instructions.values()) for count in counts)
    moved = {
        "pipelines": {"instruction": instructions},
        "registers": {"sram_8kb_byte": REGISTER_BYTES * instructions},
        "cache": {"sram_8kb_byte": cached},
        "spad": {"sram_1mb_byte": sum(stats.bytes["spad"].values())},
        "network": {"router_byte": sum(count.network_bytes for count in counts)},
        "dram": {"dram_byte": sum(sum(count.bus_bytes) for count in counts)},
    }
    table = EnergyTable.named(_TECHNOLOGY)
    static_mw = spec.blocks * BLOCK_STATIC_MW
    found = energy_by_component(table, moved, stats.cycles, spec.clock_hz, static_mw=static_mw)
    commands = commands_of(counts)
    if commands:
        device = spec.memory.dram_device(spec.blocks)
        found["dram"] = dram_total_pj(device, commands, stats.cycles, spec.clock_hz)
    return found
