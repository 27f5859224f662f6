"""Bind a kernel to the arrays of one layer: what to lay out in memory, what to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu.microkernel.arguments import (
    Argument,
    depthwise_arguments,
    depthwise_rows_arguments,
    first_conv_arguments,
    gemm_arguments,
    global_pool_arguments,
    igemm_arguments,
    spmm_arguments,
)
from hwsim.cpu.microkernel.depthwise import describe_depthwise, edge_array, pack_depthwise
from hwsim.cpu.microkernel.depthwise_rows import describe_depthwise_rows, pack_depthwise_rows
from hwsim.cpu.microkernel.first_conv import describe_first_conv, image_edge, pack_first_conv
from hwsim.cpu.microkernel.gemm import describe_gemm, pack_dense
from hwsim.cpu.microkernel.igemm import describe_igemm
from hwsim.cpu.microkernel.ir import Kernel
from hwsim.cpu.microkernel.pool import describe_global_pool, pool_array
from hwsim.cpu.microkernel.row_table import depthwise_table, igemm_table, tap_places
from hwsim.cpu.microkernel.spmm import describe_spmm
from hwsim.cpu.microkernel.target import Target
from hwsim.cpu.packing import PackedWeights, pack

__all__ = [
    "UNLIMITED",
    "Call",
    "depthwise_call",
    "depthwise_rows_call",
    "first_conv_call",
    "gemm_call",
    "global_pool_call",
    "igemm_call",
    "spmm_call",
]

UNLIMITED = (-3.4028234663852886e38, 3.4028234663852886e38)
"""Clamp limits that let every finite float32 pass."""

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    Attributes
    ----------
    kernel : Kernel
        The description.
    arrays : mapping of name to array
        Inputs and the output, which is there to be overwritten (filled with NaN).
    arguments : tuple of Argument
        In the order of ``kernel.arguments``.
    limits : (float, float)
        Of the clamp; ignored by kernels without one.
    output : str
        Name of the output array.
    macs : int
        Multiply-accumulates with a stored weight (zeros inside blocks included).
    packed : PackedWeights, optional
        Of a sparse layer.
    """

    kernel: Kernel
    arrays: Mapping[str, NDArray[Any]]
    arguments: tuple[Argument, ...]
    limits: tuple[float, float]
    output: str
    macs: int
    packed: PackedWeights | None = None

    def values(self, address: Mapping[str, int]) -> list[int]:
        """Return the integer arguments where arrays lie at ``address``."""
        return [a if isinstance(a, int) else address[a[0]] + a[1] for a in self.arguments]

    @property
    def clamp_limits(self) -> tuple[float, float] | None:
        """Return the float arguments, or None for a kernel without clamp."""
        return self.limits if self.kernel.uses_clamp else None


def _check_layer(weights: Values, x: Values, channels_axis: int) -> None:
    if weights.ndim != 2 or x.ndim != 2 or weights.shape[1] != x.shape[channels_axis]:
        need = "weights [co, ci] and an input with ci channels"
        raise InputError("layer", need, f"{weights.shape} and {x.shape}")


def _blank(shape: Sequence[int]) -> NDArray[np.float32]:
    return np.full(shape, np.nan, dtype=np.float32)


def spmm_call(
    target: Target,
    weights: Values,
    bias: Values,
    x: Values,
    *,
    mr: int,
    nr: int = 1,
    form: str = "plain",
    limits: tuple[float, float] = UNLIMITED,
) -> Call:
    """Return the call that computes weights[co, ci] @ x[ci, pixels] + bias from packed weights."""
    _check_layer(weights, x, 0)
    pixels = x.shape[1]
    packed = pack(weights, bias, pixels=pixels, nr=nr)
    kernel = describe_spmm(target, mr, nr, form)
    widths = packed.block_widths
    return Call(
        kernel,
        {
            "input": x.astype(np.float32),
            "weights": packed.stream,
            "dmap": packed.dmap,
            "nnzmap": packed.nnzmap,
            "output": _blank((packed.co, pixels)),
        },
        spmm_arguments(packed),
        limits,
        "output",
        int((packed.nnzmap * widths).sum()) * pixels,
        packed,
    )


def gemm_call(
    target: Target,
    weights: Values,
    bias: Values,
    a: Values,
    *,
    mr: int,
    limits: tuple[float, float] = UNLIMITED,
) -> Call:
    """Return the call that computes a[rows, ci] @ weights[co, ci].T + bias."""
    _check_layer(weights, a, 1)
    (co, ci), rows = weights.shape, len(a)
    return Call(
        describe_gemm(target, mr),
        {
            "a": a.astype(np.float32),
            "weights": pack_dense(weights, bias),
            "output": _blank((rows, co)),
        },
        gemm_arguments(rows, co, ci),
        limits,
        "output",
        rows * co * ci,
    )


