"""Run a whole model on INT8 codes by a machine's instructions.

Activations have a scale per row, weights one per column; sums are exact integers. The golden model
is the same graph with its products in plain integers and its vectors by their definition.
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
from hwsim.experiments.quantised_vectors import exact_vector, vectors_by_program, vectors_on_codes
from hwsim.experiments.weight_codes import WeightCodes, weight_codes
from hwsim.flightllm.spec import FlightSpec
from models.build import with_random_weights
from models.reference import GemmFunction, VectorFunction
from models.reference import execute as run_graph
from models.sparsify.magnitude import mask_of

if TYPE_CHECKING:
    from hwsim.experiments.pipeline import Session

__all__ = [
    "MAX_MODEL_MACS",
    "Product",
    "compare_model",
    "exact_functions",
    "exact_product",
    "functions_by_program",
    "product_by_program",
    "quantised",
    "spec_of",
]

MAX_MODEL_MACS = 1 << 28
"""Dense multiply-accumulates up to which a model is compared as a whole (seconds)."""

Array = NDArray[Any]
Product = Callable[[Op, Array, WeightCodes], Array]
"""(op, codes A[groups, m, k], weights) -> sums[groups, m, n]."""


def quantised(graph: OpGraph, product: Product, spec: FlightSpec) -> GemmFunction:
    """Return products on codes, a scale per row of activations and column of weights."""

    def gemm(op: Op, a: Array, b: Array) -> Array:
        mask = None
        if op.weight is not None and not op.weight.pattern.is_dense:
            mask = mask_of(op, graph.weights[op.weight.tensor])[None]
            b = np.where(mask, b, 0)
        codes, scales = int8_codes(a, 2)
        weights = weight_codes(op, b, mask, spec)
        sums = product(op, codes, weights)
        return np.asarray(sums.astype(np.float32) * scales * weights.scales)

    return gemm


def exact_product(op: Op, a: Array, weights: WeightCodes) -> Array:
    """Return the product of codes in plain integers."""
    del op
    return np.asarray(a.astype(np.int64) @ weights.codes.astype(np.int64))


def product_by_program(machine: Machine, program: Program) -> Product:
    """Return the products that ``program`` computes, op by op."""

    def product(op: Op, a: Array, weights: WeightCodes) -> Array:
        program.tensors = {f"{op.name}.{key}": values for key, values in weights.stored.items()}
        return machine.execute(program, {f"{op.name}.a": a})[op.name]

    return product


def functions_by_program(
    graph: OpGraph, machine: Machine, program: Program
) -> tuple[GemmFunction, VectorFunction]:
    """Return what computes a graph's products and vectors as ``program`` does."""
    products = quantised(graph, product_by_program(machine, program), spec_of(machine))
    vectors = vectors_by_program(machine, program)
    return products, vectors_on_codes(vectors, spec_of(machine).sfu)


def exact_functions(graph: OpGraph, machine: Machine) -> tuple[GemmFunction, VectorFunction]:
    """Return what computes the same by definition."""
    spec = spec_of(machine)
    vectors = vectors_on_codes(exact_vector(spec.sfu), spec.sfu)
    return quantised(graph, exact_product, spec), vectors


def spec_of(machine: Machine) -> FlightSpec:
    """Return the parameters of an INT8 machine."""
    assert isinstance(machine.spec, FlightSpec)
    return machine.spec


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
    found = run_graph(graph, inputs, *functions_by_program(graph, session.machine, session.program))
    golden = run_graph(graph, inputs, *exact_functions(graph, session.machine))
    gaps = [np.abs(found[name] - golden[name]).max() for name in graph.outputs]
    return [
        {
            "layer": "whole model",
            "elements": str(sum(found[name].size for name in graph.outputs)),
            "equal": all(found[name].tobytes() == golden[name].tobytes() for name in graph.outputs),
            "max_abs_error": float(max(gaps)),
        }
    ]
