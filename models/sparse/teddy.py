"""Build TEDDY's one-shot edge pruning (Seo et al., ICLR 2024), and two hops of what is left.

Scores need degrees only: with g(i) the sum of 1 / sqrt(degree) over i's neighbours, divided by i's
degree twice, edge (i, j) scores g(i) g(j). The edges that score least go; loops stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.graph import OpGraph, OpKind
from models.sparse.chain import Chain, Matrix, pattern, require_square

__all__ = ["kept_edges", "teddy_graph"]


def kept_edges(edges: Matrix, share: float) -> Matrix:
    """Return ``edges`` without the ``share`` that scores least; of equals the first go."""
    degrees = np.diff(edges.indptr)
    rows = np.repeat(np.arange(edges.shape[0]), degrees)
    root = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0.0)
    g = np.where(degrees > 0, (edges @ root) / np.maximum(degrees * degrees, 1), 0.0)
    scores = g[rows] * g[edges.indices]
    scores[rows == edges.indices] = np.inf
    keep = np.ones(edges.nnz, bool)
    keep[np.argsort(scores, kind="stable")[: pruned_count(edges, share)]] = False
    parts = (edges.data[keep], (rows[keep], edges.indices[keep]))
    return sparse.csr_array(sparse.coo_array(parts, shape=edges.shape))


def pruned_count(edges: Matrix, share: float) -> int:
    """Return how many edges go: a share of all, of those that are no loops."""
    rows = np.repeat(np.arange(edges.shape[0]), np.diff(edges.indptr))
    return min(int(share * edges.nnz), int((rows != edges.indices).sum()))


def teddy_graph(name: str, matrix: Matrix, parameters: Mapping[str, Any], seed: int) -> OpGraph:
    """Return the graph that prunes ``parameters["prune"]`` of the edges and squares the rest.

    Raises
    ------
    InputError
        If the matrix is not square.
    """
    del seed  # nothing is drawn
    require_square("teddy", matrix)
    edges = pattern(matrix)
    n, nonzeros = edges.shape[0], int(edges.nnz)
    chain = Chain(name, parameters["product"])
    chain.matrix("edges", edges)
    chain.step("vertex-root", "root", (n, 1), n)
    chain.matrix("edges", edges)
    chain.result("root")
    products = {"products": nonzeros, "nnz_a": nonzeros}
    chain.add(OpKind.SPMV, "sums", (n, n, 1), {"kernel": "spmv"} | products)
    chain.matrix("edges", edges)
    chain.result("sums")
    chain.step("vertex-scale", "g", (n, 1), n)
    chain.matrix("edges", edges)
    chain.result("g")
    chain.result("g")
    chain.add(OpKind.SDDMM, "scores", (n, 1, n), {"kernel": "sddmm"} | products)
    pruned = pruned_count(edges, float(parameters["prune"]))
    chain.matrix("edges", edges)
    chain.result("scores")
    chain.step("select", "bound", (1, 2), nonzeros, dtype="int64", count=pruned, rows=n)
    chain.matrix("edges", edges)
    chain.result("scores")
    chain.result("bound")
    chain.step("prune", "kept", (n, n), nonzeros, capacity=max(1, nonzeros))
    kept = kept_edges(edges, float(parameters["prune"]))
    chain.result("kept")
    chain.result("kept")
    chain.spgemm("hops", kept, kept, kept)
    return chain.build()
