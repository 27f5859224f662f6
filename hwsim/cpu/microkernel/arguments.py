"""Give the integer arguments of a kernel for a layer: numbers, and arrays with byte offsets.

The names of the arrays are those that :mod:`hwsim.cpu.execute.calls` lays out and that
:class:`~hwsim.cpu.microkernel.uops.BoundKernel` asks addresses for.
"""

from __future__ import annotations

from hwsim.core.units import ceil_div
from hwsim.cpu.packing import PackedWeights

__all__ = [
    "Argument",
    "depthwise_arguments",
    "first_conv_arguments",
    "gemm_arguments",
    "depthwise_rows_arguments",
    "global_pool_arguments",
    "igemm_arguments",
    "spmm_arguments",
]

Argument = int | tuple[str, int]
"""A number, or the address of an array plus bytes."""


def spmm_arguments(packed: PackedWeights) -> tuple[Argument, ...]:
    """Return those of a sparse 1x1 convolution; arrays input, weights, dmap, nnzmap, output."""
    plane = packed.plane_bytes
    first = ("input", packed.first_channel * plane)
    arrays = (("weights", 0), ("dmap", 0), ("nnzmap", 0), ("output", 0))
    return (plane, packed.co, first, *arrays, plane)


def gemm_arguments(
    rows: int, co: int, ci: int, row_bytes: int | None = None, out_bytes: int | None = None
) -> tuple[Argument, ...]:
    """Return those of a dense product; arrays a, weights, output, rows without gaps by default."""
    a_stride, c_stride = row_bytes or 4 * ci, out_bytes or 4 * co
    return (rows, co, ci, ("a", 0), a_stride, ("weights", 0), ("output", 0), c_stride)


def igemm_arguments(
    pixels: int, taps: int, co: int, ci: int, out_bytes: int | None = None
) -> tuple[Argument, ...]:
    """Return those of a convolution through a table; arrays input, table, weights, output."""
    arrays = (("input", 0), ("table", 0), ("weights", 0), ("output", 0))
    return (pixels, co, ci, taps, *arrays, out_bytes or 4 * co)


def depthwise_rows_arguments(pixels: int, channels: int) -> tuple[Argument, ...]:
    """Return those of a channels-last depthwise layer; arrays input, table, weights, output."""
    return (pixels, channels, ("input", 0), ("table", 0), ("weights", 0), ("output", 0))


def depthwise_arguments(channels: int, height: int, width: int) -> tuple[Argument, ...]:
    """Return those of a depthwise convolution; arrays input, weights, edge, output."""
    arrays = (("input", 0), ("weights", 0), ("edge", 0), ("output", 0))
    return (channels, height, 4 * width, *arrays)


def first_conv_arguments(co: int, height: int, width: int) -> tuple[Argument, ...]:
    """Return those of the first convolution; arrays input, weights, edge, output."""
    arrays = (("input", 0), ("weights", 0), ("edge", 0), ("output", 0))
    return (co, height, 12 * width, *arrays, 4 * ceil_div(width, 2))


def global_pool_arguments(channels: int, pixels: int) -> tuple[Argument, ...]:
    """Return those of global pooling; arrays input, factor, output."""
    return (channels, 4 * pixels, ("input", 0), ("factor", 0), ("output", 0))
