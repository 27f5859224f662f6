"""Enclose the cycles of a program: no unit can do its work faster, nothing can be slower than
one instruction after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwsim.core.machine import Bounds
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.spec import FlightSpec

__all__ = ["program_bounds"]


def program_bounds(program: FlightProgram, spec: FlightSpec) -> Bounds:
    """Return the cycles of the busiest unit per layer, and of all instructions in sequence."""
    low = high = Fraction(0)
    parts, whole = [], []
    for body in program.bodies:
        units = []
        for unit in range(6):
            chosen = body.code["cost"][body.code["unit"] == unit]
            counts = np.bincount(chosen, minlength=len(body.costs)).tolist()
            units.append(sum(c * n for c, n in zip(body.costs, counts, strict=True)))
        counts = np.bincount(body.code["cost"], minlength=len(body.told)).tolist()
        whole.append(
            sum(max(c, t) * n for c, t, n in zip(body.costs, body.told, counts, strict=True))
        )
        parts.append(units)
    for run in program.runs:
        low += max(parts[run.body]) * run.steps
        high += whole[run.body] * run.steps
    low, high = low / spec.speed, high / spec.speed
    return Bounds(int(low), -(-high.numerator // high.denominator))
