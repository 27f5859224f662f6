"""Graphs whose tensors are all float64, with drawn weights, so that gradients can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import OpGraph, Role
from models.training_reference import Sgd

__all__ = ["PLAIN", "double_precision", "random_inputs"]

Array = NDArray[Any]

PLAIN = Sgd(learning_rate=1.0, momentum=0.0)
"""One step moves a weight by exactly its gradient."""


def double_precision(graph: OpGraph, rng: np.random.Generator) -> OpGraph:
    """Return ``graph`` with every tensor float64 and random weights of deviation 0.5."""
    tensors = [t.model_copy(update={"dtype": "float64"}) for t in graph.tensors.values()]
    weights = {
        o.tensor: 0.5 * rng.standard_normal(graph.tensors[o.tensor].shape) + 0.1
        for op in graph.ops()
        for o in op.inputs
        if o.role is Role.WEIGHT
    }
    return OpGraph(graph.name, list(graph.ops()), tensors, graph.inputs, graph.outputs, weights)


def random_inputs(graph: OpGraph, rng: np.random.Generator) -> dict[str, Array]:
    return {name: rng.standard_normal(graph.tensors[name].shape) for name in graph.inputs}
