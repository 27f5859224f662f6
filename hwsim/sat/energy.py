"""Turn the counts of a SAT run into energy per component."""

from __future__ import annotations

from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.core.program import Program
from hwsim.core.result import Stats
from hwsim.sat.isa import UNITS
from hwsim.sat.spec import SatSpec

__all__ = ["run_energy"]

_BUFFER_ACTION = "sram_1mb_byte"
"""Buffers of a few MiB are banked; one access is charged as to a 1 MB array (assumed)."""


def run_energy(stats: Stats, program: Program, spec: SatSpec) -> dict[str, float]:
    """Return picojoules per component; they sum to the run's energy.

    Every issued product slot is charged, padding included: the array does not gate its clock
    (assumed). A vector lane is charged one FP32 addition per chained stage and cycle.
    """
    rows = program.instructions
    cycles = rows["cycles"] * program.dynamic_counts()
    lane_cycles = {
        name: int(cycles[rows["unit"] == UNITS.index(name)].sum())
        for name in ("vector", "wuve", "sore")
    }
    counts = {
        "array": {"fp16_mult": stats.issued_macs, "fp32_add": stats.issued_macs},
        "vector": {"fp32_add": lane_cycles["vector"] * spec.vector.lanes * spec.vector.stages},
        # Three chained multiply-adds per weight; one comparison per value and kept slot.
        "wuve": dict.fromkeys(("fp32_mult", "fp32_add"), 3 * lane_cycles["wuve"] * spec.wuve.lanes),
        "sore": {"int16_compare": lane_cycles["sore"] * spec.sore.lanes * spec.sore.sorter.nm_n},
        "dram": {"dram_byte": sum(stats.bytes.get("dram", {}).values())},
    }
    for level, moved in stats.bytes.items():
        if level != "dram":
            counts[level] = {_BUFFER_ACTION: sum(moved.values())}
    table = EnergyTable.named(spec.technology)
    return energy_by_component(table, counts, stats.cycles, spec.clock_hz)
