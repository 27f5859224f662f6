"""Compute products with weights as they lie in memory: codewords of QMoE, groups of GQSA.

A program's tensors of an op are then, instead of its codes ``b``, those of the compact format:
``codewords``, ``row_offsets`` and ``row_codes`` (INT8 of a row's minimum and maximum), or
``row_ptr``, ``group_columns``, ``values``, ``zeros`` and ``scales`` (fixed point). A row is an
output's weights along k.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import unpack_bits
from hwsim.core.formats.gqsa import GROUP
from hwsim.core.formats.qmoe import DictionaryRows, decode_rows
from hwsim.core.units import ceil_div
from hwsim.flightllm.gqsa_engine import GroupRows, stream_sums
from hwsim.flightllm.qmoe_decoder import decode_codewords
from hwsim.flightllm.unit_spec import GqsaSpec, QMoeSpec

__all__ = ["Groups", "decoded_codes", "exact_codes", "has_codewords", "has_groups"]

Codes = NDArray[np.int64]
Tensors = Mapping[str, NDArray[Any]]


def has_codewords(tensors: Tensors, name: str) -> bool:
    """Return whether the weights of op ``name`` are codewords."""
    return f"{name}.codewords" in tensors


def has_groups(tensors: Tensors, name: str) -> bool:
    """Return whether the weights of op ``name`` are kept groups."""
    return f"{name}.row_ptr" in tensors


def decoded_codes(tensors: Tensors, name: str, k: int, unit: QMoeSpec) -> Codes:
    """Return the INT8 codes [1, k, n] that the decoder gives, codeword after codeword.

    Raises :class:`InputError` for a codeword beyond the table, or a row that is not ``k`` long.
    """
    words, offsets = tensors[f"{name}.codewords"], tensors[f"{name}.row_offsets"]
    values = tensors[f"{name}.row_codes"].astype(np.int64)
    is_last = np.zeros(len(words), np.bool_)
    is_last[offsets[1:] - 1] = True
    found = np.zeros((len(values), k + 1), np.int64)
    row = 0
    for part in decode_codewords(unit, words, is_last):
        end = part.position + 2 * part.pairs
        if end > k + 1 or (part.is_last and end < k):
            raise InputError(f"{name}.codewords", f"rows of {k} weights", f"{end} in row {row}")
        digits = np.array(part.digits[: 2 * part.pairs])
        found[row, part.position : end] = np.choose(digits, (0, *values[row]))
        row += part.is_last
    return found[None, :, :k].transpose(0, 2, 1)


def exact_codes(tensors: Tensors, name: str, k: int, unit: QMoeSpec) -> Codes:
    """Return, by definition, the integer weights [1, k, n] that the tensors of ``name`` are."""
    if has_codewords(tensors, name):
        row_codes = tensors[f"{name}.row_codes"].astype(np.int64)
        none = np.zeros(row_codes.shape, np.uint16)
        words, offsets = tensors[f"{name}.codewords"], tensors[f"{name}.row_offsets"]
        digits = decode_rows(DictionaryRows(words, offsets, none, k), unit.entries)
        low, high = row_codes.T[:, :, None]
        rows = np.where(digits == 2, high, np.where(digits == 1, low, 0))
    else:
        groups = Groups(tensors, name, k)
        weights = (groups.values - groups.zeros[:, None]) * groups.scales[:, None]
        whole = np.zeros((*groups.place.shape, GROUP), np.int64)
        is_kept = groups.place >= 0
        whole[is_kept] = weights[groups.place[is_kept]]
        rows = whole.reshape(len(whole), -1)[:, :k]
    return rows[None].transpose(0, 2, 1)


class Groups:
    """Kept groups of an op, and where they are.

    Attributes
    ----------
    values : int64[groups, 16]
    zeros, scales : int64[groups]
    place : int64[n, groups along k]
        Number of the group, -1 where none is kept.
    """

    def __init__(self, tensors: Tensors, name: str, k: int) -> None:
        pointers = tensors[f"{name}.row_ptr"].astype(np.int64)
        columns = tensors[f"{name}.group_columns"].astype(np.int64)
        count = len(columns)
        if pointers[0] != 0 or pointers[-1] != count or (np.diff(pointers) < 0).any():
            raise InputError(f"{name}.row_ptr", f"rising from 0 to {count}", str(pointers[:8]))
        packed = tensors[f"{name}.values"]
        self.values = unpack_bits(packed.ravel(), 4, count * GROUP).reshape(count, GROUP)
        self.zeros = tensors[f"{name}.zeros"].astype(np.int64)
        self.scales = tensors[f"{name}.scales"].astype(np.int64)
        self.place = np.full((len(pointers) - 1, ceil_div(k, GROUP)), -1, np.int64)
        self.place[np.repeat(np.arange(len(self.place)), np.diff(pointers)), columns] = np.arange(
            count
        )

    def product(self, x: Codes, k: Codes, n: Codes, unit: GqsaSpec, engines: int) -> Codes:
        """Return what ``engines`` make of an instruction: sums int64[m, columns].

        Parameters
        ----------
        x : int64[m, places]
            Activations.
        k, n : int64[places, columns]
            Row and column of the weight at each place; a group counts if its places are whole.
        """
        k, n = (v.reshape(-1, GROUP, v.shape[1]) for v in (k, n))
        first, output = k[:, 0], n[:, 0]
        lines = np.arange(GROUP)[:, None]
        is_whole = (k == first[:, None] + lines).all(axis=1) & (n == output[:, None]).all(axis=1)
        group = first // GROUP
        is_there = is_whole & (first % GROUP == 0) & (first >= 0) & (group < self.place.shape[1])
        is_there &= (output >= 0) & (output < len(self.place))
        number = self.place[np.where(is_there, output, 0), np.where(is_there, group, 0)]
        number = np.where(is_there, number, -1).T  # row by row
        column, at = np.nonzero(number >= 0)
        chosen = number[column, at]
        sums = np.zeros((len(x), len(number)), np.int64)
        if len(chosen):
            ends = np.append(column[1:] != column[:-1], True)
            parts = (self.values[chosen], self.zeros[chosen], self.scales[chosen])
            rows = GroupRows(at, *parts, ends)
            acts = x.reshape(len(x), -1, GROUP)
            sums[:, np.unique(column)] = stream_sums(unit, rows, acts, engines)
        return sums
