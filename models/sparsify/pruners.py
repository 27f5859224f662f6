"""Name the pruners of ``--pruner`` and run one."""

from __future__ import annotations

import numpy as np

from hwsim.core.errors import unknown_name
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import Pattern
from models.sparsify import magnitude
from models.sparsify.baselines import prune_by_shape, prune_randomly
from models.sparsify.gradual import prune_gradually
from models.sparsify.rearrange import rearrange

__all__ = ["METHODS", "prune"]

METHODS = {
    "magnitude": "the largest magnitudes of each layer",
    "gradual": "magnitude in ten steps of a cubic schedule",
    "rearrange": "blocks of output channels, reordered to keep the most magnitude",
    "erk": "magnitude, each layer as dense as its shape asks",
    "random": "drawn at random",
}


def prune(
    graph: OpGraph,
    pattern: Pattern,
    *,
    method: str = "magnitude",
    rng: np.random.Generator | None = None,
) -> OpGraph:
    """Return ``graph`` pruned to ``pattern`` by ``method``, one of ``METHODS``.

    Parameters
    ----------
    graph, pattern
        As in :func:`models.sparsify.magnitude.prune`.
    method : str
        Name of the pruner.
    rng : Generator, optional
        For pruners that draw; default seed 0.

    Raises
    ------
    InputError
        If the pruner is unknown or cannot give the pattern.
    """
    if method not in METHODS:
        raise unknown_name("--pruner", method, METHODS)
    generator = np.random.default_rng(0) if rng is None else rng
    if method == "gradual":
        return prune_gradually(graph, pattern)
    if method == "rearrange":
        return rearrange(graph, pattern, generator)
    if method == "erk":
        return prune_by_shape(graph, pattern)
    if method == "random":
        return prune_randomly(graph, pattern, generator)
    return magnitude.prune(graph, pattern)
