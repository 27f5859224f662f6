"""Build graphs of one sparse product over real matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, TensorInfo

__all__ = [
    "KERNEL_KINDS",
    "Tensors",
    "check_extents",
    "check_matrix",
    "product_graph",
    "row_bounds",
    "row_products",
]

Array = NDArray[Any]

KERNEL_KINDS: Mapping[str, OpKind] = {
    "smash-v1": OpKind.SPGEMM,
    "smash-v2": OpKind.SPGEMM,
    "smash-v3": OpKind.SPGEMM,
    "row-heap": OpKind.SPGEMM,
    "row-esc": OpKind.SPGEMM,
    "inner": OpKind.SPGEMM,
    "outer": OpKind.SPGEMM,
    "spmv": OpKind.SPMV,
    "spmm": OpKind.SPMM,
    "spmm-stp": OpKind.SPMM,
    "spmm-mixed": OpKind.SPMM,
    "sddmm": OpKind.SDDMM,
}
"""Kernel -> the kind of product that it computes."""

MAX_DIMENSION = 1 << 26
"""Rows or columns at most: every row costs pointers and bounds on the host, even an empty one."""
MAX_RESULT = (1 << 31) - 1
"""Row pointers have 4 bytes."""


def row_bounds(a: sparse.csr_array, b: sparse.csr_array) -> NDArray[np.int64]:
    """Return the most entries of every row of a · b : int64[m], by lengths of rows alone."""
    bounds: NDArray[np.int64] = np.minimum(row_products(a, b), b.shape[1])
    return bounds


def row_products(a: sparse.csr_array, b: sparse.csr_array) -> NDArray[np.int64]:
    """Return the multiplications of every row of a · b : int64[m]."""
    lengths = np.diff(b.indptr).astype(np.int64)
    before = np.concatenate([[0], np.cumsum(lengths[a.indices])])
    products: NDArray[np.int64] = before[a.indptr[1:]] - before[a.indptr[:-1]]
    return products


class Tensors:
    """Collect tensors with values, sparse ones as three arrays of at least one element."""

    def __init__(self) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self.values: dict[str, Array] = {}
        self.operands: list[Operand] = []

    def add(self, name: str, values: Array) -> None:
        """Add an operand of the next op, which may be there already."""
        self.operands.append(Operand(tensor=name, role=Role.WEIGHT))
        if name not in self.infos:
            self.infos[name] = TensorInfo(name=name, shape=values.shape, dtype=str(values.dtype))
            self.values[name] = values

    def add_sparse(self, name: str, matrix: sparse.csr_array) -> None:
        """Add a sparse operand, columns in order and repeated entries summed."""
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        padding = 0 if matrix.nnz else 1
        self.add(f"{name}.ptr", matrix.indptr.astype(np.int32))
        self.add(f"{name}.col", np.pad(matrix.indices.astype(np.int32), (0, padding)))
        self.add(f"{name}.val", np.pad(matrix.data, (0, padding)))


def product_graph(
    name: str,
    kernel: str,
    a: sparse.csr_array,
    b: sparse.csr_array | None = None,
    *,
    features: int = 32,
    seed: int = 0,
) -> OpGraph:
    """Return the graph of one product by ``kernel`` (``auto``: a · b, the machine's choice).

    Without ``b`` a sparse product is a · a if ``a`` is square, else a · aᵀ. Dense operands of
    SpMM and SDDMM have ``features`` columns of small integers drawn by ``seed``.

    Raises
    ------
    InputError
        If shapes do not conform, or the result may exceed what row pointers count.
    """
    kind = OpKind.SPGEMM if kernel == "auto" else KERNEL_KINDS[kernel]
    check_matrix("model", a)
    if b is not None:
        if kind is not OpKind.SPGEMM:
            raise InputError("--b", f"no second sparse matrix for {kernel}", "one")
        check_matrix("--b", b)
    if kind is OpKind.SPGEMM:
        op, tensors = _spgemm(kernel, a, b)
    else:
        op, tensors = _dense_product(kernel, kind, a, features, seed)
    graph = OpGraph(name, [op], list(tensors.infos.values()), [], [op.output], tensors.values)
    graph.verify()
    return graph


def check_extents(field: str, shape: tuple[int, int]) -> None:
    """Raise :class:`InputError` if a matrix of ``shape`` cannot be held by rows."""
    rows, cols = shape
    if not (1 <= rows <= MAX_DIMENSION and 1 <= cols <= MAX_DIMENSION):
        raise InputError(f"{field}: shape", f"extents of 1 to {MAX_DIMENSION}", f"{rows} x {cols}")


def check_matrix(field: str, matrix: sparse.csr_array) -> None:
    """Raise :class:`InputError` if extents or values of ``matrix`` cannot be used."""
    check_extents(field, matrix.shape)
    if not np.isfinite(matrix.data).all():
        bad = int((~np.isfinite(matrix.data)).sum())
        raise InputError(f"{field}: values", "finite values", f"{bad} NaN or Inf")
    if np.abs(matrix.data).max(initial=0) > 1e150:
        raise InputError(f"{field}: values", "magnitudes up to 1e150", "larger ones")


def _spgemm(kernel: str, a: sparse.csr_array, b: sparse.csr_array | None) -> tuple[Op, Tensors]:
    is_square = a.shape[0] == a.shape[1]
    tensors = Tensors()
    tensors.add_sparse("a", a)
    if b is None:
        b = a if is_square else sparse.csr_array(a.T)
        tensors.add_sparse("a" if is_square else "a_transposed", b)
    else:
        if a.shape[1] != b.shape[0]:
            raise InputError("--b", f"{a.shape[1]} rows", f"{b.shape[0]} x {b.shape[1]}")
        tensors.add_sparse("b", b)
    bounds = row_bounds(a, b)
    if int(bounds.sum()) > MAX_RESULT:
        raise InputError("product", f"at most {MAX_RESULT} entries", f"up to {int(bounds.sum())}")
    by_row = row_products(a, b)
    products = int(by_row.sum())
    dims = {"m": a.shape[0], "k": a.shape[1], "n": b.shape[1]}
    attrs = {"kernel": kernel, "products": products, "capacity": int(bounds.sum())}
    attrs |= {"nnz_a": int(a.nnz), "nnz_b": int(b.nnz)}
    attrs |= {"row_nonzeros": int(np.diff(a.indptr).max()), "row_products": int(by_row.max())}
    tensors.infos["c"] = TensorInfo(name="c", shape=(dims["m"], dims["n"]), dtype="float64")
    return _op("product", OpKind.SPGEMM, dims, tensors, attrs, "c"), tensors


def _op(
    name: str,
    kind: OpKind,
    dims: dict[str, int],
    tensors: Tensors,
    attrs: dict[str, Any],
    output: str,
) -> Op:
    inputs = tuple(tensors.operands)
    return Op(name=name, kind=kind, dims=dims, inputs=inputs, output=output, attrs=attrs)


def _dense_product(
    kernel: str, kind: OpKind, a: sparse.csr_array, features: int, seed: int
) -> tuple[Op, Tensors]:
    rng = np.random.default_rng(seed)
    m, n = a.shape
    width = 1 if kind is OpKind.SPMV else features
    tensors = Tensors()
    tensors.add_sparse("a", a)
    if kind is OpKind.SDDMM:
        tensors.add("x", rng.integers(1, 10, (m, width)).astype(np.float64))
        dims = {"m": m, "k": width, "n": n}
    else:
        dims = {"m": m, "k": n, "n": width}
    output = (max(1, int(a.nnz)),) if kind is OpKind.SDDMM else (m, width)
    tensors.add("y", rng.integers(1, 10, (n, width)).astype(np.float64))
    tensors.infos["c"] = TensorInfo(name="c", shape=output, dtype="float64")
    attrs = {"kernel": kernel, "products": int(a.nnz) * width, "nnz_a": int(a.nnz)}
    return _op("product", kind, dims, tensors, attrs, "c"), tensors
