"""Encode rows of kept groups: four-bit weights with a scale and a zero per group of 16.

After GQSA (Zeng et al. 2025: four-bit weights per group, half of the groups dropped, block sparse
rows). The text at hand names no field widths; those below are this project's choice: group 1 x 16
along a row, ``row_ptr`` uint32, group column uint16, sixteen four-bit values with the first in the
low half of a byte, scale FP16, zero four bits: 4 + (16 + 4 + 16) / 16 = 6.25 bits per kept weight.
Asymmetric: q = clip(round(w / s) + z, 0, 15) and w = s (q - z).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import pack_bits, unpack_bits

__all__ = [
    "GROUP",
    "GROUP_BITS",
    "GroupSparse",
    "decode_group_sparse",
    "encode_group_sparse",
    "group_sparse_bits",
    "quantized_groups",
]

GROUP = 16
LEVELS = 15
GROUP_BITS = GROUP * 4 + 16 + 4 + 16
"""Bits of one kept group: values, scale, zero, group column."""


@dataclass(frozen=True)
class GroupSparse:
    """Hold a matrix [rows, columns] as kept groups, row by row, columns ascending.

    Attributes
    ----------
    row_ptr : uint32[rows + 1]
        First group of each row.
    group_columns : uint16[groups]
        Column of the group's first weight over ``GROUP``.
    values : uint8[groups, 8]
        Sixteen four-bit values.
    scales : float16[groups]
    zeros : uint8[groups]
        0 to 15.
    columns : int
    """

    row_ptr: NDArray[np.uint32]
    group_columns: NDArray[np.uint16]
    values: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]
    columns: int


def encode_group_sparse(weights: NDArray[np.floating], kept: NDArray[np.bool_]) -> GroupSparse:
    """Return ``weights`` [rows, columns], of whose groups ``kept`` bool[rows, groups] stay.

    Raises
    ------
    InputError
        If the columns are no whole number of groups, ``kept`` has another shape, weights are not
        finite, or a row has more than 65536 groups.
    """
    rows, columns = weights.shape
    if columns % GROUP:
        raise InputError("weights", f"columns in groups of {GROUP}", f"{columns} columns")
    if kept.shape != (rows, columns // GROUP):
        raise InputError("kept", f"shape {(rows, columns // GROUP)}", str(kept.shape))
    if columns // GROUP > 1 << 16:
        raise InputError("weights", f"at most {1 << 16} groups per row", str(columns // GROUP))
    if not np.isfinite(weights).all():
        raise InputError("weights", "finite values", "NaN or Inf")
    groups = np.asarray(weights, np.float64).reshape(rows, -1, GROUP)[kept]
    # Zero lies inside the range, so that it is represented exactly.
    low, high = groups.min(axis=1, initial=0.0), groups.max(axis=1, initial=0.0)
    scales = ((high - low) / LEVELS).astype(np.float16)
    divisors = np.where(scales > 0, scales.astype(np.float64), 1.0)
    zeros = np.clip(np.rint(-low / divisors), 0, LEVELS)
    levels = np.clip(np.rint(groups / divisors[:, None]) + zeros[:, None], 0, LEVELS)
    return GroupSparse(
        row_ptr=np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.uint32),
        group_columns=np.nonzero(kept)[1].astype(np.uint16),
        values=pack_bits(levels, 4).reshape(-1, GROUP // 2),
        scales=scales,
        zeros=zeros.astype(np.uint8),
        columns=columns,
    )


def quantized_groups(compact: GroupSparse) -> NDArray[np.int64]:
    """Return the values q of the kept groups, 0 to 15 : int64[groups, 16]."""
    count = compact.values.shape[0]
    return unpack_bits(compact.values.ravel(), 4, count * GROUP).reshape(count, GROUP)


def decode_group_sparse(compact: GroupSparse) -> NDArray[np.float32]:
    """Return the matrix float32[rows, columns] that ``compact`` stands for, zero where dropped.

    Raises
    ------
    InputError
        If the row pointers do not rise from 0 to the number of groups, or a column is too large.
    """
    pointers = compact.row_ptr.astype(np.int64)
    count = compact.values.shape[0]
    if pointers[0] != 0 or pointers[-1] != count or (np.diff(pointers) < 0).any():
        raise InputError("row_ptr", f"rising from 0 to {count}", str(pointers.tolist()[:8]))
    if count and int(compact.group_columns.max()) >= compact.columns // GROUP:
        need = f"below {compact.columns // GROUP}"
        raise InputError("group_columns", need, str(int(compact.group_columns.max())))
    shifted = quantized_groups(compact) - compact.zeros[:, None].astype(np.int64)
    groups = compact.scales.astype(np.float32)[:, None] * shifted.astype(np.float32)
    rows = np.repeat(np.arange(pointers.size - 1), np.diff(pointers))
    dense = np.zeros((pointers.size - 1, compact.columns // GROUP, GROUP), dtype=np.float32)
    dense[rows, compact.group_columns] = groups
    return dense.reshape(pointers.size - 1, compact.columns)


def group_sparse_bits(rows: int, groups: int) -> int:
    """Return the bits of ``groups`` kept groups in ``rows`` rows, row pointers included."""
    return groups * GROUP_BITS + (rows + 1) * 32
