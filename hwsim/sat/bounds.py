"""Enclose the cycles of a SAT program without running it."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.limits import slowest_bytes_per_s
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
    slowest = (
        memory if spec.memory.model != "dram" else _slowest_cycles(rows["mem_bytes"], times, spec)
    )
    serial = sum(per_unit) + slowest + latency + int(times.sum())
    return Bounds(max(memory, *per_unit), serial)


def _slowest_cycles(sizes: NDArray[np.int64], times: NDArray[np.int64], spec: SatSpec) -> int:
    """Return the cycles of all DRAM bursts one after the other, and of one refresh."""
    device = spec.memory.dram_device()
    bursts = int((-(-sizes // device.burst_bytes) * times).sum())
    rate = slowest_bytes_per_s(device)
    clocks = Fraction(bursts * device.burst_bytes * device.clock_hz) / rate
    clocks += device.timings["RFC_AB"] + device.timings["REFI"] if bursts else 0
    return ceil(clocks * spec.clock_hz / device.clock_hz)
