"""Draw what is played against SORE, its data provider, pre-generation and the compare network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.core.sparsity import index_bits
from hwsim.sat.data_provider import play_provider, provide_rows
from hwsim.sat.float_units import play_pipeline
from hwsim.sat.pre_gen import pregen_schedule, pregenerate
from hwsim.sat.sorter import network_timing, play_lane, reduce_rows, topn_group
from hwsim.sat.spec import PreGenSpec, SoreSpec, SorterSpec
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = [
    "data_provider_case",
    "data_provider_cases",
    "pack_groups",
    "pack_rows",
    "pre_gen_case",
    "pre_gen_cases",
    "sore_case",
    "sore_cases",
    "topn_network_case",
    "topn_network_cases",
]


def pack_rows(rows: NDArray[np.uint16]) -> list[int]:
    """Return one word per row of uint16[rows, lanes], lane 0 lowest."""
    return [int.from_bytes(row.tobytes(), "little") for row in rows.astype("<u2")]


def pack_groups(
    values: NDArray[np.uint16], indices: NDArray[np.uint8], spec: SorterSpec
) -> list[int]:
    """Return one word per row of {value, index}[rows, slots], slot 0 lowest."""
    fields: list[tuple[NDArray[Any], int]] = []
    for slot in range(values.shape[1]):
        fields.append((values[:, slot], spec.value_bits))
        fields.append((indices[:, slot], index_bits(spec.nm_m)))
    return pack_words(fields)


def data_provider_case(
    spec: SoreSpec,
    rows: NDArray[np.uint16],
    *,
    is_transposed: bool,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the data provider must do with ``rows`` uint16[blocks * nm_m, lanes]."""
    rng = np.random.default_rng(seed)
    directions = np.full(len(rows) // spec.sorter.nm_m, is_transposed)
    gaps = random_stalls(rng, 2 * len(rows), stall_share)
    stalls = random_stalls(rng, 2 * len(rows), stall_share)
    vectors = Vectors(
        inputs={"i": pack_rows(rows)},
        expected={"o": pack_rows(provide_rows(spec, rows, directions))},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        statics={"i_dir": int(is_transposed)},
        seed=seed,
        name="bp rows" if is_transposed else "ff rows",
    )
    accepts, emits = play_provider(spec, directions, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def sore_case(
    spec: SoreSpec, rows: NDArray[np.uint16], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what SORE must do with ``rows`` uint16[sets * nm_m, lanes]; all lanes are one."""
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(rows), stall_share)
    stalls = random_stalls(rng, 2 * len(rows), stall_share)
    vectors = Vectors(
        inputs={"i": pack_rows(rows)},
        expected={"o": _pack_sets(reduce_rows(spec, rows), spec)},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="rows",
    )
    accepts, emits = play_lane(spec.sorter, len(rows), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def pre_gen_case(
    spec: PreGenSpec, rows: NDArray[np.uint16], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what pre-generation must do with ``rows`` uint16[blocks * nm_m, lanes].

    Cycles are predicted while nobody stalls.
    """
    rng = np.random.default_rng(seed)
    ff, bp = pregenerate(spec, rows)
    vectors = Vectors(
        inputs={"i": pack_rows(rows)},
        expected={"o_ff": _pack_sets(ff, spec.sore), "o_bp": _pack_sets(bp, spec.sore)},
        source_gaps={"i": random_stalls(rng, 2 * len(rows), stall_share)},
        sink_stalls={
            name: random_stalls(rng, 2 * len(rows), stall_share) for name in ("o_ff", "o_bp")
        },
        seed=seed,
        name="weights",
    )
    if vectors.has_stalls:
        return vectors, None
    accepts, ff_emits, bp_emits = pregen_schedule(spec, len(ff[0]))
    return vectors, Schedule({"i": accepts}, {"o_ff": ff_emits, "o_bp": bp_emits})


def topn_network_case(
    spec: SorterSpec, bits: NDArray[np.uint16], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the compare network must do with ``bits`` uint16[groups, nm_m]."""
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(bits), stall_share)
    stalls = random_stalls(rng, 2 * len(bits), stall_share)
    vectors = Vectors(
        inputs={"i": pack_rows(bits)},
        expected={"o": pack_groups(*topn_group(bits, spec.nm_n), spec)},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="groups",
    )
    accepts, emits = play_pipeline(network_timing(spec), len(bits), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def data_provider_cases(spec: SoreSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        data_provider_case(
            spec,
            random_groups(rng, 64 * spec.sorter.nm_m, spec.lanes),
            is_transposed=is_transposed,
            stall_share=stall_share,
            seed=seed,
        )
        for is_transposed in (False, True)
        for stall_share in (0.0, 0.4)
    ]


def sore_cases(spec: SoreSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        rows = random_groups(rng, 64 * spec.sorter.nm_m, spec.lanes)
        drawn.append(sore_case(spec, rows, stall_share=stall_share, seed=seed))
    return drawn


def pre_gen_cases(spec: PreGenSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        rows = random_groups(rng, 64 * spec.sore.sorter.nm_m, spec.sore.lanes)
        drawn.append(pre_gen_case(spec, rows, stall_share=stall_share, seed=seed))
    return drawn


def topn_network_cases(spec: SorterSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    drawn = []
    for stall_share in (0.0, 0.4):
        bits = random_groups(rng, 2048, spec.nm_m)
        drawn.append(topn_network_case(spec, bits, stall_share=stall_share, seed=seed))
    return drawn


def _pack_sets(groups: tuple[NDArray[np.uint16], NDArray[np.uint8]], spec: SoreSpec) -> list[int]:
    """Return one word per set of {values, indices}[sets, lanes, nm_n], lane 0 lowest."""
    values, indices = (field.reshape(len(field), -1) for field in groups)
    return pack_groups(values, indices, spec.sorter)
