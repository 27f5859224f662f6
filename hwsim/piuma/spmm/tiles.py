"""Cut a sparse matrix into tiles, and say which of them the single-threaded pipelines take.

After HotTiles (Gerogiannis et al. 2024): dense ("hot") tiles go to the pipelines that stream dense
rows into the scratchpad by DMA, the rest stays with those that read them on demand. Which tiles are
hot is decided by predicted cycles (:mod:`hwsim.piuma.spmm.tile_choice`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spmm.tile_choice import TileChoice

__all__ = ["FLAG_BYTES", "TILE_FIELDS", "Tiling", "cut_tiles", "part_bytes", "tile_shape"]

TILE_FIELDS = ("first row", "row behind the last", "first column", "columns", "place in the rows")
"""Words of a tile's description; the last counts row pointers before the tile's own."""
FLAG_BYTES = 64
"""Of each single-threaded pipeline's part of the scratchpad, for the DMA engine's flag."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Tiling:
    """A matrix in two parts.

    Attributes
    ----------
    tiles : int64[tiles, 5]
        TILE_FIELDS of the hot tiles, those of one pipeline together.
    firsts : int64[pipelines + 1]
        Where each pipeline's tiles begin.
    ptr, col, val : int32, int32, float64
        Rows of all hot tiles; columns count from the tile's first.
    cold_ptr, cold_col, cold_val : int32[m + 1], int32, float64
        The rest, by rows.
    is_shared : int32[m]
        1 for rows with non-zeros in hot tiles.
    """

    tiles: Array
    firsts: Array
    ptr: Array
    col: Array
    val: Array
    cold_ptr: Array
    cold_col: Array
    cold_val: Array
    is_shared: Array

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name, each with at least one element."""
        found = {}
        for name, values in vars(self).items():
            found[name] = values if values.size else np.zeros(1, values.dtype)
        return found


def part_bytes(spec: PiumaSpec) -> int:
    """Return each single-threaded pipeline's part of a scratchpad, whole lines."""
    return spec.spad.capacity_bytes // spec.stp.pipelines // 64 * 64


def tile_shape(spec: PiumaSpec, m: int, width: int) -> tuple[int, int]:
    """Return rows and columns of a tile for a product of ``m`` rows and ``width`` dense columns.

    Raises
    ------
    InputError
        If a pipeline's part of the scratchpad holds no dense row.
    """
    room = part_bytes(spec) - FLAG_BYTES
    if room < 8 * width:
        need = f"{8 * width} bytes of dense row per single-threaded pipeline"
        raise InputError("spad.capacity_bytes", need, f"{max(room, 0)} bytes")
    pipelines = spec.blocks * spec.stp.pipelines
    rows = min(spec.spmm.tile_rows, ceil_div(m, pipelines))
    return rows, min(spec.spmm.tile_cols, room // (8 * width))


def cut_tiles(
    spec: PiumaSpec,
    matrix: tuple[Array, Array, Array],
    extents: tuple[int, int, int],
    *,
    has_cold: bool,
) -> Tiling:
    """Return ``matrix`` (ptr, col, val) of ``extents`` (m, n, dense columns) in two parts.

    Without ``has_cold`` all tiles with non-zeros are hot.
    """
    m, n, width = extents
    ptr, col, val = matrix
    nonzeros = int(ptr[-1])
    rows = np.repeat(np.arange(m), np.diff(ptr))
    tile_rows, tile_cols = tile_shape(spec, m, width)
    panels = ceil_div(n, tile_cols)
    tile_of = rows // tile_rows * panels + col[:nonzeros] // tile_cols
    tiles = ceil_div(m, tile_rows) * panels
    is_hot = np.bincount(tile_of, minlength=tiles) > 0
    if has_cold:
        fetched_bytes = 8 * width * min(tile_cols, n)
        is_hot = TileChoice(spec, rows, tile_of, panels, (m, width), fetched_bytes).hot(tiles)
    hot = is_hot[tile_of]
    pipelines = spec.blocks * spec.stp.pipelines
    # A row panel's tiles belong to one pipeline, which alone (with atomics' help) adds to its rows.
    chosen = np.flatnonzero(is_hot)
    owner = chosen // panels % pipelines
    chosen = chosen[np.lexsort((chosen, owner))]
    order = np.lexsort((rows[hot], _rank(chosen, tiles)[tile_of[hot]]))
    lows = chosen // panels * tile_rows
    highs = np.minimum(lows + tile_rows, m)
    cols = chosen % panels * tile_cols
    places = np.concatenate([[0], np.cumsum(highs - lows + 1)[:-1]]) if len(chosen) else chosen
    fields = [lows, highs, cols, np.minimum(tile_cols, n - cols), places]
    return Tiling(
        tiles=np.stack(fields, axis=1).astype(np.int64).reshape(-1, len(TILE_FIELDS)),
        firsts=np.searchsorted(np.sort(owner), np.arange(pipelines + 1)).astype(np.int64),
        ptr=_tile_rows(chosen, lows, highs, tile_of[hot][order], rows[hot][order]),
        col=(col[:nonzeros][hot][order] % tile_cols).astype(np.int32),
        val=val[:nonzeros][hot][order].astype(np.float64),
        cold_ptr=_pointers(rows[~hot], m),
        cold_col=col[:nonzeros][~hot].astype(np.int32),
        cold_val=val[:nonzeros][~hot].astype(np.float64),
        is_shared=(np.bincount(rows[hot], minlength=m) > 0).astype(np.int32),
    )


def _rank(chosen: Array, tiles: int) -> Array:
    rank = np.zeros(tiles, np.int64)
    rank[chosen] = np.arange(len(chosen))
    return rank


def _pointers(rows: Array, m: int) -> Array:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=m))]).astype(np.int32)


def _tile_rows(chosen: Array, lows: Array, highs: Array, tile_of: Array, rows: Array) -> Array:
    """Return row pointers of all tiles, non-zeros being in the tiles' order."""
    parts = []
    before = 0
    for tile, low, high in zip(chosen.tolist(), lows.tolist(), highs.tolist(), strict=True):
        mine = rows[before : before + int((tile_of == tile).sum())] - low
        parts.append(before + _pointers(mine, high - low))
        before += len(mine)
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
