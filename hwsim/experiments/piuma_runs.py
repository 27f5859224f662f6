"""Run sparse products on PIUMA for the experiments, and cut the calibrated R-MAT to size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse

from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from mappers.greedy import map_graph
from models.sparse.build import product_graph
from models.sparse.generators import generate

__all__ = ["PIECE_ROWS", "calibrated", "run_product", "sampled_rows"]

PIECE_ROWS = 64
"""Neighbouring rows that a sample keeps together: more than most windows hold."""


def run_product(
    kernel: str,
    a: Any,
    b: Any = None,
    settings: Sequence[str] = (),
    *,
    has_outputs: bool = False,
) -> tuple[Result, Any]:
    """Return the result of ``a`` times ``b`` (None: its square), and the golden output if asked."""
    machine = make_machine("piuma", settings=tuple(settings))
    graph = product_graph("product", kernel, a, b)
    program = machine.lower(graph, map_graph(graph, machine))
    if not has_outputs:
        return machine.run(program), None
    return machine.run(program, {}), machine.golden(program, {})["product"]


@cache
def calibrated() -> sparse.csr_array:
    """Return the calibrated R-MAT: 2^14 rows, 254,211 entries."""
    return generate("rmat", seed=1)


@cache
def sampled_rows(pieces: int) -> sparse.csr_array:
    """Return ``pieces`` runs of PIECE_ROWS rows of the calibrated R-MAT, drawn once for all.

    Times the whole matrix, they make products of the same rows, columns, hubs and windows as the
    square, but fewer.
    """
    matrix = calibrated()
    rng = np.random.Generator(np.random.PCG64(0))
    chosen = np.sort(rng.permutation(matrix.shape[0] // PIECE_ROWS)[:pieces])
    rows = (chosen[:, None] * PIECE_ROWS + np.arange(PIECE_ROWS)).reshape(-1)
    found: sparse.csr_array = matrix[rows]
    return found
