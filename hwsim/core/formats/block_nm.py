"""Encode weights in blocks of 16 x 16 that keep N of 16 along k, each block with its own N.

FlightLLM's format: a byte per block (FSB) says N in {2, 4, 8, 16}; every column of the block keeps
N of its 16 rows; a kept INT8 weight takes a byte and, unless the block is dense, a four-bit index.
A block therefore takes 16 N bytes of weights and 8 N bytes of indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import pack_bits, unpack_bits
from hwsim.core.units import ceil_div

__all__ = [
    "BLOCK",
    "KEPT_CHOICES",
    "BlockNM",
    "block_nm_bytes",
    "decode_block_nm",
    "encode_block_nm",
    "kept_per_block",
]

BLOCK = 16
KEPT_CHOICES = (2, 4, 8, 16)


@dataclass(frozen=True)
class BlockNM:
    """Hold an INT8 matrix [k, n] by blocks, block columns outermost, then block rows.

    Attributes
    ----------
    fsb : uint8[block columns, block rows]
        N of each block.
    values : int8[:]
        Kept weights: per block N slots of 16 columns, rows ascending; unused slots hold zero.
    indices : uint8[:]
        Rows of the kept weights, two to a byte, the first in the low half; none for dense blocks.
    shape : (k, n)
        Of the matrix; ragged blocks are filled with zeros.
    """

    fsb: NDArray[np.uint8]
    values: NDArray[np.int8]
    indices: NDArray[np.uint8]
    shape: tuple[int, int]


def kept_per_block(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the smallest N of ``KEPT_CHOICES`` that holds each block of ``mask`` bool[k, n].

    The result is uint8[block columns, block rows].
    """
    worst = _blocks(mask).sum(axis=2).max(axis=2)
    choices = np.asarray(KEPT_CHOICES, dtype=np.uint8)
    smallest: NDArray[np.uint8] = choices[np.searchsorted(choices, worst)]
    return smallest


def encode_block_nm(dense: NDArray[np.int8], mask: NDArray[np.bool_]) -> BlockNM:
    """Return ``dense`` int8[k, n] under ``mask`` with the smallest N for each block.

    Raises
    ------
    InputError
        If the shapes differ or ``dense`` is not int8.
    """
    if dense.dtype != np.int8 or dense.ndim != 2 or dense.shape != mask.shape:
        need = f"int8 values of the mask's shape {mask.shape}"
        raise InputError("weights", need, f"{dense.dtype} {dense.shape}")
    fsb = kept_per_block(mask)
    kept = _blocks(mask)
    full = _blocks(np.where(mask, dense, np.int8(0)))
    order = np.argsort(~kept, axis=2, kind="stable")
    values, indices = [], []
    for block in np.ndindex(*fsb.shape):
        slots = np.sort(order[block][: fsb[block]], axis=0)
        values.append(np.take_along_axis(full[block], slots, axis=0).ravel())
        if fsb[block] < BLOCK:
            indices.append(slots.ravel())
    rows = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    shape = (dense.shape[0], dense.shape[1])
    return BlockNM(fsb, np.concatenate(values), pack_bits(rows, 4), shape)


def decode_block_nm(compact: BlockNM) -> NDArray[np.int8]:
    """Return the matrix int8[k, n] that ``compact`` stands for, zeros where pruned.

    Raises
    ------
    InputError
        If the block bytes name another N or the streams have another length.
    """
    if not np.isin(compact.fsb, KEPT_CHOICES).all():
        raise InputError("fsb", f"one of {KEPT_CHOICES}", str(sorted(set(compact.fsb.flat))))
    slots_total = int(compact.fsb.astype(np.int64).sum()) * BLOCK
    if compact.values.size != slots_total:
        raise InputError("values", f"{slots_total} weights", str(compact.values.size))
    sparse = compact.fsb[compact.fsb < BLOCK].astype(np.int64)
    rows = unpack_bits(compact.indices, 4, int(sparse.sum()) * BLOCK)
    blocks = np.zeros((*compact.fsb.shape, BLOCK, BLOCK), dtype=np.int8)
    value, index = 0, 0
    for block in np.ndindex(*compact.fsb.shape):
        kept = int(compact.fsb[block])
        part = compact.values[value : value + kept * BLOCK].reshape(kept, BLOCK)
        value += part.size
        if kept == BLOCK:
            blocks[block] = part
            continue
        where = rows[index : index + part.size].reshape(kept, BLOCK)
        index += part.size
        np.put_along_axis(blocks[block], where, part, axis=0)
    k, n = compact.shape
    columns, depth = compact.fsb.shape
    whole = blocks.transpose(1, 2, 0, 3).reshape(depth * BLOCK, columns * BLOCK)
    return whole[:k, :n]


def block_nm_bytes(fsb: NDArray[np.uint8]) -> dict[str, int]:
    """Return the bytes of ``weights``, ``indices`` and ``fsb`` for the N of every block."""
    kept = fsb.astype(np.int64)
    return {
        "weights": int(kept.sum()) * BLOCK,
        "indices": int(kept[kept < BLOCK].sum()) * BLOCK // 2,
        "fsb": int(kept.size),
    }


def _blocks(matrix: NDArray[Any]) -> NDArray[Any]:
    """Return ``matrix`` [k, n] as [block columns, block rows, 16, 16], padded with zeros."""
    k, n = matrix.shape
    depth, columns = ceil_div(k, BLOCK), ceil_div(n, BLOCK)
    padded = np.pad(matrix, ((0, depth * BLOCK - k), (0, columns * BLOCK - n)))
    return padded.reshape(depth, BLOCK, columns, BLOCK).transpose(2, 0, 1, 3)
