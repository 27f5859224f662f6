"""Collect the ops of a workload on a graph: sparse products, and steps between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, TensorInfo
from models.sparse.build import MAX_RESULT, Tensors, row_bounds, row_products

__all__ = ["Chain", "Matrix", "pattern", "require_square"]

Matrix = sparse.csr_array
Array = NDArray[Any]


def pattern(matrix: Matrix) -> Matrix:
    """Return ``matrix`` with ones for its non-zeros."""
    found = matrix.copy()
    found.sum_duplicates()
    found.eliminate_zeros()
    found.data = np.ones(found.nnz)
    return found


def require_square(kernel: str, matrix: Matrix) -> None:
    """Raise :class:`InputError` unless ``matrix`` has as many rows as columns."""
    if matrix.shape[0] != matrix.shape[1]:
        found = " x ".join(map(str, matrix.shape))
        raise InputError("model", f"a square matrix for {kernel}", found)


class Chain:
    """Builds a graph op by op; an op's output may be an operand of later ones.

    ``product`` : the kernel of all sparse products.
    """

    def __init__(self, name: str, product: str) -> None:
        self.name, self.product = name, product
        self._tensors = Tensors()
        self._ops: list[Op] = []

    def values(self, name: str, values: Array) -> None:
        """Make an array the next operand."""
        self._tensors.add(name, values)

    def matrix(self, name: str, matrix: Matrix) -> None:
        """Make a sparse matrix the next operand."""
        self._tensors.add_sparse(name, matrix)

    def result(self, name: str) -> None:
        """Make an earlier op's output the next operand."""
        self._tensors.operands.append(Operand(tensor=name, role=Role.ACTIVATION))

    def add(
        self,
        kind: OpKind,
        output: str,
        dims: tuple[int, int, int],
        attrs: dict[str, Any],
        *,
        dtype: str = "float64",
    ) -> None:
        """Add the op of the operands named since the last one; ``dims`` are m, k, n."""
        m, k, n = dims
        shape = (m, n)
        if kind is OpKind.SDDMM:
            shape = (max(1, attrs["nnz_a"]), 1)
        operands = tuple(self._tensors.operands)
        self._tensors.operands = []
        self._tensors.infos[output] = TensorInfo(name=output, shape=shape, dtype=dtype)
        extents = {"m": m, "k": k, "n": n}
        op = Op(name=output, kind=kind, dims=extents, inputs=operands, output=output, attrs=attrs)
        self._ops.append(op)

    def step(
        self,
        kernel: str,
        output: str,
        shape: tuple[int, int],
        work: int,
        *,
        dtype: str = "float64",
        **attrs: Any,
    ) -> None:
        """Add what is no product: ``work`` counts the elements that it looks at."""
        known = {"kernel": kernel, "products": 0, "nnz_a": work} | attrs
        self.add(OpKind.SPARSE_STEP, output, (shape[0], 1, shape[1]), known, dtype=dtype)

    def spgemm(self, output: str, left: Matrix, most: Matrix, right: Matrix) -> None:
        """Add a sparse product whose operands have been named.

        ``left`` is what the left operand will hold, ``most`` a pattern that it cannot exceed.

        Raises
        ------
        InputError
            If the result may have more entries than row pointers count.
        """
        bounds = row_bounds(most, right)
        capacity = int(bounds.sum())
        if capacity > MAX_RESULT:
            raise InputError(f"product {output}", f"at most {MAX_RESULT} entries", str(capacity))
        attrs = {
            "kernel": self.product,
            "products": int(row_products(left, right).sum()),
            "capacity": capacity,
            "nnz_a": int(most.nnz),
            "nnz_b": int(right.nnz),
            "row_nonzeros": int(np.diff(most.indptr).max()),
            "row_products": int(row_products(most, right).max()),
        }
        m, k = left.shape
        self.add(OpKind.SPGEMM, output, (m, k, right.shape[1]), attrs)

    def build(self) -> OpGraph:
        """Return the verified graph; the last op's output is its output."""
        infos = list(self._tensors.infos.values())
        outputs = [self._ops[-1].output]
        graph = OpGraph(self.name, self._ops, infos, [], outputs, self._tensors.values)
        graph.verify()
        return graph
