"""Read what thread programs left in memory.

A sparse result is an array of ENTRY, by row and column.
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
from hwsim.piuma.steps.write import SPARSE_STEPS

__all__ = [
    "ENTRY",
    "count_entries",
    "operand_values",
    "read_outputs",
    "read_sparse",
]

ENTRY = np.dtype([("row", np.int64), ("col", np.int64), ("value", np.float64)])
"""One stored entry of a sparse result."""

Array = NDArray[Any]


def operand_values(program: ThreadProgram) -> dict[str, Array]:
    """Return values of operands and of what is made of them; an error names one that is missing."""
    names = {name for fact in program.meta["ops"] for name in fact["given"]}
    names |= set(program.meta["prepared"])
    for name in sorted(names):
        if name not in program.tensors:
            raise InputError(f"tensor {name}", "values", "none attached")
    return {name: program.tensors[name] for name in names}


def _is_sparse(fact: dict[str, Any]) -> bool:
    """Return whether an op's result is a sparse matrix."""
    return fact["kind"] == "spgemm" or fact["kernel"] in SPARSE_STEPS


def read_outputs(
    program: ThreadProgram, fact: dict[str, Any], memory: NDArray[np.int64], blocks: int
) -> dict[str, Array]:
    """Return what an op left in ``memory``: its result by its name, and an array it updates."""
    found = {fact["name"]: _read_result(program, fact, memory, blocks)}
    if "updates" in fact["attrs"]:
        name = fact["attrs"]["updates"]
        given = program.tensors[name]
        found[name] = program.memory.read(memory, name, given.dtype).reshape(given.shape)
    return found


def _read_result(
    program: ThreadProgram, fact: dict[str, Any], memory: NDArray[np.int64], blocks: int
) -> Array:
    name = fact["output"]
    if _is_sparse(fact):
        pieces = blocks if is_in_pieces(fact["kernel"]) else 1
        return read_sparse(program.memory, name, memory, fact["dims"]["m"], pieces)
    dtype = np.int64 if fact["kernel"] == "select" else np.float64
    found = program.memory.read(memory, name, dtype)
    if fact["kind"] == "sddmm":
        return found[: fact["attrs"]["nnz_a"]]
    return found.reshape(fact["dims"]["m"], fact["dims"]["n"])


def count_entries(
    program: ThreadProgram, fact: dict[str, Any], memory: NDArray[np.int64], blocks: int
) -> int:
    """Return how many entries an op's sparse result has in ``memory``, 0 if it is dense."""
    if not _is_sparse(fact):
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
