"""Compute what thread programs must leave in memory, by numpy and scipy alone.

Nothing is shared with the simulator. A sparse result is an array of ENTRY, by row and column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.piuma.outputs import ENTRY, operand_values
from hwsim.piuma.program import ThreadProgram
from hwsim.piuma.steps.golden import golden_step

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Known", "golden_outputs"]

Array = NDArray[Any]


class Known:
    """Values of arrays by name, and of sparse matrices that ops have made."""

    def __init__(self, values: dict[str, Array]) -> None:
        self.values = dict(values)
        self.matrices: dict[str, sparse.csr_array] = {}

    def operands(
        self, names: list[str], shapes: list[tuple[int, int]]
    ) -> tuple[list[sparse.csr_array], list[Array]]:
        """Return sparse operands, of ``shapes``, and dense ones, in order."""
        from scipy import sparse

        matrices: list[sparse.csr_array] = []
        dense = []
        position = 0
        while position < len(names):
            name = names[position]
            if name in self.matrices:
                matrices.append(self.matrices[name])
            elif name.endswith(".ptr"):
                ptr, col, val = (self.values[n] for n in names[position : position + 3])
                nonzeros = int(ptr[-1])
                shape = shapes[min(len(matrices), len(shapes) - 1)]
                parts = (val[:nonzeros], col[:nonzeros], ptr)
                matrices.append(sparse.csr_array(parts, shape=shape))
                position += 2
            else:
                dense.append(self.values[name])
            position += 1
        return matrices, dense


def golden_outputs(
    program: ThreadProgram, given: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Return {op: result}; entries of a sparse result include those that cancel to 0.

    An array that ops update in place is there by its own name, too, as the last one leaves it.
    Results of ops that are ``given`` are what later ops get: rounding may decide which of equal
    scores is the least, and each op is then right or wrong by itself.
    """
    known = Known(operand_values(program))
    found: dict[str, Array] = {}
    for fact in program.meta["ops"]:
        result = _golden(fact, known)
        found[fact["name"]] = result
        handed = (given or {}).get(fact["name"], result)
        if result.dtype == ENTRY:
            known.matrices[fact["output"]] = _matrix(handed, fact["dims"])
        else:
            known.values[fact["output"]] = handed if handed.shape == result.shape else result
        if "updates" in fact["attrs"]:
            found[fact["attrs"]["updates"]] = known.values[fact["attrs"]["updates"]]
    return found


def _matrix(entries: Array, dims: dict[str, int]) -> sparse.csr_array:
    """Return entries as a matrix, in their order and with those that are 0."""
    from scipy import sparse

    counts = np.bincount(entries["row"], minlength=dims["m"])
    ptr = np.concatenate([[0], np.cumsum(counts)])
    parts = (entries["value"].copy(), entries["col"].copy(), ptr)
    return sparse.csr_array(parts, shape=(dims["m"], dims["n"]))


def _golden(fact: dict[str, Any], known: Known) -> Array:
    dims, kind = fact["dims"], fact["kind"]
    m, k, n = dims["m"], dims["k"], dims["n"]
    if kind == "sparse_step":
        return golden_step(fact, known)
    shapes = [(m, n)] if kind == "sddmm" else [(m, k), (k, n)]
    matrices, dense = known.operands(fact["inputs"], shapes)
    if kind == "spgemm":
        return _golden_entries(matrices[0], matrices[1])
    a = matrices[0]
    if kind == "sddmm":
        rows = np.repeat(np.arange(m), np.diff(a.indptr))
        x, y = dense
        values: Array = a.data * np.einsum("ij,ij->i", x[rows], y[a.indices])
        return values
    result: Array = a @ dense[0]
    return np.maximum(result, 0.0) if fact["attrs"].get("is_rectified") else result


def _golden_entries(a: sparse.csr_array, b: sparse.csr_array) -> Array:
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
