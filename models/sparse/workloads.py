"""Name the workloads of several kernels on one sparse matrix, and build the one asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.sparse.build import check_matrix
from models.sparse.chain import Matrix
from models.sparse.khop import khop_graph
from models.sparse.layers import gcn_graph, mlp_graph
from models.sparse.ppr import ppr_graph
from models.sparse.teddy import teddy_graph
from models.workload import Workload

__all__ = ["WORKLOADS", "workload_graph"]

_DRAWN: dict[str, Callable[..., OpGraph]] = {
    "ppr": ppr_graph,
    "teddy": teddy_graph,
    "khop": khop_graph,
}
_DENSE: dict[str, Callable[..., OpGraph]] = {"gcn": gcn_graph, "mlp": mlp_graph}
"""Workloads with dense columns."""
WORKLOADS = (*_DRAWN, *_DENSE)


def workload_graph(
    name: str, matrix: Matrix, workload: Workload, batch: int | None, columns: int
) -> OpGraph:
    """Return the graph of ``workload`` on ``matrix``; ``columns`` dense ones unless ``batch`` is.

    Raises
    ------
    InputError
        If the workload has no second matrix or no dense columns, or the matrix does not suit it.
    """
    kernel = workload.kernel
    check_matrix("model", matrix)
    if workload.other is not None:
        raise InputError("--b", f"no second sparse matrix for {kernel}", "one")
    parameters: dict[str, Any] = dict(workload.parameters)
    if kernel in _DENSE:
        return _DENSE[kernel](name, matrix, parameters, workload.seed, batch or columns)
    if batch is not None:
        raise InputError("--batch", f"no dense columns for {kernel}", str(batch))
    return _DRAWN[kernel](name, matrix, parameters, workload.seed)
