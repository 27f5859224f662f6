"""Add the gradients of operators that are not matrix products.

Extents are those of the gradient that is produced. Gradients that equal an existing tensor
(addition, identity) cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.core.graph import Op, Operand, OpKind, Role, Stage
from hwsim.core.units import ceil_div
from models.training.step import Part, StepBuilder

__all__ = ["vector_backward"]

_OF_OUTPUT = ("relu", "sigmoid", "tanh", "exp", "sqrt", "reciprocal")
"""Functions whose derivative follows from their value, which is stored for the next layer."""

_PASS_THROUGH = ("add", "identity", "cast")

Rule = Callable[[StepBuilder, Op, str], None]


def vector_backward(step: StepBuilder, op: Op, dy: str) -> None:
    """Append the gradients of ``op``'s operands, ``dy`` being the gradient of its output."""
    _RULES.get(op.kind, _unmodelled)(step, op, dy)


def _shape(step: StepBuilder, tensor: str) -> tuple[int, ...]:
    return step.tensors[tensor].shape


def _add(
    step: StepBuilder,
    op: Op,
    operand: Operand,
    index: int,
    gradient: str,
) -> None:
    """Deliver ``gradient`` to ``operand``, summed over the axes along which it was broadcast."""
    is_weight = operand.role is Role.WEIGHT
    shape, given = _shape(step, operand.tensor), _shape(step, gradient)
    if shape != given:
        lead = len(given) - len(shape)
        axes = [i for i in range(len(given)) if i < lead or shape[i - lead] != given[i]]
        name = f"{op.name}.{'wu' if is_weight else 'bp'}.{index}.sum"
        attrs = {"function": "sum", "axes": axes, "keepdims": False}
        stage = Stage.WU if is_weight else Stage.BP
        gradient = step.emit(
            OpKind.REDUCE, name, [gradient], shape, stage=stage, layer=op.name, attrs=attrs
        )
    if is_weight:
        step.weight_gradient(operand.tensor, gradient, op.name)
    else:
        step.contribute(operand.tensor, gradient)


def _single(
    step: StepBuilder,
    op: Op,
    kind: OpKind,
    inputs: list[str | Operand],
    attrs: dict[str, Any],
) -> None:
    """Append ``op.bp`` with the extents of the op's first input."""
    x = op.inputs[0]
    if not step.needs_gradient(x):
        return
    shape, name = _shape(step, x.tensor), f"{op.name}.bp"
    gradient = step.emit(kind, name, inputs, shape, stage=Stage.BP, layer=op.name, attrs=attrs)
    step.contribute(x.tensor, gradient)


def _elementwise(step: StepBuilder, op: Op, dy: str) -> None:
    function = op.attrs["function"]
    for index, operand in enumerate(op.inputs):
        is_condition = function == "where" and index == 0
        if is_condition or not (step.needs_gradient(operand) or step.is_trainable(operand)):
            continue
        # A scalar on the left takes the first place.
        place = index + (op.attrs.get("scalar_side") == "left")
        is_passed = function in _PASS_THROUGH or (function == "sub" and place == 0)
        gradient = dy if is_passed else _derivative(step, op, index, dy)
        _add(step, op, operand, index, gradient)


def _derivative(step: StepBuilder, op: Op, index: int, dy: str) -> str:
    function = op.attrs["function"]
    saved: list[str | Operand] = list(op.inputs)
    attrs = {**op.attrs, "function": f"{function}_backward", "operand": index}
    if function in _OF_OUTPUT:
        saved = [op.output]
    elif function in ("sub", "neg"):
        saved, attrs = [], {"function": "neg"}
    elif function == "mul":
        saved = [operand for i, operand in enumerate(op.inputs) if i != index]
        attrs["function"] = "mul"
    stage = Stage.WU if op.inputs[index].role is Role.WEIGHT else Stage.BP
    suffix = "bp" if len(op.inputs) == 1 else f"{stage.value}.{index}"
    attrs = {key: value for key, value in attrs.items() if key != "layer"}
    return step.emit(
        OpKind.ELEMENTWISE,
        f"{op.name}.{suffix}",
        [dy, *saved],
        _shape(step, dy),
        stage=stage,
        layer=op.name,
        attrs=attrs,
    )


def _normalization(step: StepBuilder, op: Op, dy: str) -> None:
    """Append dX; the gradients of scale and shift are sums that its passes compute anyway."""
    x, scale = op.inputs[:2]
    attrs = {**op.attrs, "function": f"{op.attrs['function']}_backward"}
    _single(step, op, OpKind.NORMALIZATION, [dy, x, scale], attrs)
    kind = OpKind.RESHAPE if step.needs_gradient(x) else OpKind.REDUCE
    for index, operand in enumerate(op.inputs[1:], start=1):
        if not step.is_trainable(operand):
            continue
        what = ("scale", "shift")[index - 1]
        given = {**op.attrs, "function": f"{op.attrs['function']}_{what}_gradient"}
        gradient = step.emit(
            kind,
            f"{op.name}.wu.{what}",
            [dy, x],
            _shape(step, operand.tensor),
            stage=Stage.WU,
            layer=op.name,
            attrs=given,
        )
        step.weight_gradient(operand.tensor, gradient, op.name)


def _softmax(step: StepBuilder, op: Op, dy: str) -> None:
    attrs = {"function": "softmax_backward", "axes": op.attrs["axes"]}
    _single(step, op, OpKind.SOFTMAX, [dy, op.output], attrs)


