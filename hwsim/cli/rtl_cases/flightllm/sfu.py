"""Draw what is played against the special function unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import pack_fields
from hwsim.flightllm.unit_spec import SfuSpec
from hwsim.flightllm.vector_sfu import OPS, SfuJob, play_sfu, run_job
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = ["Operands", "random_sfu_jobs", "vector_sfu_case", "vector_sfu_cases"]

Operands = tuple[SfuJob, NDArray[np.int64], NDArray[np.int64]]
"""A job and its operands, [beats, lanes] each."""


def random_sfu_jobs(rng: np.random.Generator, spec: SfuSpec, count: int) -> list[Operands]:
    """Return jobs of all operations in turn; a third of their vectors is extreme or constant."""
    drawn = []
    for number in range(count):
        op = OPS[number % len(OPS)]
        beats = int(rng.integers(1, min(spec.max_beats, 9) + 1))
        scale = int(rng.choice([0, 1, 65535, int(rng.integers(1 << 16)), 300]))
        shape = (2, beats, spec.lanes)
        x = rng.integers(-128, 128, shape)
        if number % 3 == 0:
            x = rng.choice([-128, 127], shape)
        elif number % 7 == 0:
            x = np.full(shape, rng.integers(-128, 128))
        tail = int(rng.integers(spec.lanes)) if number % 2 else 0
        drawn.append((SfuJob(op, beats, scale, tail), x[0], x[1]))
    return drawn


def vector_sfu_case(
    spec: SfuSpec, drawn: list[Operands], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the unit must do with ``drawn``, and when."""
    rng = np.random.default_rng(seed)
    jobs, beats, expected = [], [], []
    for job, x, y in drawn:
        fields = [(OPS.index(job.op), 3), (job.beats, spec.max_beats.bit_length())]
        jobs.append(pack_fields([*fields, (job.scale, 16), (job.tail, spec.tail_bits)]))
        lanes = np.concatenate([x, y], axis=1).tolist()
        vector = [pack_fields([(value, 8) for value in row]) for row in lanes]
        beats += vector * (2 if job.is_two_pass else 1)
        result = run_job(spec, job, x, y).tolist()
        bits = spec.output_bits
        expected += [pack_fields([(value, bits) for value in row]) for row in result]
    length = 4 * (len(beats) + len(expected)) + 80 * len(jobs)
    gaps = {name: random_stalls(rng, length, stall_share) for name in ("job", "i")}
    stalls = random_stalls(rng, length, stall_share)
    vectors = Vectors(
        inputs={"job": jobs, "i": beats},
        expected={"o": expected},
        source_gaps=gaps,
        sink_stalls={"o": stalls},
        extra_cycles=80 * len(jobs),
        seed=seed,
        name="vectors",
    )
    played = play_sfu(spec, [job for job, _, _ in drawn], gaps["job"], gaps["i"], stalls)
    return vectors, Schedule({"job": played[0], "i": played[1]}, {"o": played[2]})


def vector_sfu_cases(spec: SfuSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        vector_sfu_case(spec, random_sfu_jobs(rng, spec, 50), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
