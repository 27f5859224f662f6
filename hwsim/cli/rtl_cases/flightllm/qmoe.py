"""Draw what is played against the decoder of ternary codewords."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import pack_fields
from hwsim.core.formats.qmoe import encode_rows
from hwsim.flightllm.gqsa_engine import play_reduction
from hwsim.flightllm.qmoe_decoder import (
    Decoded,
    decode_codewords,
    digit_sums,
    dot_timing,
    table_entries,
    timing,
)
from hwsim.flightllm.unit_spec import QMoeSpec
from hwsim.sat.float_units import play_pipeline
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = [
    "qmoe_decoder_case",
    "qmoe_decoder_cases",
    "qmoe_dot_case",
    "qmoe_dot_cases",
    "random_activations",
    "random_codewords",
]

Codewords = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Codewords and whether each ends its row."""


def random_codewords(rng: np.random.Generator, spec: QMoeSpec, count: int) -> Codewords:
    """Return about ``count`` codewords: rows of ternary weights, and then any codewords at all."""
    digits = rng.choice(3, (4, 2 * count), p=[0.885, 0.0575, 0.0575]).astype(np.uint8)
    rows = encode_rows(digits, np.zeros((4, 2), np.uint16), spec.entries)
    ends = np.zeros(rows.codewords.size, dtype=np.bool_)
    ends[rows.row_offsets[1:] - 1] = True
    drawn = rng.integers(0, spec.entries, count)
    codes = np.concatenate([rows.codewords.astype(np.int64), drawn, [0, spec.entries - 1]])
    is_last = np.concatenate([ends, rng.random(count) < 0.1, [False, True]])
    return codes, is_last


def qmoe_decoder_case(
    spec: QMoeSpec, codewords: Codewords, *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the decoder must do with ``codewords``, and when, once its table is there."""
    rng = np.random.default_rng(seed)
    digits, pairs = table_entries(spec)
    table = [_entry(row, held) for row, held in zip(digits.tolist(), pairs.tolist(), strict=True)]
    code_bits = max(1, (spec.entries - 1).bit_length())
    inputs = [
        pack_fields([(code, code_bits), (ends, 1)])
        for code, ends in zip(*(part.tolist() for part in codewords), strict=True)
    ]
    expected = [_word(spec, found) for found in decode_codewords(spec, *codewords)]
    loading = np.ones(spec.entries, dtype=np.bool_)
    gaps = np.concatenate([loading, random_stalls(rng, 2 * len(inputs), stall_share)])
    stalls = random_stalls(rng, spec.entries + 2 * len(inputs), stall_share)
    vectors = Vectors(
        inputs={"table": table, "i": inputs},
        expected={"o": expected},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="codewords",
    )
    accepts, emits = play_pipeline(timing(spec), len(inputs), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def qmoe_dot_case(
    spec: QMoeSpec,
    codewords: Codewords,
    acts: NDArray[np.int8],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the adder must do with decoded ``codewords``, and when, once ``acts`` are there.

    ``acts`` is int8[columns].
    """
    rng = np.random.default_rng(seed)
    decoded = decode_codewords(spec, *codewords)
    words = acts.reshape(-1, spec.bank).tolist()
    sums = digit_sums(spec, decoded, acts)
    loading = np.ones(len(words), dtype=np.bool_)
    gaps = np.concatenate([loading, random_stalls(rng, 2 * len(decoded), stall_share)])
    stalls = random_stalls(rng, len(words) + 2 * len(decoded), stall_share)
    vectors = Vectors(
        inputs={
            "x": [pack_fields([(act, 8) for act in word]) for word in words],
            "i": [_word(spec, found) for found in decoded],
        },
        expected={"o": [pack_fields([(total, spec.sum_bits) for total in pair]) for pair in sums]},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="rows",
    )
    ends = np.array([found.is_last for found in decoded], dtype=np.bool_)
    accepts, emits = play_reduction(dot_timing(spec), ends, gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def random_activations(rng: np.random.Generator, spec: QMoeSpec) -> NDArray[np.int8]:
    """Return activations int8[columns], a quarter of them at the ends of their range."""
    acts = rng.integers(-128, 128, spec.columns)
    is_end = rng.random(spec.columns) < 0.25
    return np.where(is_end, rng.choice([-128, 127], spec.columns), acts).astype(np.int8)


def _word(spec: QMoeSpec, found: Decoded) -> int:
    entry = (_entry(found.digits, found.pairs), 4 + 4 * spec.max_pairs)
    return pack_fields([entry, (found.position, spec.index_bits), (found.is_last, 1)])


def _entry(digits: list[int], pairs: int) -> int:
    return pack_fields([(pairs, 4), *((digit, 2) for digit in digits)])


def qmoe_decoder_cases(spec: QMoeSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        qmoe_decoder_case(spec, random_codewords(rng, spec, 2048), stall_share=s, seed=seed)
        for s in (0.0, 0.4)
    ]


def qmoe_dot_cases(spec: QMoeSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        qmoe_dot_case(
            spec,
            random_codewords(rng, spec, 512),
            random_activations(rng, spec),
            stall_share=share,
            seed=seed,
        )
        for share in (0.0, 0.4)
    ]
