"""Compute steps between products by numpy and scipy: what the thread programs must leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.piuma.outputs import ENTRY

if TYPE_CHECKING:
    from scipy import sparse

    from hwsim.piuma.golden import Known

__all__ = ["golden_step"]

Array = NDArray[Any]
Operands = tuple[list["sparse.csr_array"], list[Array]]


def golden_step(fact: dict[str, Any], known: Known) -> Array:
    """Return the step's result; what it updates is updated in ``known``."""
    attrs, dims = fact["attrs"], fact["dims"]
    shape = (dims["m"], dims["n"])
    kernel = fact["kernel"]
    if kernel == "block-rows":
        return _block_rows(fact, known)
    if kernel == "select":
        shape = (attrs["rows"], attrs["rows"])
    if kernel.startswith("vertex"):
        shape = (dims["m"], dims["m"])
    operands = known.operands(fact["inputs"], [shape])
    if kernel == "filter-seen":
        return _filter_seen(fact, known, operands)
    return _GOLDEN[kernel](operands, attrs)


def _rows(a: sparse.csr_array) -> Array:
    return np.repeat(np.arange(a.shape[0]), np.diff(a.indptr))


def _entries(a: sparse.csr_array, keep: Array, values: Array) -> Array:
    """Return the kept entries of ``a`` with ``values``, in order."""
    found = np.zeros(int(keep.sum()), ENTRY)
    found["row"], found["col"] = _rows(a)[keep], a.indices[keep]
    found["value"] = values[keep]
    return found[np.lexsort((found["col"], found["row"]))]


def _filter_small(operands: Operands, attrs: dict[str, Any]) -> Array:
    a = operands[0][0]
    values = a.data * attrs["scale"]
    return _entries(a, values >= attrs["least"], values)


def _filter_seen(fact: dict[str, Any], known: Known, operands: Operands) -> Array:
    a, level = operands[0][0], operands[1][0].copy()
    keep = level[_rows(a), a.indices] < 0
    level[_rows(a)[keep], a.indices[keep]] = fact["attrs"]["depth"]
    known.values[fact["attrs"]["updates"]] = level
    return _entries(a, keep, np.ones(a.nnz))


def _degrees(a: sparse.csr_array) -> Array:
    return np.diff(a.indptr).astype(np.float64)


def _vertex_root(operands: Operands, attrs: dict[str, Any]) -> Array:
    del attrs
    degrees = _degrees(operands[0][0])
    some = np.maximum(degrees, 1)
    return np.where(degrees > 0, 1 / np.sqrt(some), 0.0).reshape(-1, 1)


def _vertex_scale(operands: Operands, attrs: dict[str, Any]) -> Array:
    del attrs
    degrees = _degrees(operands[0][0])
    some = np.maximum(degrees, 1)
    scaled = operands[1][0].reshape(-1) / (some * some)
    return np.where(degrees > 0, scaled, 0.0).reshape(-1, 1)


def _select(operands: Operands, attrs: dict[str, Any]) -> Array:
    """Return the bits of the count-th least score off the diagonal, and its rank among equals."""
    a, scores = operands[0][0], operands[1][0]
    off = scores[: a.nnz][_rows(a) != a.indices]
    if not attrs["count"]:
        return np.zeros((1, 2), np.int64)
    bound = np.sort(off)[attrs["count"] - 1]
    rank = attrs["count"] - int((off < bound).sum())
    return np.array([[np.float64(bound).view(np.int64), rank]], np.int64)


def _prune(operands: Operands, attrs: dict[str, Any]) -> Array:
    del attrs
    a, (scores, bound) = operands[0][0], operands[1]
    least, dropped = bound.reshape(-1)[:1].view(np.float64)[0], int(bound.reshape(-1)[1])
    is_loop = _rows(a) == a.indices
    is_equal = (scores[: a.nnz] == least) & ~is_loop
    keep = is_loop | (scores[: a.nnz] >= least)
    keep[np.flatnonzero(is_equal)[:dropped]] = False
    return _entries(a, keep, a.data)


def _combine(operands: Operands, attrs: dict[str, Any]) -> Array:
    total = np.zeros(operands[0][0].shape)
    for a, factor in zip(operands[0], attrs["factors"], strict=True):
        total[_rows(a), a.indices] += a.data * factor
    return total


def _dense(operands: Operands, attrs: dict[str, Any]) -> Array:
    del attrs
    x, weights = operands[1]
    found: Array = x @ weights
    return found


def _block_rows(fact: dict[str, Any], known: Known) -> Array:
    from scipy import sparse

    ptr, col, val = (known.values[name] for name in fact["inputs"][:3])
    block, rows = fact["attrs"]["block"], fact["dims"]["m"]
    blocks = val[: int(ptr[-1]) * block * block].reshape(-1, block, block)
    shape = (rows, fact["attrs"]["depth"])
    weights = sparse.bsr_array((blocks, col[: int(ptr[-1])], ptr), shape=shape)
    return np.maximum(weights @ known.values[fact["inputs"][3]], 0.0)


def _walks(operands: Operands, attrs: dict[str, Any]) -> Array:
    """Walk one step of all walks at a time; every draw depends on walk and number only."""
    edges, thresholds = operands[0][0], operands[1][0]
    n = edges.shape[0]
    walks = np.arange(n * attrs["walks"])
    start = walks // attrs["walks"]
    at = start.copy()
    rows, cols = [start], [at]
    number = 1
    while len(walks):
        goes_on = _draw(walks, number, attrs["seed"]) < attrs["go_on_below"]
        walks, start, at = walks[goes_on], start[goes_on], at[goes_on]
        draws = _draw(walks, number + 1, attrs["seed"])
        begin, end = edges.indptr[at], edges.indptr[at + 1]
        taken = [
            lo + int(np.searchsorted(thresholds[lo : hi - 1], bits, side="right"))
            for lo, hi, bits in zip(begin.tolist(), end.tolist(), draws.tolist(), strict=True)
        ]
        places = np.minimum(np.array(taken, np.int64), max(edges.nnz - 1, 0))
        at = np.where(end > begin, edges.indices[places] if edges.nnz else start, start)
        rows.append(start)
        cols.append(at)
        number += 2
    keys, counts = np.unique(np.concatenate(rows) * n + np.concatenate(cols), return_counts=True)
    found = np.zeros(len(keys), ENTRY)
    found["row"], found["col"] = keys // n, keys % n
    found["value"] = counts / np.bincount(np.concatenate(rows), minlength=n)[keys // n]
    return found


def _draw(walks: Array, number: int, seed: int) -> Array:
    """Return 31 random bits per walk: two rounds of splitmix64 on walk, seed and number."""
    mask = (1 << 64) - 1
    bits = []
    for walk in walks.tolist():
        x = ((walk << 16) + seed) * 0xBF58476D1CE4E5B9 + number * 0x9E3779B97F4A7C15 & mask
        x = (x ^ x >> 32) * 0x94D049BB133111EB & mask
        bits.append(x >> 33)
    return np.array(bits, np.int64)


_GOLDEN: dict[str, Callable[[Operands, dict[str, Any]], Array]] = {
    "walks": _walks,
    "filter-small": _filter_small,
    "prune": _prune,
    "select": _select,
    "vertex-root": _vertex_root,
    "vertex-scale": _vertex_scale,
    "combine": _combine,
    "dense": _dense,
}
