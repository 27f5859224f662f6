"""Form the weights that SAT's products read: FP16 copies, transposed views, N:M selections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.gemm import weight_matrix
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.sat.float_units import CANONICAL_NAN_FP16
from hwsim.sat.sorter import topn_group
from hwsim.sat.training_state import CompactCopy, TrainingState, check_values

__all__ = [
    "initial_state",
    "is_pregenerated",
    "product_of",
    "select_weights",
    "stored",
    "transposed_weights",
]

Array = NDArray[Any]


def initial_state(graph: OpGraph, weights: Mapping[str, Array] | None = None) -> TrainingState:
    """Return the state in front of the first iteration: momentum 0, N:M weights selected.

    ``weights`` are the master weights (default: the graph's). Raises :class:`InputError` if a
    weight that the graph updates has none.
    """
    given = graph.weights if weights is None else weights
    names = [op.attrs["of"] for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE]
    check_values(graph, names, given)
    master = {name: np.asarray(given[name], dtype=np.float32) for name in names}
    half = {name: stored(values) for name, values in master.items()}
    momentum = {name: np.zeros_like(values) for name, values in master.items()}
    compact = {
        op.output.removesuffix(".next"): select_weights(graph, op, half[op.attrs["of"]])
        for op in graph.ops()
        if is_pregenerated(op)
    }
    return TrainingState(master, momentum, half, compact)


def is_pregenerated(op: Op) -> bool:
    """Return whether ``op`` selects weights for the iteration that follows."""
    return op.kind is OpKind.NM_PRUNE and op.output.endswith(".next")


def stored(values: Array) -> Array:
    """Return ``values`` as memory holds them: floats as FP16 with canonical NaNs."""
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    half[np.isnan(half)] = np.uint16(CANONICAL_NAN_FP16).view(np.float16)
    return half


def product_of(graph: OpGraph, tensor: str) -> Op:
    """Return the product that reads the selected ``tensor``."""
    return next(op for op in graph.consumers(tensor) if op.is_gemm)


def transposed_weights(layer: Op, view: Mapping[str, Any], weights: Array) -> Array:
    """Return the weights that a BP product reads: the taps of ``view``, Co and Ci exchanged."""
    if not view["is_transposed"]:
        return weights
    if layer.kind is OpKind.LINEAR:
        return weights.T
    groups, taps = layer.dims["groups"], np.ix_(view["rows"], view["cols"])
    split = weights.reshape(groups, -1, *weights.shape[1:])[..., taps[0], taps[1]]
    exchanged = split.swapaxes(1, 2)
    return exchanged.reshape(-1, *exchanged.shape[2:])


def select_weights(graph: OpGraph, op: Op, weights: Array) -> CompactCopy:
    """Return what SORE writes: of every group along the product's k, the largest magnitudes."""
    product = product_of(graph, op.output.removesuffix(".next"))
    if "weight_view" in op.attrs:
        weights = transposed_weights(graph.op(op.attrs["layer"]), op.attrs["weight_view"], weights)
    matrix = weight_matrix(product.kind.value, product.dims, weights, product.attrs)
    groups, _, n = matrix.shape
    nm_n, nm_m = op.attrs["nm_n"], op.attrs["nm_m"]
    lines = matrix.reshape(groups, -1, nm_m, n).swapaxes(2, 3)
    values, indices = topn_group(
        np.ascontiguousarray(lines).view(np.uint16).reshape(-1, nm_m), nm_n
    )
    shape = (*lines.shape[:3], nm_n)
    kept = values.view(np.float16).reshape(shape).swapaxes(2, 3)
    return CompactCopy(
        np.ascontiguousarray(kept),
        np.ascontiguousarray(indices.reshape(shape).swapaxes(2, 3)),
        nm_m,
    )
