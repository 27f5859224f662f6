"""Enclose the cycles of a SAT program without running it."""

from __future__ import annotations

from hwsim.core.machine import Bounds
from hwsim.core.program import Program
from hwsim.core.units import ceil_div
from hwsim.sat.spec import SatSpec

__all__ = ["program_bounds"]


def program_bounds(program: Program, spec: SatSpec) -> Bounds:
    """Return the bounds of ``program``.

    No run is shorter than its busiest unit or than its bytes at the memory's rate; none is longer
    than everything one after the other, with a memory latency per request and a dispatch cycle
    per instruction.
    """
    rows = program.instructions
    times = program.dynamic_counts()
    per_unit = [
        int((rows["cycles"] * times)[rows["unit"] == unit].sum())
        for unit in range(len(program.units))
    ]
    requests = int(times[rows["mem_bytes"] > 0].sum())
    moved = int((rows["mem_bytes"] * times).sum())
    memory, latency = 0, 0
    if spec.memory.model != "ideal":
        rate = spec.memory_bytes_per_cycle
        memory = ceil_div(moved * rate.denominator, rate.numerator)
        latency = requests * (spec.memory.latency_cycles + 1)
    serial = sum(per_unit) + memory + latency + int(times.sum())
    return Bounds(max(memory, *per_unit), serial)
