"""Enclose the cycles of a program: no unit can do its work faster, nothing can be slower than
one instruction after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwsim.core.machine import Bounds
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import Body, pieces
from hwsim.flightllm.isa import ST
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.spec import FlightSpec

__all__ = ["program_bounds"]

_FIRST_COMPUTE = 2
"""Units LD and ST are in front."""


def program_bounds(program: FlightProgram, spec: FlightSpec) -> Bounds:
    """Return the cycles of the busiest unit per layer, and of all instructions in sequence.

    With DRAM, whose rate is its own, loads and stores bound nothing from below; from above, each of
    their bursts takes as long as one that opens a row, alone, behind a refresh.
    """
    is_dram = spec.memory.model == "dram"
    low = high = Fraction(0)
    parts, whole = [], []
    for body in program.bodies:
        units = []
        for unit in range(6):
            chosen = body.code["cost"][body.code["unit"] == unit]
            counts = np.bincount(chosen, minlength=len(body.costs)).tolist()
            units.append(sum(c * n for c, n in zip(body.costs, counts, strict=True)))
        counts = np.bincount(body.code["cost"], minlength=len(body.told)).tolist()
        all_in_turn = sum(
            max(c, t) * n for c, t, n in zip(body.costs, body.told, counts, strict=True)
        )
        whole.append(all_in_turn + (_bursts_in_turn(body, spec) if is_dram else 0))
        parts.append(units[_FIRST_COMPUTE:] if is_dram else units)
    for run in program.runs:
        low += max(parts[run.body]) * run.steps
        high += whole[run.body] * run.steps
    low, high = low / spec.speed, high / spec.speed
    return Bounds(int(low), ceil_div(high.numerator, high.denominator))


def _bursts_in_turn(body: Body, spec: FlightSpec) -> Fraction:
    """Return the cycles of all bursts of a layer, one after the other."""
    device = spec.memory.dram_device()
    t = device.timings
    clocks = t["RFC_AB"] + t["RC"] + t["RCD_RD"] + max(t["CL"], t["CWL"]) + t["BL"]
    each = Fraction(clocks * spec.clock_hz, device.clock_hz) + spec.memory.path_cycles + 1
    moves = body.code[body.code["unit"] <= ST]
    pieces_of_channels = 8 * int(pieces(moves).sum())
    whole = (body.hbm_read + body.hbm_write) // device.burst_bytes
    return each * (whole + 2 * pieces_of_channels)
