"""Describe the first convolution of a network: 3x3, stride 2, three channels, HWC in, CHW out.

This is where the layout changes (Fast Sparse ConvNets' ``conv-3x3s2p1c3x4``, XNNPACK's
``conv-hwc2chw``). Four output channels lie in a register; a step computes two pixels of two rows
from four new columns of five input rows, each column three floats. Rows outside the image are read
from zeros, the column left of the image is a zero register, columns behind the right edge are
masked. An output row or channel that does not exist is written to the one before it, which is
stored afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg

__all__ = ["ARGUMENT_NAMES", "describe_first_conv", "image_edge", "pack_first_conv"]

ARGUMENT_NAMES = (
    "channels",  # of the output
    "rows",  # of the input
    "row_bytes",  # input columns x 12
    "input",
    "weights",
    "edge",  # masks of the right edge, then a row of zeros
    "output",
    "out_row_bytes",
)

_BLOCK = 4
_ZEROS_AT = 64
_LINES = 5


def pack_first_conv(
    weights: NDArray[np.floating], bias: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return weights[co, 3, 3, 3] in blocks of 4 channels: biases, then (kh, kw, ci) taps.

    One row per block : float32[ceil(co / 4), 28, 4]; channels beyond ``co`` are zero.
    """
    co = len(weights)
    packed = np.zeros((ceil_div(co, _BLOCK) * _BLOCK, 28), dtype=np.float32)
    packed[:co, 0] = bias
    packed[:co, 1:] = weights.transpose(0, 2, 3, 1).reshape(co, 27)
    return np.ascontiguousarray(packed.reshape(-1, _BLOCK, 28).transpose(0, 2, 1))


def image_edge(columns: int) -> NDArray[np.uint32]:
    """Return three masks for the last four columns of a row of ``columns``, and zeros."""
    start = 12 * (ceil_div(columns, 4) - 1)
    mask = np.where(start + np.arange(12) < 3 * columns, 0xFFFFFFFF, 0)
    zeros = np.zeros(4 + 3 * columns + 24)
    return np.concatenate([mask, zeros]).astype(np.uint32)


def describe_first_conv() -> Kernel:
    """Return the kernel."""
    k = KernelBuilder("first_conv_3x3s2", ARGUMENT_NAMES)
    channels, rows, row_bytes, source, weights, _, output, out_bytes = k.args
    with k.integers(4) as (out_rows, left, y, channels_left):
        k.addi(out_rows, rows, 1)
        k.shift(out_rows, out_rows, -1)
        k.mov(left, out_rows)
        k.const(y, -1)
        k.emit("sub", (source,), (source, row_bytes))
        with k.loop(left, 2, until="below"):
            _rows_of_two(k, out_rows, y, channels_left, 2)
        with k.when(left):
            _rows_of_two(k, out_rows, y, channels_left, 1)
    del channels, weights, output, out_bytes
    return k.build()


def _rows_of_two(k: KernelBuilder, out_rows: Reg, y: Reg, left: Reg, count: int) -> None:
    """Write ``count`` (1 or 2) output rows of all channels and go on behind them."""
    channels, _, row_bytes, source, weights, _, output, out_bytes = k.args
    with k.integers(1) as (w,):
        k.mov(w, weights)
        k.mov(left, channels)
        with k.loop(left, _BLOCK, until="below"):
            _Block(k, out_rows, y, left, w, count).write(is_whole=True)
        with k.when(left):
            _Block(k, out_rows, y, left, w, count).write(is_whole=False)
        # The output has moved by all channels; return it to the first one's next rows.
        k.emit("mul", (w,), (out_rows, out_bytes))
        k.emit("mul", (w,), (w, channels))
        k.emit("sub", (output,), (output, w))
    for _ in range(count):
        k.add(output, output, out_bytes)
        k.add(source, source, row_bytes)
        k.add(source, source, row_bytes)
    k.addi(y, y, 4)


