"""Describe the depthwise convolutions in CHW layout: 3x3 and 5x5, stride 1 and 2.

A channel's plane is a stencil (Fast Sparse ConvNets' ``dwconv`` kernels, XNNPACK's
``dwconv2d-chw``): several output rows at a time, four pixels per step, weights in registers. Rows
outside the plane are read from a row of zeros. A step loads one vector of each input row (two at
stride 2), that of the columns furthest right; what lies to the left of it is extracted from it and
from its predecessor, so that nothing is loaded twice. The last step masks the columns behind the
right edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg

__all__ = [
    "ARGUMENT_NAMES",
    "ROWS_PER_PASS",
    "describe_depthwise",
    "edge_array",
    "pack_depthwise",
]

ROWS_PER_PASS = {(3, 1): 3, (3, 2): 2, (5, 1): 4, (5, 2): 1}
"""(kernel, stride) -> output rows at once, XNNPACK's choice on ARM64."""

ARGUMENT_NAMES = (
    "channels",
    "rows",  # of the input
    "row_bytes",  # input columns x 4
    "input",
    "weights",
    "edge",  # masks of the right edge, then a row of zeros
    "output",
)

_ZEROS_AT = 64
"""Byte of ``edge`` where the row of zeros begins."""


def pack_depthwise(
    weights: NDArray[np.floating], bias: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return weights[c, k, k] as the kernel reads them: bias, k x k taps, zeros to a multiple of 4.

    One row per channel : float32[c, 4 * ceil((k * k + 1) / 4)].
    """
    channels, taps = len(weights), weights.shape[1] * weights.shape[2]
    packed = np.zeros((channels, 4 * ceil_div(taps + 1, 4)), dtype=np.float32)
    packed[:, 0] = bias
    packed[:, 1 : taps + 1] = weights.reshape(channels, taps)
    return packed


def edge_array(columns: int, kernel: int, stride: int) -> NDArray[np.uint32]:
    """Return the masks of the last two steps and a row of zeros for planes ``columns`` wide.

    Four masks of four words: at stride 1 those of the last step and of the one before, and one of
    the first ``kernel // 2`` columns; at stride 2 the two vectors of the last step.
    """
    pad = kernel // 2
    steps = ceil_div(ceil_div(columns, stride), 4)
    lanes = np.arange(4)
    if stride == 1:
        starts = [4 * (steps - 1) + pad, 4 * (steps - 2) + pad, 0]
    else:
        starts = [8 * (steps - 1) + pad - 1, 8 * (steps - 1) + pad + 3, 0]
    masks = [np.where(start + lanes < columns, 0xFFFFFFFF, 0) for start in starts]
    zeros = np.zeros(columns + 24, dtype=np.uint32)
    return np.concatenate([*masks, np.zeros(4), zeros]).astype(np.uint32)


def describe_depthwise(kernel: int, stride: int, rows: int | None = None) -> Kernel:
    """Return the kernel of a ``kernel`` x ``kernel`` convolution over all channels of a layer.

    Parameters
    ----------
    kernel, stride : int
        3 or 5; 1 or 2. Padding is ``kernel // 2`` on all sides.
    rows : int, optional
        Output rows at once; default XNNPACK's.
    """
    if (kernel, stride) not in ROWS_PER_PASS:
        found = f"{kernel}x{kernel} stride {stride}"
        raise InputError("kernel", "depthwise 3x3 or 5x5, stride 1 or 2", found)
    count = ROWS_PER_PASS[kernel, stride] if rows is None else rows
    if not 1 <= count <= 4:
        raise InputError("kernel", "1 to 4 output rows at once", str(count))
    suffix = "" if rows is None else f"_rows{rows}"
    k = KernelBuilder(f"dw_{kernel}x{kernel}s{stride}{suffix}", ARGUMENT_NAMES)
    _Layer(k, kernel, stride).write(count)
    return k.build()


class _Layer:
    """The loops over channels and rows."""

    def __init__(self, k: KernelBuilder, size: int, stride: int) -> None:
        self.k, self.size, self.stride = k, size, stride
        self.pad = size // 2

    def write(self, count: int) -> None:
        """Write the loop over channels; ``count`` output rows at once."""
        k = self.k
        channels, rows, row_bytes, source, weights, _, _ = k.args
        taps = self.size * self.size + 1
        with (
            k.integers(6) as (self.out_rows, self.out_bytes, left, self.top, self.y, self.t),
            k.vectors(ceil_div(taps, 4)) as self.weights,
        ):
            k.mov(self.out_rows, rows)
            k.mov(self.out_bytes, row_bytes)
            if self.stride == 2:
                k.addi(self.out_rows, rows, 1)
                k.shift(self.out_rows, self.out_rows, -1)
                k.addi(self.out_bytes, row_bytes, 4)
                k.shift(self.out_bytes, self.out_bytes, -3)
                k.shift(self.out_bytes, self.out_bytes, 2)
            with k.loop(channels):
                for at, reg in enumerate(self.weights):
                    k.load(reg, weights, 16 * at)
                k.addi(weights, weights, 16 * len(self.weights))
                k.const(self.y, -self.pad)
                k.mov(self.top, source)
                for _ in range(self.pad):
                    k.emit("sub", (self.top,), (self.top, row_bytes))
                k.mov(left, self.out_rows)
                if count > 1:
                    with k.loop(left, count, until="below"):
                        _Pass(self, count).write()
                    with k.when(left), k.loop(left):
                        _Pass(self, 1).write()
                else:
                    with k.loop(left):
                        _Pass(self, 1).write()
                k.emit("mul", (self.t,), (rows, row_bytes))
                k.add(source, source, self.t)

    def tap(self, row: int, col: int) -> tuple[Reg, int]:
        """Return register and lane of a weight."""
        at = 1 + row * self.size + col
        return self.weights[at // 4], at % 4


class _Pass:
    """``count`` output rows of one channel."""

    def __init__(self, layer: _Layer, count: int) -> None:
        self.layer, self.k, self.count = layer, layer.k, count
        self.size, self.stride, self.pad = layer.size, layer.stride, layer.pad
        self.lines = (count - 1) * self.stride + self.size
        self.sets = 2 if self.stride == 2 else 1  # of accumulators: a chain of taps is long
        self.kept = 2 if (self.size, self.stride) == (5, 2) else 1  # vectors per line

    def write(self) -> None:
        """Write the pass and advance rows and output behind it."""
        k, layer = self.k, self.layer
        row_bytes, output = k.args[2], k.args[6]
        with k.integers(1) as (left,), k.integers(self.lines) as lines:
            self._point(lines, left)
            with (
                k.integers(self.count) as self.out,
                k.vectors(self.lines * self.kept) as kept,
            ):
                k.mov(self.out[0], output)
                for above, below in zip(self.out, self.out[1:], strict=False):
                    k.add(below, above, layer.out_bytes)
                before = [kept[i : i + self.kept] for i in range(0, len(kept), self.kept)]
                self._left_edge(lines, before)
                self._columns(lines, before, left)
        for _ in range(self.count):
            k.add(output, output, layer.out_bytes)
            for _ in range(self.stride):
                k.add(layer.top, layer.top, row_bytes)
        k.addi(layer.y, layer.y, self.count * self.stride)

    def _point(self, lines: list[Reg], zeros: Reg) -> None:
        """Point to the input rows, or to zeros outside the plane."""
        k, layer = self.k, self.layer
        k.addi(zeros, k.args[5], _ZEROS_AT)
        with k.integers(1) as (y,):
            k.mov(layer.t, layer.top)
            k.mov(y, layer.y)
            for line in lines:
                k.emit("select_lt", (line,), (layer.t, zeros, y, k.args[1]))
                if line is not lines[-1]:
                    k.add(layer.t, layer.t, k.args[2])
                    k.addi(y, y, 1)

    def _left_edge(self, lines: list[Reg], before: list[list[Reg]]) -> None:
        """Fill the vectors to the left of the first step: zeros, then the first columns."""
        k = self.k
        first = self.pad if self.stride == 1 else self.pad - 1  # columns already to the left
        for line, kept in zip(lines, before, strict=True):
            for reg in kept:
                k.emit("zero", (reg,))
            if first:
                with k.vectors(2) as (columns, mask):
                    k.load(columns, line, lanes=first, post=4 * first)
                    if first == 2:  # a plane may be one column wide
                        k.load(mask, k.args[5], 32)
                        k.emit("and", (columns,), (columns, mask))
                    k.emit("ext", (kept[-1],), (kept[-1], columns), imm=first)

    def _columns(self, lines: list[Reg], before: list[list[Reg]], left: Reg) -> None:
        """Write the loop over steps of four output pixels."""
        k, out_bytes = self.k, self.layer.out_bytes
        if (self.size, self.stride) == (5, 1):
            with k.when(out_bytes, 20):
                k.addi(left, out_bytes, -20)
                with k.loop(left, 16, until="below"):
                    self._step(lines, before, None)
                self._step(lines, before, 16)
        else:
            k.addi(left, out_bytes, -4)
            with k.loop(left, 16, until="below"):
                self._step(lines, before, None)
        self._step(lines, before, 0, is_last=True)

    def _step(
        self,
        lines: list[Reg],
        before: list[list[Reg]],
        mask_at: int | None,
        *,
        is_last: bool = False,
    ) -> None:
        """Write four output pixels of each row; ``mask_at`` is where the edge's mask lies."""
        k = self.k
        with k.vectors(self.count * self.sets) as acc:
            for row in range(self.count):
                k.emit("dup_lane", (acc[row * self.sets],), (self.layer.weights[0],))
                for reg in acc[row * self.sets + 1 : (row + 1) * self.sets]:
                    k.emit("zero", (reg,))
            for number, (line, kept) in enumerate(zip(lines, before, strict=True)):
                if self.stride == 1:
                    self._line(acc, number, line, kept, mask_at)
                else:
                    self._line_of_two(acc, number, line, kept, mask_at)
            totals = acc[:: self.sets]
            if self.sets == 2:
                for total, other in zip(totals, acc[1::2], strict=True):
                    k.emit("add", (total,), (total, other))
            k.clamp(totals)
            for total, pointer in zip(totals, self.out, strict=True):
                if is_last:
                    self._store_last(total, pointer)
                else:
                    k.store(total, pointer, post=16)

    def _line(
        self, acc: list[Reg], number: int, line: Reg, kept: list[Reg], mask_at: int | None
    ) -> None:
        k = self.k
        with k.vectors(2) as (now, shifted):
            k.load(now, line, post=16)
            self._mask(now, shifted, mask_at)
            for col in range(self.size):
                behind = self.size - 1 - col  # columns to the left of the newest vector
                source = self._behind(kept[0], now, behind, shifted)
                self._multiply(acc, number, col, source)
            k.mov(kept[0], now)

    def _line_of_two(
        self, acc: list[Reg], number: int, line: Reg, kept: list[Reg], mask_at: int | None
    ) -> None:
        k = self.k
        with k.vectors(3) as (first, second, spare):
            k.load(first, line, post=16)
            k.load(second, line, post=16)
            if mask_at is not None:
                self._mask(first, spare, mask_at)
                self._mask(second, spare, mask_at + 16)
            k.emit("uzp1", (spare,), (first, second))
            k.emit("uzp2", (second,), (first, second))
            even, odd, shifted = spare, second, first
            for col in range(self.size):
                behind = self.size - 1 - col
                parity, now = ((-1, odd), (0, even))[behind % 2]
                source = self._behind(kept[parity], now, behind // 2, shifted)
                self._multiply(acc, number, col, source)
            k.mov(kept[-1], odd)
            if self.kept == 2:
                k.mov(kept[0], even)

    def _behind(self, before: Reg, now: Reg, distance: int, shifted: Reg) -> Reg:
        """Return a register with the vector ``distance`` lanes to the left of ``now``."""
        if distance in (0, 4):
            return before if distance else now
        self.k.emit("ext", (shifted,), (before, now), imm=4 - distance)
        return shifted

    def _mask(self, reg: Reg, spare: Reg, mask_at: int | None) -> None:
        if mask_at is not None:
            self.k.load(spare, self.k.args[5], mask_at)
            self.k.emit("and", (reg,), (reg, spare))

    def _multiply(self, acc: Sequence[Reg], number: int, col: int, source: Reg) -> None:
        """Add one input vector times its weight to every output row that sees the line."""
        for row in range(self.count):
            tap_row = number - row * self.stride
            if 0 <= tap_row < self.size:
                weight, lane = self.layer.tap(tap_row, col)
                total = acc[row * self.sets + (col % self.sets)]
                self.k.emit("fma_lane", (total,), (source, weight), imm=lane)

    def _store_last(self, total: Reg, pointer: Reg) -> None:
        """Store what is left of the row: four pixels, or two and one."""
        k, out_bytes = self.k, self.layer.out_bytes
        with k.when(out_bytes, 15, test="clear"):
            k.store(total, pointer)
        with k.when(out_bytes, 8, test="bit"):
            k.store(total, pointer, lanes=2, post=8)
            k.emit("ext", (total,), (total, total), imm=2)
        with k.when(out_bytes, 4, test="bit"):
            k.store(total, pointer, lanes=1)
