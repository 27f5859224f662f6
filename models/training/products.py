"""Add the gradients of convolutions, fully connected layers and products of activations."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpKind, Role, Stage
from hwsim.core.sparsity import NM
from models.training.layer_gradient import LayerGradient, StridedBp, transposed_dims
from models.training.masks import TrainingMethod, backward_reason, forward_reason
from models.training.step import Prune, StepBuilder, has_gradient

__all__ = ["ProductRules"]


@dataclass
class ProductRules:
    """Decide the masks of every layer and append the FF, BP and WU products of an iteration."""

    step: StepBuilder
    method: TrainingMethod
    nm: NM
    strided_bp: StridedBp
    kept_classifiers: set[str]
    _masked_forward: dict[str, str] = field(default_factory=dict)
    _pruned_gradients: dict[str, Operand] = field(default_factory=dict)

    def forward(self, op: Op) -> Op:
        """Return the FF op of a matrix product, with masked weights where the method says so.

        Raises
        ------
        InputError
            If an operand has no gradient (integers) or is sparse before training.
        """
        for operand in op.inputs:
            info = self.step.tensors[operand.tensor]
            if not has_gradient(info):
                found = f"{info.dtype} {info.name}"
                raise InputError(f"op {op.name}", "floating-point tensors to train", found)
            if not operand.pattern.is_dense:
                found = f"{operand.pattern.kind} on {info.name}"
                raise InputError(f"op {op.name}", "dense operands before training", found)
        weight = op.weight
        if weight is None or op.kind is OpKind.MATMUL or not self._is_masked_forward(op):
            return op
        masked = self.step.prune(
            Prune(
                name=f"{op.name}.ff.prune",
                layer=op.name,
                source=weight.tensor,
                output=f"{op.name}.ff.weight",
                shape=self.step.tensors[weight.tensor].shape,
                nm=self.nm,
                axis="ci",
            )
        )
        self._masked_forward[op.name] = masked.tensor
        inputs = tuple(masked if operand is weight else operand for operand in op.inputs)
        return op.model_copy(update={"inputs": inputs})

    def _is_masked_forward(self, op: Op) -> bool:
        if not self.method.prunes_forward_weights:
            return False
        is_first = not self.step.needs_gradient(op.inputs[0])
        kept = op.name in self.kept_classifiers
        reason = forward_reason(op, self.nm, is_first=is_first, is_kept_classifier=kept)
        return self._note(op, "FF", reason)

    def _is_masked_backward(self, op: Op) -> bool:
        if not (self.method.prunes_backward_weights or self.method.prunes_gradients):
            return False
        kept = op.name in self.kept_classifiers
        return self._note(op, "BP", backward_reason(op, self.nm, is_kept_classifier=kept))

    def _note(self, op: Op, stage: str, reason: str | None) -> bool:
        if reason is not None:
            self.step.notes.append(f"{op.name} stays dense in {stage}: {reason}")
        return reason is None

    def backward(self, op: Op, dy: str) -> None:
        """Append the gradients of the operands of ``op``, ``dy`` being that of its output."""
        if op.kind is OpKind.MATMUL:
            self._matmul(op, dy)
            return
        assert op.weight is not None
        x, weight = op.inputs[0], op.weight.tensor
        if self.step.needs_gradient(x):
            is_masked = self._is_masked_backward(op)
            is_gradient = is_masked and self.method.prunes_gradients
            if self.method is TrainingMethod.SR_STE:
                # The masked weights, though nothing can be skipped along Co.
                weight = self._masked_forward.get(op.name, weight)
            layer = LayerGradient(
                self.step,
                op,
                self._prune_gradient(op, dy) if is_gradient else dy,
                weight,
                self.nm if is_masked and self.method.prunes_backward_weights else None,
                self.strided_bp,
            )
            self.step.contribute(x.tensor, layer.emit())
        self._update(op, dy)

    def _prune_gradient(self, op: Op, dy: str) -> Operand:
        """Return ``dy`` pruned along its channels; layers that share a gradient share the work."""
        if dy not in self._pruned_gradients:
            attrs = {"nm_n": self.nm.nm_n, "nm_m": self.nm.nm_m, "axis": "co"}
            info = self.step.tensors[dy]
            tensor = self.step.emit(
                OpKind.NM_PRUNE,
                f"{op.name}.dy.prune",
                [dy],
                info.shape,
                stage=Stage.BP,
                layer=op.name,
                attrs={**attrs, "operand": "gradient", "of": dy},
            )
            pattern = self.nm.model_copy(update={"axis": 1})
            self._pruned_gradients[dy] = Operand(tensor=tensor, pattern=pattern)
        return self._pruned_gradients[dy]

    def _update(self, op: Op, dy: str) -> None:
        """Append dW = X^T dY, the bias gradient and the updates."""
        assert op.weight is not None
        weight, x = op.weight, op.inputs[0].tensor
        shape = self.step.tensors[weight.tensor].shape
        name = f"{op.name}.wu"
        if op.kind is OpKind.LINEAR:
            rows = op.dims["batch"] * op.dims["m"]
            dims = {"batch": 1, "m": op.dims["k"], "k": rows, "n": op.dims["n"]}
            attrs, operands, kind = {"transpose_a": True}, (x, dy), OpKind.MATMUL
        elif op.kind is OpKind.CONV_TRANSPOSE:
            # The convolution whose input gradient it is has dY as input and X as output gradient.
            dims, attrs = transposed_dims(op.dims), dict(op.attrs)
            operands, kind = (dy, x), OpKind.CONV_WGRAD
        else:
            dims, attrs, operands, kind = dict(op.dims), dict(op.attrs), (x, dy), OpKind.CONV_WGRAD
        gradient = self.step.emit(
            kind, name, operands, shape, stage=Stage.WU, layer=op.name, dims=dims, attrs=attrs
        )
        self.step.weight_gradient(weight.tensor, gradient, op.name)
        for bias in op.inputs[2:]:
            if self.step.is_trainable(bias):
                self._bias(op, bias.tensor, dy)

    def _bias(self, op: Op, bias: str, dy: str) -> None:
        rank = len(self.step.tensors[dy].shape)
        channel = rank - 1 if op.kind is OpKind.LINEAR else 1
        axes = [axis for axis in range(rank) if axis != channel]
        attrs = {"function": "sum", "axes": axes, "keepdims": False}
        shape = self.step.tensors[bias].shape
        name = f"{op.name}.wu.bias"
        gradient = self.step.emit(
            OpKind.REDUCE, name, [dy], shape, stage=Stage.WU, layer=op.name, attrs=attrs
        )
        self.step.weight_gradient(bias, gradient, op.name)

    def _matmul(self, op: Op, dy: str) -> None:
        """Append dA = dC B^T and dB = A^T dC, whose operands are never pruned."""
        a, b = op.inputs[:2]
        batch, m, k, n = (op.dims[key] for key in ("batch", "m", "k", "n"))
        sides = (
            (a, "a", (dy, b), {"batch": batch, "m": m, "k": n, "n": k}, "transpose_b"),
            (b, "b", (a, dy), {"batch": batch, "m": k, "k": m, "n": n}, "transpose_a"),
        )
        for operand, letter, operands, dims, flag in sides:
            is_weight = operand.role is Role.WEIGHT
            if not (is_weight or self.step.needs_gradient(operand)):
                continue
            gradient = self.step.emit(
                OpKind.MATMUL,
                f"{op.name}.{'wu' if is_weight else 'bp'}.{letter}",
                operands,
                self.step.tensors[operand.tensor].shape,
                stage=Stage.WU if is_weight else Stage.BP,
                layer=op.name,
                dims=dims,
                attrs={flag: True},
            )
            if is_weight:
                self.step.weight_gradient(operand.tensor, gradient, op.name)
            else:
                self.step.contribute(operand.tensor, gradient)
