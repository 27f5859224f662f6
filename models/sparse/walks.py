"""Draw short random walks reproducibly, so that any order of drawing gives the same walks.

Every draw of a walk mixes the walk's number and the draw's number; nothing is shared between walks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["DRAW_BITS", "MAX_SEED", "draw", "edge_thresholds", "walk_index", "walk_lengths"]

DRAW_BITS = 31
"""Bits of a draw."""
MAX_SEED = 1 << 16
"""Seeds from here on would meet those of the next walk."""
_STEP = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Constants of splitmix64 (Steele, Lea, Flood 2014), of which this keeps two of three rounds."""

Array = NDArray[Any]


def draw(walks: Array, number: int, seed: int) -> Array:
    """Return DRAW_BITS random bits per walk : int64[...], for the walk's draw ``number``.

    The sequence starts from walk * MAX_SEED + seed and takes number + 1 steps.
    """
    with np.errstate(over="ignore"):
        x = walks.astype(np.uint64) * np.uint64(MAX_SEED) + np.uint64(seed)
        x = x * np.uint64(_MIX[0]) + np.uint64(_STEP) * np.uint64(number + 1)
        x = (x ^ (x >> np.uint64(32))) * np.uint64(_MIX[1])
    return (x >> np.uint64(64 - DRAW_BITS)).astype(np.int64)


def edge_thresholds(weights: sparse.csr_array) -> Array:
    """Return, per entry, the draw below which an edge up to this one is taken : int32[nnz].

    ``weights`` : rows that sum to 1.
    """
    thresholds = np.zeros(weights.nnz, np.int32)
    top = (1 << DRAW_BITS) - 1
    for begin, end in zip(weights.indptr[:-1], weights.indptr[1:], strict=True):
        if end > begin:
            sums = np.cumsum(weights.data[begin:end])
            thresholds[begin:end] = np.minimum(np.floor(sums * (top + 1)), top)
            thresholds[end - 1] = top
    return thresholds


def walk_lengths(walks: Array, go_on_below: int, seed: int) -> Array:
    """Return the vertices that every walk visits, its start included : int64[walks]."""
    lengths = np.ones(len(walks), np.int64)
    going = np.arange(len(walks))
    number = 0
    while len(going):
        going = going[draw(walks[going], number, seed) < go_on_below]
        lengths[going] += 1
        number += 2
    return lengths


def walk_index(
    weights: sparse.csr_array, walks_each: int, go_on_below: int, seed: int
) -> sparse.csr_array:
    """Return every vertex's share of visits by ``walks_each`` walks from each vertex.

    A walk goes on while its even draws are below ``go_on_below``, along the edge that the next odd
    draw takes, and from a dead end back to its start.
    """
    n = weights.shape[0]
    thresholds = edge_thresholds(weights)
    walks = np.arange(n * walks_each)
    start = walks // walks_each
    at = start.copy()
    visits = [(start, at)]
    number = 0
    while len(walks):
        goes_on = draw(walks, number, seed) < go_on_below
        walks, start, at = walks[goes_on], start[goes_on], at[goes_on]
        at = _next(weights, thresholds, start, at, draw(walks, number + 1, seed))
        visits.append((start, at))
        number += 2
    rows, cols = (np.concatenate(parts) for parts in zip(*visits, strict=True))
    counts = sparse.csr_array(sparse.coo_array((np.ones(len(rows)), (rows, cols)), shape=(n, n)))
    counts.sum_duplicates()
    totals = np.bincount(rows, minlength=n)
    counts.data /= np.repeat(totals, np.diff(counts.indptr))
    return counts


def _next(
    weights: sparse.csr_array, thresholds: Array, start: Array, at: Array, draws: Array
) -> Array:
    """Return where walks go from ``at``."""
    begin, end = weights.indptr[at].astype(np.int64), weights.indptr[at + 1].astype(np.int64)
    low, high = begin.copy(), end - 1
    while (low < high).any():
        middle = (low + high) // 2
        is_left = draws < thresholds[np.minimum(middle, len(thresholds) - 1)]
        searching = low < high
        high = np.where(searching & is_left, middle, high)
        low = np.where(searching & ~is_left, middle + 1, low)
    found = weights.indices[np.minimum(low, max(weights.nnz - 1, 0))] if weights.nnz else start
    return np.where(end > begin, found, start).astype(np.int64)
