"""Turn the counts of a run into energy per component."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.components.dram.controller import Counts
from hwsim.components.dram.totals import dram_total_pj
from hwsim.components.energy import EnergyTable, energy_by_component
from hwsim.cpu.spec import CpuSpec

__all__ = ["run_energy"]

_LINE_BYTES = 64


def run_energy(
    counts: dict[str, int],
    instructions: int,
    macs: int,
    cycles: int,
    spec: CpuSpec,
    dram: Sequence[Counts] = (),
) -> dict[str, float]:
    """Return picojoules per component; they sum to the run's energy.

    An instruction's energy covers fetch, decode, rename and registers; products, cache accesses
    and memory come on top. Caches are charged as arrays of the nearest size in the table, memory by
    bytes, or by what ``dram`` counted: its commands and background.
    """
    used = {
        "core": {"instruction": instructions},
        "vector_units": {"fp32_mult": macs, "fp32_add": macs},
        "l1": {"sram_32kb_byte": counts["load_bytes"] + counts["store_bytes"]},
        "l2": {"sram_1mb_byte": _LINE_BYTES * (counts["l1_fills"] + counts["l1_evictions"])},
        "dram": {"dram_byte": _LINE_BYTES * (counts["memory_reads"] + counts["memory_writes"])},
    }
    if spec.l3 is not None:
        moved = counts["l2_fills"] + counts["l2_evictions"]
        used["l3"] = {"sram_1mb_byte": _LINE_BYTES * moved}
    table = EnergyTable.named(spec.technology)
    found = energy_by_component(table, used, cycles, spec.clock_hz)
    if dram:
        found["dram"] = dram_total_pj(spec.memory.dram_device(), dram, cycles, spec.clock_hz)
    return found
