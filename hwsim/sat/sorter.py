"""Say what one SORE lane computes and when: golden model and cycle model of the N:M sorter.

A lane accepts one FP16 value per cycle; ``nm_m`` consecutive values are a group, of which it keeps
the ``nm_n`` largest magnitudes (compare and replace). That a group takes M cycles is third-party:
reading notes on Fang et al. 2023 (one group per lane in M cycles, compare-and-replace sorter); the
order of special values, the tie rule, the one-cycle latency and the shadow output register are
this project's own.

The one total order: the 15 magnitude bits compared as an unsigned integer. Hence the sign does not
matter, +0 and -0 tie, infinity lies above every finite value and NaN above infinity, by payload.
Ties go to the lowest index. For finite values this is magnitude pruning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SoreSpec, SorterSpec

__all__ = [
    "engine_timing",
    "network_timing",
    "play_lane",
    "reduce_rows",
    "sorter_schedule",
    "timing",
    "topn_group",
]

LATENCY_CYCLES = 1
"""From accepting the last value of a group to offering the group (output register)."""

MAGNITUDE_MASK = 0x7FFF
"""Bits of an FP16 word that are compared: everything but the sign."""


def timing(spec: SorterSpec) -> UnitTiming:
    """Return the cycle contract of one lane; a transfer is a group of ``nm_m`` values.

    Raises :class:`SpecError` if ``spec`` is not a pattern that the lane can sort.
    """
    if spec.nm_m < 2 or spec.nm_n > spec.nm_m:
        raise SpecError(
            "sore.sorter", "nm_m >= 2 and nm_n <= nm_m", f"nm_n={spec.nm_n}, nm_m={spec.nm_m}"
        )
    return UnitTiming(latency_cycles=LATENCY_CYCLES, interval_cycles=spec.nm_m)


def engine_timing(spec: SoreSpec) -> UnitTiming:
    """Return the cycle contract of all lanes in lock step; a transfer is a set of ``lanes`` groups.

    Hence ``lanes * nm_m`` values per ``nm_m`` cycles, whatever ``nm_n`` is.
    """
    return timing(spec.sorter)


def network_timing(spec: SorterSpec) -> UnitTiming:
    """Return the cycle contract of a pipelined compare network; a transfer is a whole group.

    The alternative to the lane: Batcher's odd-even merging, one register behind every rank of
    comparators, one group per cycle. With t = ceil(log2 M) and s = ceil(log2 N), merging lists of
    2^k takes 1 + k ranks, of which 1 + min(k, s) concern the N largest; another s (s + 1) / 2
    ranks bring the kept slots back into index order.

    Raises :class:`SpecError` as :func:`timing` does.
    """
    timing(spec)
    merges = (spec.nm_m - 1).bit_length()
    kept = (spec.nm_n - 1).bit_length()
    ranks = sum(1 + min(level, kept) for level in range(merges)) + kept * (kept + 1) // 2
    return UnitTiming(latency_cycles=ranks, interval_cycles=1)


def topn_group(bits: NDArray[np.uint16], nm_n: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return the ``nm_n`` kept values of every group and their positions, positions ascending.

    Parameters
    ----------
    bits : uint16[groups, m]
        FP16 words, one group per row.
    nm_n : int
        Values kept per group, at most m.

    Returns
    -------
    values : uint16[groups, nm_n]
        Kept words, sign included.
    indices : uint8[groups, nm_n]
        Position of each kept word in its group, strictly ascending.

    Raises
    ------
    InputError
        If ``bits`` is not uint16[groups, m] with ``nm_n`` <= m <= 256.
    """
    if bits.ndim != 2 or bits.dtype != np.uint16 or not nm_n <= bits.shape[1] <= 256:
        raise InputError(
            "bits", f"uint16[groups, m] with {nm_n} <= m <= 256", f"{bits.dtype}{list(bits.shape)}"
        )
    magnitude = (bits & MAGNITUDE_MASK).astype(np.int32)
    # A stable sort of the negated magnitude leaves ties in index order.
    kept = np.argsort(-magnitude, axis=1, kind="stable")[:, :nm_n]
    kept = np.sort(kept, axis=1)
    return np.take_along_axis(bits, kept, axis=1), kept.astype(np.uint8)


