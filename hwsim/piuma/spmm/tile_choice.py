"""Choose the tiles that single-threaded pipelines take from the multi-threaded ones.

HotTiles (Gerogiannis et al. 2024) chooses by a model of its own, which is not at hand; this one
counts the programs' instructions and the longest waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from heapq import heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.piuma.spec import PiumaSpec

__all__ = ["TileChoice"]

_CHUNK = 8
"""Dense columns that a loop over non-zeros serves."""
_HOT_NONZERO, _HOT_ROW, _COLD_NONZERO, _COLD_ROW = 37, 100, 32, 45
"""Predicted cycles of a single-threaded pipeline and instructions of a thread, per chunk and
non-zero or row (counted in the programs; waits for scratchpad and cache in the former, whose
atomics of a row take the memory's latency once more)."""
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
    cuts : int[panels + 1]
        First rows of the row panels, and the end.
    across : int
        Tiles side by side; tile numbers count row panel by row panel.
    result : (int, int)
        Rows and dense columns of the result.
    fetched_bytes : int
        Dense rows of a tile.
    """

    spec: PiumaSpec
    rows: Array
    tile_of: Array
    cuts: Array
    across: int
    result: tuple[int, int]
    fetched_bytes: int

    @property
    def tiles(self) -> int:
        """Return how many tiles there are."""
        return (len(self.cuts) - 1) * self.across

    @cached_property
    def counts(self) -> Array:
        """Return int[tiles]: their non-zeros."""
        return np.bincount(self.tile_of, minlength=self.tiles)

    @cached_property
    def _used_rows(self) -> Array:
        """Return int[tiles]: their rows with non-zeros."""
        pairs = np.unique(self.tile_of * self.result[0] + self.rows) // self.result[0]
        return np.bincount(pairs, minlength=self.tiles)

    @cached_property
    def _hot(self) -> Array:
        """Return int[tiles]: cycles of the single-threaded pipeline that takes it."""
        row = _HOT_ROW + self.spec.dram_latency_cycles
        each = self.counts * _HOT_NONZERO + self._used_rows * row
        return self._chunks * each + self._moving_cycles(self.fetched_bytes)

    @cached_property
    def _cold(self) -> Array:
        """Return int[tiles]: instructions of the threads that take its rows."""
        return self._chunks * (self.counts * _COLD_NONZERO + self._used_rows * _COLD_ROW)

    def hot(self) -> tuple[int, Array]:
        """Return predicted cycles, and bool[tiles]: those that gain most from being hot.

        As many of them as make the longer part shortest.
        """
        order = np.argsort(self._hot / np.maximum(self._cold, 1), kind="stable")
        order = order[self.counts[order] > 0]
        best, chosen = -1, np.zeros(self.tiles, bool)
        for size in np.unique(np.linspace(0, len(order), _PREFIXES).astype(int)).tolist():
            is_hot = np.zeros(self.tiles, bool)
            is_hot[order[:size]] = True
            cycles = self._cycles(is_hot)
            if best < 0 or cycles < best:
                best, chosen = cycles, is_hot
        return best, chosen

    def _cycles(self, is_hot: Array) -> int:
        """Return the cycles of the busiest kind, or of DMA, behind those of zeroing rows."""
        spec = self.spec
        loads = np.bincount(self.owners(is_hot), weights=self._hot * is_hot)
        pipelines = max(1, spec.blocks * spec.mtp.pipelines)
        cold = ceil_div(int(self._cold[~is_hot].sum()), pipelines)
        fetched = self._moving_cycles(self.fetched_bytes * int(is_hot.sum())) // spec.blocks
        zeroed = np.diff(self.cuts)[is_hot.reshape(-1, self.across).any(axis=1)].sum()
        zeroing = self._moving_cycles(8 * self.result[1] * int(zeroed)) // spec.blocks
        return max(int(loads.max()), cold, fetched) + zeroing

    def owners(self, is_hot: Array) -> Array:
        """Return int[tiles]: pipelines of the hot ones; the longest goes first, to the idlest."""
        owner = np.zeros(self.tiles, np.int64)
        heap = [(0, i) for i in range(self.spec.blocks * self.spec.stp.pipelines)]
        hot = np.flatnonzero(is_hot)
        for tile in hot[np.argsort(-self._hot[hot], kind="stable")].tolist():
            load, pipeline = heap[0]
            owner[tile] = pipeline
            heapreplace(heap, (load + int(self._hot[tile]), pipeline))
        return owner

    @property
    def _chunks(self) -> int:
        return ceil_div(self.result[1], _CHUNK)

    def _moving_cycles(self, moved_bytes: int) -> int:
        """Return the cycles of one DMA engine for so many bytes, lines in flight at a time."""
        spec, rate = self.spec, self.spec.dram_bytes_per_cycle
        line = ceil_div(64 * rate.denominator, rate.numerator)
        each = max(line, ceil_div(line + spec.dram_latency_cycles, spec.dma.outstanding))
        return ceil_div(moved_bytes, 64) * each + (spec.dma.setup_cycles if moved_bytes else 0)
