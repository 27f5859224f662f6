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

__all__ = [
    "FLAG_BYTES",
    "TILE_FIELDS",
    "Tiling",
    "cut_tiles",
    "part_bytes",
    "row_panels",
    "tile_columns",
]

TILE_FIELDS = (
    "first row",
    "row behind the last",
    "first column",
    "columns",
    "place in the rows",  # row pointers before the tile's own
    "rows to zero",  # all or none: tiles that share rows zero them once
)
"""Words of a tile's description."""
FLAG_BYTES = 64
"""Of each single-threaded pipeline's part of the scratchpad, for the DMA engine's flag."""
_PANELS = (1, 2, 4, 8, 16)
"""Row panels per single-threaded pipeline that are tried where both kinds share the work."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Tiling:
    """A matrix in two parts.

    Attributes
    ----------
    tiles : int64[tiles, 6]
        TILE_FIELDS of the hot tiles, those of one pipeline together.
    firsts : int64[pipelines + 1]
        Where each pipeline's tiles begin.
    ptr, col, val : int32, int32, float64
        Rows of all hot tiles; columns count from the tile's first.
    cold_ptr, cold_col, cold_val : int32[m + 1], int32, float64
        The rest, by rows.
    is_shared : int32[m]
        1 for rows of hot tiles.
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


def tile_columns(spec: PiumaSpec, width: int) -> int:
    """Return the columns of a tile for a product with ``width`` dense columns.

    Raises
    ------
    InputError
        If a pipeline's part of the scratchpad holds no dense row.
    """
    room = part_bytes(spec) - FLAG_BYTES
    if room < 8 * width:
        need = f"{8 * width} bytes of dense row per single-threaded pipeline"
        raise InputError("spad.capacity_bytes", need, f"{max(room, 0)} bytes")
    return min(spec.spmm.tile_cols, room // (8 * width))


def row_panels(spec: PiumaSpec, ptr: Array, each: int) -> Array:
    """Return first rows of panels of about equal work, and the end; ``each`` per pipeline, or more.

    A row counts as much as a non-zero. No panel has more than ``spmm.tile_rows`` rows.
    """
    m = len(ptr) - 1
    begins = np.arange(m + 1) + ptr
    panels = max(each * spec.blocks * spec.stp.pipelines, ceil_div(m, spec.spmm.tile_rows))
    goal = ceil_div(int(begins[-1]), panels)
    cuts = [0]
    while cuts[-1] < m:
        low = cuts[-1]
        end = int(np.searchsorted(begins, begins[low] + goal, side="right")) - 1
        cuts.append(min(max(end, low + 1), low + spec.spmm.tile_rows, m))
    return np.array(cuts)


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
    m, n, _ = extents
    ptr, col, val = matrix
    nonzeros = int(ptr[-1])
    rows = np.repeat(np.arange(m), np.diff(ptr))
    choice, is_hot = _choose(spec, (ptr, rows, col[:nonzeros]), extents, has_cold=has_cold)
    cuts, panels, tile_of, tiles = choice.cuts, choice.across, choice.tile_of, choice.tiles
    tile_cols = tile_columns(spec, extents[2])
    owner = choice.owners(is_hot)
    hot = is_hot[tile_of]
    pipelines = spec.blocks * spec.stp.pipelines
    chosen = np.flatnonzero(is_hot)
    chosen = chosen[np.argsort(owner[chosen], kind="stable")]
    order = np.lexsort((rows[hot], _rank(chosen, tiles)[tile_of[hot]]))
    lows, highs = cuts[chosen // panels], cuts[chosen // panels + 1]
    cols = chosen % panels * tile_cols
    places = np.concatenate([[0], np.cumsum(highs - lows + 1)[:-1]]) if len(chosen) else chosen
    is_first = np.zeros(len(chosen), np.int64)
    is_first[np.unique(lows, return_index=True)[1]] = 1
    zeroed = (highs - lows) * is_first
    fields = [lows, highs, cols, np.minimum(tile_cols, n - cols), places, zeroed]
    return Tiling(
        tiles=np.stack(fields, axis=1).astype(np.int64).reshape(-1, len(TILE_FIELDS)),
        firsts=np.searchsorted(owner[chosen], np.arange(pipelines + 1)).astype(np.int64),
        ptr=_tile_rows(chosen, lows, highs, tile_of[hot][order], rows[hot][order]),
        col=(col[:nonzeros][hot][order] % tile_cols).astype(np.int32),
        val=val[:nonzeros][hot][order].astype(np.float64),
        cold_ptr=_pointers(rows[~hot], m),
        cold_col=col[:nonzeros][~hot].astype(np.int32),
        cold_val=val[:nonzeros][~hot].astype(np.float64),
        is_shared=_covered(lows, highs, m),
    )


def _choose(
    spec: PiumaSpec,
    places: tuple[Array, Array, Array],
    extents: tuple[int, int, int],
    *,
    has_cold: bool,
) -> tuple[TileChoice, Array]:
    """Return the cut that predicted cycles favour and its hot tiles; ``places``: ptr, rows, col."""
    m, n, width = extents
    ptr, rows, col = places
    tile_cols = tile_columns(spec, width)
    across = ceil_div(n, tile_cols)
    found = []
    for each in _PANELS if has_cold else _PANELS[:1]:
        cuts = row_panels(spec, ptr, each)
        tile_of = (np.searchsorted(cuts, rows, side="right") - 1) * across + col // tile_cols
        fetched_bytes = 8 * width * min(tile_cols, n)
        choice = TileChoice(spec, rows, tile_of, cuts, across, (m, width), fetched_bytes)
        cycles, is_hot = choice.hot() if has_cold else (0, choice.counts > 0)
        found.append((cycles, choice, is_hot))
    _, choice, is_hot = min(found, key=lambda entry: entry[0])
    return choice, is_hot


def _rank(chosen: Array, tiles: int) -> Array:
    rank = np.zeros(tiles, np.int64)
    rank[chosen] = np.arange(len(chosen))
    return rank


def _covered(lows: Array, highs: Array, m: int) -> Array:
    """Return int32[m]: 1 for rows in any of the ranges."""
    steps = np.bincount(lows, minlength=m + 1) - np.bincount(highs, minlength=m + 1)
    return (np.cumsum(steps)[:m] > 0).astype(np.int32)


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
