"""Time every different layer once, in integer ticks that keep all of its rational costs exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import HwsimError
from hwsim.flightllm.body import Body
from hwsim.flightllm.isa import SYS, UNITS
from hwsim.flightllm.kernels import play

__all__ = ["LayerTime", "play_body"]

MAX_TICKS = 1 << 62


@dataclass(frozen=True)
class LayerTime:
    """What a layer takes, in cycles of the clock before the speed-up, exact.

    ``busy`` per unit; ``lost`` per unit and per producer that was waited for last.
    """

    cycles: Fraction
    busy: tuple[Fraction, ...]
    lost: tuple[tuple[Fraction, ...], ...]

    @cached_property
    def parts(self) -> tuple[tuple[float, ...], ...]:
        """Return busy and lost cycles per unit, rounded."""
        return tuple(
            tuple(float(part) for part in (busy, *lost))
            for busy, lost in zip(self.busy, self.lost, strict=True)
        )


def play_body(body: Body) -> LayerTime:
    """Return the time of ``body``; raise :class:`HwsimError` if it can never finish."""
    per_cycle = math.lcm(*(cost.denominator for cost in body.costs))
    ticks_of = [int(cost * per_cycle) for cost in body.costs]
    times = np.bincount(body.code["cost"], minlength=len(ticks_of)).tolist()
    if sum(t * n for t, n in zip(ticks_of, times, strict=True)) >= MAX_TICKS:
        need = f"a layer below {MAX_TICKS} ticks of 1/{per_cycle} cycle"
        raise HwsimError("layer", need, "more: its costs have no common measure so small")
    makespan, busy, lost = _play(body.code, np.array(ticks_of, np.int64)[body.code["cost"]])
    return LayerTime(
        Fraction(makespan, per_cycle),
        tuple(Fraction(int(t), per_cycle) for t in busy),
        tuple(tuple(Fraction(int(t), per_cycle) for t in row) for row in lost),
    )


def _play(
    code: NDArray[np.void], ticks: NDArray[np.int64]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    n = len(code)
    unit, wait, release = (np.ascontiguousarray(code[f]) for f in ("unit", "wait", "release"))
    pool = np.zeros((36, n + 1), np.int64)
    pushed, popped = np.zeros(36, np.int64), np.zeros(36, np.int64)
    pushed[SYS * 6 : SYS * 6 + 6] = 1  # the barrier in front of the layer
    busy, lost = np.zeros(6, np.int64), np.zeros((6, 6), np.int64)
    makespan = play(
        unit, wait, release, ticks, pool, pushed, popped,
        np.zeros(6, np.int64), busy, lost, np.zeros(n, np.int64),
    )  # fmt: skip
    if makespan < 0:
        index = -1 - int(makespan)
        need = f"tokens for instruction {index} of a layer"
        raise HwsimError(f"unit {UNITS[unit[index]]}", need, "none that will come")
    return int(makespan), busy, lost
