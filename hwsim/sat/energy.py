"""Turn the counts of a SAT run into energy per component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwsim.components.area import cells_of
from hwsim.components.dram.controller import Counts
from hwsim.components.dram.totals import dram_total_pj
from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.core.program import Program
from hwsim.core.result import Stats
from hwsim.sat.area import sat_area
from hwsim.sat.isa import UNITS
from hwsim.sat.spec import SatSpec

__all__ = ["lane_cycles", "run_energy"]

_BUFFER_ACTION = "sram_1mb_byte"
"""Buffers of a few MiB are banked; one access is charged as to a 1 MB array (assumed)."""

_MOVING_UNITS = ("sat/west_lane", "sat/north_edge", "sat/south_edge", "sat/tile_control")
"""Look-up tables beside the array's products and sums, which are charged as what they compute."""


def lane_cycles(program: Program) -> dict[str, int]:
    """Return the cycles that the vector path, WUVE and SORE work in ``program``."""
    rows = program.instructions
    cycles = rows["cycles"] * program.dynamic_counts()
    return {
        name: int(cycles[rows["unit"] == UNITS.index(name)].sum())
        for name in ("vector", "wuve", "sore")
    }


def run_energy(
    stats: Stats, lanes: Mapping[str, int], spec: SatSpec, dram: Sequence[Counts] = ()
) -> dict[str, float]:
    """Return picojoules per component; they sum to the run's energy.

    Every issued product slot is charged, padding included: the array does not gate its clock
    (assumed). A vector lane is charged one FP32 addition per chained stage and cycle. ``lanes`` are
    :func:`lane_cycles`. Memory is charged by bytes, or by what ``dram`` counted: its commands and
    background. On an FPGA the clocks of all registers run while any unit works (assumed), and what
    feeds the array toggles while it works, cells by the area model.
    """
    counts = {
        "array": {"fp16_mult": stats.issued_macs, "fp32_add": stats.issued_macs},
        "vector": {"fp32_add": lanes["vector"] * spec.vector.lanes * spec.vector.stages},
        # Three chained multiply-adds per weight; one comparison per value and kept slot.
        "wuve": dict.fromkeys(("fp32_mult", "fp32_add"), 3 * lanes["wuve"] * spec.wuve.lanes),
        "sore": {"int16_compare": lanes["sore"] * spec.sore.lanes * spec.sore.sorter.nm_n},
        "dram": {"dram_byte": sum(stats.bytes.get("dram", {}).values())},
    }
    for level, moved in stats.bytes.items():
        if level != "dram":
            counts[level] = {_BUFFER_ACTION: sum(moved.values())}
    if spec.technology == "fpga-16nm" and not spec.is_array_only:
        counts |= _cells(stats, spec)
    table = EnergyTable.named(spec.technology)
    found = energy_by_component(table, counts, stats.cycles, spec.clock_hz)
    if dram:
        found["dram"] = dram_total_pj(spec.memory.dram_device(), dram, stats.cycles, spec.clock_hz)
    return found


def _cells(stats: Stats, spec: SatSpec) -> dict[str, dict[str, int]]:
    """Return in how many cycles look-up tables toggle and registers are clocked."""
    parts = sat_area(spec).parts
    moving = cells_of(part for part in parts if part.unit in _MOVING_UNITS)["lut"]
    array = stats.units.get("stce")
    is_working = any(unit.busy for unit in stats.units.values())
    return {
        "soft_logic": {"lut_cycle": moving * (array.busy if array is not None else 0)},
        "clocks": {"register_cycle": cells_of(parts)["ff"] * stats.cycles if is_working else 0},
    }
