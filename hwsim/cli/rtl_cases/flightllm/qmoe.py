"""Draw what is played against the decoder of ternary codewords."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import pack_fields
from hwsim.core.formats.qmoe import encode_rows
from hwsim.flightllm.qmoe_decoder import decode_codewords, table_entries, timing
from hwsim.flightllm.unit_spec import QMoeSpec
from hwsim.sat.float_units import play_pipeline
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = ["qmoe_decoder_case", "qmoe_decoder_cases", "random_codewords"]

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
    entry_bits = 4 + 4 * spec.max_pairs
    expected = [
        pack_fields(
            [
                (_entry(found.digits, found.pairs), entry_bits),
                (found.position, spec.index_bits),
                (found.is_last, 1),
            ]
        )
        for found in decode_codewords(spec, *codewords)
    ]
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


def _entry(digits: list[int], pairs: int) -> int:
    return pack_fields([(pairs, 4), *((digit, 2) for digit in digits)])


def qmoe_decoder_cases(spec: QMoeSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        qmoe_decoder_case(spec, random_codewords(rng, spec, 2048), stall_share=s, seed=seed)
        for s in (0.0, 0.4)
    ]
