"""Count what peer accelerators move and merge for a user's sparse product, and how long they take.

The time rules are those of :mod:`hwsim.experiments.spgemm_peers`; the counts here come from the
matrices alone. Gamma keeps rows of B in a cache and merges 64 of them at a time; OuterSPACE writes
every partial product and reads it back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.graph import OpGraph, OpKind
from hwsim.experiments.spgemm_peers import BYTES_PER_S, gamma_ns, outerspace_ns
from models.sparse.build import row_products

__all__ = [
    "fetched_bytes",
    "gamma_counts",
    "merged_inputs",
    "peer_rows",
    "peers_of",
    "product_counts",
]

CACHE_BYTES = 3 << 20
"""Gamma's cache of fibres (TeAAL artifact)."""
RADIX = 64
"""Fibres that Gamma merges at a time (TeAAL artifact)."""
_ENTRY_BYTES, _POINTER_BYTES = 12, 4
MOST_NONZEROS = 1 << 21
"""Non-zeros of A up to which the cache is followed row by row (seconds)."""

Matrix = sparse.csr_array


def fetched_bytes(a: Matrix, b: Matrix, capacity_bytes: int = CACHE_BYTES) -> int:
    """Return the bytes of B that come from memory if whole rows stay in an LRU cache.

    Rows are used in the order of A's entries. Beyond MOST_NONZEROS every row is fetched once.
    """
    sizes = _ENTRY_BYTES * np.diff(b.indptr).astype(np.int64) + _POINTER_BYTES
    used = np.unique(a.indices)
    if int(sizes[used].sum()) <= capacity_bytes or a.nnz > MOST_NONZEROS:
        return int(sizes[used].sum())
    held: OrderedDict[int, int] = OrderedDict()
    free, fetched = capacity_bytes, 0
    for row in a.indices.tolist():
        if row in held:
            held.move_to_end(row)
            continue
        size = int(sizes[row])
        fetched += size
        if size > capacity_bytes:
            continue
        while size > free:
            free += held.popitem(last=False)[1]
        held[row] = size
        free -= size
    return fetched


def merged_inputs(a: Matrix, b: Matrix) -> int:
    """Return the elements that enter mergers: products, and what is merged again.

    A row of A with more than RADIX entries is merged in groups of RADIX; the groups' results are
    merged in turn.
    """
    total = int(row_products(a, b).sum())
    lengths = np.diff(a.indptr)
    rows = _pattern(a[np.flatnonzero(lengths > RADIX)])
    b = _pattern(b)
    while rows.shape[0]:
        groups = _groups(rows)
        total += int((groups @ b).nnz)  # each group's result enters the next merger
        parts = -(-np.diff(rows.indptr) // RADIX)
        again = np.repeat(np.arange(rows.shape[0]), parts)
        wide = np.flatnonzero(parts > RADIX)
        if not len(wide):
            return total
        keep = np.isin(again, wide)
        b = _pattern(Matrix(groups[keep] @ b))
        counts = np.concatenate([[0], np.cumsum(parts[wide])])
        rows = Matrix((np.ones(len(b.indptr) - 1), np.arange(b.shape[0]), counts))
    return total


def product_counts(a: Matrix, b: Matrix) -> tuple[int, int]:
    """Return the products of stored values in a · b, and the places they fall on."""
    return int(row_products(a, b).sum()), int((_pattern(a) @ _pattern(b)).nnz)


def _pattern(matrix: Any) -> Matrix:
    """Return ``matrix`` with ones for its entries."""
    return Matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)


def _groups(rows: Matrix) -> Matrix:
    """Return a row for every RADIX entries of each of ``rows``."""
    lengths = np.diff(rows.indptr)
    starts = [
        np.arange(lo, lo + length, RADIX)
        for lo, length in zip(rows.indptr[:-1], lengths, strict=True)
    ]
    ends = np.concatenate([*starts, [rows.nnz]])
    return Matrix((rows.data, rows.indices, ends), shape=(len(ends) - 1, rows.shape[1]))


def gamma_counts(a: Matrix, b: Matrix, entries: int) -> tuple[int, int]:
    """Return (bytes off chip, merger inputs) of Gamma for a product of ``entries``."""
    rows = a.shape[0]
    read = _ENTRY_BYTES * a.nnz + _POINTER_BYTES * rows + fetched_bytes(a, b)
    return read + _ENTRY_BYTES * entries + _POINTER_BYTES * rows, merged_inputs(a, b)


def peer_rows(a: Matrix, b: Matrix, entries: int) -> list[dict[str, Any]]:
    """Return one row per peer: its time for a · b by its rule, and what limits it."""
    products = int(row_products(a, b).sum())
    moved, merged = gamma_counts(a, b, entries)
    operands = (a.nnz + b.nnz) // 2
    rows = [
        ("Gamma", gamma_ns(moved, merged), moved, "counts from the matrices, TeAAL's time rule"),
        (
            "OuterSPACE",
            outerspace_ns(products, operands, a.shape[0], entries),
            round(outerspace_ns(products, operands, a.shape[0], entries) * BYTES_PER_S / 1e9),
            "bytes alone: no run undercuts it; reported runs take 3.7 to 9.3 times as long",
        ),
    ]
    return [
        {
            "machine": name,
            "time_s": nanoseconds / 1e9,
            "bytes": bytes_,
            "memory_bytes_per_s": BYTES_PER_S,
            "limit": "memory"
            if nanoseconds <= bytes_ / BYTES_PER_S * 1e9 * (1 + 1e-9)
            else "merge",
            "rule": rule,
        }
        for name, nanoseconds, bytes_, rule in rows
    ]


def peers_of(graph: OpGraph, entries: int) -> list[dict[str, Any]]:
    """Return :func:`peer_rows` of a graph that is one sparse product; nothing for others."""
    ops = list(graph.ops())
    if len(ops) != 1 or ops[0].kind is not OpKind.SPGEMM:
        return []
    names, dims = [operand.tensor for operand in ops[0].inputs], ops[0].dims
    shapes = ((dims["m"], dims["k"]), (dims["k"], dims["n"]))
    operands = []
    for first, shape in zip((0, 3), shapes, strict=True):
        ptr, col, val = (graph.weights[name] for name in names[first : first + 3])
        count = int(ptr[-1])
        operands.append(Matrix((val[:count], col[:count], ptr), shape=shape))
    return peer_rows(operands[0], operands[1], entries)