def _pool(step: StepBuilder, op: Op, dy: str) -> None:
    """Append dX, every element of which gathers from the windows that cover it."""
    covering = [
        ceil_div(k, s) for k, s in zip(op.attrs["kernel"], op.attrs["strides"], strict=True)
    ]
    attrs = {**op.attrs, "function": f"{op.attrs['function']}_backward", "kernel": covering}
    attrs["forward_kernel"] = op.attrs["kernel"]
    saved = [op.inputs[0].tensor, op.output] if op.attrs["function"] == "max" else []
    _single(step, op, OpKind.POOL, [dy, *saved], attrs)


def _reduce(step: StepBuilder, op: Op, dy: str) -> None:
    attrs = {**op.attrs, "function": f"reduce_{op.attrs['function']}_backward"}
    is_choice = op.attrs["function"] in ("max", "min")
    saved = [op.inputs[0].tensor, op.output] if is_choice else []
    _single(step, op, OpKind.ELEMENTWISE, [dy, *saved], attrs)


def _resize(step: StepBuilder, op: Op, dy: str) -> None:
    _single(step, op, OpKind.RESIZE, [dy], {**op.attrs, "function": "resize_backward"})


def _reshape(step: StepBuilder, op: Op, dy: str) -> None:
    _single(step, op, OpKind.RESHAPE, [dy], {})


def _transpose(step: StepBuilder, op: Op, dy: str) -> None:
    perm = op.attrs["perm"]
    inverse = [perm.index(axis) for axis in range(len(perm))]
    _single(step, op, OpKind.TRANSPOSE, [dy], {"perm": inverse})


def _concat(step: StepBuilder, op: Op, dy: str) -> None:
    axis, start = op.attrs["axis"], 0
    for index, operand in enumerate(op.inputs):
        shape = _shape(step, operand.tensor)
        is_weight = operand.role is Role.WEIGHT
        if step.needs_gradient(operand) or step.is_trainable(operand):
            starts = [0] * len(shape)
            starts[axis] = start
            stage = Stage.WU if is_weight else Stage.BP
            gradient = step.emit(
                OpKind.SLICE,
                f"{op.name}.{stage.value}.{index}",
                [dy],
                shape,
                stage=stage,
                layer=op.name,
                attrs={"starts": starts, "steps": [1] * len(shape)},
            )
            _add(step, op, operand, index, gradient)
        start += shape[axis]


def _slice(step: StepBuilder, op: Op, dy: str) -> None:
    starts, steps = op.attrs["starts"], op.attrs["steps"]
    given, wanted = _shape(step, dy), _shape(step, op.inputs[0].tensor)
    spans = [(size - 1) * abs(by) + 1 for size, by in zip(given, steps, strict=True)]
    begins = [
        start if by > 0 else start - span + 1
        for start, by, span in zip(starts, steps, spans, strict=True)
    ]
    ends = [w - b - span for w, b, span in zip(wanted, begins, spans, strict=True)]
    part = Part(f"{op.name}.bp", op.name, dy, tuple(begins), tuple(ends), tuple(steps))
    if step.needs_gradient(op.inputs[0]):
        step.contribute(op.inputs[0].tensor, part)


def _pad(step: StepBuilder, op: Op, dy: str) -> None:
    if op.attrs["mode"] != "constant":
        _unmodelled(step, op, dy)
        return
    begins = list(op.attrs["begins"])
    if any(begin < 0 for begin in (*begins, *op.attrs["ends"])):
        _unmodelled(step, op, dy)
        return
    _single(step, op, OpKind.SLICE, [dy], {"starts": begins, "steps": [1] * len(begins)})


def _gather(step: StepBuilder, op: Op, dy: str) -> None:
    data, indices = op.inputs[:2]
    is_weight = data.role is Role.WEIGHT
    if not (step.needs_gradient(data) or step.is_trainable(data)):
        return
    stage = Stage.WU if is_weight else Stage.BP
    gradient = step.emit(
        OpKind.GATHER,
        f"{op.name}.{stage.value}",
        [dy, indices],
        _shape(step, data.tensor),
        stage=stage,
        layer=op.name,
        attrs={**op.attrs, "function": "scatter_add"},
    )
    _add(step, op, data, 0, gradient)


def _unmodelled(step: StepBuilder, op: Op, dy: str) -> None:
    """Append an unmodelled op per activation, so that the layers before still have gradients."""
    operator = f"{op.attrs.get('operator', op.kind.value)} backward"
    step.notes.append(f"{op.name}: {operator} is unmodelled")
    for index, operand in enumerate(op.inputs):
        if step.needs_gradient(operand):
            gradient = step.emit(
                OpKind.UNMODELLED,
                f"{op.name}.bp.{index}",
                [dy],
                _shape(step, operand.tensor),
                stage=Stage.BP,
                layer=op.name,
                attrs={"operator": operator, "reason": "no gradient rule", "macs": 0},
            )
            step.contribute(operand.tensor, gradient)


_RULES: dict[OpKind, Rule] = {
    OpKind.ELEMENTWISE: _elementwise,
    OpKind.NORMALIZATION: _normalization,
    OpKind.SOFTMAX: _softmax,
    OpKind.POOL: _pool,
    OpKind.REDUCE: _reduce,
    OpKind.RESIZE: _resize,
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.CONCAT: _concat,
    OpKind.SLICE: _slice,
    OpKind.PAD: _pad,
    OpKind.GATHER: _gather,
}
