"""Choose the tiles that single-threaded pipelines take from the multi-threaded ones.

HotTiles (Gerogiannis et al. 2024) chooses by a model of its own, which is not at hand; this one
counts the programs' instructions and the longest waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.piuma.spec import PiumaSpec

__all__ = ["TileChoice"]

_CHUNK = 8
"""Dense columns that a loop over non-zeros serves."""
_HOT_NONZERO, _HOT_ROW, _COLD_NONZERO, _COLD_ROW = 40, 60, 32, 30
"""Predicted cycles of a single-threaded pipeline and instructions of a thread, per chunk and
non-zero or row (counted in the programs; waits for scratchpad and cache in the former)."""
_PREFIXES = 64
"""Sets of tiles that are tried."""

Array = NDArray[Any]


@dataclass(frozen=True)
class TileChoice:
    """What a matrix costs on either kind of pipeline.

    Attributes
    ----------
    rows, tile_of : int[nonzeros]
        Row and tile of every non-zero.
    panels : int
        Tiles side by side; tile numbers count row panel by row panel.
    result : (int, int)
        Rows and dense columns of the result.
    fetched_bytes : int
        Dense rows of a tile.
    """

    spec: PiumaSpec
    rows: Array
    tile_of: Array
    panels: int
    result: tuple[int, int]
    fetched_bytes: int

    def hot(self, tiles: int) -> Array:
        """Return bool[tiles]: those that gain most, as many as make the longer part shortest."""
        hot, cold, counts = self._costs(tiles)
        order = np.argsort(hot / np.maximum(cold, 1), kind="stable")
        order = order[counts[order] > 0]
        best, chosen = -1, np.zeros(tiles, bool)
        for size in np.unique(np.linspace(0, len(order), _PREFIXES).astype(int)).tolist():
            is_hot = np.zeros(tiles, bool)
            is_hot[order[:size]] = True
            longest = max(self._hot_cycles(hot * is_hot), self._cold_cycles(is_hot))
            # Without hot tiles the result need not be zeroed.
            longest += self._memory_cycles(8 * self.result[0] * self.result[1]) if size else 0
            if best < 0 or longest < best:
                best, chosen = longest, is_hot
        return chosen

    @property
    def _chunks(self) -> int:
        return ceil_div(self.result[1], _CHUNK)

    def _memory_cycles(self, moved_bytes: int) -> int:
        rate = self.spec.dram_bytes_per_cycle
        return ceil_div(moved_bytes * rate.denominator, rate.numerator)

    def _costs(self, tiles: int) -> tuple[Array, Array, Array]:
        """Return per tile: cycles if hot, instructions if cold, non-zeros."""
        counts = np.bincount(self.tile_of, minlength=tiles)
        pairs = np.unique(self.tile_of * self.result[0] + self.rows) // self.result[0]
        used_rows = np.bincount(pairs, minlength=tiles)
        latency = self.spec.dram_latency_cycles
        hot = self._chunks * (counts * _HOT_NONZERO + used_rows * (_HOT_ROW + latency))
        hot += latency + self._memory_cycles(self.fetched_bytes)
        cold = self._chunks * (counts * _COLD_NONZERO + used_rows * _COLD_ROW)
        return hot, cold, counts

    def _hot_cycles(self, hot: Array) -> int:
        """Return the cycles of the busiest single-threaded pipeline; row panels are dealt out."""
        pipelines = self.spec.blocks * self.spec.stp.pipelines
        sums = hot.reshape(-1, self.panels).sum(axis=1)
        return int(np.bincount(np.arange(len(sums)) % pipelines, weights=sums).max())

    def _cold_cycles(self, is_hot: Array) -> int:
        """Return the cycles of the multi-threaded pipelines: all of them, or the longest row's."""
        lengths = np.bincount(self.rows[~is_hot[self.tile_of]])
        lengths = lengths[lengths > 0]
        if not len(lengths):
            return 0
        each = self._chunks * (lengths * _COLD_NONZERO + _COLD_ROW)
        shared = ceil_div(int(each.sum()), self.spec.blocks * self.spec.mtp.pipelines)
        return max(shared, int(each.max()) * self.spec.mtp.alu_cycles)
