"""Time every different layer once, in integer ticks that keep all of its rational costs exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import HwsimError
from hwsim.flightllm.body import Body
from hwsim.flightllm.isa import SYS, UNITS
from hwsim.flightllm.kernels import play

if TYPE_CHECKING:
    from hwsim.components.dram.controller import Counts

__all__ = ["BodyTimes", "LayerTime", "play_body", "play_times"]

MAX_TICKS = 1 << 62


@dataclass(frozen=True)
class LayerTime:
    """What a layer takes, in cycles of the clock before the speed-up, exact.

    ``busy`` per unit; ``lost`` per unit and per producer that was waited for last, the unit itself
    if its own completions were; ``dram``: what each channel of a core did, if memory was played
    command by command.
    """

    cycles: Fraction
    busy: tuple[Fraction, ...]
    lost: tuple[tuple[Fraction, ...], ...]
    dram: tuple[Counts, ...] = ()

    @cached_property
    def parts(self) -> tuple[tuple[float, ...], ...]:
        """Return busy and lost cycles per unit, rounded."""
        return tuple(
            tuple(float(part) for part in (busy, *lost))
            for busy, lost in zip(self.busy, self.lost, strict=True)
        )


@dataclass(frozen=True)
class BodyTimes:
    """When a layer's instructions run, in 1 / ``per_cycle`` cycles.

    Their ``start``, the ``ticks`` that they occupy their units for, and when their tokens can be
    taken, ``told``.
    """

    per_cycle: int
    start: NDArray[np.int64]
    ticks: NDArray[np.int64]
    told: NDArray[np.int64]
    cycles: Fraction
    """What the layer takes, in cycles of the clock before the speed-up."""


def play_body(body: Body) -> LayerTime:
    """Return the time of ``body``; raise :class:`HwsimError` if it can never finish."""
    per_cycle, ticks, told = _ticks(body)
    makespan, busy, lost, *_ = _play(body, ticks, told, per_cycle)
    return LayerTime(
        Fraction(makespan, per_cycle),
        tuple(Fraction(int(t), per_cycle) for t in busy),
        tuple(tuple(Fraction(int(t), per_cycle) for t in row) for row in lost),
    )


def play_times(body: Body) -> BodyTimes:
    """Return when every instruction of ``body`` runs, as :func:`play_body` does."""
    per_cycle, ticks, told = _ticks(body)
    makespan, _, _, start, when = _play(body, ticks, told, per_cycle)
    return BodyTimes(per_cycle, start, ticks, when, Fraction(makespan, per_cycle))


def _ticks(body: Body) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return the ticks per cycle that make all costs whole, and every instruction's two times."""
    per_cycle = math.lcm(*(cost.denominator for cost in (*body.costs, *body.told)))
    ticks_of, told_of = (
        [int(cost * per_cycle) for cost in costs] for costs in (body.costs, body.told)
    )
    times = np.bincount(body.code["cost"], minlength=len(ticks_of)).tolist()
    if sum(t * n for t, n in zip(map(max, ticks_of, told_of), times, strict=True)) >= MAX_TICKS:
        need = f"a layer below {MAX_TICKS} ticks of 1/{per_cycle} cycle"
        raise HwsimError("layer", need, "more: its costs have no common measure so small")
    ticks, told = (np.array(x, np.int64)[body.code["cost"]] for x in (ticks_of, told_of))
    return per_cycle, ticks, told


def _play(
    body: Body, ticks: NDArray[np.int64], told: NDArray[np.int64], per_cycle: int
) -> tuple[int, *tuple[NDArray[np.int64], ...]]:
    """Return makespan, busy ticks per unit, lost ones per unit and producer, start and told."""
    code, n = body.code, len(body.code)
    limits = (body.completion_gap_cycles * per_cycle, body.token_depth, body.in_flight)
    unit, wait, release = (np.ascontiguousarray(code[f]) for f in ("unit", "wait", "release"))
    pool = np.zeros((36, n + 1), np.int64)
    pushed, popped = np.zeros(36, np.int64), np.zeros(36, np.int64)
    pushed[SYS * 6 : SYS * 6 + 6] = 1  # the barrier in front of the layer
    busy, lost = np.zeros(6, np.int64), np.zeros((6, 6), np.int64)
    start, when = np.zeros(n, np.int64), np.zeros(n, np.int64)
    makespan = play(
        unit, wait, release, ticks, told, *map(np.int64, limits), pool, pushed, popped,
        np.zeros(6, np.int64), busy, lost, start, when,
    )  # fmt: skip
    if makespan < 0:
        index = -1 - int(makespan)
        need = f"tokens for instruction {index} of a layer, or room for its own"
        raise HwsimError(f"unit {UNITS[unit[index]]}", need, "none that will come")
    return int(makespan), busy, lost, start, when
