"""Say which keys a group of rows of a prompt attends to, with and without a mask of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats.block_mask import BlockMask, read_mask_text
from hwsim.core.units import ceil_div
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec

__all__ = ["GroupView", "group_view", "heads_of_core", "kept_of_group", "mask_of"]


@dataclass(frozen=True)
class GroupView:
    """Keys of one head that a group of rows reads, in elements.

    ``kept`` counts those of each block of rows, ``union`` those of any; ``spans`` are, for each
    block of rows, lengths over the union, in turn kept and not; ``runs`` are the union's pieces
    that lie side by side in memory, from ``starts`` on.
    """

    kept: tuple[int, ...]
    union: int
    spans: tuple[tuple[int, ...], ...]
    runs: tuple[int, ...]
    starts: tuple[int, ...] = (0,)

    def token(self, index: int) -> int:
        """Return where the key number ``index`` of the union is in memory."""
        for start, size in zip(self.starts, self.runs, strict=True):
            if index < size:
                return start + index
            index -= size
        raise IndexError(index)


def group_view(layer: Layer, head: int, group: int, spec: FlightSpec) -> GroupView:
    """Return what rows ``group * mm_rows`` and on of ``head`` attend to, in whole mask blocks."""
    rows, block = spec.mpe.mm_rows, spec.mask_block
    context = ceil_div(layer.context, rows) * rows
    if layer.mask:
        seen = kept_of_group(layer, head, group, rows)
        union = seen.any(axis=0)
        spans = tuple(_lengths(row[union], block, True) for row in seen)
        kept = tuple(int(row.sum()) * block for row in seen)
        runs = _lengths(union, block, True)
        starts = tuple(sum(runs[:place]) for place in range(0, len(runs), 2))
        return GroupView(kept, int(union.sum()) * block, spans, runs[::2], starts)
    kept = (context,) * ceil_div(rows, block)
    if layer.is_causal:
        ends = range(group * rows + block, group * rows + block + rows, block)
        kept = tuple(min(context, end) for end in ends)
    most = max(kept)
    return GroupView(kept, most, tuple((keys, most - keys) for keys in kept), (most,))


def kept_of_group(layer: Layer, head: int, group: int, rows: int) -> NDArray[np.bool_]:
    """Return bool[blocks of rows, blocks of keys] of a masked layer.

    Rows that only fill up the bucket attend to everything before them.
    """
    mask = mask_of(layer.mask, layer.heads, layer.mask_tokens)
    own = mask.kept[head]
    blocks = ceil_div(layer.tokens, rows) * rows // mask.block
    whole = np.tri(blocks, dtype=bool)
    whole[: len(own), : len(own)] = own
    first = group * rows // mask.block
    return whole[first : first + rows // mask.block]


@lru_cache(maxsize=256)
def mask_of(text: str, heads: int, tokens: int) -> BlockMask:
    """Return the mask that ``text`` names."""
    return read_mask_text(text, heads, tokens)


def heads_of_core(layer: Layer, spec: FlightSpec) -> range:
    """Return the heads of the core whose share of a prompt's attention is the largest.

    Or of the one that ``layer.first_head`` names.
    """
    share = ceil_div(layer.heads // layer.group, spec.shares) * layer.group
    if layer.first_head >= 0:
        return range(layer.first_head, min(layer.first_head + share, layer.heads))
    if not layer.mask:
        return range(share)
    kept = mask_of(layer.mask, layer.heads, layer.mask_tokens).kept.sum(axis=(1, 2))
    firsts = range(0, layer.heads, share)
    first = max(firsts, key=lambda head: int(kept[head : head + share].sum()))
    return range(first, min(first + share, layer.heads))


def _lengths(kept: NDArray[np.bool_], block: int, begins: bool) -> tuple[int, ...]:
    """Return the lengths of equal stretches in elements, the first one of ``begins`` (maybe 0)."""
    runs = [(bool(value), len(list(group)) * block) for value, group in groupby(kept.tolist())]
    return (() if not runs or runs[0][0] == begins else (0,)) + tuple(size for _, size in runs)
