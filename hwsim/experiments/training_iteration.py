"""Execute training iterations through the simulator: vector path, loss, comparison with golden.

The machine's products, selections and updates are in :mod:`hwsim.sat.training_execution`; what it
leaves to a function is connected here: the vector path's operators and the loss on the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpGraph, OpKind, Role, Stage
from hwsim.core.program import Program
from hwsim.sat.training_execution import execute_iteration
from hwsim.sat.training_golden import golden_iteration, golden_state
from hwsim.sat.training_state import Iteration, SgdRule, TrainingState
from hwsim.sat.training_weights import initial_state
from models.training_reference import execute_training_op

__all__ = [
    "CrossEntropy",
    "compare_with_golden",
    "differing",
    "state_tensors",
    "undefined_tensors",
    "vector_path",
]

Array = NDArray[Any]

_RULE = SgdRule(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, loss_scale=128.0)
"""Constants of the compared iteration, none of which leaves a step of the update without effect."""


COUNT = "count of non-finite gradients"


def vector_path(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array:
    """Return what the vector path gives: FP16 in, FP32 inside an op, FP16 out (nearest even).

    Sums inside an op (statistics, reductions) are in numpy's order, which no hardware is claimed
    to follow; simulator and golden both come here.
    """
    # numpy's order of additions follows the layout in memory, so that is made the same first.
    plain = [np.ascontiguousarray(x) for x in operands]
    wide = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in plain]
    with np.errstate(all="ignore"):
        result = np.asarray(execute_training_op(op, wide, shape))
        return result.astype(np.float16) if result.dtype.kind == "f" else result


class CrossEntropy:
    """Mean softmax cross entropy of logits [batch, classes], computed by the host in FP64.

    Calling it with the outputs gives ``logits.grad``, times ``loss_scale``; ``last`` is the loss
    of the last call (nats per sample, without the scale).
    """

    def __init__(self, logits: str, labels: NDArray[np.int64], loss_scale: float = 1.0) -> None:
        self.logits, self.labels, self.loss_scale = logits, labels, loss_scale
        self.last = float("nan")

    def __call__(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the gradient of the scaled loss with respect to the logits, float64."""
        given = outputs[self.logits].astype(np.float64)
        shifted = given - given.max(axis=1, keepdims=True)
        chance = np.exp(shifted)
        chance /= chance.sum(axis=1, keepdims=True)
        samples = np.arange(len(given))
        self.last = float(-np.log(chance[samples, self.labels]).mean())
        chance[samples, self.labels] -= 1
        return {f"{self.logits}.grad": chance * (self.loss_scale / len(given))}


def differing(found: Iteration, golden: Iteration) -> list[str]:
    """Return the names of all tensors whose extents or bits differ, or that only one side has."""
    mine, theirs = (dict(_named(iteration)) for iteration in (found, golden))
    return [
        name
        for name in {**mine, **theirs}
        if name not in mine or name not in theirs or not _is_equal(mine[name], theirs[name])
    ]


def _is_equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _named(iteration: Iteration) -> Iterator[tuple[str, Array]]:
    yield from iteration.tensors.items()
    yield from state_tensors(iteration.state)
    yield COUNT, np.array(iteration.nonfinite_gradients)


def state_tensors(state: TrainingState) -> Iterator[tuple[str, Array]]:
    """Yield every array of ``state`` under a name of its own."""
    for part in ("master", "momentum", "half"):
        for name, values in getattr(state, part).items():
            yield f"{name} ({part})", values
    for name, copy in state.compact.items():
        yield f"{name} (compact values)", copy.values
        yield f"{name} (compact indices)", copy.indices


def compare_with_golden(graph: OpGraph, program: Program, *, seed: int) -> dict[str, Any]:
    """Return a verification record of one whole iteration on random inputs and weights.

    Weights are the graph's own where it has them; gradients of outputs are normal. Equal means
    every tensor, selection and updated weight, bit for bit; what follows from a tensor with
    infinities (weights too large for FP16) is undefined and left out of the count. Elements of
    weight gradients that are infinite or NaN are counted; they reach the weights.
    """
    rng = np.random.default_rng(seed)
    weights = _random_weights(graph, rng)
    filled = OpGraph(
        graph.name,
        list(graph.ops()),
        list(graph.tensors.values()),
        graph.inputs,
        graph.outputs,
        weights,
    )
    inputs = {name: _random_input(graph, name, rng) for name in graph.inputs}
    options: dict[str, Any] = {"rule": _RULE, "vector": vector_path}
    found = execute_iteration(filled, program, inputs, initial_state(filled), **options)
    golden = golden_iteration(filled, inputs, golden_state(filled), **options)
    undefined = undefined_tensors(graph, golden)
    tensors = {name: x for name, x in _named(golden) if name not in undefined}
    wrong = [name for name in differing(found, golden) if name not in undefined]
    return {
        "layer": "whole iteration",
        "elements": f"{sum(x.size for x in tensors.values())} in {len(tensors)} tensors",
        "equal": not wrong,
        "max_abs_error": max((_error(dict(_named(found)), tensors, n) for n in wrong), default=0.0),
        "nonfinite_gradients": found.nonfinite_gradients,
    }


def undefined_tensors(graph: OpGraph, iteration: Iteration) -> set[str]:
    """Return the names, as :func:`differing` has them, of what follows from non-finite values."""
    tainted = {
        name
        for name, values in iteration.tensors.items()
        if values.dtype.kind == "f" and not np.isfinite(values).all()
    }
    undefined: set[str] = set()
    for op in graph.ops():
        if not any(operand.tensor in tainted for operand in op.inputs):
            continue
        tainted.add(op.output)
        undefined.add(op.output)
        if op.kind is OpKind.WEIGHT_UPDATE:
            name = op.attrs["of"]
            undefined |= {f"{name} ({part})" for part in ("master", "momentum", "half")}
        elif op.kind is OpKind.NM_PRUNE:
            name = op.output.removesuffix(".next")
            undefined |= {f"{name} (compact {part})" for part in ("values", "indices")}
    return undefined | ({COUNT} if undefined else set())


def _error(found: Mapping[str, Array], golden: Mapping[str, Array], name: str) -> float:
    """Return the largest difference of a tensor; infinite if it cannot be formed."""
    if name not in found or name not in golden or found[name].shape != golden[name].shape:
        return float("inf")
    with np.errstate(all="ignore"):
        gap = np.abs(found[name].astype(np.float64) - golden[name].astype(np.float64)).max()
    return float(gap) if np.isfinite(gap) else float("inf")


def _random_input(graph: OpGraph, name: str, rng: np.random.Generator) -> Array:
    info = graph.tensors[name]
    if "float" in info.dtype:
        return rng.standard_normal(info.shape)
    return rng.integers(0, 100, info.shape)  # the vector path wraps indices around


def _random_weights(graph: OpGraph, rng: np.random.Generator) -> dict[str, Array]:
    """Return the master weights and constants, those without values scaled to keep activations."""
    names = dict.fromkeys(
        operand.tensor
        for op in graph.ops()
        for operand in op.inputs
        if op.stage is Stage.FF and operand.role is Role.WEIGHT and operand.pattern.is_dense
    )
    updates = (op.attrs["of"] for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE)
    weights = dict(graph.weights)
    for name in (*updates, *names):
        if name not in weights:
            info = graph.tensors[name]
            deviation = np.sqrt(max(info.shape) / info.elems)
            drawn = rng.standard_normal(info.shape) * deviation
            weights[name] = drawn if "float" in info.dtype else np.zeros(info.shape, info.dtype)
    return weights
