"""Lower what is no matrix product: passes over tensors, pools, moves."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from hwsim.core.graph import Op, OpKind
from hwsim.cpu.codes.streams import channel_scale, pointwise, window_pool
from hwsim.cpu.generated import bind_layer
from hwsim.cpu.microkernel.arguments import global_pool_arguments

if TYPE_CHECKING:
    from hwsim.cpu.lower import LowerContext

__all__ = ["other_calls"]

_FACTOR_BYTES = 32
"""Mask of a plane's last vector, and the factor."""

_FUNCTION_OF_KIND = {
    OpKind.SOFTMAX: "softmax",
    OpKind.RESIZE: "mul",
    OpKind.CONCAT: "copy",
    OpKind.TRANSPOSE: "copy",
    OpKind.SLICE: "copy",
    OpKind.PAD: "copy",
    OpKind.GATHER: "copy",
}


def other_calls(context: LowerContext, op: Op) -> None:
    """Append the calls of ``op``."""
    if op.kind is OpKind.POOL:
        _pool(context, op)
    elif op.kind is OpKind.REDUCE:
        _reduce(context, op)
    elif op.kind is OpKind.ELEMENTWISE:
        _elementwise(context, op)
    else:
        function = _FUNCTION_OF_KIND.get(op.kind, "normalize")
        if op.attrs.get("function") == "batch":
            function = "batch"
        _stream(context, op, function, 1)


def _source(context: LowerContext, op: Op, index: int) -> int:
    """Return the address of an operand, activations and constants alike."""
    operand = op.inputs[index]
    if operand.tensor in context.memory.tensors:
        return context.address(operand.tensor)
    return context.memory.weights(4 * context.graph.tensors[operand.tensor].elems)


def _stream(context: LowerContext, op: Op, function: str, operands: int) -> None:
    elems = context.graph.tensors[op.output].elems
    addresses = {"a": _source(context, op, 0), "out": context.address(op.output)}
    if operands == 2:
        addresses["b"] = _source(context, op, 1)
    context.call(pointwise(function, elems, operands), addresses)


def _elementwise(context: LowerContext, op: Op) -> None:
    function = str(op.attrs.get("function", "identity"))
    shapes = [context.graph.tensors[o.tensor].shape for o in op.inputs]
    full = context.graph.tensors[op.output].shape
    wide = [i for i, shape in enumerate(shapes) if shape == full]
    if len(op.inputs) == 2 and len(full) == 4 and len(wide) == 1 and full[2] * full[3] > 1:
        other = shapes[1 - wide[0]]
        if other[-2:] == (1, 1) and prod(other) == full[0] * full[1]:
            _scale(context, op, wide[0], full)
            return
    layouts = [context.layouts.get(o.tensor, "nhwc") for o in op.inputs]
    if len(wide) == 2 and layouts[0] != layouts[1] and len(full) == 4:
        second = context.read(op.inputs[1].tensor, layouts[0])
        first = context.address(op.inputs[0].tensor)
        kernel = pointwise(function, context.graph.tensors[op.output].elems, 2)
        context.call(kernel, {"a": first, "b": second, "out": context.address(op.output)})
        return
    _stream(context, op, function, 2 if len(wide) > 1 else 1)


def _scale(context: LowerContext, op: Op, wide: int, shape: tuple[int, ...]) -> None:
    """Multiply each channel by a number of its own."""
    batch, channels, height, width = shape
    pixels = height * width
    layout = context.layouts.get(op.inputs[wide].tensor, "nhwc")
    rows, columns = (channels, pixels) if layout == "chw" else (pixels, channels)
    kernel = (
        channel_scale(rows, columns)
        if layout == "chw"
        else pointwise(str(op.attrs.get("function", "mul")), rows * columns, 2)
    )
    for image in range(batch):
        at = 4 * image * channels * pixels
        pointers = {
            "a": _source(context, op, wide) + at,
            "b": _source(context, op, 1 - wide) + 4 * image * channels,
            "out": context.address(op.output) + at,
        }
        context.call(kernel, pointers)


def _pool(context: LowerContext, op: Op) -> None:
    batch, channels, oh, ow = context.graph.tensors[op.output].shape
    source = context.graph.tensors[op.inputs[0].tensor].shape
    kh, kw = op.attrs["kernel"]
    if (oh, ow) == (1, 1) and (kh, kw) == tuple(source[2:]):
        _mean(context, op, batch * channels, kh * kw)
        return
    addresses = {"a": _source(context, op, 0), "out": context.address(op.output)}
    stride = 16 * op.attrs["strides"][1]
    context.call(window_pool(batch * channels * oh * ow, kh * kw, ow, stride), addresses)


def _reduce(context: LowerContext, op: Op) -> None:
    elems = context.graph.tensors[op.inputs[0].tensor].elems
    outputs = context.graph.tensors[op.output].elems
    _mean(context, op, outputs, max(1, elems // outputs))


def _mean(context: LowerContext, op: Op, planes: int, pixels: int) -> None:
    """Average ``planes`` planes that lie one behind the other."""
    code = bind_layer("global-pool", context.spec, global_pool_arguments(planes, pixels))
    places = {"input": _source(context, op, 0), "output": context.address(op.output)}
    context.generated(code, {**places, "factor": context.memory.table(_FACTOR_BYTES)})
