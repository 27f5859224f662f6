"""Compute what a training iteration on SAT must give, sharing no kernel with the simulator.

The graph is walked like a reader would: a layer's three products are the sums that
:mod:`hwsim.sat.training_golden_layers` states on the forward layer's own axes, whatever products
the training graph splits them into. Masks are found on the weights' axes; compact copies are
written down from the masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind, Stage
from hwsim.sat.golden import golden_gemm, golden_selection, golden_update
from hwsim.sat.training_golden_layers import (
    Window,
    add_overlaps,
    conv_forward,
    conv_input_gradient,
    conv_weight_gradient,
)
from hwsim.sat.training_state import (
    CompactCopy,
    Iteration,
    Loss,
    SgdRule,
    TrainingState,
    VectorFunction,
)

__all__ = ["golden_iteration", "golden_state"]

Array = NDArray[Any]


def golden_state(graph: OpGraph, weights: Mapping[str, Array] | None = None) -> TrainingState:
    """Return what ``initial_state`` must return: momentum 0, N:M weights selected."""
    given = graph.weights if weights is None else weights
    names = [op.attrs["of"] for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE]
    master = {name: given[name].astype(np.float32) for name in names}
    half = {name: _stored(values) for name, values in master.items()}
    momentum = {name: np.zeros(values.shape, np.float32) for name, values in master.items()}
    return TrainingState(master, momentum, half, _selections(graph, half))


def golden_iteration(
    graph: OpGraph,
    inputs: Mapping[str, Array],
    state: TrainingState,
    *,
    rule: SgdRule,
    vector: VectorFunction,
    loss: Loss | None = None,
) -> Iteration:
    """Return what ``execute_iteration`` must return for the same arguments."""
    run = _Golden(graph, state, rule, vector)
    run.tensors.update({name: _stored(values) for name, values in inputs.items()})
    ops = list(graph.ops())
    with np.errstate(all="ignore"):
        for op in ops:
            if op.stage is Stage.FF:
                run.step(op)
        if loss is not None:
            known = {name: run.tensors[name] for name in graph.outputs if name in run.tensors}
            run.tensors.update({name: _stored(values) for name, values in loss(known).items()})
        for op in ops:
            if op.stage is not Stage.FF:
                run.step(op)
    new = run.new
    compact = _selections(graph, new.half)
    after = TrainingState(new.master, new.momentum, new.half, compact)
    return Iteration(run.tensors, after, run.nonfinite)


def _stored(values: Array) -> Array:
    if not np.issubdtype(values.dtype, np.floating):
        return values
    with np.errstate(over="ignore"):
        half = np.asarray(values, dtype=np.float16)
    return np.where(np.isnan(half), np.uint16(0x7E00).view(np.float16), half)


def _axis(layer: Op, axis: str) -> int:
    """Return where the channels ``axis`` ("ci", "co") lie in a layer's weights."""
    if layer.kind is OpKind.CONV:
        return 1 if axis == "ci" else 0
    return 0 if axis == "ci" else 1


def _selections(graph: OpGraph, half: Mapping[str, Array]) -> dict[str, CompactCopy]:
    """Return the compact copy of every selection that follows an update."""
    copies = {}
    for op in graph.ops():
        if op.kind is OpKind.NM_PRUNE and op.output.endswith(".next"):
            layer, weights = graph.op(op.attrs["layer"]), half[op.attrs["of"]]
            copies[op.output.removesuffix(".next")] = _compact(op, layer, weights)
    return copies


