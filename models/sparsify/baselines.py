"""Prune without looking at the weights: at random, or by the shape of each layer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.sparsity import Pattern, Unstructured
from models.sparsify.magnitude import apply_mask, prune

__all__ = ["erk_densities", "prune_by_shape", "prune_randomly"]


def prune_randomly(graph: OpGraph, pattern: Pattern, rng: np.random.Generator) -> OpGraph:
    """Return ``graph`` with ``pattern``; weights that a random mask drops become zero.

    A layer without values keeps none, and draws its mask wherever one is needed.
    """
    pruned = prune(graph, pattern)
    weights: dict[str, NDArray[np.generic]] = {}
    for op in pruned.ops():
        values = pruned.weight_values(op)
        if op.weight is None or values is None or op.weight.pattern.is_dense or not op.is_gemm:
            continue
        dims = op.gemm()
        mask = op.weight.pattern.sample_mask((dims.groups * dims.k, dims.n), rng)
        weights[op.weight.tensor] = apply_mask(op, values, mask)
    return pruned.replace(ops=list(pruned.ops()), weights=weights)


def prune_by_shape(graph: OpGraph, pattern: Pattern) -> OpGraph:
    """Return ``graph`` unstructured, each layer as dense as its shape asks (ERK), by magnitude.

    Raises
    ------
    InputError
        If the pattern is not unstructured.
    """
    if not isinstance(pattern, Unstructured):
        raise InputError("--pruner erk", "an unstructured pattern", pattern.kind)
    pruned = prune(graph, pattern)
    layers = [
        op for op in pruned.ops() if op.is_gemm and op.weight and op.weight.pattern == pattern
    ]
    keep = erk_densities({op.name: _extents(op) for op in layers}, pattern.keep)
    ops: list[Op] = []
    for op in pruned.ops():
        if op.name in keep:
            own = Unstructured(keep=keep[op.name])
            inputs = tuple(
                operand.model_copy(update={"pattern": own}) if operand is op.weight else operand
                for operand in op.inputs
            )
            op = op.model_copy(update={"inputs": inputs})
        ops.append(op)
    return pruned.replace(ops=ops)


def _extents(op: Op) -> tuple[int, ...]:
    """Return the extents of a layer's weights: input and output channels, kernel."""
    dims = op.dims
    if "kh" in dims:
        return (dims["ci"] // dims["groups"], dims["co"], dims["kh"], dims["kw"])
    return (dims["k"], dims["n"])


def erk_densities(extents: dict[str, tuple[int, ...]], keep: float) -> dict[str, float]:
    """Return the density of each layer so that ``keep`` of all weights stay.

    Proportional to the sum of a layer's extents over their product (Erdős–Rényi-Kernel, Evci et
    al. 2020, RigL); layers that this would make denser than dense are dense, and the others share
    what is left.
    """
    dense: set[str] = set()
    sizes = {name: math.prod(shape) for name, shape in extents.items()}
    budget = keep * sum(sizes.values())
    while True:
        raw = {
            name: sum(shape) / sizes[name] for name, shape in extents.items() if name not in dense
        }
        left = budget - sum(sizes[name] for name in dense)
        total = sum(raw[name] * sizes[name] for name in raw)
        scale = max(left, 0.0) / total if total else 0.0
        over = {name for name, value in raw.items() if scale * value > 1}
        if not over:
            return {name: 1.0 if name in dense else scale * raw[name] for name in extents}
        dense |= over
