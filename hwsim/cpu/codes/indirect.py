"""Emit channels-last convolutions that find their rows through a table (XNNPACK's ``f32-igemm``).

Tiles of ``mr`` rows (pixels) by 8 columns (output channels): for each tile of rows all columns,
for each eight columns all kernel taps and the whole reduction, two steps per turn. Weights are
packed by eight columns and stream once per tile of rows. A tile that is not full computes its last
rows again. Row addresses come from the table, one entry per row and tap; taps in the padding are
read where the image would go on. Without multiply-accumulates by lane (WebAssembly), tiles are 4x8
and every row's value is broadcast as it is loaded (``loadsplat``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.cpu.codes.vectors import X, clamp_and_store, count_down, multiply_add
from hwsim.cpu.isa import UopBuilder, UopKernel
from hwsim.cpu.microkernel.gemm import BLOCK

__all__ = ["IndirectShape", "indirect_kernel", "row_streams"]

_MAX_ROWS, _MAX_ROWS_BROADCAST = 6, 4
_SUMS, _ROWS, _COLUMNS = 0, 12, 18
_A, _B, _C, _TABLE, _TRIPS, _TILES = X, X + 8, X + 9, X + 10, X + 11, X + 12


@dataclass(frozen=True)
class IndirectShape:
    """A product of ``m`` rows, ``kh`` x ``kw`` taps of ``k`` reduction steps, ``n`` columns.

    ``out_bytes`` is the distance of two output rows, ``tap_bytes`` and ``line_bytes`` those of
    two kernel taps side by side and one above the other; ``has_lanes`` says that a factor can be
    a lane.
    """

    m: int
    k: int
    n: int
    out_bytes: int
    kh: int
    kw: int
    tap_bytes: int
    line_bytes: int
    has_lanes: bool = True

    @property
    def rows(self) -> int:
        """Return the rows of a tile."""
        return min(self.m, _MAX_ROWS if self.has_lanes else _MAX_ROWS_BROADCAST)

    @property
    def tiles(self) -> int:
        """Return the tiles of rows."""
        return ceil_div(self.m, self.rows)

    @property
    def packed_bytes(self) -> int:
        """Return the bytes of the packed weights, biases included."""
        steps = self.kh * self.kw * self.k
        return 4 * BLOCK * ceil_div(self.n, BLOCK) * (1 + steps)


def row_streams(shape: IndirectShape, addresses: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the streams ``next0`` …: from a tile's row to the next tile's, in bytes.

    ``addresses`` : int64[m], of each row's first tap.
    """
    order = np.minimum(np.arange(shape.tiles * shape.rows), shape.m - 1)
    tiles = addresses[order].reshape(shape.tiles, shape.rows)
    steps = np.diff(tiles, axis=0, append=tiles[-1:])
    return {f"next{row}": steps[:, row] for row in range(shape.rows)}


def indirect_kernel(shape: IndirectShape) -> UopKernel:
    """Return the kernel; pointers ``row0`` … start at the first tile's rows."""
    b = UopBuilder(f"igemm-{shape.rows}x{BLOCK}")
    full, rest = divmod(shape.n, BLOCK)
    with b.loop(shape.tiles):
        for row in range(shape.rows):
            b.op("alu", (_A + row,), (_A + row,))
        for count, width in ((full, BLOCK), (min(rest, 1), rest)):
            if count:
                with b.loop(count):
                    _columns(b, shape, width)
        b.step("weights", -shape.packed_bytes)
        b.step("out", shape.rows * shape.out_bytes - 4 * shape.n)
        for row in range(shape.rows):
            b.step(f"row{row}", f"next{row}")
        b.step("table", 8 * shape.kh * shape.kw * shape.rows)
        count_down(b, _TILES)
    return b.build()


def _columns(b: UopBuilder, shape: IndirectShape, width: int) -> None:
    """Write eight columns of a tile: biases, the reduction, clamp and store."""
    b.op("load_pair_q", (_SUMS, _SUMS + 1), (_B,), pointer="weights", size=32,
         has_write_back=True, step=("weights", 32))  # fmt: skip
    for i in range(2, 2 * shape.rows):
        b.op("move_q", (_SUMS + i,), (_SUMS + i % 2,))
    with b.loop(shape.kh):
        with b.loop(shape.kw):
            _tap(b, shape)
        _step_rows(b, shape, shape.line_bytes - shape.kw * shape.tap_bytes)
    _step_rows(b, shape, -shape.kh * shape.line_bytes)
    b.step("table", -8 * shape.kh * shape.kw * shape.rows)
    for row in range(shape.rows):
        for half in range(ceil_div(width, 4)):
            _store(b, 2 * row + half, min(4, width - 4 * half), row * shape.out_bytes + 16 * half)
    b.op("alu", (_C,), (_C,), step=("out", 4 * width))
    count_down(b, _TRIPS)


def _step_rows(b: UopBuilder, shape: IndirectShape, by: int) -> None:
    for row in range(shape.rows):
        b.step(f"row{row}", by)


def _tap(b: UopBuilder, shape: IndirectShape) -> None:
    for row in range(shape.rows):
        b.op("load_x", (_A + row,), (_TABLE,), pointer="table", offset=8 * row, size=8)
    b.op("alu", (_TABLE,), (_TABLE,), step=("table", 8 * shape.rows))
    _reduction(b, shape)
    _step_rows(b, shape, shape.tap_bytes - 4 * shape.k)
    count_down(b, _TRIPS)


def _store(b: UopBuilder, register: int, lanes: int, at: int) -> None:
    clamp_and_store(b, register, lanes if lanes != 3 else 2, _C, "out", at)
    if lanes == 3:
        b.op("store_s", (), (_C, register), pointer="out", offset=at + 8, size=4)


def _reduction(b: UopBuilder, shape: IndirectShape) -> None:
    if shape.k >= 2:
        with b.loop(shape.k // 2):
            _steps(b, shape, 2)
            count_down(b, _TRIPS)
    if shape.k % 2:
        _steps(b, shape, 1)


def _steps(b: UopBuilder, shape: IndirectShape, steps: int) -> None:
    if shape.has_lanes:
        _load_rows(b, shape, "load_s", steps)
    for _ in range(steps):
        if not shape.has_lanes:
            _load_rows(b, shape, "load_dup", 1)
        b.op("load_pair_q", (_COLUMNS, _COLUMNS + 1), (_B,), pointer="weights", size=32,
             has_write_back=True, step=("weights", 32))  # fmt: skip
        for half in range(2):
            for row in range(shape.rows):
                multiply_add(b, _SUMS + 2 * row + half, _COLUMNS + half, _ROWS + row)


def _load_rows(b: UopBuilder, shape: IndirectShape, name: str, steps: int) -> None:
    for row in range(shape.rows):
        b.op(name, (_ROWS + row,), (_A + row,), pointer=f"row{row}", size=4 * steps,
             has_write_back=True, step=(f"row{row}", 4 * steps))  # fmt: skip
