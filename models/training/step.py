"""Collect the operators of one training iteration: gradients, fan-in sums, updates, pruning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, Stage, TensorInfo
from hwsim.core.sparsity import NM

__all__ = ["Part", "Prune", "StepBuilder", "has_gradient"]

Shape = tuple[int, ...]


def has_gradient(tensor: TensorInfo) -> bool:
    """Return whether values of this type can be differentiated."""
    return "float" in tensor.dtype


@dataclass(frozen=True)
class Prune:
    """One N:M selection from the weight tensor ``source`` of ``layer``.

    ``view`` (rows, cols: forward taps) says which transposed part of the weights is looked at;
    None: all, in their own layout.
    """

    name: str
    layer: str
    source: str
    output: str
    shape: Shape
    nm: NM
    axis: str
    view: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Part:
    """Gradient of a slice: ``gradient`` lies in the whole at ``begins``, ``steps`` apart.

    ``name`` is the op that would pad it with zeros to the whole.
    """

    name: str
    layer: str
    gradient: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass
class StepBuilder:
    """Append operators and keep, per forward tensor, the gradients that reach it.

    Attributes
    ----------
    forward : OpGraph
        The graph that is trained.
    pregenerate : bool
        Whether weights are pruned after their update, for the next iteration.
    differentiable : set of str
        Activations whose value depends on a trainable weight.
    """

    forward: OpGraph
    pregenerate: bool
    differentiable: set[str]
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _gradients: dict[str, list[str | Part]] = field(default_factory=dict)
    _weight_gradients: dict[str, list[str]] = field(default_factory=dict)
    _prunes: dict[str, list[Prune]] = field(default_factory=dict)
    _uses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tensors.update(self.forward.tensors)
        for op in self.forward.ops():
            for name in (o.tensor for o in op.inputs if o.role is Role.WEIGHT):
                self._uses[name] = self._uses.get(name, 0) + 1

    def tensor(self, name: str, shape: Shape, dtype: str) -> str:
        """Declare a tensor and return its name."""
        self.tensors[name] = TensorInfo(name=name, shape=shape, dtype=dtype)
        return name

    def emit(
        self,
        kind: OpKind,
        name: str,
        inputs: Sequence[str | Operand],
        shape: Shape,
        *,
        stage: Stage,
        layer: str,
        dims: Mapping[str, int] | None = None,
        attrs: Mapping[str, Any] | None = None,
        output: str | None = None,
        dtype: str | None = None,
    ) -> str:
        """Append an op of ``layer`` and return its output, named like the op by default."""
        operands = tuple(Operand(tensor=i) if isinstance(i, str) else i for i in inputs)
        dtype = dtype or self.tensors[operands[0].tensor].dtype
        produced = self.tensor(output or name, shape, dtype)
        extents = dict(dims) if dims is not None else {"elems": max(1, math.prod(shape))}
        self.ops.append(
            Op(
                name=name,
                kind=kind,
                dims=extents,
                inputs=operands,
                output=produced,
                stage=stage,
                attrs={**(attrs or {}), "layer": layer},
            )
        )
        return produced

    def needs_gradient(self, operand: Operand) -> bool:
        """Return whether the gradient of this activation leads to a trainable weight."""
        return operand.role is Role.ACTIVATION and operand.tensor in self.differentiable

    def is_trainable(self, operand: Operand) -> bool:
        """Return whether this operand is a weight that an optimiser changes."""
        return operand.role is Role.WEIGHT and has_gradient(self.tensors[operand.tensor])

    def contribute(self, tensor: str, gradient: str | Part) -> None:
        """Add ``gradient`` (of the same shape, or of a slice) to those of activation ``tensor``."""
        self._gradients.setdefault(tensor, []).append(gradient)

    def gradient(self, tensor: str, layer: str) -> str | None:
        """Return the whole gradient of ``tensor``, adding up its consumers', or None."""
        given = self._gradients.get(tensor, [])
        parts = [part for part in given if isinstance(part, Part)]
        whole = [part for part in given if isinstance(part, str)]
        axis = self._tiled_axis(tensor, parts)
        if axis is not None:
            ordered = sorted(parts, key=lambda part: part.begins[axis])
            whole.append(
                self.emit(
                    OpKind.CONCAT,
                    f"{tensor}.grad.concat",
                    [part.gradient for part in ordered],
                    self.tensors[tensor].shape,
                    stage=Stage.BP,
                    layer=layer,
                    attrs={"axis": axis},
                )
            )
        else:
            whole += [self._pad(part, tensor) for part in parts]
        return self._sum(whole, f"{tensor}.grad.sum", layer, Stage.BP)

    def _tiled_axis(self, tensor: str, parts: list[Part]) -> int | None:
        """Return the axis along which two or more parts fill ``tensor`` side by side, or None."""
        cut = {i for part in parts for i, b in enumerate(part.begins) if b or part.ends[i]}
        if len(parts) < 2 or len(cut) != 1 or any(s != 1 for p in parts for s in p.steps):
            return None
        (axis,) = cut
        position = 0
        for part in sorted(parts, key=lambda part: part.begins[axis]):
            if part.begins[axis] != position:
                return None
            position += self.tensors[part.gradient].shape[axis]
        return axis if position == self.tensors[tensor].shape[axis] else None

    def _pad(self, part: Part, tensor: str) -> str:
        attrs: dict[str, Any] = {"begins": list(part.begins), "ends": list(part.ends)}
        attrs |= {"mode": "constant", "value": 0.0}
        if any(by != 1 for by in part.steps):
            attrs["steps"] = list(part.steps)  # the elements are spread (and reversed) first
        shape = self.tensors[tensor].shape
        return self.emit(
            OpKind.PAD,
            part.name,
            [part.gradient],
            shape,
            stage=Stage.BP,
            layer=part.layer,
            attrs=attrs,
        )

    def _sum(self, parts: list[str], name: str, layer: str, stage: Stage) -> str | None:
        if len(parts) < 2:
            return parts[0] if parts else None
        shape, attrs = self.tensors[parts[0]].shape, {"function": "add"}
        return self.emit(
            OpKind.ELEMENTWISE, name, parts, shape, stage=stage, layer=layer, attrs=attrs
        )

    def prune(self, prune: Prune) -> Operand:
        """Return the compact weight of ``prune`` as an operand, pruned here or beforehand."""
        self._prunes.setdefault(prune.source, []).append(prune)
        if self.pregenerate:
            dtype = self.tensors[prune.source].dtype
            self.tensor(prune.output, prune.shape, dtype)
        else:
            stage = Stage.FF if prune.axis == "ci" else Stage.BP
            self._emit_prune(prune, prune.source, "", stage)
        return Operand(tensor=prune.output, role=Role.WEIGHT, pattern=prune.nm)

    def _emit_prune(self, prune: Prune, source: str, suffix: str, stage: Stage) -> str:
        attrs: dict[str, Any] = {"nm_n": prune.nm.nm_n, "nm_m": prune.nm.nm_m}
        attrs |= {"axis": prune.axis, "operand": "weight", "of": prune.source}
        if prune.view is not None:
            attrs["weight_view"] = dict(prune.view)
        return self.emit(
            OpKind.NM_PRUNE,
            prune.name,
            [Operand(tensor=source, role=Role.WEIGHT)],
            prune.shape,
            stage=stage,
            layer=prune.layer,
            attrs=attrs,
            output=prune.output + suffix,
        )

    def weight_gradient(self, weight: str, gradient: str, layer: str) -> None:
        """Take one use's gradient of ``weight``; update the weight once all uses have theirs."""
        parts = self._weight_gradients.setdefault(weight, [])
        parts.append(gradient)
        if len(parts) == self._uses[weight]:
            self._update(weight, layer)

    def update_rest(self) -> None:
        """Update the shared weights of which some use has no gradient."""
        for weight, parts in list(self._weight_gradients.items()):
            if parts:
                self._update(weight, weight)

    def _update(self, weight: str, layer: str) -> None:
        parts, self._weight_gradients[weight] = self._weight_gradients[weight], []
        total = self._sum(parts, f"{weight}.grad.sum", layer, Stage.WU)
        info = self.tensors[weight]
        momentum = self.tensor(f"{weight}.momentum", info.shape, "float32")
        state = [Operand(tensor=name, role=Role.WEIGHT) for name in (weight, momentum)]
        updated = self.emit(
            OpKind.WEIGHT_UPDATE,
            f"{weight}.update",
            [total or weight, *state],
            info.shape,
            stage=Stage.WU,
            layer=layer,
            attrs={"function": "sgd_momentum", "of": weight},
            output=f"{weight}.next",
        )
        self.outputs.append(updated)
        if self.pregenerate:
            for prune in self._prunes.get(weight, []):
                self.outputs.append(self._emit_prune(prune, updated, ".next", Stage.WU))
