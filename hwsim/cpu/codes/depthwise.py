"""Emit depthwise convolutions and the first convolution of a network.

Padding is read where the image would go on: neighbouring rows or planes.

In CHW a channel's plane is a stencil: several output rows at a time, four pixels per step, weights
in registers; neighbours come from extracts of registers already loaded. Rows per pass and the
first convolution's 2x2 pixels by 4 channels are XNNPACK's (``dwconv2d-chw`` and
``conv-hwc2chw``). Channels-last, every pixel multiplies its taps by their weights, both loaded,
four channels at a time, rows found through a table (``f32-dwconv``).
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.units import ceil_div
from hwsim.cpu.codes.vectors import X, clamp_and_store, count_down, multiply_add
from hwsim.cpu.isa import UopBuilder, UopKernel

__all__ = ["PlaneShape", "depthwise_chw", "depthwise_nhwc", "first_conv"]

ROWS_PER_PASS = {(3, 1): 3, (3, 2): 2, (5, 1): 4, (5, 2): 1}
"""(kernel, stride) -> output rows computed together on ARM64 (XNNPACK dwconv2d-chw-config)."""

_IN, _OUT, _TABLE, _TRIPS, _WEIGHTS = X, X + 8, X + 9, X + 10, X + 11
_SUM, _ROW, _SHIFTED, _W = 0, 6, 18, 26


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


def depthwise_chw(shape: PlaneShape) -> UopKernel:
    """Return the kernel of a whole layer in CHW; pointers ``in``, ``out``, ``weights``."""
    b = UopBuilder(f"dwconv-chw-{shape.kernel}x{shape.kernel}s{shape.stride}")
    rows = ROWS_PER_PASS[shape.kernel, shape.stride]
    whole, rest = divmod(shape.oh, rows)
    plane = 4 * shape.ih * shape.iw
    used = shape.oh * shape.stride * 4 * shape.iw
    with b.loop(shape.channels):
        for at in range(0, 4 * (1 + shape.taps), 16):
            b.op("load_q", (_W + at // 16 % 4,), (_WEIGHTS,), pointer="weights", offset=at, size=16)
        for count, height in ((whole, rows), (min(rest, 1), rest)):
            if count:
                with b.loop(count):
                    _row_pass(b, shape, height)
        b.step("in", plane - used)
        b.op("alu", (_WEIGHTS,), (_WEIGHTS,), step=("weights", 4 * (1 + shape.taps)))
        count_down(b, _TRIPS)
    return b.build()


def _row_pass(b: UopBuilder, shape: PlaneShape, height: int) -> None:
    """Write ``height`` output rows: pointers of all rows, then four pixels per step."""
    lines = (height - 1) * shape.stride + shape.kernel
    for line in range(lines):
        b.op("alu", (_IN + line,), (_IN + line,))
    above = shape.kernel // 2
    line_bytes = 4 * shape.iw
    for line in range(lines):  # the first four pixels, on the left of all steps
        at = (line - above) * line_bytes
        b.op("load_q", (_ROW + line,), (_IN + line,), pointer="in", offset=at, size=16)
    with b.loop(ceil_div(shape.ow, 4)):
        _step(b, shape, height, lines, above)
    b.step("in", height * shape.stride * line_bytes - ceil_div(shape.ow, 4) * 16 * shape.stride)
    b.step("out", 4 * (shape.ow * height - 4 * ceil_div(shape.ow, 4)))
    b.op("alu", (_OUT,), (_OUT,))
    count_down(b, _TRIPS)


def _step(b: UopBuilder, shape: PlaneShape, height: int, lines: int, above: int) -> None:
    """Write four output pixels of ``height`` rows."""
    for row in range(height):
        b.op("move_q", (_SUM + row,), (_W,))
    for line in range(lines):
        at = (line - above) * 4 * shape.iw + 16
        for part in range(shape.stride):
            b.op("load_q", (_ROW + line,), (_IN + line,), pointer="in", offset=at + 16 * part,
                 size=16)  # fmt: skip
        for _ in range(2 * (shape.stride - 1)):
            b.op("permute_q", (_ROW + line,), (_ROW + line, _ROW + line))
        shifts = shape.kernel - shape.stride
        for shift in range(shifts):
            b.op("move_q", (_SHIFTED + shift,), (_ROW + line, _ROW + line))
        for row in range(height):
            tap = line - row * shape.stride
            if 0 <= tap < shape.kernel:
                for column in range(shape.kernel):
                    factor = _SHIFTED + column if column < shifts else _ROW + line
                    multiply_add(b, _SUM + row, factor, _W + column % 4, 4)
    for row in range(height):
        clamp_and_store(b, _SUM + row, 4, _OUT, "out", 4 * row * shape.ow)
    b.op("alu", (_OUT,), (_OUT,), step=("out", 16))
    b.step("in", 16 * shape.stride)
    count_down(b, _TRIPS)


def depthwise_nhwc(shape: PlaneShape) -> UopKernel:
    """Return the kernel of a whole layer, channels last; pointers as above and ``table``."""
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
        multiply_add(b, tap % 2, 2 + tap % 8, 10 + tap % 8, 4)
    b.op("fadd_q", (0,), (0, 1))
    clamp_and_store(b, 0, lanes if lanes != 3 else 4, _OUT, "out")
    b.op("alu", (_WEIGHTS,), (_WEIGHTS,), step=("weights", 4 * lanes * (1 + shape.taps)))
    b.step("in", 4 * lanes)
    b.op("alu", (_OUT,), (_OUT,), step=("out", 4 * lanes))
    count_down(b, _TRIPS)


def first_conv(co: int, ih: int, iw: int, oh: int, ow: int) -> UopKernel:
    """Return the 3x3 stride-2 convolution from 3-channel HWC to CHW, 2x2 pixels by 4 channels."""
    b = UopBuilder("conv-hwc2chw-3x3s2p1c3x4")
    line = 12 * iw
    with b.loop(ceil_div(oh, 2)):
        with b.loop(ceil_div(co, 4)):
            for row in range(5):
                b.op("alu", (_IN + row,), (_IN + row,))
            with b.loop(ceil_div(ow, 2)):
                _first_tile(b, line, oh, ow)
            b.step("in", -48 * ceil_div(ow, 2))
            b.op("alu", (_WEIGHTS,), (_WEIGHTS,), step=("weights", 16 * 28))
            b.step("out", 16 * oh * ow - 8 * ceil_div(ow, 2))
            count_down(b, _TRIPS)
        b.step("in", 4 * line)
        b.step("weights", -16 * 28 * ceil_div(co, 4))
        b.step("out", 8 * ow - 16 * oh * ow * ceil_div(co, 4))
        count_down(b, _TRIPS)
    return b.build()


def _first_tile(b: UopBuilder, line: int, oh: int, ow: int) -> None:
    """Write 2x2 output pixels of four channels: 27 taps each, weights loaded per tap."""
    b.op("load_q", (26,), (_WEIGHTS,), pointer="weights", size=16)
    for pixel in range(4):
        b.op("move_q", (_SUM + pixel,), (26,))
    for row in range(5):
        for part in range(3):
            b.op("load_q", (8 + 3 * row + part,), (_IN + row,), pointer="in",
                 offset=row * line + 16 * part, size=16)  # fmt: skip
    for tap in range(27):
        row, place = divmod(tap, 9)
        b.op("load_q", (26 + tap % 4,), (_WEIGHTS,), pointer="weights", offset=16 * (1 + tap),
             size=16)  # fmt: skip
        for pixel in range(4):
            source = 8 + 3 * (row + 2 * (pixel // 2)) + (place + 6 * (pixel % 2)) // 4 % 3
            multiply_add(b, _SUM + pixel, 26 + tap % 4, source, 4)
    for pixel in range(4):
        for limit in range(2):
            b.op("fminmax_q", (_SUM + pixel,), (_SUM + pixel, 31 - limit))
    for pixel in range(4):
        b.op("permute_q", (4 + pixel,), (_SUM + pixel, _SUM + (pixel ^ 1)))
    for channel in range(4):
        for row in range(2):
            b.op("store_s", (), (_OUT, 4 + channel), pointer="out",
                 offset=4 * (channel * oh * ow + row * ow), size=8)  # fmt: skip
    b.op("alu", (_OUT,), (_OUT,), step=("out", 8))
    b.step("in", 48)
    count_down(b, _TRIPS)
