"""Find which tensors of a network share one order of channels, and reorder them.

Output channels of a layer may be permuted if everything that reads them follows: depthwise
convolutions, normalisations and pointwise operators keep the order, additions force their operands
to share one, the next layer takes the inverse on its input channels. The network computes the same
values (float sums in another order), at no cost when it runs. Channels of inputs and outputs of the
network, and of tensors that an operator mixes in another way, stay in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpGraph, OpKind, Role

__all__ = ["ChannelClasses", "find_channel_classes", "permute_channels"]

Order = NDArray[np.int64]

_KEEP_ORDER = (OpKind.POOL, OpKind.RESIZE, OpKind.REDUCE, OpKind.PAD)


@dataclass
class ChannelClasses:
    """Tensors by the order of channels that they share.

    Attributes
    ----------
    parent : dict of tensor to tensor
        A forest; use :meth:`root`.
    fixed : set of tensor
        Roots of classes whose channels stay in place.
    vectors : dict of weight to (tensor, axis)
        Weights with one value per channel of a tensor, and the axis that follows its order.
    """

    parent: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    vectors: dict[str, tuple[str, int]] = field(default_factory=dict)

    def root(self, tensor: str) -> str:
        """Return the representative of ``tensor``'s class."""
        self.parent.setdefault(tensor, tensor)
        while self.parent[tensor] != tensor:
            self.parent[tensor] = self.parent[self.parent[tensor]]
            tensor = self.parent[tensor]
        return tensor

    def join(self, a: str, b: str) -> None:
        """Let two tensors share their order."""
        a, b = self.root(a), self.root(b)
        if a == b:
            return
        self.parent[b] = a
        if b in self.fixed:
            self.fixed.add(a)

    def fix(self, *tensors: str) -> None:
        """Leave the channels of ``tensors`` in place."""
        self.fixed |= {self.root(tensor) for tensor in tensors}

    def is_free(self, tensor: str) -> bool:
        """Return whether the channels of ``tensor`` may be reordered."""
        return self.root(tensor) not in self.fixed


def find_channel_classes(graph: OpGraph) -> ChannelClasses:
    """Return the classes of ``graph``; the channel axis of every tensor is axis 1."""
    classes = ChannelClasses()
    classes.fix(*graph.inputs, *graph.outputs)
    uses: dict[str, int] = {}
    for op in graph.ops():
        _join(graph, op, classes)
        for operand in op.inputs:
            if operand.role is Role.WEIGHT:
                uses[operand.tensor] = uses.get(operand.tensor, 0) + 1
    for op in graph.ops():  # a weight that several operators share stays as it is
        if any(uses.get(operand.tensor, 0) > 1 for operand in op.inputs):
            classes.fix(op.output, *_activations(op))
    return classes


def _activations(op: Op) -> list[str]:
    return [operand.tensor for operand in op.inputs if operand.role is Role.ACTIVATION]


def _constants(op: Op) -> list[str]:
    return [operand.tensor for operand in op.inputs if operand.role is Role.WEIGHT]


def _join(graph: OpGraph, op: Op, classes: ChannelClasses) -> None:
    """Add what ``op`` asks of the channels of its tensors."""
    xs, shape = _activations(op), graph.tensors[op.output].shape
    shapes = [graph.tensors[x].shape for x in xs]
    if not xs:
        classes.fix(op.output)
    elif op.kind is OpKind.CONV and op.dims["groups"] == 1:
        _own(op, classes, shape, len(shapes[0]) == 4)
    elif _is_per_channel(op):
        classes.join(op.output, xs[0])
        classes.vectors |= dict.fromkeys(_constants(op), (op.output, 0))
    elif op.kind is OpKind.LINEAR:
        _own(op, classes, shape, len(shapes[0]) == len(shape) == 2)
    elif op.kind is OpKind.ELEMENTWISE:
        _join_elementwise(graph, op, classes)
    elif _keeps_order(op, shape, shapes):
        classes.join(op.output, xs[0])
    else:
        classes.fix(op.output, *xs)


def _is_per_channel(op: Op) -> bool:
    """Return whether ``op`` has weights for each channel alone."""
    if op.kind is OpKind.NORMALIZATION:
        return bool(op.attrs["function"] == "batch")
    return op.is_depthwise and op.dims["co"] == op.dims["ci"]


def _keeps_order(op: Op, shape: tuple[int, ...], shapes: list[tuple[int, ...]]) -> bool:
    """Return whether each output channel of ``op`` comes from the same channel of its input."""
    if op.kind is OpKind.RESHAPE:  # [batch, channels, 1, 1] to [batch, channels]
        return shape == shapes[0][:2] and set(shapes[0][2:]) <= {1}
    return op.kind in _KEEP_ORDER and len(shape) == 4 and shapes[0][:2] == shape[:2]


def _own(op: Op, classes: ChannelClasses, shape: tuple[int, ...], is_known: bool) -> None:
    """Let a layer's output have an order of its own; a bias follows it."""
    if not is_known or len(_activations(op)) != 1 or op.weight is None:
        classes.fix(op.output, *_activations(op))
        return
    classes.vectors |= dict.fromkeys(_constants(op)[1:], (op.output, 0))
    classes.root(op.output)


def _join_elementwise(graph: OpGraph, op: Op, classes: ChannelClasses) -> None:
    shape = graph.tensors[op.output].shape
    if len(shape) not in (2, 4):
        classes.fix(op.output, *_activations(op))
        return
    for operand in op.inputs:
        own = graph.tensors[operand.tensor].shape
        padded = (1,) * (len(shape) - len(own)) + own
        if padded[1] != shape[1] or shape[1] == 1:
            if padded[1] != 1:
                classes.fix(op.output, operand.tensor)
        elif operand.role is Role.WEIGHT:
            classes.vectors[operand.tensor] = (op.output, 1 - len(shape) + len(own))
        elif len(own) == len(shape):
            classes.join(op.output, operand.tensor)
        else:
            classes.fix(op.output, operand.tensor)


def permute_channels(graph: OpGraph, orders: Mapping[str, Order]) -> OpGraph:
    """Return ``graph`` with channels reordered; its outputs are what they were.

    Parameters
    ----------
    graph : OpGraph
        All weights that are to move have values.
    orders : mapping of tensor to int64[channels]
        For roots of free classes: position -> channel that moves there.
    """
    classes = find_channel_classes(graph)
    weights: dict[str, NDArray[Any]] = dict(graph.weights)

    def order_of(tensor: str) -> Order | None:
        return orders.get(classes.root(tensor)) if classes.is_free(tensor) else None

    for name, (tensor, axis) in classes.vectors.items():
        order = order_of(tensor)
        if order is not None:
            weights[name] = np.take(weights[name], order, axis=axis)
    for op in graph.ops():
        if op.weight is None or op.weight.tensor in classes.vectors or not op.is_gemm:
            continue
        # conv [co, ci, kh, kw], linear [k, n]
        out_axis, in_axis = (0, 1) if op.kind is OpKind.CONV else (1, 0)
        for tensor, axis in ((op.output, out_axis), (op.inputs[0].tensor, in_axis)):
            order = order_of(tensor)
            if order is not None:
                name = op.weight.tensor
                weights[name] = np.take(weights[name], order, axis=axis)
    permuted = OpGraph(
        graph.name,
        list(graph.ops()),
        list(graph.tensors.values()),
        graph.inputs,
        graph.outputs,
        weights,
        graph.notes,
    )
    permuted.verify()
    return permuted
