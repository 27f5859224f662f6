"""Build personalised PageRank in PowerWalk's form (Liu et al., CIKM 2016) as a chain of products.

Off line: an index of short walks from every vertex. On line, for a batch of queries, one row of F
per query: F(t+1) = (1 - c) F(t) W without entries below a threshold, and the answer is
c * sum F(t) + F(T) times the index. W is the adjacency matrix, rows scaled to sums of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.sparse.chain import Chain, Matrix, pattern, require_square
from models.sparse.walks import DRAW_BITS, MAX_SEED, edge_thresholds, walk_index, walk_lengths

__all__ = ["ppr_graph", "transition_matrix"]


def transition_matrix(matrix: Matrix) -> Matrix:
    """Return ``matrix`` with rows that sum to 1, or to 0 where they are empty."""
    w = matrix.copy()
    w.sum_duplicates()
    w.eliminate_zeros()
    if (w.data < 0).any():
        bad = int((w.data < 0).sum())
        raise InputError("model", "no negative weights for ppr", f"{bad} of {w.nnz} entries")
    sums = np.asarray(w.sum(axis=1)).reshape(-1)
    w.data = w.data / np.repeat(sums, np.diff(w.indptr))
    return w


def ppr_graph(name: str, matrix: Matrix, parameters: Mapping[str, Any], seed: int) -> OpGraph:
    """Return the graph of ``parameters["queries"]`` queries drawn by ``seed``.

    Parameters
    ----------
    parameters : mapping
        ``queries``, ``iterations``, ``restart`` (c), ``threshold``, ``walks`` (per vertex; 0: no
        index) and ``product``.

    Raises
    ------
    InputError
        If the matrix is not square or has negative weights.
    """
    require_square("ppr", matrix)
    w = transition_matrix(matrix)
    n, restart = w.shape[0], float(parameters["restart"])
    chain = Chain(name, parameters["product"])
    index = None
    if parameters["walks"]:
        index = _add_walks(chain, w, parameters["walks"], restart, seed % MAX_SEED)
    rng = np.random.default_rng(seed)
    count = min(parameters["queries"], n)
    sources = np.sort(rng.choice(n, count, replace=False))
    ones = np.ones(count)
    flow = sparse.csr_array((ones, sources, np.arange(count + 1)), shape=(count, n))
    flows, reach = _add_flows(chain, w, flow, parameters)
    if index is not None:
        chain.result(f"f{len(flows) - 1}")
        chain.result("index")
        chain.spgemm("rest", flows[-1], reach, index)
    summed = len(flows) - (index is not None)  # what is left flows on through the index
    for t in range(summed):
        chain.result(f"f{t}") if t else chain.matrix("f0", flow)
    factors = [restart] * summed
    if index is not None:
        chain.result("rest")
        factors.append(1.0)
    elements = count * n + sum(int(f.nnz) for f in flows)
    chain.step("combine", "ppr", (count, n), elements, factors=factors)
    return chain.build()


def _add_walks(chain: Chain, w: Matrix, walks: int, restart: float, seed: int) -> Matrix:
    """Add the index's op; return what it will find."""
    n = w.shape[0]
    below = round((1 - restart) * (1 << DRAW_BITS))
    visits = walk_lengths(np.arange(n * walks), below, seed).reshape(n, walks).sum(axis=1)
    most = int(visits.max())
    chain.matrix("w", w)
    chain.values("thresholds", np.pad(edge_thresholds(w), (0, 0 if w.nnz else 1)))
    chain.step(
        *("walks", "index", (n, n), int(visits.sum())),
        walks=walks,
        go_on_below=below,
        seed=seed,
        row_products=most,
        capacity=n * min(n, most),
    )
    return walk_index(w, walks, below, seed)


def _add_flows(
    chain: Chain, w: Matrix, flow: Matrix, parameters: Mapping[str, Any]
) -> tuple[list[Matrix], Matrix]:
    """Add the iterations; return all flows, and a pattern that the last cannot exceed."""
    flows, reach, edges = [flow], flow, pattern(w)
    keep, least = 1 - float(parameters["restart"]), float(parameters["threshold"])
    for t in range(parameters["iterations"]):
        chain.result(f"f{t}") if t else chain.matrix("f0", flow)
        chain.matrix("w", w)
        chain.spgemm(f"g{t + 1}", flows[-1], reach, w)
        spread = sparse.csr_array(flows[-1] @ w)
        reach = pattern(sparse.csr_array(reach @ edges))
        chain.result(f"g{t + 1}")
        chain.step(
            *("filter-small", f"f{t + 1}", flow.shape, int(spread.nnz)),
            scale=keep,
            least=least,
            capacity=int(reach.nnz),
        )
        spread.data *= keep
        spread.data[spread.data < least] = 0.0
        spread.eliminate_zeros()
        spread.sort_indices()
        flows.append(spread)
    return flows, reach
