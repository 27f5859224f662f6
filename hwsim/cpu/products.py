"""Lower matrix products: sparse and dense convolutions, linear layers, products of activations.

Wherever there is a generated kernel it runs; convolutions that find their rows through a table and
channels-last depthwise ones are written for the simulator alone (:mod:`hwsim.cpu.codes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpKind
from hwsim.core.units import round_up
from hwsim.cpu.codes.depthwise import PlaneShape, depthwise_nhwc
from hwsim.cpu.codes.indirect import IndirectShape, indirect_kernel, row_streams
from hwsim.cpu.codes.streams import pointwise
from hwsim.cpu.generated import bind_layer, kernel_name
from hwsim.cpu.microkernel.arguments import (
    depthwise_arguments,
    first_conv_arguments,
    gemm_arguments,
    spmm_arguments,
)
from hwsim.cpu.microkernel.gemm import BLOCK
from hwsim.cpu.microkernel.uops import BoundKernel
from hwsim.cpu.packing import pack
from hwsim.cpu.plan import dense_kernel
from hwsim.cpu.selection import is_pointwise

if TYPE_CHECKING:
    from hwsim.cpu.lower import LowerContext

__all__ = ["product_calls"]

_EDGE_BYTES = 160
"""Masks, and what loads at the right edge reach beyond a row of zeros."""


def product_calls(context: LowerContext, op: Op) -> None:
    """Append the calls of ``op`` under the context's mapping."""
    assert context.mapping is not None
    kernel = context.mapping.placement["kernel"]
    is_chw = context.mapping.placement["layout"] == "chw"
    if kernel == "spmm":
        _spmm(context, op)
    elif kernel == "conv-hwc2chw":
        _first(context, op)
    elif kernel == "dwconv" and is_chw:
        _depthwise_chw(context, op)
    elif kernel == "dwconv" and _is_plain(op):
        _depthwise_nhwc(context, op)
    elif op.kind is OpKind.CONV:
        _convolution(context, op)
    elif op.kind is OpKind.CONV_TRANSPOSE:
        _transposed(context, op)
    else:
        _matrices(context, op)


def _images(
    context: LowerContext, op: Op, code: BoundKernel, fixed: Mapping[str, int], layout: str
) -> None:
    """Append one call per image of the batch, from the input in ``layout`` to the output."""
    d = op.dims
    batch = d.get("batch", 1)
    inner = context.graph.tensors[op.inputs[0].tensor].elems // batch
    outer = context.graph.tensors[op.output].elems // batch
    source, target = context.read(op.inputs[0].tensor, layout), context.address(op.output)
    for image in range(batch):
        places = {"input": source + 4 * image * inner, "output": target + 4 * image * outer}
        context.generated(code, {**fixed, **places})


def _spmm(context: LowerContext, op: Op) -> None:
    assert context.mask is not None
    assert context.mapping is not None
    pixels = op.gemm().m // op.dims.get("batch", 1)
    tile = context.mapping.tiling
    packed = pack(context.mask.T.astype(np.float32), pixels=pixels, nr=tile["nr"])
    name = kernel_name(tile["mr"], tile["nr"], str(context.mapping.placement["form"]))
    data = {"nnzmap": packed.nnzmap, "dmap": packed.dmap}
    code = bind_layer(name, context.spec, spmm_arguments(packed), data)
    fixed = {
        "weights": context.memory.weights(packed.stream.nbytes),
        "dmap": context.memory.weights(packed.dmap.nbytes),
        "nnzmap": context.memory.weights(packed.nnzmap.nbytes),
    }
    _images(context, op, code, fixed, "chw")


def _depthwise_chw(context: LowerContext, op: Op) -> None:
    d, size, stride = op.dims, op.dims["kh"], op.attrs["strides"][0]
    arguments = depthwise_arguments(d["ci"], d["ih"], d["iw"])
    code = bind_layer(f"dw-{size}x{size}s{stride}", context.spec, arguments)
    fixed = {
        "weights": context.memory.weights(4 * d["ci"] * round_up(1 + size * size, 4)),
        "edge": context.memory.table(4 * d["iw"] + _EDGE_BYTES),
    }
    _images(context, op, code, fixed, "chw")


def _first(context: LowerContext, op: Op) -> None:
    d = op.dims
    arguments = first_conv_arguments(d["co"], d["ih"], d["iw"])
    code = bind_layer("first-conv", context.spec, arguments)
    fixed = {
        "weights": context.memory.weights(4 * 28 * round_up(d["co"], 4)),
        "edge": context.memory.table(12 * d["iw"] + _EDGE_BYTES),
    }
    _images(context, op, code, fixed, "nhwc")


def _is_plain(op: Op) -> bool:
    """Return whether a depthwise layer has a square kernel, one stride and one output each."""
    strides, dilations = op.attrs["strides"], op.attrs["dilations"]
    return (
        op.dims["kh"] == op.dims["kw"]
        and op.dims["co"] == op.dims["ci"]
        and strides[0] == strides[1]
        and tuple(dilations) == (1, 1)
    )


def _depthwise_nhwc(context: LowerContext, op: Op) -> None:
    d = op.dims
    extents = (d["ci"], d["ih"], d["iw"], d["oh"], d["ow"], d["kh"])
    shape = PlaneShape(*extents, op.attrs["strides"][0])
    kernel = depthwise_nhwc(shape)
    fixed = {
        "weights": context.memory.weights(4 * shape.channels * (1 + shape.taps)),
        "table": context.memory.table(8 * shape.oh * shape.ow * shape.taps),
    }
    source = context.read(op.inputs[0].tensor, "nhwc")
    for image in range(d["batch"]):
        at = source + 4 * image * shape.channels * shape.ih * shape.iw
        out = context.address(op.output) + 4 * image * shape.channels * shape.oh * shape.ow
        context.call(kernel, {**fixed, "in": at, "out": out})


