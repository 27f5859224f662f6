"""Turn the counts of a SAT run into energy per component."""

from __future__ import annotations

from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.core.program import Program
from hwsim.core.result import Stats
from hwsim.sat.bounds import dynamic_counts
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
    vector = rows["unit"] == UNITS.index("vector")
    times = [
        count for count, is_mine in zip(dynamic_counts(program), vector, strict=True) if is_mine
    ]
    vector_cycles = sum(
        int(cycles) * count for cycles, count in zip(rows["cycles"][vector], times, strict=True)
    )
    counts = {
        "array": {"fp16_mult": stats.issued_macs, "fp32_add": stats.issued_macs},
        "vector": {"fp32_add": vector_cycles * spec.vector.lanes * spec.vector.stages},
        "dram": {"dram_byte": sum(stats.bytes.get("dram", {}).values())},
    }
    for level, moved in stats.bytes.items():
        if level != "dram":
            counts[level] = {_BUFFER_ACTION: sum(moved.values())}
    table = EnergyTable.named(spec.technology)
    return energy_by_component(table, counts, stats.cycles, spec.clock_hz)
