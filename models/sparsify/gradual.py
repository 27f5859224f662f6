"""Prune gradually: raise the sparsity along a cubic schedule, by magnitude at each step.

``s(t) = s_final + (s_initial - s_final) (1 - t / steps)^3`` (Zhu & Gupta 2017, "To prune, or not to
prune", equation 1): fast while many weights are redundant, slow towards the end. Between the steps
a caller trains; without training the last step alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import Block, Pattern, Unstructured
from models.sparsify.magnitude import apply_mask, mask_of, prune

__all__ = ["cubic_sparsity", "prune_gradually", "sparsity_steps"]

Update = Callable[[OpGraph, int], OpGraph]
"""(pruned graph, step) -> the graph with trained weights."""


def cubic_sparsity(step: int, steps: int, final: float, initial: float = 0.0) -> float:
    """Return the fraction of zeros after ``step`` of ``steps``; ``final`` from ``steps`` on."""
    if steps < 1:
        raise InputError("steps", "at least 1", str(steps))
    left = 1 - min(max(step, 0), steps) / steps
    return float(final + (initial - final) * left**3)


def sparsity_steps(final: float, steps: int, initial: float = 0.0) -> Iterator[float]:
    """Yield the fractions of zeros of steps 1 to ``steps``."""
    for step in range(1, steps + 1):
        yield cubic_sparsity(step, steps, final, initial)


def prune_gradually(
    graph: OpGraph,
    pattern: Pattern,
    *,
    steps: int = 10,
    update: Update | None = None,
) -> OpGraph:
    """Return ``graph`` with ``pattern`` and with its dropped weights set to zero.

    Parameters
    ----------
    graph : OpGraph
        Weights may be absent: then only the pattern changes.
    pattern : Unstructured or Block
        Of the last step; the steps before keep more.
    steps : int
        Of the schedule.
    update : callable, optional
        Trains between the steps. A weight that was dropped stays zero: it is masked again.

    Raises
    ------
    InputError
        If the pattern has no fraction that could grow.
    """
    if not isinstance(pattern, Unstructured | Block):
        raise InputError("--pruner gradual", "an unstructured or block pattern", pattern.kind)
    dropped: dict[str, NDArray[np.bool_]] = {}
    for step, sparsity in enumerate(sparsity_steps(1 - pattern.keep, steps), start=1):
        keep = pattern.keep if step == steps else 1 - sparsity
        graph = _masked(prune(graph, pattern.model_copy(update={"keep": keep})), dropped)
        if update is not None:
            graph = _masked(update(graph, step), dropped, is_chosen=True)
    return graph


def _masked(
    graph: OpGraph, dropped: dict[str, NDArray[np.bool_]], *, is_chosen: bool = False
) -> OpGraph:
    """Set dropped weights to zero; unless ``is_chosen``, choose by magnitude which to add."""
    weights = dict(graph.weights)
    for op in graph.ops():
        values = graph.weight_values(op)
        if op.weight is None or values is None or op.weight.pattern.is_dense or not op.is_gemm:
            continue
        name = op.weight.tensor
        values = np.where(dropped.get(name, False), 0, values).astype(values.dtype)
        if not is_chosen:
            kept = apply_mask(op, np.ones_like(values), mask_of(op, values)) != 0
            dropped[name] = ~kept
        weights[name] = np.where(dropped[name], 0, values).astype(values.dtype)
    return OpGraph(
        graph.name,
        list(graph.ops()),
        list(graph.tensors.values()),
        graph.inputs,
        graph.outputs,
        weights,
        list(dict.fromkeys(graph.notes)),
    )
