"""Read what thread programs left in memory, and compute what they must have left.

A sparse result is an array of ENTRY, by row and column. :func:`golden_outputs` uses scipy and
shares nothing with the simulator.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.piuma.kernel_table import is_in_pieces
from hwsim.piuma.memory_map import MemoryMap
from hwsim.piuma.program import ThreadProgram

__all__ = [
    "ENTRY",
    "count_entries",
    "golden_outputs",
    "operand_values",
    "read_output",
    "read_sparse",
]

ENTRY = np.dtype([("row", np.int64), ("col", np.int64), ("value", np.float64)])
"""One stored entry of a sparse result."""

Array = NDArray[Any]


def operand_values(program: ThreadProgram) -> dict[str, Array]:
    """Return values of operands and of what is made of them; an error names one that is missing."""
    names = {name for fact in program.meta["ops"] for name in fact["inputs"]}
    names |= set(program.meta["prepared"])
    for name in sorted(names):
        if name not in program.tensors:
            raise InputError(f"tensor {name}", "values", "none attached")
    return {name: program.tensors[name] for name in names}


def read_output(
    program: ThreadProgram, fact: dict[str, Any], memory: NDArray[np.int64], blocks: int
) -> Array:
    """Return an op's result as it lies in ``memory``."""
    name = fact["output"]
    if fact["kind"] == "spgemm":
        pieces = blocks if is_in_pieces(fact["kernel"]) else 1
        return read_sparse(program.memory, name, memory, fact["dims"]["m"], pieces)
    found = program.memory.read(memory, name, np.float64)
    if fact["kind"] == "sddmm":
        return found[: fact["attrs"]["nnz_a"]]
    return found.reshape(fact["dims"]["m"], fact["dims"]["n"])


def count_entries(
    program: ThreadProgram, fact: dict[str, Any], memory: NDArray[np.int64], blocks: int
) -> int:
    """Return how many entries an op's sparse result has in ``memory``, 0 if it is dense."""
    if fact["kind"] != "spgemm":
        return 0
    pieces = blocks if is_in_pieces(fact["kernel"]) else 1
    spans = _spans(program.memory, fact["output"], memory, fact["dims"]["m"], pieces)
    return sum(int(bounds[-1] - bounds[0]) for _, bounds in spans)


def _spans(
    places: MemoryMap, name: str, memory: NDArray[np.int64], rows: int, pieces: int
) -> list[tuple[int, Array]]:
    """Return (first row, where its rows begin and the last ends) of each piece of a result."""
    ptr = places.read(memory, f"{name}.ptr", np.int32)
    first_rows = [0, rows]
    if pieces > 1:
        first_rows = places.read(memory, f"{name}.starts", np.int64)[::2].tolist() + [rows]
    return [
        (lo, ptr[lo + piece : hi + piece + 1])
        for piece, (lo, hi) in enumerate(pairwise(first_rows))
    ]


def read_sparse(
    places: MemoryMap, name: str, memory: NDArray[np.int64], rows: int, pieces: int
) -> NDArray[np.void]:
    """Return the entries, in order, of a sparse result kept in one piece or one per block."""
    col = places.read(memory, f"{name}.col", np.int32)
    val = places.read(memory, f"{name}.val", np.float64)
    parts = []
    for lo, bounds in _spans(places, name, memory, rows, pieces):
        span = slice(int(bounds[0]), int(bounds[-1]))
        part = np.zeros(span.stop - span.start, ENTRY)
        part["row"] = np.repeat(np.arange(lo, lo + len(bounds) - 1), np.diff(bounds))
        part["col"], part["value"] = col[span], val[span]
        parts.append(part)
    entries = np.concatenate(parts)
    return entries[np.lexsort((entries["col"], entries["row"]))]


def golden_outputs(program: ThreadProgram) -> dict[str, Array]:
    """Return {op: result} by scipy; entries of a sparse result include those that cancel to 0."""
    values = operand_values(program)
    return {fact["name"]: _golden(fact, values) for fact in program.meta["ops"]}


def _golden(fact: dict[str, Any], values: dict[str, Array]) -> Array:
    from scipy import sparse

    names, dims = fact["inputs"], fact["dims"]

    def matrix(position: int, rows: int, cols: int) -> Any:
        ptr, col, val = (values[name] for name in names[position : position + 3])
        nonzeros = int(ptr[-1])
        return sparse.csr_array((val[:nonzeros], col[:nonzeros], ptr), shape=(rows, cols))

    if fact["kind"] == "spgemm":
        a, b = matrix(0, dims["m"], dims["k"]), matrix(3, dims["k"], dims["n"])
        return _golden_entries(a, b)
    if fact["kind"] == "sddmm":
        a = matrix(0, dims["m"], dims["n"])
        rows = np.repeat(np.arange(dims["m"]), np.diff(a.indptr))
        x, y = (values[name] for name in names[3:])
        result: Array = a.data * np.einsum("ij,ij->i", x[rows], y[a.indices])
        return result
    result = matrix(0, dims["m"], dims["k"]) @ values[names[3]]
    return result


def _golden_entries(a: Any, b: Any) -> Array:
    """Return the entries of a · b; scipy drops sums that cancel, patterns keep their places."""
    from scipy import sparse

    def ones(matrix: Any) -> Any:
        parts = (np.ones(matrix.nnz), matrix.indices, matrix.indptr)
        return sparse.csr_array(parts, shape=matrix.shape)

    places, product = (sparse.coo_array(x) for x in (ones(a) @ ones(b), a @ b))
    entries = np.zeros(places.nnz, ENTRY)
    entries["row"], entries["col"] = places.coords
    entries.sort(order=("row", "col"))
    keys = entries["row"] * b.shape[1] + entries["col"]
    rows, cols = (part.astype(np.int64) for part in product.coords)
    entries["value"][np.searchsorted(keys, rows * b.shape[1] + cols)] = product.data
    return entries
