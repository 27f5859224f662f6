"""Encode N:M matrices as values and indices, and decode them again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div

__all__ = ["NMCompact", "decode_nm", "encode_nm", "nm_compact_bits"]


@dataclass(frozen=True)
class NMCompact:
    """Hold an N:M matrix as ``nm_n`` slots per group of ``nm_m`` rows.

    Attributes
    ----------
    values : [groups, nm_n, n], the dense matrix' dtype
        Kept elements in ascending row order; unused slots hold zero.
    indices : uint8[groups, nm_n, n]
        Position of each value inside its group; unused slots hold a position the group does not
        use (so that a slot never names an element twice).
    k : int
        Rows of the dense matrix (the last group may be ragged).
    nm_m : int
        Group length in elements.
    """

    values: NDArray[np.generic]
    indices: NDArray[np.uint8]
    k: int
    nm_m: int


def encode_nm(
    dense: NDArray[np.generic], mask: NDArray[np.bool_], nm_n: int, nm_m: int
) -> NMCompact:
    """Return the compact form of ``dense`` [k, n] under ``mask`` bool[k, n], grouped along k.

    Raises :class:`InputError` if a group keeps more than ``nm_n`` elements.
    """
    k, n = dense.shape
    groups = ceil_div(k, nm_m)
    padding = ((0, groups * nm_m - k), (0, 0))
    kept = np.pad(mask, padding).reshape(groups, nm_m, n)
    worst = int(kept.sum(axis=1).max(initial=0))
    if worst > nm_n:
        raise InputError("mask", f"at most {nm_n} of {nm_m} elements per group", str(worst))
    full = np.pad(np.where(mask, dense, dense.dtype.type(0)), padding).reshape(groups, nm_m, n)
    # Kept positions first, both halves in ascending order; then the slots back into row order.
    slots = np.sort(np.argsort(~kept, axis=1, kind="stable")[:, :nm_n, :], axis=1)
    values = np.take_along_axis(full, slots, axis=1)
    return NMCompact(values, slots.astype(np.uint8), k, nm_m)


def decode_nm(compact: NMCompact) -> NDArray[np.generic]:
    """Return the dense [k, n] matrix that ``compact`` stands for (zeros where pruned)."""
    groups, _, n = compact.values.shape
    dense = np.zeros((groups, compact.nm_m, n), dtype=compact.values.dtype)
    np.put_along_axis(dense, compact.indices.astype(np.int64), compact.values, axis=1)
    return dense.reshape(groups * compact.nm_m, n)[: compact.k]


def nm_compact_bits(k: int, n: int, nm_n: int, nm_m: int, value_bits: int = 16) -> int:
    """Return the bits of an N:M matrix [k, n]: value and index per slot.

    Dense (m = 1) needs no index. Relative to dense storage this is N(16 + log2 M) / (16 M)
    for 16-bit values.
    """
    return ceil_div(k, nm_m) * nm_n * n * (value_bits + index_bits(nm_m))
