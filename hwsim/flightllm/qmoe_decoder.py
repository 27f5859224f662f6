"""Say what the decoder of QMoE's codewords emits and when: golden and cycle model.

Dictionary, codewords and rows are QMoE's (:mod:`hwsim.core.formats.qmoe`); one codeword per cycle
through a table in on-chip memory is this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.qmoe_dictionary import symbol_table
from hwsim.core.machine import UnitTiming
from hwsim.flightllm.dsp48 import wrap
from hwsim.flightllm.unit_spec import QMoeSpec

__all__ = [
    "Decoded",
    "decode_codewords",
    "digit_sums",
    "dot_timing",
    "table_entries",
    "timing",
]


def timing(spec: QMoeSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a codeword: 2 cycles of table, 1 of position."""
    del spec
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def dot_timing(spec: QMoeSpec) -> UnitTiming:
    """Return the cycle contract of the adder behind it: read, align, add, sum."""
    del spec
    return UnitTiming(latency_cycles=4, interval_cycles=1)


@dataclass(frozen=True)
class Decoded:
    """What one codeword stands for.

    Attributes
    ----------
    digits : list[int]
        0, 1 or 2 per weight, 2 per pair; zeros behind the last one.
    pairs : int
        Pairs of weights in use.
    position : int
        Column of the first one.
    is_last : bool
        Whether the row ends.
    """

    digits: list[int]
    pairs: int
    position: int
    is_last: bool


def table_entries(spec: QMoeSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (digits int64[entries, 2 * max_pairs], pairs int64[entries]) of the dictionary.

    Raises :class:`InputError` if a sequence is longer than ``max_pairs``.
    """
    symbols, pairs = symbol_table(spec.entries)
    if pairs.max() > spec.max_pairs:
        raise InputError("max_pairs", f"at least {pairs.max()}", str(spec.max_pairs))
    digits = np.stack([symbols % 3, symbols // 3], axis=2).reshape(spec.entries, -1)
    return digits[:, : 2 * spec.max_pairs].astype(np.int64), pairs


def decode_codewords(
    spec: QMoeSpec, codewords: NDArray[np.integer], is_last: NDArray[np.bool_]
) -> list[Decoded]:
    """Return what each codeword stands for; positions start over behind the last one of a row.

    A position wraps at ``2**index_bits``. Raises :class:`InputError` for a codeword beyond the
    table.
    """
    if codewords.size and int(codewords.max()) >= spec.entries:
        raise InputError("codewords", f"below {spec.entries}", str(int(codewords.max())))
    digits, pairs = table_entries(spec)
    position, decoded = 0, []
    for codeword, ends in zip(codewords.tolist(), is_last.tolist(), strict=True):
        held = int(pairs[codeword])
        decoded.append(Decoded(digits[codeword].tolist(), held, position, bool(ends)))
        position = 0 if ends else (position + 2 * held) % (1 << spec.index_bits)
    return decoded


def digit_sums(
    spec: QMoeSpec, decoded: Sequence[Decoded], acts: NDArray[np.int8]
) -> list[tuple[int, int]]:
    """Return, per row, the sums of the activations that meet the digit 1, and the digit 2.

    With the row's minimum and maximum, ``minimum * first + maximum * second`` is its product: exact
    but for these two factors. Columns beyond the buffer's start over; sums wrap.

    Parameters
    ----------
    acts : int8[columns]
    """
    sums, totals = [], [0, 0]
    for part in decoded:
        at = (part.position + np.arange(len(part.digits))) % spec.columns
        for place, digit in enumerate((1, 2)):
            chosen = acts[at].astype(np.int64)[np.array(part.digits) == digit]
            totals[place] = wrap(totals[place] + int(chosen.sum()), spec.sum_bits)
        if part.is_last:
            sums.append((totals[0], totals[1]))
            totals = [0, 0]
    return sums
