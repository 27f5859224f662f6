"""Say what the special function unit computes and when: golden and cycle model.

Two passes for softmax and norms, one for element-wise operations, 16 lanes: FlightLLM and the
authors' artifact. They compute in FP16; fixed point, the table of exp2, the integer maximum of
softmax and the constants are this project's. All arithmetic is exact integer, so this is also the
function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import SfuSpec

__all__ = [
    "OPS",
    "SfuJob",
    "SfuOp",
    "job_cycles",
    "job_interval",
    "play_sfu",
    "run_job",
    "run_rows",
    "solve_cycles",
    "timing",
]

SfuOp = Literal["add", "mul", "softmax", "layernorm", "rmsnorm", "silu", "gelu"]

OPS: tuple[SfuOp, ...] = get_args(SfuOp)
"""By the code of a MISC instruction (artifact; gelu is this project's)."""

LATENCY_CYCLES = 5
"""Multiply; subtract; exp2; multiply or sum; saturate or accumulate."""

EMPTY_CYCLES = 2
"""From the last beat of a pass leaving the pipeline to what follows it."""

_TWO_PASS = ("softmax", "layernorm", "rmsnorm")

Pattern = NDArray[np.bool_]
Cycles = NDArray[np.int64]


@dataclass(frozen=True)
class SfuJob:
    """One vector of ``beats``, of the last one ``tail`` lanes only (0: all).

    ``scale`` is the input's scale in fixed point, in softmax times log2(e).
    """

    op: SfuOp
    beats: int
    scale: int = 0
    tail: int = 0

    @property
    def is_two_pass(self) -> bool:
        """Return whether the vector is read twice."""
        return self.op in _TWO_PASS

    @property
    def input_beats(self) -> int:
        """Return the beats that come in."""
        return self.beats * (2 if self.is_two_pass else 1)


def timing(spec: SfuSpec) -> UnitTiming:
    """Return the cycle contract of a beat in the last pass."""
    del spec
    return UnitTiming(LATENCY_CYCLES, 1)


def solve_cycles(spec: SfuSpec, op: SfuOp) -> int:
    """Return the cycles between the passes that find root and reciprocal, a digit per cycle."""
    if op not in _TWO_PASS:
        return 0
    root = 0 if op == "softmax" else spec.root_bits
    return 1 + root + spec.reciprocal_bits + 1


def job_cycles(spec: SfuSpec, job: SfuJob) -> int:
    """Return the cycles from accepting ``job`` to its last output, while nobody stalls: K or 2 K
    for K beats, and a constant."""
    last_pass = job.beats + LATENCY_CYCLES
    if not job.is_two_pass:
        return last_pass
    return job.beats + LATENCY_CYCLES + EMPTY_CYCLES + solve_cycles(spec, job.op) - 1 + last_pass


def job_interval(spec: SfuSpec, job: SfuJob) -> int:
    """Return the cycles from accepting ``job`` to accepting the next one, while nobody stalls."""
    return job_cycles(spec, job) + EMPTY_CYCLES


def run_job(spec: SfuSpec, job: SfuJob, x: NDArray[np.integer], y: NDArray[np.integer]) -> Cycles:
    """Return the outputs int64[beats, lanes]: 0 to 255 of softmax (of 256), norms of
    ``output_bits``, else INT8.

    Parameters
    ----------
    x, y : int8[beats, lanes]
        ``y`` is the second operand of add and mul.

    Notes
    -----
    add saturates; mul is ``x * y >> 7``, saturated. softmax: with t = x * scale in log2, M is the
    least integer not below any t so far, a term 2**(t - M) comes from the table, cut to 15
    fraction bits, and the sum is shifted right when M grows. Norms: (n x - S) / sqrt(n Q - S * S)
    with S the sum, Q the sum of squares (S = 0 in rmsnorm), the root cut to an integer of at least
    1 and its reciprocal to ``reciprocal_bits``; cut to ``norm_fraction_bits``, saturated. silu and
    gelu: x times a gate of t = x * scale, to nearest; the table holds gates of 0 to 8, the gate of
    -t is 1 less that of t. Lanes beyond the vector read x as 0 and have no share in softmax.
    """
    return run_rows(spec, job, np.array([job.scale]), x[None], y[None])[0]


def run_rows(
    spec: SfuSpec,
    job: SfuJob,
    scale: NDArray[np.integer],
    x: NDArray[np.integer],
    y: NDArray[np.integer],
) -> Cycles:
    """Return the outputs int64[rows, beats, lanes] of a job per row, alike but for its ``scale``.

    ``x``, ``y`` int8[rows, beats, lanes] : as of :func:`run_job`.
    """
    x, y = x.astype(np.int64), y.astype(np.int64)
    scale = scale.astype(np.int64)[:, None, None]
    beyond = np.zeros(x.shape[1:], np.bool_)
    beyond[-1, job.tail or spec.lanes :] = True
    x[:, beyond] = 0
    if job.op == "add":
        return _saturate(x + y)
    if job.op == "mul":
        return _saturate(x * y >> 7)
    if job.op == "softmax":
        return _softmax(spec, x * scale, beyond)
    if job.op == "silu" or job.op == "gelu":
        gates = _gates(spec, job.op, x * scale)
        return _saturate(x * gates + (1 << 14) >> 15)
    elems = int((~beyond).sum())
    total = x.sum(axis=(1, 2)) * (job.op == "layernorm")
    squares = elems * (x * x).sum(axis=(1, 2)) - total * total
    roots = np.array([max(isqrt(square), 1) for square in squares.tolist()], np.int64)
    reciprocal = ((1 << spec.reciprocal_bits) // roots)[:, None, None]
    shift = spec.reciprocal_bits - spec.norm_fraction_bits
    return _saturate((elems * x - total[:, None, None]) * reciprocal >> shift, spec.output_bits)


def _gates(spec: SfuSpec, op: Literal["silu", "gelu"], t: Cycles) -> Cycles:
    """Return 2**15 times the gate of every fixed-point ``t``."""
    table = np.array(spec.gate_table(op), dtype=np.int64)
    step = np.minimum(np.abs(t) >> spec.gate_shift, len(table) - 1)
    return np.where(t < 0, (1 << 15) - table[step], table[step])


def _softmax(spec: SfuSpec, scaled: Cycles, beyond: Pattern) -> Cycles:
    """Return the shares of ``scaled`` [rows, beats, lanes], of 256."""
    fraction = spec.scale_fraction_bits
    table = np.array(spec.exp2_table(), dtype=np.int64)
    scaled = np.where(beyond, lowest_exponent(spec) << fraction, scaled)

    def terms(beat: Cycles, is_beyond: Pattern, highest: Cycles) -> Cycles:
        below = (highest << fraction) - beat
        index = below >> (fraction - spec.table_bits) & ((1 << spec.table_bits) - 1)
        found: Cycles = table[index] >> np.minimum(below >> fraction, 31)
        return np.where(is_beyond, 0, found)

    highest = np.full(len(scaled), lowest_exponent(spec))
    total = np.zeros(len(scaled), np.int64)
    for index, is_beyond in enumerate(beyond):
        beat = scaled[:, index]
        reached = np.maximum(highest, -(-beat.max(axis=1) >> fraction))
        sums = terms(beat, is_beyond, reached[:, None]).sum(axis=1)
        total = (total >> np.minimum(reached - highest, 62)) + sums
        highest = reached
    reciprocal = ((1 << spec.reciprocal_bits) // total)[:, None, None]
    shares = terms(scaled, beyond, highest[:, None, None]) * reciprocal
    return np.minimum(shares >> (spec.reciprocal_bits - 8), 255)


def lowest_exponent(spec: SfuSpec) -> int:
    """Return the maximum before the first beat: below every t."""
    return -(1 << (23 - spec.scale_fraction_bits))


def _saturate(values: Cycles, bits: int = 8) -> Cycles:
    return np.clip(values, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def play_sfu(
    spec: SfuSpec,
    jobs: Sequence[SfuJob],
    job_gaps: Pattern,
    beat_gaps: Pattern,
    stalls: Pattern,
) -> tuple[Cycles, Cycles, Cycles]:
    """Return in which cycles jobs and beats are accepted and beats emitted, under any stalls.

    The pipeline moves as a whole; a pass begins when the one before has left it, a job likewise.
    """
    found: tuple[list[int], list[int], list[int]] = ([], [], [])
    taken, beats, emits = found
    total = sum(job.input_beats for job in jobs)
    wanted = sum(job.beats for job in jobs)
    stages: list[int] = [0] * LATENCY_CYCLES  # 0 empty, 1 of a first pass, 2 of a last one
    phase, left, wait, cycle = "idle", 0, 0, 0
    is_job_offered = is_beat_offered = False
    while len(emits) < wanted:
        is_job_offered |= len(taken) < len(jobs) and not _at(job_gaps, cycle)
        is_beat_offered |= len(beats) < total and not _at(beat_gaps, cycle)
        is_valid, is_stalled = stages[-1] == 2, _at(stalls, cycle)
        is_moving = not is_valid or not is_stalled
        is_empty = not any(stages)
        if is_valid and not is_stalled:
            emits.append(cycle)
        accepts = is_moving and phase in ("first", "last") and is_beat_offered
        if is_moving:
            kind = (1 if phase == "first" else 2) if accepts else 0
            stages = [kind, *stages[:-1]]
        if accepts:
            beats.append(cycle)
            is_beat_offered, left = False, left - 1
        if phase == "idle" and is_job_offered:
            job = jobs[len(taken)]
            taken.append(cycle)
            phase, left, is_job_offered = "first" if job.is_two_pass else "last", job.beats, False
        elif phase == "first" and left == 0:
            phase = "drain first"
        elif phase == "drain first" and is_empty:
            phase, wait = "solve", solve_cycles(spec, job.op)
        elif phase == "solve":
            wait -= 1
            if wait == 0:
                phase, left = "last", job.beats
        elif phase == "last" and left == 0:
            phase = "drain last"
        elif phase == "drain last" and is_empty:
            phase = "idle"
        cycle += 1
    a, b, c = (np.array(cycles, dtype=np.int64) for cycles in found)
    return a, b, c


def _at(pattern: Pattern, cycle: int) -> bool:
    return cycle < len(pattern) and bool(pattern[cycle])
