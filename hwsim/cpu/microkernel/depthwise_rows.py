"""Describe the channels-last depthwise convolutions (XNNPACK's ``f32-dwconv``).

Every output pixel multiplies its taps by their weights, both loaded, four channels at a time; the
rows of the taps are found through :func:`~hwsim.cpu.microkernel.row_table.depthwise_table`. More
than nine taps take several passes over the channels, sums between passes in the output. Two sums
per pass, so that additions do not wait for each other.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.cpu.microkernel.ir import Kernel, KernelBuilder, Reg
from hwsim.cpu.microkernel.row_table import depthwise_passes

__all__ = ["ARGUMENT_NAMES", "MOST_TAPS", "describe_depthwise_rows", "pack_depthwise_rows"]

ARGUMENT_NAMES = (
    "pixels",  # of the output, at least 1
    "channels",  # at least 1
    "input",
    "table",
    "weights",
    "output",
)

MOST_TAPS = 256
"""Beyond it the code of a pixel becomes long."""


def _groups(channels: int) -> list[tuple[int, int]]:
    """Return (first channel, lanes) of each group: fours, then two and one."""
    whole = channels - channels % 4
    found = [(at, 4) for at in range(0, whole, 4)]
    if channels & 2:
        found.append((whole, 2))
    if channels & 1:
        found.append((channels - 1, 1))
    return found


def pack_depthwise_rows(
    weights: NDArray[np.floating], bias: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return weights[c, taps] as the kernel streams them : float32, 16 bytes per group and tap.

    Pass by pass, group by group of channels: in the first pass the biases, then the pass's taps.
    """
    passes = depthwise_passes(weights.shape[1])
    parts = []
    for first, count in zip(accumulate((0, *passes[:-1])), passes, strict=True):
        values = weights[:, first : first + count]
        if first == 0:
            values = np.concatenate([bias[:, None], values], axis=1)
        for at, lanes in _groups(len(weights)):
            group = np.zeros((values.shape[1], 4), dtype=np.float32)
            group[:, :lanes] = values[at : at + lanes].T
            parts.append(group.reshape(-1))
    return np.concatenate(parts)


def describe_depthwise_rows(taps: int) -> Kernel:
    """Return the kernel of ``taps`` taps over all pixels and channels of a layer."""
    if not 1 <= taps <= MOST_TAPS:
        raise InputError("kernel", f"1 to {MOST_TAPS} taps", str(taps))
    k = KernelBuilder(f"dw_rows_{taps}", ARGUMENT_NAMES)
    pixels, channels, source, table, weights, output = k.args
    passes = depthwise_passes(taps)
    with k.integers(max(passes)) as rows, k.integers(3) as (w, left, place):
        for row in rows:
            k.mov(row, source)
        with k.loop(pixels):
            k.mov(w, weights)
            for turn, count in enumerate(passes):
                with k.integers(1) as (step,):
                    for row in rows[:count]:
                        k.emit("load_s32", (step,), (table,), post=4)
                        k.add(row, row, step)
                k.mov(left, channels)
                is_last = turn == len(passes) - 1
                out = output
                if not is_last:
                    k.mov(place, output)
                    out = place
                _Pass(k, rows[:count], w, out, is_first=turn == 0, is_last=is_last).write(left)
    return k.build()


class _Pass:
    """One pass over the channels of a pixel."""

    def __init__(
        self, k: KernelBuilder, rows: list[Reg], w: Reg, out: Reg, *, is_first: bool, is_last: bool
    ) -> None:
        self.k, self.rows, self.w, self.out = k, rows, w, out
        self.is_first, self.is_last = is_first, is_last

    def write(self, left: Reg) -> None:
        """Write the loop over fours of channels, then two and one."""
        with self.k.loop(left, 4, until="below"):
            self._group(4)
        for lanes in (2, 1):
            with self.k.when(left, lanes, test="bit"):
                self._group(lanes)

    def _group(self, lanes: int) -> None:
        k = self.k
        with k.vectors(2) as (total, other):
            at = self._begin(total, lanes)
            for first in range(0, len(self.rows), 2):
                self._taps(total, other, first, at + 16 * first, lanes)
            if len(self.rows) > 1:
                k.emit("add", (total,), (total, other))
            if self.is_last:
                k.clamp([total])
            k.store(total, self.out, lanes=lanes, post=4 * lanes)
        k.addi(self.w, self.w, at + 16 * len(self.rows))

    def _begin(self, total: Reg, lanes: int) -> int:
        """Load biases, or what earlier passes have summed; return where the weights begin."""
        if self.is_first:
            self.k.load(total, self.w)
            return 16
        self.k.load(total, self.out, lanes=lanes)
        return 0

    def _taps(self, total: Reg, other: Reg, first: int, at: int, lanes: int) -> None:
        """Add one or two taps, each to a sum of its own."""
        k, rows = self.k, self.rows[first : first + 2]
        with k.vectors(len(rows)) as weights, k.vectors(len(rows)) as values:
            for turn, weight in enumerate(weights):
                k.load(weight, self.w, at + 16 * turn)
            for row, value in zip(rows, values, strict=True):
                k.load(value, row, lanes=lanes, post=4 * lanes)
            for acc, value, weight in zip((total, other), values, weights, strict=False):
                op = "mul" if acc is other and first == 0 else "fma"
                k.emit(op, (acc,), (value, weight))
