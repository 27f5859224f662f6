"""Execute the graph of a training iteration in numpy: the golden model of its results.

Products go through the lowering of :mod:`hwsim.core.gemm`, so that a wrong phase, tap or transpose
of a gradient shows as a wrong number. Masks are chosen here on the weights' own axes, not on the
GEMM view that the patterns describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind, Stage
from models.reference import GemmFunction, execute_op
from models.training.gradient_functions import (
    DERIVATIVES,
    gather_backward,
    normalization_gradient,
    normalize,
    pool_backward,
    resize_backward,
)

__all__ = ["Sgd", "compact_weights", "execute_iteration", "execute_training_op", "keep_largest"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent: v = momentum v + dW + decay w, w = w - learning_rate v.

    ``mask_decay`` is the lambda of SR-STE (repository aojunzz/NM-sparsity), which adds
    lambda (1 - mask) w to dW, the mask being that of FF; default off.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    mask_decay: float = 0.0


def keep_largest(values: Array, nm_n: int, nm_m: int, axis: int) -> NDArray[np.bool_]:
    """Return the mask of the ``nm_n`` largest magnitudes of every ``nm_m`` along ``axis``.

    Of equal magnitudes the first stays (the stable sort of SDGP's code, repository sdgp).
    """
    lines = np.moveaxis(np.abs(values), axis, -1)
    grouped = lines.reshape(*lines.shape[:-1], -1, nm_m)
    rank = np.argsort(np.argsort(-grouped, axis=-1, kind="stable"), axis=-1, kind="stable")
    return np.moveaxis((rank < nm_n).reshape(lines.shape), -1, axis)


def compact_weights(graph: OpGraph, weights: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return ``weights`` (default: the graph's) with every derived weight tensor added.

    Derived tensors are those that FF and BP read instead of a master weight: pruned (zeros where
    nothing is stored) or transposed views. Those that the graph itself prunes first are left out.
    """
    values = dict(graph.weights if weights is None else weights)
    produced = {op.output for op in graph.ops()}
    for op in graph.ops():
        if op.kind is OpKind.NM_PRUNE and op.output.endswith(".next"):
            values[op.output.removesuffix(".next")] = _prune(graph, op, values[op.attrs["of"]])
    for op in graph.ops():
        view, weight = op.attrs.get("weight_view"), op.weight
        if view is None or weight is None or weight.tensor in values:
            continue
        if weight.tensor not in produced and view["of"] in values:
            values[weight.tensor] = _view(graph.op(op.attrs["layer"]), view, values[view["of"]])
    return values


def _view(layer: Op, view: Mapping[str, Any], weights: Array) -> Array:
    """Return the weights of a BP op in its layout, [ci, co / groups, kh, kw] or [n, k]."""
    if not view["is_transposed"]:
        return weights
    if layer.kind is OpKind.LINEAR:
        return weights.T
    groups = layer.dims["groups"]
    taps = weights[:, :, view["rows"]][:, :, :, view["cols"]]
    split = taps.reshape(groups, -1, *taps.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(split.reshape(-1, *split.shape[2:]))


def _prune(graph: OpGraph, op: Op, values: Array) -> Array:
    layer, attrs = graph.op(op.attrs["layer"]), op.attrs
    is_linear = layer.kind is OpKind.LINEAR
    if attrs["operand"] == "gradient":
        axis = values.ndim - 1 if is_linear else 1
    elif attrs["axis"] == "co":
        values = _view(layer, attrs["weight_view"], values)
        axis = 0 if is_linear else 1
    else:
        axis = 1 if layer.kind is OpKind.CONV else 0
    return np.where(keep_largest(values, attrs["nm_n"], attrs["nm_m"], axis), values, 0)


def execute_iteration(
    graph: OpGraph,
    inputs: Mapping[str, Array],
    *,
    sgd: Sgd | None = None,
    gemm: GemmFunction | None = None,
) -> dict[str, Array]:
    """Return every tensor of one iteration by name, weights and inputs included.

    Parameters
    ----------
    graph : OpGraph
        From ``training_graph``; its trainable weights have values. Momentum without values is 0.
    inputs : mapping from graph input to array
        Activations, and the gradient ``y.grad`` of every output.
    sgd : Sgd, optional
        The weight update.
    gemm : callable, optional
        Computes the matrix products; default: numpy in the operands' dtype.

    Raises
    ------
    InputError
        If a value is missing or an operator has no reference.
    """
    for name in graph.inputs:
        if name not in inputs or inputs[name].shape != graph.tensors[name].shape:
            found = "none" if name not in inputs else f"shape {inputs[name].shape}"
            raise InputError(f"input {name}", f"shape {graph.tensors[name].shape}", found)
    run = _Iteration(graph, sgd or Sgd(), gemm, {**compact_weights(graph), **inputs})
    for op in graph.ops():
        result = np.asarray(run.evaluate(op))
        shape = graph.tensors[op.output].shape
        if result.size != np.prod(shape):
            raise InputError(f"op {op.name}", f"output shape {shape}", f"{result.shape}")
        run.values[op.output] = result.reshape(shape)
    return run.values


@dataclass
class _Iteration:
    graph: OpGraph
    sgd: Sgd
    gemm: GemmFunction | None
    values: dict[str, Array]

    def evaluate(self, op: Op) -> Array:
        """Return the output of ``op``."""
        if op.kind is OpKind.WEIGHT_UPDATE:
            return self._update(op)
        if op.kind is OpKind.NM_PRUNE:
            return _prune(self.graph, op, self._value(op, op.inputs[0].tensor))
        self._make_view(op)
        operands = [self._value(op, operand.tensor) for operand in op.inputs]
        return execute_training_op(op, operands, self.graph.tensors[op.output].shape, self.gemm)

    def _value(self, op: Op, tensor: str) -> Array:
        if tensor not in self.values:
            raise InputError(f"op {op.name}", f"values of {tensor}", "none")
        return self.values[tensor]

    def _make_view(self, op: Op) -> None:
        """Compute a transposed view of weights that the graph pruned on its way."""
        view, weight = op.attrs.get("weight_view"), op.weight
        if view is not None and weight is not None and weight.tensor not in self.values:
            layer = self.graph.op(op.attrs["layer"])
            self.values[weight.tensor] = _view(layer, view, self._value(op, view["of"]))

    def _update(self, op: Op) -> Array:
        """Apply the gradient straight through to the dense weights."""
        gradient, weight = (self._value(op, operand.tensor) for operand in op.inputs[:2])
        momentum = self.values.get(op.inputs[2].tensor, np.zeros_like(weight))
        gradient = gradient + self.sgd.weight_decay * weight
        masked = self.values.get(f"{op.attrs['layer']}.ff.weight")
        if self.sgd.mask_decay and masked is not None and masked.shape == weight.shape:
            gradient = gradient + self.sgd.mask_decay * np.where(masked == 0, weight, 0)
        velocity = self.sgd.momentum * momentum + gradient
        self.values[f"{op.inputs[2].tensor}.next"] = velocity
        return np.asarray(weight - self.sgd.learning_rate * velocity)


def execute_training_op(
    op: Op, operands: list[Array], shape: tuple[int, ...], gemm: GemmFunction | None = None
) -> Array:
    """Return the output of one op of an iteration that is neither an update nor a selection."""
    function = str(op.attrs.get("function", ""))
    if op.kind is OpKind.NORMALIZATION and op.stage is Stage.FF:
        return normalize(
            op.attrs, operands[0], operands[1], operands[2] if len(operands) > 2 else None
        )
    if op.stage in (Stage.BP, Stage.WU):
        result = _backward(op, function, operands, shape)
        if result is not None:
            return result
    if op.kind is OpKind.RESHAPE:
        return operands[0]
    return execute_op(op, operands, shape, gemm)


def _backward(op: Op, function: str, operands: list[Array], shape: tuple[int, ...]) -> Array | None:
    """Return the result of a gradient's own operator, or None if a forward operator does it."""
    if function == "interleave":
        return _interleave(op, operands, shape)
    if function in DERIVATIVES and op.kind is OpKind.ELEMENTWISE:
        return DERIVATIVES[function](op.attrs, *operands).astype(operands[0].dtype, copy=False)
    if function.endswith(("_scale_gradient", "_shift_gradient")):
        return normalization_gradient(op.attrs, operands[0], operands[1], None)
    if op.kind is OpKind.NORMALIZATION:
        return normalization_gradient(op.attrs, *operands)
    if op.kind is OpKind.SOFTMAX:
        dy, y = operands
        return np.asarray(y * (dy - (dy * y).sum(axis=tuple(op.attrs["axes"]), keepdims=True)))
    if op.kind is OpKind.POOL:
        return pool_backward(op.attrs, operands[0], operands[1:], shape)
    if op.kind is OpKind.RESIZE:
        return resize_backward(op.attrs, operands[0], shape)
    if op.kind is OpKind.GATHER:
        return gather_backward(op.attrs, operands[0], operands[1], shape)
    if function.startswith("reduce_"):
        return _spread_reduction(op, function, operands, shape)
    if op.kind is OpKind.PAD and "steps" in op.attrs:
        return _spread_slice(op, operands[0], shape)
    return None


def _interleave(op: Op, phases: list[Array], shape: tuple[int, ...]) -> Array:
    sh, sw = op.attrs["strides"]
    out = np.zeros(shape, dtype=phases[0].dtype)
    for (row, col), phase in zip(op.attrs["offsets"], phases, strict=True):
        out[:, :, row::sh, col::sw] = phase
    return out


def _spread_reduction(
    op: Op, function: str, operands: list[Array], shape: tuple[int, ...]
) -> Array:
    axes = op.attrs["axes"]
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    dy = operands[0].reshape(kept)
    if function in ("reduce_max_backward", "reduce_min_backward"):
        is_peak = operands[1] == operands[2].reshape(kept)
        return np.asarray(dy * is_peak / is_peak.sum(axis=tuple(axes), keepdims=True))
    scale = np.prod([shape[axis] for axis in axes]) if function == "reduce_mean_backward" else 1
    return np.broadcast_to(dy / scale, shape).astype(dy.dtype)


def _spread_slice(op: Op, dy: Array, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, dtype=dy.dtype)
    begins, steps = op.attrs["begins"], op.attrs["steps"]
    index = []
    for begin, step, count in zip(begins, steps, dy.shape, strict=True):
        positions = begin + abs(step) * np.arange(count)
        index.append(positions if step > 0 else positions[::-1])
    out[np.ix_(*index)] = dy
    return out