def reduce_rows(
    spec: SoreSpec, rows: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return the compact groups of all lanes.

    Parameters
    ----------
    spec : SoreSpec
        Lanes and pattern.
    rows : uint16[sets * nm_m, lanes]
        FP16 words; lane l sorts column l, ``nm_m`` rows at a time.

    Returns
    -------
    values : uint16[sets, lanes, nm_n]
    indices : uint8[sets, lanes, nm_n]
        Position in the group, strictly ascending along the last axis.

    Raises
    ------
    InputError
        If ``rows`` is no whole number of sets.
    """
    nm_n, nm_m = spec.sorter.nm_n, spec.sorter.nm_m
    if rows.ndim != 2 or rows.shape[1] != spec.lanes or rows.shape[0] % nm_m:
        found = f"{rows.dtype}{list(rows.shape)}"
        raise InputError("rows", f"uint16[sets * {nm_m}, {spec.lanes}]", found)
    groups = rows.reshape(-1, nm_m, spec.lanes).transpose(0, 2, 1)
    values, indices = topn_group(groups.reshape(-1, nm_m), nm_n)
    shape = (-1, spec.lanes, nm_n)
    return values.reshape(shape), indices.reshape(shape)


def sorter_schedule(
    spec: SorterSpec,
    accept_cycles: NDArray[np.int64],
    sink_stalls: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the cycle in which each whole group leaves, given when its values were accepted.

    Parameters
    ----------
    spec : SorterSpec
        The lane; a ragged last group never leaves.
    accept_cycles : int64[elems]
        Cycle in which each value was accepted, ascending.
    sink_stalls : bool[cycles], optional
        True where the consumer refuses; never after its end. Absent: it never refuses.

    Returns
    -------
    int64[groups]
        Emit cycle of each group, in cycles.
    """
    groups = len(accept_cycles) // spec.nm_m
    last = np.asarray(accept_cycles, dtype=np.int64)[: groups * spec.nm_m]
    offered = last[spec.nm_m - 1 :: spec.nm_m] + timing(spec).latency_cycles
    if sink_stalls is None:
        return offered
    return np.array([_first_ready(int(cycle), sink_stalls) for cycle in offered], dtype=np.int64)


def play_lane(
    spec: SorterSpec,
    elems: int,
    source_gaps: NDArray[np.bool_],
    sink_stalls: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept and emit cycles of one lane under any stalls.

    The lane refuses only the last value of a group, and only in cycles that begin with the
    previous group still waiting in the output register.

    Parameters
    ----------
    spec : SorterSpec
        The lane.
    elems : int
        Values offered, in order.
    source_gaps : bool[cycles]
        True where the producer begins no new offer; never after its end.
    sink_stalls : bool[cycles]
        True where the consumer refuses; never after its end.

    Returns
    -------
    accept_cycles : int64[elems]
    emit_cycles : int64[elems // nm_m]
    """
    latency = timing(spec).latency_cycles
    accepts = np.empty(elems, dtype=np.int64)
    emits = np.empty(elems // spec.nm_m, dtype=np.int64)
    cycle = 0
    for elem in range(elems):
        while cycle < len(source_gaps) and source_gaps[cycle]:
            cycle += 1
        group, position = divmod(elem, spec.nm_m)
        if position == spec.nm_m - 1:
            if group:
                cycle = max(cycle, int(emits[group - 1]) + 1)
            emits[group] = _first_ready(cycle + latency, sink_stalls)
        accepts[elem] = cycle
        cycle += 1
    return accepts, emits


def _first_ready(cycle: int, stalls: NDArray[np.bool_]) -> int:
    while cycle < len(stalls) and stalls[cycle]:
        cycle += 1
    return cycle