class _Block:
    """Four output channels of one or two output rows."""

    def __init__(
        self, k: KernelBuilder, out_rows: Reg, y: Reg, left: Reg, w: Reg, count: int
    ) -> None:
        self.k, self.out_rows, self.y, self.left, self.w = k, out_rows, y, left, w
        self.count = count
        self.lines = 2 * count + 1

    def write(self, *, is_whole: bool) -> None:
        """Write the block; a partial one redirects the channels that do not exist."""
        k = self.k
        _, _, row_bytes, *_ = k.args
        with (
            k.integers(self.lines) as self.rows,
            k.integers(_BLOCK * self.count) as self.out,
            k.integers(1) as (self.t,),
        ):
            self._point_rows()
            self._point_outputs(is_whole=is_whole)
            with k.vectors(self.lines) as self.before:
                for reg in self.before:
                    k.emit("zero", (reg,))
                k.addi(self.t, row_bytes, -12)
                with k.loop(self.t, 48, until="below"):
                    self._step(is_last=False)
                self._step(is_last=True)
        k.addi(self.w, self.w, 16 * 28)

    def _point_rows(self) -> None:
        k = self.k
        _, rows, row_bytes, source, _, edge, *_ = k.args
        at, y, zeros = self.out[0], self.out[1], self.t
        k.addi(zeros, edge, _ZEROS_AT)
        k.mov(at, source)
        k.mov(y, self.y)
        for row in self.rows:
            k.emit("select_lt", (row,), (at, zeros, y, rows))
            if row is not self.rows[-1]:
                k.add(at, at, row_bytes)
                k.addi(y, y, 1)

    def _point_outputs(self, *, is_whole: bool) -> None:
        """Point to the four channels' rows and move the output behind them."""
        k = self.k
        output, out_bytes = k.args[6], k.args[7]
        k.emit("mul", (self.t,), (self.out_rows, out_bytes))
        for channel in range(_BLOCK):
            own = self.out[channel * self.count : (channel + 1) * self.count]
            if is_whole or channel == 0:
                self._own_rows(own)
                k.add(output, output, self.t)
                continue
            above = self.out[(channel - 1) * self.count : channel * self.count]
            for mine, other in zip(own, above, strict=True):
                k.mov(mine, other)
            with k.when(self.left, channel + 1):
                self._own_rows(own)
                k.add(output, output, self.t)

    def _own_rows(self, own: list[Reg]) -> None:
        k = self.k
        k.mov(own[0], k.args[6])
        if self.count == 2:
            k.add(own[1], own[0], k.args[7])

    def _step(self, *, is_last: bool) -> None:
        """Write two pixels of each output row."""
        k = self.k
        with k.vectors(2 * self.count) as acc:
            k.load(acc[0], self.w)
            for reg in acc[1:]:
                k.mov(reg, acc[0])
            with k.vectors(3 * self.lines) as columns:
                self._load(columns, is_last=is_last)
                self._taps(acc, columns)
                for number, reg in enumerate(self.before):
                    k.mov(reg, columns[3 * number + 2])
            k.clamp(acc)
            with k.vectors(2) as (low, high):
                for row in reversed(range(self.count)):
                    pair = (acc[2 * row], acc[2 * row + 1])
                    k.emit("zip1", (low,), pair)
                    k.emit("zip2", (high,), pair)
                    self._store(row, low, high, is_last=is_last)

    def _load(self, columns: list[Reg], *, is_last: bool) -> None:
        k = self.k
        for number, row in enumerate(self.rows):
            for part in range(3):
                k.load(columns[3 * number + part], row, 16 * part)
            k.addi(row, row, 48)
        if is_last:
            with k.vectors(1) as (mask,):
                for part in range(3):
                    k.load(mask, k.args[5], 16 * part)
                    for reg in columns[part::3]:
                        k.emit("and", (reg,), (reg, mask))

    def _taps(self, acc: list[Reg], columns: list[Reg]) -> None:
        k = self.k
        for kh in range(3):
            for kw in range(3):
                for ci in range(3):
                    with k.vectors(1) as (weight,):
                        at = 1 + (kh * 3 + kw) * 3 + ci
                        k.load(weight, self.w, 16 * at)
                        for row in range(self.count):
                            for pixel in (0, 1):
                                value, lane = self._value(columns, 2 * row + kh, pixel, kw, ci)
                                total = acc[2 * row + pixel]
                                k.emit("fma_lane", (total,), (weight, value), imm=lane)

    def _value(
        self, columns: list[Reg], line: int, pixel: int, kw: int, ci: int
    ) -> tuple[Reg, int]:
        """Return register and lane of the input that a tap of a pixel meets."""
        place = 3 * (2 * pixel + kw - 1) + ci  # floats behind the first new column
        if place < 0:
            return self.before[line], 4 + place
        return columns[3 * line + place // 4], place % 4

    def _store(self, row: int, low: Reg, high: Reg, *, is_last: bool) -> None:
        """Store four channels of two pixels (or one, at the end of an odd row), last one first."""
        k, out_bytes = self.k, self.k.args[7]
        pointers = [self.out[channel * self.count + row] for channel in range(_BLOCK)]
        if not is_last:
            self._store_pairs(pointers, low, high)
            return
        with k.when(out_bytes, 4, test="clear"):
            self._store_pairs(pointers, low, high)
        with k.when(out_bytes, 4, test="bit"):
            for channel, reg in ((2, high), (0, low)):
                with k.vectors(1) as (other,):
                    k.emit("ext", (other,), (reg, reg), imm=2)
                    k.store(other, pointers[channel + 1], lanes=1)
                    k.store(reg, pointers[channel], lanes=1)

    def _store_pairs(self, pointers: list[Reg], low: Reg, high: Reg) -> None:
        for channel, reg in ((2, high), (0, low)):
            self.k.emit("store_high", (), (reg, pointers[channel + 1]), lanes=2, post=8)
            self.k.store(reg, pointers[channel], lanes=2, post=8)
