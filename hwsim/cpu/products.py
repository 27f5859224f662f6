"""Lower matrix products: sparse and dense convolutions, linear layers, products of activations.

All run generated kernels, whose code is executed for real (:mod:`hwsim.cpu.microkernel`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpKind
from hwsim.core.units import round_up
from hwsim.cpu.codes.streams import pointwise
from hwsim.cpu.generated import bind_layer, kernel_name
from hwsim.cpu.microkernel.arguments import (
    Argument,
    depthwise_arguments,
    depthwise_rows_arguments,
    first_conv_arguments,
    gemm_arguments,
    igemm_arguments,
    spmm_arguments,
)
from hwsim.cpu.microkernel.catalogue import parse
from hwsim.cpu.microkernel.gemm import BLOCK
from hwsim.cpu.microkernel.row_table import depthwise_table, igemm_table, tap_places
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
    elif kernel == "dwconv" and op.dims["co"] == op.dims["ci"]:
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


def _depthwise_nhwc(context: LowerContext, op: Op) -> None:
    d = op.dims
    channels, taps = d["ci"], d["kh"] * d["kw"]
    rows = _Rows(context, op)
    arguments = depthwise_rows_arguments(d["oh"] * d["ow"], channels)
    groups = channels // 4 + (channels >> 1 & 1) + (channels & 1)
    weights = context.memory.weights(16 * groups * (1 + taps))
    for image in range(d["batch"]):
        table = depthwise_table(rows.places(image), channels)
        rows.call(f"dw-rows-{taps}", arguments, table, weights, image, 0)


def _convolution(context: LowerContext, op: Op) -> None:
    """Run a channels-last convolution group by group; 1x1 layers are plain matrix products."""
    d = op.dims
    groups, m = d["groups"], d["oh"] * d["ow"]
    k, n = d["ci"] // groups, d["co"] // groups
    if not is_pointwise(op):
        _through_table(context, op, m, k, n)
        return
    source, target = context.read(op.inputs[0].tensor, "nhwc"), context.address(op.output)
    product = _Product(context, m, k, n, 4 * d["ci"], 4 * d["co"])
    weights = [product.weights() for _ in range(groups)]
    for image in range(d["batch"]):
        for group in range(groups):
            at = source + 4 * (image * d["ci"] * d["ih"] * d["iw"] + group * k)
            product.call(at, weights[group], target + 4 * (image * d["co"] * m + group * n))


def _through_table(context: LowerContext, op: Op, m: int, k: int, n: int) -> None:
    """Run any other convolution: ``m`` pixels, ``k`` input and ``n`` output channels a group."""
    d, rows = op.dims, _Rows(context, op)
    taps = d["kh"] * d["kw"]
    name = f"i{dense_kernel(context.spec)}"
    arguments = igemm_arguments(m, taps, n, k, 4 * d["co"])
    packed_bytes = 4 * round_up(n, BLOCK) * (1 + taps * k)
    weights = [context.memory.weights(packed_bytes) for _ in range(d["groups"])]
    for image in range(d["batch"]):
        table = igemm_table(rows.places(image), parse(name)[1][0], k)
        for group in range(d["groups"]):
            rows.call(name, arguments, table, weights[group], image, group)


class _Rows:
    """A channels-last layer whose kernel finds its rows through a table."""

    def __init__(self, context: LowerContext, op: Op) -> None:
        self.context, self.op = context, op
        self.source = context.read(op.inputs[0].tensor, "nhwc")
        self.zeros = context.memory.zeros(4 * op.dims["ci"])
        d = op.dims
        self.in_bytes = 4 * d["ci"] * d["ih"] * d["iw"]
        self.out_bytes = 4 * d["co"] * d["oh"] * d["ow"]

    def places(self, image: int) -> NDArray[np.int64]:
        """Return the taps' bytes relative to an image of the batch."""
        d, attrs = self.op.dims, self.op.attrs
        return tap_places(
            (d["ih"], d["iw"], d["ci"]),
            (d["oh"], d["ow"]),
            (d["kh"], d["kw"]),
            strides=tuple(attrs["strides"]),
            dilations=tuple(attrs["dilations"]),
            pads=tuple(attrs["pads"][:2]),
            zeros_at=self.zeros - self.source - image * self.in_bytes,
        )

    def call(
        self,
        name: str,
        arguments: tuple[Argument, ...],
        table: NDArray[np.int32],
        weights: int,
        image: int,
        group: int,
    ) -> None:
        """Append a call for one image and group."""
        code = bind_layer(name, self.context.spec, arguments, {"table": table})
        d = self.op.dims
        k, n = d["ci"] // d["groups"], d["co"] // d["groups"]
        places = {
            "input": self.source + image * self.in_bytes + 4 * group * k,
            "output": self.context.address(self.op.output) + image * self.out_bytes + 4 * group * n,
            "weights": weights,
            "table": self.context.memory.table(table.nbytes),
        }
        self.context.generated(code, places)


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
