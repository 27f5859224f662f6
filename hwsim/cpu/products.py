"""Lower matrix products: sparse and dense convolutions, linear layers, products of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpKind
from hwsim.cpu.codes.depthwise import PlaneShape, depthwise_chw, depthwise_nhwc, first_conv
from hwsim.cpu.codes.gemm import GemmShape, gemm_kernel, gemm_streams, packed_bytes
from hwsim.cpu.codes.spmm import SpmmShape, spmm_kernel
from hwsim.cpu.codes.streams import pointwise
from hwsim.cpu.packing import pack

if TYPE_CHECKING:
    from hwsim.cpu.lower import LowerContext

__all__ = ["product_calls"]


def product_calls(context: LowerContext, op: Op) -> None:
    """Append the calls of ``op`` under the context's mapping."""
    assert context.mapping is not None
    kernel = context.mapping.placement["kernel"]
    if kernel == "spmm":
        _spmm(context, op)
    elif kernel == "conv-hwc2chw":
        _first(context, op)
    elif kernel == "dwconv" and (context.mapping.placement["layout"] == "chw" or _is_plain(op)):
        _depthwise(context, op)
    elif op.kind is OpKind.CONV:
        _convolution(context, op)
    elif op.kind is OpKind.CONV_TRANSPOSE:
        _transposed(context, op)
    else:
        _matrices(context, op)


def _spmm(context: LowerContext, op: Op) -> None:
    assert context.mask is not None
    assert context.mapping is not None
    dims = op.gemm()
    batch = op.dims.get("batch", 1)
    pixels = dims.m // batch
    tile = context.mapping.tiling
    packed = pack(context.mask.T.astype(np.float32), pixels=pixels, nr=tile["nr"])
    core = context.spec.core
    has_lanes = context.spec.has_lanes
    stream_bytes = 4 * (len(packed.stream) - 1)
    shape = SpmmShape(pixels, dims.n, packed.blocks, stream_bytes, has_lanes)
    kernel = spmm_kernel(
        shape,
        tile["mr"],
        tile["nr"],
        registers=core.vector_registers,
        prefetch=context.spec.backend == "aarch64",
    )
    fixed = {
        "weights": context.memory.weights(shape.stream_bytes),
        "dmap": context.memory.weights(4 * packed.blocks),
        "counts": context.memory.weights(4 * len(packed.nnzmap)),
    }
    streams = {
        "nnz": packed.nnzmap.astype(np.int64),
        "step": packed.dmap[: packed.blocks].astype(np.int64),
    }
    source = context.read(op.inputs[0].tensor, "chw")
    for image in range(batch):
        at = source + 4 * pixels * (image * dims.k + packed.first_channel)
        out = context.address(op.output) + 4 * image * pixels * dims.n
        context.call(kernel, {**fixed, "in": at, "out": out}, streams)


def _plane(op: Op) -> PlaneShape:
    d = op.dims
    return PlaneShape(d["ci"], d["ih"], d["iw"], d["oh"], d["ow"], d["kh"], op.attrs["strides"][0])


def _is_plain(op: Op) -> bool:
    """Return whether a depthwise layer has a square kernel, one stride and one output each."""
    strides, dilations = op.attrs["strides"], op.attrs["dilations"]
    return (
        op.dims["kh"] == op.dims["kw"]
        and op.dims["co"] == op.dims["ci"]
        and strides[0] == strides[1]
        and tuple(dilations) == (1, 1)
    )


def _depthwise(context: LowerContext, op: Op) -> None:
    assert context.mapping is not None
    shape = _plane(op)
    layout = context.mapping.placement["layout"]
    fixed = {"weights": context.memory.weights(4 * shape.channels * (1 + shape.taps))}
    if layout == "chw":
        kernel = depthwise_chw(shape)
    else:
        kernel = depthwise_nhwc(shape)
        fixed["table"] = context.memory.table(8 * shape.oh * shape.ow * shape.taps)
    source = context.read(op.inputs[0].tensor, layout)
    for image in range(op.dims["batch"]):
        at = source + 4 * image * shape.channels * shape.ih * shape.iw
        out = context.address(op.output) + 4 * image * shape.channels * shape.oh * shape.ow
        context.call(kernel, {**fixed, "in": at, "out": out})


def _first(context: LowerContext, op: Op) -> None:
    d = op.dims
    kernel = first_conv(d["co"], d["ih"], d["iw"], d["oh"], d["ow"])
    weights = context.memory.weights(4 * 28 * (d["co"] + 3))
    source = context.read(op.inputs[0].tensor, "nhwc")
    for image in range(d["batch"]):
        at = source + 12 * image * d["ih"] * d["iw"]
        out = context.address(op.output) + 4 * image * d["co"] * d["oh"] * d["ow"]
        context.call(kernel, {"weights": weights, "in": at, "out": out})