def depthwise_call(
    weights: Values,
    bias: Values,
    x: Values,
    *,
    stride: int,
    rows: int | None = None,
    limits: tuple[float, float] = UNLIMITED,
) -> Call:
    """Return the call of a depthwise convolution of x[c, ih, iw] with weights[c, k, k]."""
    (channels, height, width), kernel = x.shape, weights.shape[1]
    oh, ow = ceil_div(height, stride), ceil_div(width, stride)
    return Call(
        describe_depthwise(kernel, stride, rows),
        {
            "input": x.astype(np.float32),
            "weights": pack_depthwise(weights, bias),
            "edge": edge_array(width, kernel, stride),
            "output": _blank((channels, oh, ow)),
        },
        depthwise_arguments(channels, height, width),
        limits,
        "output",
        channels * oh * ow * kernel * kernel,
    )


def _with_zeros(x: Values) -> NDArray[np.float32]:
    """Return x[ih, iw, c] with a pixel of zeros behind it, in one row."""
    return np.concatenate([x.reshape(-1), np.zeros(x.shape[2])]).astype(np.float32)


def _places(x: Values, kernel: tuple[int, int], stride: int) -> NDArray[np.int64]:
    """Return where the taps of a convolution of x[ih, iw, c] lie, padding kernel // 2."""
    ih, iw, channels = x.shape
    outputs = (ceil_div(ih, stride), ceil_div(iw, stride))
    pads = (kernel[0] // 2, kernel[1] // 2)
    return tap_places(
        (ih, iw, channels),
        outputs,
        kernel,
        strides=(stride, stride),
        pads=pads,
        zeros_at=4 * x.size,
    )


def igemm_call(
    target: Target,
    weights: Values,
    bias: Values,
    x: Values,
    *,
    mr: int,
    stride: int = 1,
    limits: tuple[float, float] = UNLIMITED,
) -> Call:
    """Return the call of a convolution of x[ih, iw, ci] with weights[co, kh, kw, ci]."""
    co, kh, kw, ci = weights.shape
    places = _places(x, (kh, kw), stride)
    outputs = (ceil_div(x.shape[0], stride), ceil_div(x.shape[1], stride))
    return Call(
        describe_igemm(target, mr),
        {
            "input": _with_zeros(x),
            "table": igemm_table(places, mr, ci),
            "weights": pack_dense(weights.reshape(co, -1), bias),
            "output": _blank((*outputs, co)),
        },
        igemm_arguments(len(places), kh * kw, co, ci),
        limits,
        "output",
        weights.size * len(places),
    )


def depthwise_rows_call(
    weights: Values,
    bias: Values,
    x: Values,
    *,
    stride: int = 1,
    limits: tuple[float, float] = UNLIMITED,
) -> Call:
    """Return the call of a channels-last depthwise convolution of x[ih, iw, c]."""
    channels, kh, kw = weights.shape
    places = _places(x, (kh, kw), stride)
    outputs = (ceil_div(x.shape[0], stride), ceil_div(x.shape[1], stride))
    return Call(
        describe_depthwise_rows(kh * kw),
        {
            "input": _with_zeros(x),
            "table": depthwise_table(places, channels),
            "weights": pack_depthwise_rows(weights.reshape(channels, -1), bias),
            "output": _blank((*outputs, channels)),
        },
        depthwise_rows_arguments(len(places), channels),
        limits,
        "output",
        weights.size * len(places),
    )


def first_conv_call(
    weights: Values, bias: Values, x: Values, *, limits: tuple[float, float] = UNLIMITED
) -> Call:
    """Return the call of the 3x3 stride-2 convolution of x[ih, iw, 3] with weights[co, 3, 3, 3]."""
    (height, width, _), co = x.shape, len(weights)
    oh, ow = ceil_div(height, 2), ceil_div(width, 2)
    return Call(
        describe_first_conv(),
        {
            "input": x.astype(np.float32),
            "weights": pack_first_conv(weights, bias),
            "edge": image_edge(width),
            "output": _blank((co, oh, ow)),
        },
        first_conv_arguments(co, height, width),
        limits,
        "output",
        co * oh * ow * 27,
    )


def global_pool_call(x: Values, *, limits: tuple[float, float] = UNLIMITED) -> Call:
    """Return the call that averages x[c, pixels] over its pixels."""
    channels, pixels = x.shape
    return Call(
        describe_global_pool(),
        {
            "input": x.astype(np.float32),
            "factor": pool_array(pixels),
            "output": _blank((channels,)),
        },
        global_pool_arguments(channels, pixels),
        limits,
        "output",
        0,
    )