def _compact(op: Op, layer: Op, weights: Array) -> CompactCopy:
    nm_n, nm_m, axis = op.attrs["nm_n"], op.attrs["nm_m"], op.attrs["axis"]
    mask = golden_selection(weights, _axis(layer, axis), nm_n, nm_m)
    kept, values = (_rows(op, layer, array) for array in (mask, weights))
    groups, k, n = values.shape
    kept, values = (array.reshape(groups, -1, nm_m, n) for array in (kept, values))
    slots = np.cumsum(kept, axis=2) - 1
    found = np.zeros((groups, k // nm_m, nm_n, n), dtype=np.float16)
    indices = np.zeros(found.shape, dtype=np.uint8)
    group, line, position, column = np.nonzero(kept)
    at = (group, line, slots[group, line, position, column], column)
    found[at] = values[group, line, position, column]
    indices[at] = position
    return CompactCopy(found, indices, nm_m)


def _rows(op: Op, layer: Op, weights: Array) -> Array:
    """Return [groups, k, n]: per result channel n, the elements in the order they are summed."""
    is_forward = op.attrs["axis"] == "ci"
    if layer.kind is OpKind.LINEAR:
        return (weights if is_forward else weights.T)[None]
    groups = layer.dims["groups"]
    split = weights.reshape(groups, -1, *weights.shape[1:])  # [g, first, second, kh, kw]
    if layer.kind is OpKind.CONV_TRANSPOSE:  # first: ci, second: co
        order = (0, 1, 2, 3, 4) if is_forward else (0, 3, 4, 2, 1)
    elif is_forward:  # first: co, second: ci
        order = (0, 3, 4, 2, 1)
    else:
        view = op.attrs["weight_view"]
        split = split[:, :, :, view["rows"]][..., view["cols"]]
        order = (0, 3, 4, 1, 2)
    ordered = split.transpose(order)
    k = ordered.shape[1] if order[1] == 1 else int(np.prod(ordered.shape[1:4]))
    return ordered.reshape(groups, k, -1)


class _Golden:
    """Tensors and state of one iteration, op after op."""

    def __init__(
        self, graph: OpGraph, state: TrainingState, rule: SgdRule, vector: VectorFunction
    ) -> None:
        self.graph, self.state, self.rule, self.vector = graph, state, rule, vector
        self.new = TrainingState(dict(state.master), dict(state.momentum), dict(state.half))
        self.weights = {name: _stored(values) for name, values in graph.weights.items()}
        self.weights.update(state.half)
        self.tensors: dict[str, Array] = {}
        self.prunes = {
            op.output.removesuffix(".next"): op for op in graph.ops() if op.kind is OpKind.NM_PRUNE
        }
        self.nonfinite = 0

    def step(self, op: Op) -> None:
        """Compute one op."""
        if op.kind is OpKind.WEIGHT_UPDATE:
            self._update(op)
        elif op.kind is OpKind.NM_PRUNE:
            if op.attrs["operand"] == "gradient":
                self._prune_gradient(op)
        elif op.is_gemm:
            sums = self._sums(op)
            for bias in op.inputs[2:]:
                shape = (1, -1, 1, 1) if "ih" in op.dims else (-1,)
                sums = sums + self._get(bias.tensor).astype(np.float32).reshape(shape)
            self.tensors[op.output] = _stored(sums).reshape(self.graph.tensors[op.output].shape)
        else:
            operands = [self._get(operand.tensor) for operand in op.inputs]
            shape = self.graph.tensors[op.output].shape
            self.tensors[op.output] = _stored(self.vector(op, operands, shape)).reshape(shape)

    def _get(self, tensor: str) -> Array:
        for known in (self.tensors, self.weights):
            if tensor in known:
                return known[tensor]
        raise InputError(f"golden: {tensor}", "values", "none")

    def _update(self, op: Op) -> None:
        name, gradient, rule = op.attrs["of"], self._get(op.inputs[0].tensor), self.rule
        constants = {"lr": rule.learning_rate, "mu": rule.momentum, "wd": rule.weight_decay}
        w, v, half = golden_update(
            gradient,
            self.state.master[name],
            self.state.momentum[name],
            **constants,
            inv_scale=1.0 / rule.loss_scale,
        )
        self.nonfinite += int((~np.isfinite(gradient)).sum())
        self.new.master[name], self.new.momentum[name], self.new.half[name] = w, v, half

    def _prune_gradient(self, op: Op) -> None:
        dy = self._get(op.inputs[0].tensor)
        axis = dy.ndim - 1 if self.graph.op(op.attrs["layer"]).kind is OpKind.LINEAR else 1
        mask = golden_selection(dy, axis, op.attrs["nm_n"], op.attrs["nm_m"])
        self.tensors[op.output] = np.where(mask, dy, np.float16(0))

    def _layer_weights(self, op: Op, layer: Op) -> tuple[Array, Array]:
        """Return a layer's dense weights and the mask under which ``op`` reads them."""
        name = op.inputs[1].tensor
        view = op.attrs.get("weight_view", {"of": name})
        forward = self.prunes.get(view["of"])
        if forward is not None and op.stage is not Stage.FF:  # SR-STE: masked, but not skipped
            dense = self._get(forward.attrs["of"])
            kept = self._mask(forward, layer, dense)
            return np.where(kept, dense, np.float16(0)), np.ones(dense.shape, dtype=bool)
        prune = self.prunes.get(name)
        dense = self._get(prune.attrs["of"] if prune is not None else view["of"])
        if prune is None:
            return dense, np.ones(dense.shape, dtype=bool)
        return dense, self._mask(prune, layer, dense)

    def _mask(self, prune: Op, layer: Op, dense: Array) -> Array:
        axis, attrs = _axis(layer, prune.attrs["axis"]), prune.attrs
        return golden_selection(dense, axis, attrs["nm_n"], attrs["nm_m"])

    def _sums(self, op: Op) -> Array:
        """Return the float32 sums of a product, shaped like its output."""
        if op.kind is OpKind.MATMUL:
            return self._matmul(op)
        if op.kind is OpKind.CONV_WGRAD:
            x, dy = (self._get(operand.tensor) for operand in op.inputs)
            return conv_weight_gradient(self._image(x, op), dy, Window.of(op))
        layer = self.graph.op(op.attrs["layer"])
        w, mask = self._layer_weights(op, layer)
        if layer.kind is OpKind.LINEAR:
            return self._linear(op, w, mask)
        x = self._get(op.inputs[0].tensor)
        if op.stage is Stage.FF and op.kind is OpKind.CONV:
            return conv_forward(self._image(x, op), w, mask, Window.of(op))
        if op.kind is OpKind.CONV_TRANSPOSE:
            return self._conv_transpose(op, x, w, mask)
        if layer.kind is OpKind.CONV_TRANSPOSE:
            return conv_forward(self._image(x, op), w, mask, Window.of(op))
        return self._input_gradient(op, layer, w, mask)

    def _image(self, x: Array, op: Op) -> Array:
        return x.reshape([op.dims[key] for key in ("batch", "ci", "ih", "iw")])

    def _input_gradient(self, op: Op, layer: Op, w: Array, mask: Array) -> Array:
        """Return dX of a convolution, or the pixels of it that ``op`` is one phase of."""
        dy = self._get(op.inputs[0].tensor)
        whole = conv_input_gradient(dy, w, mask, Window.of(layer))
        for join in self.graph.consumers(op.output):
            if join.attrs.get("function") == "interleave":
                place = [operand.tensor for operand in join.inputs].index(op.output)
                (row, col), (down, across) = join.attrs["offsets"][place], join.attrs["strides"]
                return whole[:, :, row::down, col::across]
        return whole

    def _linear(self, op: Op, w: Array, mask: Array) -> Array:
        x = self._get(op.inputs[0].tensor)
        rows = x.reshape(-1, x.shape[-1])
        if op.stage is Stage.FF:
            return golden_gemm(rows, w, mask)
        return golden_gemm(rows, w.T, mask.T)

    def _matmul(self, op: Op) -> Array:
        a, b = (self._get(operand.tensor) for operand in op.inputs)
        batch, m, k, n = (op.dims[key] for key in ("batch", "m", "k", "n"))
        if op.attrs.get("transpose_a"):
            a = np.swapaxes(a.reshape(batch, k, m), 1, 2)
        if op.attrs.get("transpose_b"):
            b = np.swapaxes(b.reshape(batch, n, k), 1, 2)
        a, b = a.reshape(batch, m, k), b.reshape(batch, k, n)
        everything = np.ones((k, n), dtype=bool)
        return np.stack([golden_gemm(x, y, everything) for x, y in zip(a, b, strict=True)])

    def _conv_transpose(self, op: Op, x: Array, w: Array, mask: Array) -> Array:
        groups, batch = op.dims["groups"], op.dims["batch"]
        pixels = self._image(x, op).reshape(batch, groups, -1, op.dims["ih"] * op.dims["iw"])
        sums = []
        for group in range(groups):
            rows = pixels[:, group].transpose(0, 2, 1).reshape(-1, pixels.shape[2])
            part = slice(group * pixels.shape[2], (group + 1) * pixels.shape[2])
            flat = (array[part].reshape(pixels.shape[2], -1) for array in (w, mask))
            sums.append(golden_gemm(rows, *flat))
        kernel = (op.dims["kh"], op.dims["kw"])
        image = (op.dims["ih"], op.dims["iw"])
        sent = np.stack(sums).reshape(groups, batch, *image, -1, *kernel)
        sent = sent.transpose(1, 0, 4, 5, 6, 2, 3).reshape(batch, -1, *kernel, *image)
        return add_overlaps(sent, Window.of(op))
