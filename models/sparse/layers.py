"""Build a layer of a graph convolution, and a perceptron whose weights are sparse by blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.units import ceil_div
from models.sparse.chain import Chain, Matrix, pattern, require_square

__all__ = ["block_rows", "gcn_graph", "mlp_graph", "normalised"]


def normalised(matrix: Matrix) -> Matrix:
    """Return D^-1/2 (A + I) D^-1/2 of the pattern A, D its row sums with the loops."""
    loops = sparse.eye_array(matrix.shape[0], format="csr")
    a = pattern(sparse.csr_array(pattern(matrix) + loops))
    root = 1 / np.sqrt(np.diff(a.indptr))
    rows = np.repeat(np.arange(a.shape[0]), np.diff(a.indptr))
    a.data = root[rows] * root[a.indices]
    return a


def gcn_graph(
    name: str, matrix: Matrix, parameters: Mapping[str, Any], seed: int, features: int
) -> OpGraph:
    """Return relu(Â (X W)): dense X [n, features] and W [features, hidden], drawn by ``seed``.

    The dense product comes first (``hidden`` columns are then gathered, not ``features``).

    Raises
    ------
    InputError
        If the matrix is not square.
    """
    require_square("gcn", matrix)
    a = normalised(matrix)
    n, hidden = a.shape[0], parameters["hidden"]
    rng = np.random.default_rng(seed)
    chain = Chain(name, "auto")
    chain.values("x", rng.integers(-4, 5, (n, features)).astype(np.float64))
    chain.values("weights", rng.integers(-4, 5, (features, hidden)).astype(np.float64))
    macs = n * features * hidden
    chain.step("dense", "xw", (n, hidden), n * features, products=macs, depth=features)
    chain.matrix("a", a)
    chain.result("xw")
    products = {"products": int(a.nnz) * hidden, "nnz_a": int(a.nnz)}
    attrs = {"kernel": "spmm", "is_rectified": True} | products
    chain.add(OpKind.SPMM, "layer", (n, n, hidden), attrs)
    return chain.build()


def block_rows(matrix: Matrix, block: int) -> sparse.bsr_array:
    """Return ``matrix`` in blocks of ``block`` x ``block``, padded with zeros."""
    rows, cols = (block * ceil_div(extent, block) for extent in matrix.shape)
    end = np.full(rows - matrix.shape[0], matrix.indptr[-1])
    parts = (matrix.data, matrix.indices, np.concatenate([matrix.indptr, end]))
    padded = sparse.csr_array(parts, shape=(rows, cols))
    found = sparse.bsr_array(padded, blocksize=(block, block))
    found.sort_indices()
    return found


def mlp_graph(
    name: str, matrix: Matrix, parameters: Mapping[str, Any], seed: int, features: int
) -> OpGraph:
    """Return ``layers`` of relu(W X), all with the matrix as weights; X [n, features] by ``seed``.

    Raises
    ------
    InputError
        If there are several layers and the matrix is not square.
    """
    layers, block = parameters["layers"], parameters["block"]
    if layers > 1:
        require_square("mlp of several layers", matrix)
    weights = block_rows(matrix, block)
    rows, cols = weights.shape
    rng = np.random.default_rng(seed)
    chain = Chain(name, "auto")
    x = rng.integers(-4, 5, (cols, features)).astype(np.float64)
    macs = int(weights.nnz) * features
    padding = 0 if weights.nnz else 1
    for layer in range(1, layers + 1):
        chain.values("blocks.ptr", weights.indptr.astype(np.int32))
        chain.values("blocks.col", np.pad(weights.indices.astype(np.int32), (0, padding)))
        chain.values("blocks.val", np.pad(weights.data.reshape(-1), (0, padding)))
        chain.result(f"h{layer - 1}") if layer > 1 else chain.values("x", x)
        attrs = {"products": macs, "block": block, "depth": cols}
        chain.step("block-rows", f"h{layer}", (rows, features), int(weights.nnz), **attrs)
    return chain.build()
