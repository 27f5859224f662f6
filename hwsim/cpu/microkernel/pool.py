"""Describe global average pooling in CHW layout: four channels at a time, four pixels per step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg

__all__ = ["ARGUMENT_NAMES", "describe_global_pool", "pool_array"]

ARGUMENT_NAMES = (
    "channels",
    "pixel_bytes",
    "input",
    "factor",  # mask of the last vector, then 1 / pixels
    "output",
)


def pool_array(pixels: int) -> NDArray[np.uint32]:
    """Return the mask of the last vector of a plane, and the factor 1 / pixels."""
    rest = (pixels - 1) % 4 + 1
    mask = np.where(np.arange(4) < rest, 0xFFFFFFFF, 0).astype(np.uint32)
    factor = np.array([1 / pixels], dtype=np.float32).view(np.uint32)
    return np.concatenate([mask, factor, np.zeros(3, np.uint32)])


def describe_global_pool() -> Kernel:
    """Return the kernel that averages every channel's plane."""
    k = KernelBuilder("global_pool", ARGUMENT_NAMES)
    channels, pixel_bytes, source, factor, output = k.args
    with k.integers(1) as (left,), k.integers(4) as planes, k.vectors(4) as sums:
        with k.loop(channels, 4, until="below"):
            k.mov(planes[0], source)
            for above, below in zip(planes, planes[1:], strict=False):
                k.add(below, above, pixel_bytes)
            _average(k, planes, sums, left)
            k.store(sums[0], output, post=16)
            for _ in planes:
                k.add(source, source, pixel_bytes)
        with k.when(channels):
            # Channels that do not exist repeat the one before; their sums are not stored.
            with k.integers(2) as (number, following):
                k.mov(planes[0], source)
                k.const(number, 1)
                for above, below in zip(planes, planes[1:], strict=False):
                    k.add(following, above, pixel_bytes)
                    k.emit("select_lt", (below,), (following, above, number, channels))
                    k.addi(number, number, 1)
            _average(k, planes, sums, left)
            with k.when(channels, 2, test="bit"):
                k.store(sums[0], output, lanes=2, post=8)
                k.emit("ext", (sums[0],), (sums[0], sums[0]), imm=2)
            with k.when(channels, 1, test="bit"):
                k.store(sums[0], output, lanes=1)
    del factor
    return k.build()


def _average(k: KernelBuilder, planes: list[Reg], sums: list[Reg], left: Reg) -> None:
    """Leave the means of four planes in the first of ``sums``."""
    pixel_bytes, factor = k.args[1], k.args[3]
    for total in sums:
        k.emit("zero", (total,))
    k.addi(left, pixel_bytes, -4)
    with k.vectors(4) as values:
        with k.loop(left, 16, until="below"):
            for value, plane in zip(values, planes, strict=True):
                k.load(value, plane, post=16)
            for total, value in zip(sums, values, strict=True):
                k.emit("add", (total,), (total, value))
        with k.vectors(1) as (mask,):
            k.load(mask, factor)
            for total, value, plane in zip(sums, values, planes, strict=True):
                k.load(value, plane)
                k.emit("and", (value,), (value, mask))
                k.emit("add", (total,), (total, value))
            first, second, third, fourth = sums
            k.emit("addp", (first,), (first, second))
            k.emit("addp", (third,), (third, fourth))
            k.emit("addp", (first,), (first, third))
            k.load(mask, factor, 16, lanes=1)
            k.emit("mul_lane", (first,), (first, mask))
    k.clamp([sums[0]])
