"""Draw what is played against the unpacker of low-bit weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import pack_fields
from hwsim.flightllm.dequant import DequantJob, expand, pack_codes, play_dequant
from hwsim.flightllm.unit_spec import DequantSpec
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = ["dequant_case", "dequant_cases", "random_jobs"]

Tensor = tuple[DequantJob, NDArray[np.int64]]
"""A job and its codes, [vectors, lanes]."""


def random_jobs(rng: np.random.Generator, spec: DequantSpec, count: int) -> list[Tensor]:
    """Return jobs of all widths in turn; the codes of every third are at the ends of the range."""
    tensors = []
    for number in range(count):
        width = spec.widths[number % len(spec.widths)]
        vectors = int(rng.integers(1, 12))
        is_signed = bool(rng.integers(2))
        zero = 0 if is_signed else int(rng.integers(0, 1 << width))
        shape = (vectors, spec.lanes)
        codes = rng.integers(0, 1 << width, shape)
        if number % 3 == 0:
            codes = rng.choice([0, (1 << width) - 1, 1 << (width - 1)], shape)
        tensors.append((DequantJob(width, vectors, zero, is_signed), codes))
    return tensors


def dequant_case(
    spec: DequantSpec, tensors: list[Tensor], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the unit must do with ``tensors``, and when."""
    rng = np.random.default_rng(seed)
    jobs, words, expected = [], [], []
    for job, codes in tensors:
        fields = [(job.vectors, spec.count_bits), (job.zero, 8), (int(job.is_signed), 1)]
        jobs.append(pack_fields([*fields, (spec.widths.index(job.width_bits), spec.code_bits)]))
        packed = pack_codes(spec, codes, job.width_bits)
        used = codes.size * job.width_bits - (len(packed) - 1) * spec.word_bits
        # Padding of ones, which must not be seen.
        words += [*packed[:-1], packed[-1] | (1 << spec.word_bits) - (1 << used)]
        expected += [pack_fields([(v, 8) for v in row]) for row in expand(job, codes).tolist()]
    length = 4 * (len(words) + len(expected))
    gaps = {name: random_stalls(rng, length, stall_share) for name in ("job", "i")}
    stalls = random_stalls(rng, length, stall_share)
    vectors = Vectors(
        inputs={"job": jobs, "i": words},
        expected={"o": expected},
        source_gaps=gaps,
        sink_stalls={"o": stalls},
        seed=seed,
        name="tensors",
    )
    played = play_dequant(spec, [job for job, _ in tensors], gaps["job"], gaps["i"], stalls)
    return vectors, Schedule({"job": played[0], "i": played[1]}, {"o": played[2]})


def dequant_cases(spec: DequantSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        dequant_case(spec, random_jobs(rng, spec, 200), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
