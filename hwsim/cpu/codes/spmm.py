"""Emit sparse weights times dense activations in CHW layout.

Strips of ``mr`` pixels outside, blocks of ``nr`` output channels inside them, nonzero blocks
innermost; what does not fill a strip runs in strips of half the width, down to one pixel, each
streaming all weights again (fastconvnets/cvpr2020 and XNNPACK's ``f32-spmm``, plain form).
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import MappingError
from hwsim.cpu.codes.vectors import (
    X,
    clamp_and_store,
    count_down,
    load_strip,
    multiply_add,
    vectors_of,
)
from hwsim.cpu.isa import UopBuilder, UopKernel

__all__ = ["SpmmShape", "needed_registers", "spmm_kernel", "strips"]

_INPUT, _WEIGHTS, _DMAP, _COUNTS, _OUTPUT = X, X + 1, X + 2, X + 3, X + 4
_STEP, _TRIPS, _CHANNELS, _STRIPS = X + 5, X + 6, X + 7, X + 8
_AHEAD_BYTES = 128


@dataclass(frozen=True)
class SpmmShape:
    """One layer: ``pixels`` of a plane, ``co`` outputs, ``blocks`` nonzero blocks in all.

    ``stream_bytes`` are those of biases and weights, read once per strip. Without ``has_lanes``
    (multiply-accumulate by lane) each weight of a block is broadcast as it is loaded.
    """

    pixels: int
    co: int
    blocks: int
    stream_bytes: int
    has_lanes: bool = True


def needed_registers(mr: int, nr: int) -> int:
    """Return the vector registers of a kernel: sums, pixels, weights, clamp limits."""
    pixels = vectors_of(mr)
    return pixels * nr + pixels + 1 + 2


def strips(pixels: int, mr: int) -> list[tuple[int, int]]:
    """Return (width, how many) of the strips that cover ``pixels``."""
    found = [(mr, pixels // mr)] if pixels >= mr else []
    rest = pixels % mr
    width = mr // 2
    while width >= 1:
        if rest >= width:
            found.append((width, 1))
            rest -= width
        width //= 2
    return found


def spmm_kernel(shape: SpmmShape, mr: int, nr: int, *, registers: int, prefetch: bool) -> UopKernel:
    """Return the kernel; streams ``nnz`` and ``step`` are nnzmap and dmap.

    Raises
    ------
    MappingError
        If ``registers`` vector registers cannot hold ``mr`` x ``nr``.
    """
    need = needed_registers(mr, nr)
    if need > registers:
        raise MappingError(f"kernel {mr}x{nr}", need, registers, "vector registers")
    b = UopBuilder(f"spmm-{mr}x{nr}")
    for width, count in strips(shape.pixels, mr):
        with b.loop(count):
            _strip(b, shape, width, nr, prefetch=prefetch and width == mr)
            count_down(b, _STRIPS)
    return b.build()


def _strip(b: UopBuilder, shape: SpmmShape, width: int, nr: int, *, prefetch: bool) -> None:
    b.rewind("nnz")
    b.rewind("step")
    for register in (_WEIGHTS, _DMAP, _COUNTS, _OUTPUT, _CHANNELS):
        b.op("alu", (register,), (register,))
    whole, single = (shape.co // nr, shape.co % nr) if nr > 1 else (shape.co, 0)
    for blocks, channels in ((whole, nr), (single, 1)):
        if blocks:
            with b.loop(blocks):
                _block(b, shape, width, channels, prefetch=prefetch)
    b.op("alu", (_INPUT,), (_INPUT,), step=("in", 4 * width))
    b.step("weights", -shape.stream_bytes)
    b.step("dmap", -4 * shape.blocks)
    b.step("counts", -4 * (whole + single))
    b.step("out", 4 * width - 4 * shape.pixels * shape.co)


def _block(b: UopBuilder, shape: SpmmShape, width: int, nr: int, *, prefetch: bool) -> None:
    """Write one block of ``nr`` output channels: count, biases, nonzeros, clamp, store."""
    count = vectors_of(width)
    pixels, weight = count * nr, count * nr + count
    b.op("load_x", (_TRIPS,), (_COUNTS,), pointer="counts", size=4, has_write_back=True,
         step=("counts", 4))  # fmt: skip
    for r in range(nr):
        b.op("load_dup", (r * count,), (_WEIGHTS,), pointer="weights", size=4,
             has_write_back=True, step=("weights", 4))  # fmt: skip
        for i in range(1, count):
            b.op("move_q", (r * count + i,), (r * count,))
    b.op("branch", (), (_TRIPS,))
    with b.loop("nnz"):
        b.op("load_x", (_STEP,), (_DMAP,), pointer="dmap", size=4, has_write_back=True,
             step=("dmap", 4))  # fmt: skip
        load_strip(b, pixels, width, _INPUT, "in")
        b.op("alu", (_INPUT,), (_STEP, _INPUT), step=("in", "step"))
        if prefetch:
            for line in range(max(1, count // 4)):
                b.op("prefetch", (), (_INPUT,), pointer="in", offset=64 * (line + 1), size=4)
        _load_weights(b, weight, nr, has_lanes=shape.has_lanes)
        if prefetch:
            b.op("prefetch", (), (_WEIGHTS,), pointer="weights", offset=_AHEAD_BYTES, size=4)
        for r in range(nr):
            for i in range(count):
                by = weight if shape.has_lanes else weight + r
                multiply_add(b, r * count + i, pixels + i, by, width)
        count_down(b, _TRIPS)
    for r in range(nr):
        clamp_and_store(b, r * count, width, _OUTPUT, "out")
        b.op("alu", (_OUTPUT,), (_OUTPUT,), step=("out", 4 * shape.pixels))
    count_down(b, _CHANNELS)


def _load_weights(b: UopBuilder, first: int, nr: int, *, has_lanes: bool) -> None:
    """Load the weights of a block: into lanes of one register, or broadcast one by one."""
    loads = [{1: "load_dup", 2: "load_s", 4: "load_q"}[nr]] if has_lanes else ["load_dup"] * nr
    size = 4 * nr // len(loads)
    for i, name in enumerate(loads):
        b.op(name, (first + i,), (_WEIGHTS,), pointer="weights", size=size, has_write_back=True,
             step=("weights", size))  # fmt: skip
