"""Build a k-hop frontier: breadth-first levels of a batch of sources, a product per hop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.graph import OpGraph
from models.sparse.chain import Chain, Matrix, pattern, require_square

__all__ = ["khop_graph"]


def khop_graph(name: str, matrix: Matrix, parameters: Mapping[str, Any], seed: int) -> OpGraph:
    """Return the graph of ``parameters["hops"]`` hops from ``parameters["sources"]`` vertices.

    A hop multiplies the frontier (a row per source) by the matrix's pattern and keeps what has not
    been seen; ``level`` holds the hop that saw a vertex first, or -1.

    Raises
    ------
    InputError
        If the matrix is not square.
    """
    require_square("khop", matrix)
    edges = pattern(matrix)
    n = edges.shape[0]
    count = min(parameters["sources"], n)
    sources = np.sort(np.random.default_rng(seed).choice(n, count, replace=False))
    frontier = sparse.csr_array((np.ones(count), sources, np.arange(count + 1)), shape=(count, n))
    level = np.full((count, n), -1, np.int64)
    level[np.arange(count), sources] = 0
    chain = Chain(name, parameters["product"])
    seen = frontier
    for hop in range(1, parameters["hops"] + 1):
        chain.result(f"f{hop - 1}") if hop > 1 else chain.matrix("f0", frontier)
        chain.matrix("edges", edges)
        chain.spgemm(f"g{hop}", frontier, frontier, edges)
        found = pattern(sparse.csr_array(frontier @ edges))
        chain.result(f"g{hop}")
        chain.values("level", level)
        shape, capacity = (count, n), int(found.nnz)
        chain.step(
            "filter-seen", f"f{hop}", shape, capacity, depth=hop, capacity=capacity, updates="level"
        )
        frontier = sparse.csr_array(found - found.multiply(seen))
        frontier.eliminate_zeros()
        frontier.sort_indices()
        seen = pattern(sparse.csr_array(seen + frontier))
    return chain.build()
