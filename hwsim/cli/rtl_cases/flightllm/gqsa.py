"""Draw what is played against the engine of INT4 groups and the fix-up adder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import pack_fields
from hwsim.flightllm.gqsa_engine import (
    GroupRows,
    Partial,
    engine_partials,
    engine_timing,
    fix_up,
    fixup_timing,
    play_reduction,
)
from hwsim.flightllm.unit_spec import GqsaSpec
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = [
    "gqsa_engine_case",
    "gqsa_engine_cases",
    "gqsa_fixup_case",
    "gqsa_fixup_cases",
    "random_acts",
    "random_partials",
    "random_rows",
]


def random_rows(rng: np.random.Generator, spec: GqsaSpec, groups: int) -> GroupRows:
    """Return ``groups`` groups in rows of 1 to 8; a third has values at the ends of their range."""
    values = rng.integers(0, 16, (groups, spec.group))
    zeros, scales = rng.integers(0, 16, groups), rng.integers(0, 1 << spec.scale_bits, groups)
    values[::3] = rng.choice([0, 15], values[::3].shape)
    zeros[::3], scales[::3] = rng.choice([0, 15], zeros[::3].shape), (1 << spec.scale_bits) - 1
    ends = rng.random(groups) < 0.3
    ends[-1] = True
    return GroupRows(rng.integers(0, spec.groups, groups), values, zeros, scales, ends)


def random_acts(rng: np.random.Generator, spec: GqsaSpec) -> NDArray[np.int8]:
    """Return activations int8[groups, group]; every third group is at the ends of the range."""
    acts = rng.integers(-128, 128, (spec.groups, spec.group))
    acts[::3] = rng.choice([-128, 127], acts[::3].shape)
    return acts.astype(np.int8)


def gqsa_engine_case(
    spec: GqsaSpec,
    rows: GroupRows,
    acts: NDArray[np.int8],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what an engine must do with its share ``rows``, and when, once ``acts`` are there."""
    rng = np.random.default_rng(seed)
    count = len(rows.columns)
    partials = engine_partials(spec, rows, acts, 0, count)
    column_bits = max(1, (spec.groups - 1).bit_length())
    inputs = []
    for k in range(count):
        fields = [(value, 4) for value in rows.values[k].tolist()]
        fields += [(rows.zeros[k], 4), (rows.scales[k], spec.scale_bits)]
        fields += [(rows.columns[k], column_bits), (rows.row_ends[k], 1)]
        inputs.append(pack_fields([*fields, (k == count - 1, 1)]))
    loading = np.ones(spec.groups, dtype=np.bool_)
    gaps = np.concatenate([loading, random_stalls(rng, 2 * count, stall_share)])
    stalls = random_stalls(rng, spec.groups + 2 * count, stall_share)
    vectors = Vectors(
        inputs={"x": [pack_fields([(a, 8) for a in row]) for row in acts.tolist()], "i": inputs},
        expected={"o": _words(spec, partials)},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="groups",
    )
    ends = rows.row_ends | (np.arange(count) == count - 1)
    accepts, emits = play_reduction(engine_timing(spec), ends, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def random_partials(rng: np.random.Generator, spec: GqsaSpec, count: int) -> list[Partial]:
    """Return partial sums of rows that up to several engines share."""
    half = 1 << (spec.sum_bits - 1)
    sums = rng.integers(-half, half, count).tolist()
    ends = (rng.random(count) < 0.6).tolist()
    return list(zip(sums, [*ends[:-1], True], strict=True))


def gqsa_fixup_case(
    spec: GqsaSpec, partials: list[Partial], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the fix-up adder must do with ``partials``, and when."""
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(partials), stall_share)
    stalls = random_stalls(rng, 2 * len(partials), stall_share)
    sums = fix_up(spec, partials)
    vectors = Vectors(
        inputs={"i": _words(spec, partials)},
        expected={"o": [pack_fields([(total, spec.sum_bits)]) for total in sums]},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="partials",
    )
    ends = np.array([is_row_end for _, is_row_end in partials], dtype=np.bool_)
    accepts, emits = play_reduction(fixup_timing(spec), ends, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def _words(spec: GqsaSpec, partials: list[Partial]) -> list[int]:
    return [pack_fields([(total, spec.sum_bits), (is_end, 1)]) for total, is_end in partials]


def gqsa_engine_cases(spec: GqsaSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        gqsa_engine_case(
            spec, random_rows(rng, spec, 1024), random_acts(rng, spec), stall_share=s, seed=seed
        )
        for s in (0.0, 0.4)
    ]


def gqsa_fixup_cases(spec: GqsaSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        gqsa_fixup_case(spec, random_partials(rng, spec, 1024), stall_share=s, seed=seed)
        for s in (0.0, 0.4)
    ]
