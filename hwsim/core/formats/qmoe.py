"""Encode ternary rows as QMoE's dictionary codewords, and decode and multiply them.

A row's weights are 0, its minimum or its maximum (bfloat16). Digits 0, 1, 2 name them; pairs of
digits are matched greedily against the dictionary, longest first, and a row ends its codeword
(Frantar and Alistarh 2023, QMoE, and the authors' code IST-DASLab/qmoe).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bfloat16 import bfloat16_bits, bfloat16_values, round_to_bfloat16
from hwsim.core.formats.qmoe_dictionary import (
    CODEWORDS,
    MAX_PAIRS,
    sequence_trie,
    symbol_table,
)

__all__ = [
    "ROW_OVERHEAD_BITS",
    "DictionaryRows",
    "decode_rows",
    "encode_rows",
    "multiply_rows",
    "ternary_digits",
    "ternary_values",
]

ROW_OVERHEAD_BITS = 64
"""Per row: a 32-bit offset, minimum and maximum."""
LANES = 32
"""Threads of a warp, of which the first 28 decode one weight each."""


@dataclass(frozen=True)
class DictionaryRows:
    """Hold a ternary matrix [rows, columns].

    Attributes
    ----------
    codewords : uint16[:]
        Row after row.
    row_offsets : int32[rows + 1]
        First codeword of each row.
    row_values : uint16[rows, 2]
        Bits of each row's minimum and maximum in bfloat16.
    columns : int
    """

    codewords: NDArray[np.uint16]
    row_offsets: NDArray[np.int32]
    row_values: NDArray[np.uint16]
    columns: int

    @property
    def size_bits(self) -> int:
        """Return the bits in memory, the dictionary apart."""
        return int(self.codewords.size) * 16 + len(self.row_values) * ROW_OVERHEAD_BITS


def ternary_digits(
    weights: NDArray[np.floating],
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return (digits uint8[rows, columns], minima and maxima as bfloat16 bits uint16[rows, 2]).

    1 where a weight lies below half the row's minimum, 2 above half its maximum, else 0; a row of
    zeros has minimum -1 and maximum 1.

    Raises
    ------
    InputError
        If weights are not finite.
    """
    if not np.isfinite(weights).all():
        raise InputError("weights", "finite values", "NaN or Inf")
    limits = np.stack([weights.min(axis=1), weights.max(axis=1)], axis=1)
    limits[(limits == 0).all(axis=1)] = (-1, 1)
    low, high = round_to_bfloat16(limits).T[:, :, None]
    digits = np.where(weights > high / 2, 2, np.where(weights < low / 2, 1, 0))
    return digits.astype(np.uint8), bfloat16_bits(limits)


def ternary_values(
    digits: NDArray[np.uint8], row_values: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Return the weights float32[rows, columns] that digits stand for."""
    low, high = bfloat16_values(row_values).T[:, :, None]
    return np.where(digits == 2, high, np.where(digits == 1, low, np.float32(0)))


def encode_rows(
    digits: NDArray[np.uint8], row_values: NDArray[np.uint16], codewords: int = CODEWORDS
) -> DictionaryRows:
    """Return ``digits`` uint8[rows, columns] in codewords, all rows matched side by side.

    Raises
    ------
    InputError
        For digits above 2, no row or column, or a dictionary without some pair alone.
    """
    rows, columns = digits.shape
    if rows < 1 or columns < 1:
        raise InputError("digits", "at least one row and column", str(digits.shape))
    if int(digits.max()) > 2:
        raise InputError("digits", "0, 1 or 2", str(int(digits.max())))
    even = np.pad(digits, ((0, 0), (0, columns % 2)))
    symbols = even[:, 0::2].astype(np.int64) + 3 * even[:, 1::2]
    trie = sequence_trie(codewords)
    if trie[codewords].min() < 0:
        raise InputError("codewords", "a dictionary that has all pairs alone", str(codewords))
    node = np.full(rows, codewords, dtype=np.int64)
    emitted_rows: list[NDArray[np.int64]] = []
    emitted: list[NDArray[np.int64]] = []
    for column in symbols.T:
        longer = trie[node, column]
        ends = longer < 0
        emitted_rows.append(np.flatnonzero(ends))
        emitted.append(node[ends])
        node = np.where(ends, trie[codewords, column], longer)
    emitted_rows.append(np.arange(rows))
    emitted.append(node)
    where = np.concatenate(emitted_rows)
    order = np.argsort(where, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=rows))])
    words = np.concatenate(emitted)[order].astype(np.uint16)
    return DictionaryRows(words, offsets.astype(np.int32), row_values, columns)


def decode_rows(compact: DictionaryRows, codewords: int = CODEWORDS) -> NDArray[np.uint8]:
    """Return the digits uint8[rows, columns].

    Raises
    ------
    InputError
        Naming the row whose codewords do not add up to the columns.
    """
    table, pairs = _digit_table(codewords)
    rows = compact.row_offsets.size - 1
    lengths = np.diff(compact.row_offsets)
    row_of = np.repeat(np.arange(rows), lengths)
    held = np.bincount(row_of, weights=pairs[compact.codewords], minlength=rows).astype(np.int64)
    need = (compact.columns + 1) // 2
    if (held != need).any():
        row = int(np.flatnonzero(held != need)[0])
        raise InputError(f"row {row}", f"codewords of {need} pairs", f"{held[row]} pairs")
    used = np.arange(2 * MAX_PAIRS) < 2 * pairs[compact.codewords][:, None]
    return table[compact.codewords][used].reshape(rows, 2 * need)[:, : compact.columns]


def multiply_rows(
    compact: DictionaryRows, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return y + W x as the GPU kernel computes it, y and the product rounded to bfloat16.

    Each of 28 lanes adds its weight of every codeword in FP32, in order; lanes 16, 8, 4, 2, 1 apart
    are added then; the product is rounded to bfloat16, added to ``y`` and rounded again.

    Parameters
    ----------
    x : float32[columns]
    y : float32[rows]
    """
    table, pairs = _digit_table(CODEWORDS)
    rows = compact.row_offsets.size - 1
    lengths = np.diff(compact.row_offsets)
    weights = np.zeros((rows, 3), dtype=np.float32)
    weights[:, 1:] = bfloat16_values(compact.row_values)
    padded = np.concatenate([x.astype(np.float32), np.zeros(2 * MAX_PAIRS, dtype=np.float32)])
    lanes = np.zeros((rows, LANES), dtype=np.float32)
    position = np.zeros(rows, dtype=np.int64)
    offsets = np.arange(2 * MAX_PAIRS)
    for step in range(int(lengths.max())):
        active = np.flatnonzero(step < lengths)
        codes = compact.codewords[compact.row_offsets[active] + step]
        chosen = weights[active[:, None], table[codes]]
        at = np.minimum(position[active][:, None] + offsets, padded.size - 1)
        lanes[active, : 2 * MAX_PAIRS] += chosen * padded[at]
        position[active] += 2 * pairs[codes]
    for distance in (16, 8, 4, 2, 1):
        lanes[:, :distance] += lanes[:, distance : 2 * distance]
    return round_to_bfloat16(round_to_bfloat16(y) + round_to_bfloat16(lanes[:, 0]))


def _digit_table(codewords: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (digits uint8[codewords, 28], pairs int64[codewords]) of the dictionary."""
    symbols, pairs = symbol_table(codewords)
    digits = np.stack([symbols % 3, symbols // 3], axis=2)
    return digits.reshape(codewords, 2 * MAX_PAIRS), pairs