def _convolution(context: LowerContext, op: Op) -> None:
    """Run a channels-last convolution group by group; 1x1 layers are plain matrix products."""
    d = op.dims
    groups, pixel, out_pixel = d["groups"], 4 * d["ci"], 4 * d["co"]
    shape = GemmShape(
        m=d["oh"] * d["ow"],
        k=d["ci"] // groups,
        n=d["co"] // groups,
        out_bytes=out_pixel,
        kh=d["kh"],
        kw=d["kw"],
        tap_bytes=pixel * op.attrs["dilations"][1],
        line_bytes=pixel * op.attrs["dilations"][0] * d["iw"],
        has_lanes=context.spec.has_lanes,
    )
    kernel = gemm_kernel(shape)
    rows = _first_taps(op)
    table = context.memory.table(8 * shape.kh * shape.kw * shape.rows * shape.tiles)
    weights = [context.memory.weights(packed_bytes(shape)) for _ in range(groups)]
    source = context.read(op.inputs[0].tensor, "nhwc")
    for image in range(d["batch"]):
        for group in range(groups):
            at = source + image * pixel * d["ih"] * d["iw"] + 4 * group * shape.k
            out = context.address(op.output) + image * out_pixel * shape.m + 4 * group * shape.n
            _gemm_call(context, kernel, shape, rows + at, out, weights[group], table)


def _first_taps(op: Op) -> NDArray[np.int64]:
    """Return the byte of each output pixel's first tap, relative to the image : int64[oh * ow]."""
    d, (stride_h, stride_w), (top, left) = op.dims, op.attrs["strides"], op.attrs["pads"][:2]
    lines = np.arange(d["oh"], dtype=np.int64) * stride_h - top
    columns = np.arange(d["ow"], dtype=np.int64) * stride_w - left
    return np.asarray(4 * d["ci"] * (lines[:, None] * d["iw"] + columns)).reshape(-1)


def _gemm_call(
    context: LowerContext,
    kernel: object,
    shape: GemmShape,
    addresses: NDArray[np.int64],
    out: int,
    weights: int,
    table: int = 0,
) -> None:
    starts = {f"row{row}": int(addresses[row]) for row in range(shape.rows)}
    pointers = {**starts, "weights": weights, "out": out, "table": table}
    context.call(kernel, pointers, gemm_streams(shape, addresses))


def _transposed(context: LowerContext, op: Op) -> None:
    """Multiply every input pixel by all taps, then add overlapping results in a pass of its own."""
    d = op.dims
    dims = op.gemm()
    m = d["ih"] * d["iw"]
    shape = GemmShape(m, dims.k, dims.n, 4 * dims.n * d["groups"], has_lanes=context.spec.has_lanes)
    kernel = gemm_kernel(shape)
    elems = d["co"] * d["oh"] * d["ow"]
    scatter = pointwise("add", max(m * dims.n * d["groups"], elems), 2, "scatter-add")
    room = context.memory.table(4 * m * dims.n * d["groups"])
    weights = [context.memory.weights(packed_bytes(shape)) for _ in range(d["groups"])]
    source = context.read(op.inputs[0].tensor, "nhwc")
    for image in range(d["batch"]):
        for group in range(d["groups"]):
            at = source + 4 * (image * m * d["ci"] + group * dims.k)
            rows = at + np.arange(m, dtype=np.int64) * 4 * d["ci"]
            _gemm_call(context, kernel, shape, rows, room + 4 * group * dims.n, weights[group])
        out = context.address(op.output) + 4 * image * elems
        context.call(scatter, {"a": room, "b": out, "out": out})


def _matrices(context: LowerContext, op: Op) -> None:
    """Run linear layers and products of activations, whose second operand counts as packed."""
    dims = op.gemm()
    shape = GemmShape(dims.m, dims.k, dims.n, 4 * dims.n, has_lanes=context.spec.has_lanes)
    kernel = gemm_kernel(shape)
    first = op.inputs[0].tensor
    for group in range(dims.groups):
        if op.weight is not None:
            weights = context.memory.weights(packed_bytes(shape))
        else:
            second = context.address(op.inputs[1].tensor)
            weights = second + 4 * group * dims.k * dims.n
        at = context.read(first, "nhwc") if first in context.memory.tensors else 1 << 24
        rows = at + 4 * dims.k * (group * dims.m + np.arange(dims.m, dtype=np.int64))
        out = context.address(op.output) + 4 * group * dims.m * dims.n
        _gemm_call(context, kernel, shape, rows, out, weights)
