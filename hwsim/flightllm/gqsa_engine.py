"""Say what the engine for rows of INT4 groups computes and when: golden and cycle model.

Groups of 16 and the even split of the non-zero groups over engines are recollected of GQSA (Zeng et
al. 2025); fixed-point scales, registers and the order of fix-up are this project's. Everything is
exact integer arithmetic, so neither the split nor the order of additions changes a sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.flightllm.dsp48 import wrap
from hwsim.flightllm.unit_spec import GqsaSpec

__all__ = [
    "GroupRows",
    "Partial",
    "engine_partials",
    "engine_timing",
    "fix_up",
    "fixed_scales",
    "fixup_timing",
    "play_reduction",
    "row_split_cycles",
    "row_sums",
    "share_bounds",
    "stream_sums",
    "task_split_cycles",
]

ENGINE_LATENCY_CYCLES = 4
"""Activations read; dot product; scaling; sum."""

Pattern = NDArray[np.bool_]
Cycles = NDArray[np.int64]


def engine_timing(spec: GqsaSpec) -> UnitTiming:
    """Return the cycle contract of an engine; a transfer is a group, 1 per cycle."""
    del spec
    return UnitTiming(ENGINE_LATENCY_CYCLES, 1)


def fixup_timing(spec: GqsaSpec) -> UnitTiming:
    """Return the cycle contract of the fix-up adder; a transfer is a partial sum."""
    del spec
    return UnitTiming(1, 1)


@dataclass(frozen=True)
class GroupRows:
    """Kept groups, row by row.

    Attributes
    ----------
    columns : int[groups]
        Group column.
    values : int[groups, group]
        q, 0 to 15.
    zeros : int[groups]
        0 to 15.
    scales : int[groups]
        Unsigned fixed point.
    row_ends : bool[groups]
        True at the last group of a row; rows of no group do not appear.
    """

    columns: NDArray[np.int64]
    values: NDArray[np.int64]
    zeros: NDArray[np.int64]
    scales: NDArray[np.int64]
    row_ends: NDArray[np.bool_]


Partial = tuple[int, bool]
"""A sum that leaves an engine, and whether its row ends with it."""


def fixed_scales(
    scales: NDArray[np.floating], fraction_bits: int, scale_bits: int
) -> NDArray[np.int64]:
    """Return ``scales`` in units of 2**-fraction_bits, rounded to nearest.

    Raises :class:`InputError` for one that ``scale_bits`` do not hold.
    """
    fixed = np.rint(np.ldexp(scales.astype(np.float64), fraction_bits)).astype(np.int64)
    limit = (1 << scale_bits) - 1
    if fixed.size and (fixed.min() < 0 or fixed.max() > limit):
        raise InputError("scales", f"0 to {limit} / 2**{fraction_bits}", str(float(scales.max())))
    return fixed


def share_bounds(groups: int, engines: int) -> list[tuple[int, int]]:
    """Return which groups each engine takes: as many as the others, within one."""
    edges = [share * groups // engines for share in range(engines + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def task_split_cycles(spec: GqsaSpec, groups: int, engines: int) -> int:
    """Return the cycles from the first group to the last sum, groups split evenly over engines.

    An engine has at most two rows that go on elsewhere: two more sums through the fix-up.
    """
    most = max(stop - start for start, stop in share_bounds(groups, engines))
    return _stream_cycles(spec, most) + fixup_timing(spec).latency_cycles + 1


def row_split_cycles(spec: GqsaSpec, row_groups: NDArray[np.integer], engines: int) -> int:
    """Return the same if every engine has as many whole rows of ``row_groups`` as the others."""
    edges = [start for start, _ in share_bounds(len(row_groups), engines)]
    return _stream_cycles(spec, int(np.add.reduceat(row_groups, edges).max()))


def _stream_cycles(spec: GqsaSpec, groups: int) -> int:
    timing = engine_timing(spec)
    return (groups - 1) * timing.interval_cycles + timing.latency_cycles


def engine_partials(
    spec: GqsaSpec, rows: GroupRows, acts: NDArray[np.integer], start: int, stop: int
) -> list[Partial]:
    """Return what an engine emits for groups ``start`` to ``stop``: row sums, and a rest.

    Parameters
    ----------
    acts : int8[groups of activations, group]
    """
    total, found = 0, []
    for number in range(start, stop):
        shifted = rows.values[number] - int(rows.zeros[number])
        dot = int(shifted @ acts[rows.columns[number]].astype(np.int64))
        total = wrap(total + dot * int(rows.scales[number]), spec.sum_bits)
        if rows.row_ends[number] or number == stop - 1:
            found.append((total, bool(rows.row_ends[number])))
            total = 0
    return found


def fix_up(spec: GqsaSpec, partials: list[Partial]) -> list[int]:
    """Return a sum per row: the partial sums of all engines in order, joined where rows go on."""
    total, sums = 0, []
    for partial, is_row_end in partials:
        total = wrap(total + partial, spec.sum_bits)
        if is_row_end:
            sums.append(total)
            total = 0
    return sums


def stream_sums(
    spec: GqsaSpec, rows: GroupRows, acts: NDArray[np.integer], engines: int
) -> NDArray[np.int64]:
    """Return what :func:`engine_partials` and :func:`fix_up` give for many vectors, int64[m, rows].

    Parameters
    ----------
    acts : int8[m, groups of activations, group]
    engines : int
        That share the groups, one or more.
    """
    shifted = rows.values - rows.zeros[:, None]
    dots = (acts.astype(np.int64)[:, rows.columns] * shifted).sum(axis=2) * rows.scales
    starts = np.concatenate([[0], np.flatnonzero(rows.row_ends)[:-1] + 1])
    shares = [start for start, stop in share_bounds(len(rows.columns), engines) if stop > start]
    cuts = np.union1d(starts, shares)
    partials = _wrapped(np.add.reduceat(dots, cuts, axis=1), spec.sum_bits)
    sums = np.add.reduceat(partials, np.searchsorted(cuts, starts), axis=1)
    return _wrapped(sums, spec.sum_bits)


def _wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return values << (64 - bits) >> (64 - bits)


def row_sums(rows: GroupRows, acts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the exact sums of the rows that have groups, by numpy."""
    shifted = rows.values - rows.zeros[:, None]
    dots = (shifted * acts.astype(np.int64)[rows.columns]).sum(axis=1) * rows.scales
    row_of = np.concatenate([[0], np.cumsum(rows.row_ends)[:-1]]).astype(np.int64)
    sums = np.zeros(int(rows.row_ends.sum()), dtype=np.int64)
    np.add.at(sums, row_of, dots)
    return sums


