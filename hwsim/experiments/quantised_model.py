"""Run a whole model on INT8 codes: products by a machine's instructions, the rest in FP32.

Activations have a scale per row, weights one per column; sums are exact integers. The golden model
is the same graph with its products in plain integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats.quantized import int8_codes
from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import Machine
from hwsim.core.program import Program
from models.build import with_random_weights
from models.reference import GemmFunction
from models.reference import execute as run_graph
from models.sparsify.magnitude import mask_of

if TYPE_CHECKING:
    from hwsim.experiments.pipeline import Session

__all__ = [
    "MAX_MODEL_MACS",
    "Product",
    "compare_model",
    "exact_product",
    "product_by_program",
    "quantised",
]

MAX_MODEL_MACS = 1 << 28
"""Dense multiply-accumulates up to which a model is compared as a whole (seconds)."""

Array = NDArray[Any]
Product = Callable[[Op, Array, Array, Array | None], Array]
"""(op, codes A[groups, m, k], codes B[groups, k, n], mask of B or None) -> sums[groups, m, n]."""


def quantised(graph: OpGraph, product: Product) -> GemmFunction:
    """Return products on INT8 codes, a scale per row of activations and column of weights."""

    def gemm(op: Op, a: Array, b: Array) -> Array:
        mask = None
        if op.weight is not None and not op.weight.pattern.is_dense:
            mask = mask_of(op, graph.weights[op.weight.tensor])[None]
            b = np.where(mask, b, 0)
        codes, scales = zip(*(int8_codes(x, axis) for x, axis in ((a, 2), (b, 1))), strict=True)
        sums = product(op, *codes, mask)
        return np.asarray(sums.astype(np.float32) * scales[0] * scales[1])

    return gemm


def exact_product(op: Op, a: Array, b: Array, mask: Array | None) -> Array:
    """Return the product of codes in plain integers, weights already masked."""
    del op, mask
    return np.asarray(a.astype(np.int64) @ b.astype(np.int64))


def product_by_program(machine: Machine, program: Program) -> Product:
    """Return the products that ``program`` computes, op by op."""

    def product(op: Op, a: Array, b: Array, mask: Array | None) -> Array:
        program.tensors = {f"{op.name}.b": b}
        if mask is not None:
            program.tensors[f"{op.name}.mask"] = mask
        return machine.execute(program, {f"{op.name}.a": a})[op.name]

    return product


def compare_model(session: Session, *, seed: int) -> list[dict[str, Any]]:
    """Return a record of the outputs of the whole model, if it is small, else none.

    Weights and inputs that the model has no values for are drawn from ``seed``.
    """
    if sum(op.macs() for op in session.graph.ops()) > MAX_MODEL_MACS:
        return []
    rng = np.random.default_rng(seed)
    graph = with_random_weights(session.graph, rng)
    inputs = {
        name: rng.standard_normal(graph.tensors[name].shape, np.float32) for name in graph.inputs
    }
    by_program = product_by_program(session.machine, session.program)
    found = run_graph(graph, inputs, quantised(graph, by_program))
    golden = run_graph(graph, inputs, quantised(graph, exact_product))
    gaps = [np.abs(found[name] - golden[name]).max() for name in graph.outputs]
    return [
        {
            "layer": "whole model",
            "elements": str(sum(found[name].size for name in graph.outputs)),
            "equal": all(found[name].tobytes() == golden[name].tobytes() for name in graph.outputs),
            "max_abs_error": float(max(gaps)),
        }
    ]
