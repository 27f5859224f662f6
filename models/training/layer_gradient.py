"""Add the BP products of one layer with weights: dX from dY and the transposed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hwsim.core.graph import Op, Operand, OpKind, Role, Stage
from hwsim.core.sparsity import NM
from models.training.input_gradient import GradientConv, phase_convs, spread_conv
from models.training.step import Prune, StepBuilder

__all__ = ["LayerGradient", "StridedBp", "transposed_dims"]

Shape = tuple[int, ...]
StridedBp = Literal["phases", "zero-inserted"]


def transposed_dims(dims: Mapping[str, int]) -> dict[str, int]:
    """Return the extents of the convolution whose input gradient a transposed one computes."""
    pairs = {"ci": "co", "co": "ci", "ih": "oh", "iw": "ow", "oh": "ih", "ow": "iw"}
    return {key: dims[pairs.get(key, key)] for key in dims}


@dataclass(frozen=True)
class LayerGradient:
    """BP of ``op``.

    Attributes
    ----------
    dy : str or Operand
        Gradient of the op's output, with its pattern if it is pruned.
    weight : str
        The tensor whose transpose multiplies dY.
    nm : NM or None
        Pattern along Co of those weights; None: dense.
    """

    step: StepBuilder
    op: Op
    dy: str | Operand
    weight: str
    nm: NM | None
    strided_bp: StridedBp

    def emit(self) -> str:
        """Append the ops and return the gradient of the layer's first input."""
        op, name = self.op, f"{self.op.name}.bp"
        shape = self.step.tensors[op.inputs[0].tensor].shape
        if op.kind is OpKind.LINEAR:
            dims = {**op.dims, "k": op.dims["n"], "n": op.dims["k"]}
            return self._emit(OpKind.LINEAR, name, shape, dims, {}, {})
        if op.kind is OpKind.CONV_TRANSPOSE:
            # Its weights [ci, co / groups, kh, kw] already are those of the convolution dX.
            dims = transposed_dims(op.dims)
            return self._emit(OpKind.CONV, name, shape, dims, op.attrs, None)
        if list(op.attrs["strides"]) != [1, 1] and self.strided_bp == "phases":
            return self._phases(name, shape)
        return self._conv(name, shape, spread_conv(op.dims, op.attrs))

    def _phases(self, name: str, shape: Shape) -> str:
        convs = phase_convs(self.op.dims, self.op.attrs)
        parts = []
        for index, conv in enumerate(convs):
            extents = tuple(conv.dims[key] for key in ("batch", "co", "oh", "ow"))
            parts.append(self._conv(f"{name}.p{index}", extents, conv))
        # Every phase is stored in place at the stride, so joining them moves no data.
        attrs = {"function": "interleave", "strides": list(self.op.attrs["strides"])}
        offsets = {"offsets": [list(conv.offset) for conv in convs]}
        return self.step.emit(
            OpKind.RESHAPE,
            name,
            parts,
            shape,
            stage=Stage.BP,
            layer=self.op.name,
            attrs=attrs | offsets,
        )

    def _conv(self, name: str, shape: Shape, conv: GradientConv) -> str:
        view = {"rows": conv.rows, "cols": conv.cols}
        return self._emit(OpKind.CONV, name, shape, conv.dims, conv.attrs, view)

    def _emit(
        self,
        kind: OpKind,
        name: str,
        shape: Shape,
        dims: Mapping[str, int],
        attrs: Mapping[str, Any],
        taps: Mapping[str, Any] | None,
    ) -> str:
        """Append one product; ``taps`` None: the weights are read in their own layout."""
        view = {"of": self.weight, "is_transposed": taps is not None, **(taps or {})}
        operand = self._operand(kind, name, dims, view)
        return self.step.emit(
            kind,
            name,
            [self.dy, operand],
            shape,
            stage=Stage.BP,
            layer=self.op.name,
            dims=dims,
            attrs={**attrs, "weight_view": view},
        )

    def _operand(
        self, kind: OpKind, name: str, dims: Mapping[str, int], view: Mapping[str, Any]
    ) -> Operand:
        shape = (dims["k"], dims["n"]) if kind is OpKind.LINEAR else _weight_shape(dims)
        if self.nm is not None:
            return self.step.prune(
                Prune(
                    name=f"{name}.prune",
                    layer=self.op.name,
                    source=self.weight,
                    output=f"{name}.weight",
                    shape=shape,
                    nm=self.nm,
                    axis="co",
                    view=view,
                )
            )
        if not view["is_transposed"]:
            return Operand(tensor=self.weight, role=Role.WEIGHT)
        dtype = self.step.tensors[self.weight].dtype
        return Operand(tensor=self.step.tensor(f"{name}.weight", shape, dtype), role=Role.WEIGHT)


def _weight_shape(dims: Mapping[str, int]) -> Shape:
    return dims["co"], dims["ci"] // dims["groups"], dims["kh"], dims["kw"]
