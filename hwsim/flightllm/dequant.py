"""Say what expands low-bit weights to INT8 and when: golden and cycle model of the unpacker.

FlightLLM expands mixed low-bit weights before the DSPs; format, word and zero point are this
project's: a tensor's codes follow each other lowest bit first, across words, and begin a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.flightllm.unit_spec import DequantSpec

__all__ = [
    "DequantJob",
    "expand",
    "job_cycles",
    "pack_codes",
    "play_dequant",
    "timing",
    "words_of",
]

LATENCY_CYCLES = 2
"""From the word that completes a vector to the vector: shift register, output register."""

Pattern = NDArray[np.bool_]
Cycles = NDArray[np.int64]


@dataclass(frozen=True)
class DequantJob:
    """What is to be expanded: ``vectors`` of ``width_bits``, less ``zero``."""

    width_bits: int
    vectors: int
    zero: int = 0
    is_signed: bool = False


def timing(spec: DequantSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a vector, the interval that of the widest code."""
    widest = ceil_div(spec.lanes * max(spec.widths), spec.word_bits)
    return UnitTiming(LATENCY_CYCLES, widest)


def words_of(spec: DequantSpec, job: DequantJob) -> int:
    """Return the memory words that ``job`` takes."""
    return ceil_div(job.vectors * spec.lanes * job.width_bits, spec.word_bits)


def job_cycles(spec: DequantSpec, job: DequantJob) -> int:
    """Return the cycles from accepting ``job`` to its last vector, while nobody stalls."""
    return LATENCY_CYCLES + max(job.vectors, words_of(spec, job))


def pack_codes(spec: DequantSpec, codes: NDArray[np.integer], width_bits: int) -> list[int]:
    """Return the words of ``codes`` (any shape, the low ``width_bits`` of each)."""
    stream, ones = 0, (1 << width_bits) - 1
    flat = codes.ravel().tolist()
    for place, code in enumerate(flat):
        stream |= (code & ones) << place * width_bits
    count = ceil_div(len(flat) * width_bits, spec.word_bits)
    return [stream >> n * spec.word_bits & (1 << spec.word_bits) - 1 for n in range(count)]


def expand(job: DequantJob, codes: NDArray[np.integer]) -> NDArray[np.int8]:
    """Return ``codes`` as INT8: sign-extended if the job says so, less zero, wrapped to 8 bits.

    Raises :class:`InputError` for codes that do not fit ``width_bits`` unsigned.
    """
    limit = 1 << job.width_bits
    if codes.size and (codes.min() < 0 or codes.max() >= limit):
        raise InputError("codes", f"0 to {limit - 1}", f"{codes.min()} to {codes.max()}")
    values = codes.astype(np.int64)
    if job.is_signed:
        values = np.where(values >= limit // 2, values - limit, values)
    return (values - job.zero).astype(np.int8)


def play_dequant(
    spec: DequantSpec,
    jobs: Sequence[DequantJob],
    job_gaps: Pattern,
    word_gaps: Pattern,
    stalls: Pattern,
) -> tuple[Cycles, Cycles, Cycles]:
    """Return in which cycles jobs and words are accepted and vectors emitted, under any stalls.

    A word is accepted while what is left of the shift register, after the vector that leaves it in
    this cycle, does not make another one. The rest behind a job's last vector is dropped.
    """
    found: tuple[list[int], list[int], list[int]] = ([], [], [])
    taken_jobs, words, emits = found
    total = sum(words_of(spec, job) for job in jobs)
    vectors = sum(job.vectors for job in jobs)
    level, left, need, cycle = 0, 0, 0, 0
    is_held = is_job_offered = is_word_offered = False
    while len(emits) < vectors or len(taken_jobs) < len(jobs):
        is_job_offered |= len(taken_jobs) < len(jobs) and not _at(job_gaps, cycle)
        is_word_offered |= len(words) < total and not _at(word_gaps, cycle)
        is_free = not is_held or not _at(stalls, cycle)
        if is_held and is_free:
            emits.append(cycle)
            is_held = False
        was_active = left > 0
        is_last = False
        if was_active and level >= need and is_free:
            is_held, is_last = True, left == 1
            level, left = level - need, left - 1
        if was_active and level < need and not is_last and is_word_offered:
            words.append(cycle)
            level, is_word_offered = level + spec.word_bits, False
        if is_last:
            level = 0
        if not was_active and is_job_offered:
            job = jobs[len(taken_jobs)]
            taken_jobs.append(cycle)
            left, need, is_job_offered = job.vectors, spec.lanes * job.width_bits, False
        cycle += 1
    a, b, c = (np.array(cycles, dtype=np.int64) for cycles in found)
    return a, b, c


def _at(pattern: Pattern, cycle: int) -> bool:
    return cycle < len(pattern) and bool(pattern[cycle])