def _convolution(context: LowerContext, op: Op) -> None:
    """Run a channels-last convolution group by group; 1x1 layers are plain matrix products."""
    d = op.dims
    groups, pixel, out_pixel = d["groups"], 4 * d["ci"], 4 * d["co"]
    m, k, n = d["oh"] * d["ow"], d["ci"] // groups, d["co"] // groups
    source, target = context.read(op.inputs[0].tensor, "nhwc"), context.address(op.output)
    if is_pointwise(op):
        product = _Product(context, m, k, n, pixel, out_pixel)
        weights = [product.weights() for _ in range(groups)]
    else:
        shape = _indirect_shape(context, op, m, k, n)
        kernel, rows = indirect_kernel(shape), _first_taps(op)
        table = context.memory.table(8 * shape.kh * shape.kw * shape.rows * shape.tiles)
        weights = [context.memory.weights(shape.packed_bytes) for _ in range(groups)]
    for image in range(d["batch"]):
        for group in range(groups):
            at = source + image * pixel * d["ih"] * d["iw"] + 4 * group * k
            out = target + image * out_pixel * m + 4 * group * n
            if is_pointwise(op):
                product.call(at, weights[group], out)
                continue
            starts = {f"row{row}": int(rows[row]) + at for row in range(shape.rows)}
            pointers = {**starts, "weights": weights[group], "out": out, "table": table}
            context.call(kernel, pointers, row_streams(shape, rows))


def _indirect_shape(context: LowerContext, op: Op, m: int, k: int, n: int) -> IndirectShape:
    d = op.dims
    pixel = 4 * d["ci"]
    return IndirectShape(
        m=m,
        k=k,
        n=n,
        out_bytes=4 * d["co"],
        kh=d["kh"],
        kw=d["kw"],
        tap_bytes=pixel * op.attrs["dilations"][1],
        line_bytes=pixel * op.attrs["dilations"][0] * d["iw"],
        has_lanes=context.spec.has_lanes,
    )


def _first_taps(op: Op) -> NDArray[np.int64]:
    """Return the byte of each output pixel's first tap, relative to the image : int64[oh * ow]."""
    d, (stride_h, stride_w), (top, left) = op.dims, op.attrs["strides"], op.attrs["pads"][:2]
    lines = np.arange(d["oh"], dtype=np.int64) * stride_h - top
    columns = np.arange(d["ow"], dtype=np.int64) * stride_w - left
    return np.asarray(4 * d["ci"] * (lines[:, None] * d["iw"] + columns)).reshape(-1)


class _Product:
    """Dense products of one shape: ``m`` rows, ``k`` steps, ``n`` columns, and row distances."""

    def __init__(
        self, context: LowerContext, m: int, k: int, n: int, row_bytes: int, out_bytes: int
    ) -> None:
        self.context = context
        self.packed_bytes = 4 * round_up(n, BLOCK) * (1 + k)
        arguments = gemm_arguments(m, n, k, row_bytes, out_bytes)
        self.code = bind_layer(dense_kernel(context.spec), context.spec, arguments)

    def weights(self) -> int:
        """Return the address of packed weights of their own."""
        return self.context.memory.weights(self.packed_bytes)

    def call(self, a: int, weights: int, out: int) -> None:
        """Append one product."""
        self.context.generated(self.code, {"a": a, "weights": weights, "output": out})


def _transposed(context: LowerContext, op: Op) -> None:
    """Multiply every input pixel by all taps, then add overlapping results in a pass of its own."""
    d = op.dims
    dims = op.gemm()
    m = d["ih"] * d["iw"]
    product = _Product(context, m, dims.k, dims.n, 4 * d["ci"], 4 * dims.n * d["groups"])
    elems = d["co"] * d["oh"] * d["ow"]
    scatter = pointwise("add", max(m * dims.n * d["groups"], elems), 2, "scatter-add")
    room = context.memory.table(4 * m * dims.n * d["groups"])
    weights = [product.weights() for _ in range(d["groups"])]
    source = context.read(op.inputs[0].tensor, "nhwc")
    for image in range(d["batch"]):
        for group in range(d["groups"]):
            at = source + 4 * (image * m * d["ci"] + group * dims.k)
            product.call(at, weights[group], room + 4 * group * dims.n)
        out = context.address(op.output) + 4 * image * elems
        context.call(scatter, {"a": room, "b": out, "out": out})


def _matrices(context: LowerContext, op: Op) -> None:
    """Run linear layers and products of activations, whose second operand counts as packed."""
    dims = op.gemm()
    product = _Product(context, dims.m, dims.k, dims.n, 4 * dims.k, 4 * dims.n)
    first = op.inputs[0].tensor
    for group in range(dims.groups):
        if op.weight is not None:
            weights = product.weights()
        else:
            weights = context.address(op.inputs[1].tensor) + 4 * group * dims.k * dims.n
        at = context.read(first, "nhwc") if first in context.memory.tensors else 1 << 24
        a = at + 4 * dims.k * group * dims.m
        product.call(a, weights, context.address(op.output) + 4 * group * dims.m * dims.n)