def play_reduction(
    timing: UnitTiming, is_emitted: Pattern, source_gaps: Pattern, sink_stalls: Pattern
) -> tuple[Cycles, Cycles]:
    """Return accept and emit cycles of a pipeline of which some transfers vanish at its end.

    All stages move in the cycles in which the last one holds nothing to emit, or it is accepted.

    Parameters
    ----------
    is_emitted : bool[transfers]
        Whether each transfer accepted leaves.
    """
    stages = [False] * timing.latency_cycles
    marks = [False] * timing.latency_cycles
    accepts: list[int] = []
    emits: list[int] = []
    cycle, is_offered, total = 0, False, int(is_emitted.sum())
    while len(emits) < total or len(accepts) < len(is_emitted):
        is_gap = cycle < len(source_gaps) and bool(source_gaps[cycle])
        is_offered = is_offered or (len(accepts) < len(is_emitted) and not is_gap)
        is_stalled = cycle < len(sink_stalls) and bool(sink_stalls[cycle])
        is_valid = stages[-1] and marks[-1]
        if is_valid and not is_stalled:
            emits.append(cycle)
        if not is_valid or not is_stalled:
            mark = is_offered and bool(is_emitted[len(accepts)])
            if is_offered:
                accepts.append(cycle)
            stages, marks = [is_offered, *stages[:-1]], [mark, *marks[:-1]]
            is_offered = False
        cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)
