"""Emit channels-last depthwise convolutions (XNNPACK's ``f32-dwconv``).

Every pixel multiplies its taps by their weights, both loaded, four channels at a time, rows found
through a table. Padding is read where the image would go on: neighbouring rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.cpu.codes.vectors import X, clamp_and_store, count_down, multiply_add
from hwsim.cpu.isa import UopBuilder, UopKernel

__all__ = ["PlaneShape", "depthwise_nhwc"]

_OUT, _TABLE, _TRIPS, _WEIGHTS = X + 8, X + 9, X + 10, X + 11


@dataclass(frozen=True)
class PlaneShape:
    """One depthwise layer: channels, input and output extents, kernel, stride, padding before."""

    channels: int
    ih: int
    iw: int
    oh: int
    ow: int
    kernel: int
    stride: int

    @property
    def taps(self) -> int:
        """Return the weights per channel."""
        return self.kernel * self.kernel


def depthwise_nhwc(shape: PlaneShape) -> UopKernel:
    """Return the kernel of a whole layer; pointers ``in``, ``out``, ``weights`` and ``table``."""
    b = UopBuilder(f"dwconv-nhwc-{shape.taps}p4c")
    groups, rest = divmod(shape.channels, 4)
    pixel = 4 * shape.channels
    with b.loop(shape.oh):
        with b.loop(shape.ow):
            for tap in range(shape.taps):
                b.op("load_x", (X + 12 + tap % 16,), (_TABLE,), pointer="table", offset=8 * tap,
                     size=8)  # fmt: skip
            for count, lanes in ((groups, 4), (min(rest, 1), rest)):
                if count:
                    with b.loop(count):
                        _pixel(b, shape, lanes)
            b.step("weights", -4 * (1 + shape.taps) * shape.channels)
            b.op("alu", (_TABLE,), (_TABLE,), step=("table", 8 * shape.taps))
            b.step("in", (shape.stride - 1) * pixel)
            count_down(b, _TRIPS)
        b.step("in", (shape.iw - shape.ow) * shape.stride * pixel)
        count_down(b, _TRIPS)
    return b.build()


def _pixel(b: UopBuilder, shape: PlaneShape, lanes: int) -> None:
    """Write four channels of one pixel; two sums, so that additions do not wait for each other."""
    above = shape.kernel // 2
    b.op("load_q", (0,), (_WEIGHTS,), pointer="weights", size=16)
    for tap in range(shape.taps):
        row, column = divmod(tap, shape.kernel)
        at = ((row - above) * shape.iw + column - above) * 4 * shape.channels
        b.op("load_q", (2 + tap % 8,), (X + 12 + tap % 16,), pointer="in", offset=at, size=16)
        b.op("load_q", (10 + tap % 8,), (_WEIGHTS,), pointer="weights", offset=16 * (1 + tap),
             size=16)  # fmt: skip
        multiply_add(b, tap % 2, 2 + tap % 8, 10 + tap % 8)
    b.op("fadd_q", (0,), (0, 1))
    clamp_and_store(b, 0, lanes if lanes != 3 else 4, _OUT, "out")
    b.op("alu", (_WEIGHTS,), (_WEIGHTS,), step=("weights", 4 * lanes * (1 + shape.taps)))
    b.step("in", 4 * lanes)
    b.op("alu", (_OUT,), (_OUT,), step=("out", 4 * lanes))
    count_down(b, _TRIPS)
