"""Extrapolate what a whole SAT accelerator costs on the board: array, update, selection, buffers.

This is synthesis of the RTL as it stands; the area model (``hwsim run --area``) predicts the same
parts from recorded sizes. Left out by both, because no RTL of theirs exists: the vector path, the
DMA engine and what moves data between buffers and units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amaranth.lib import wiring

from hwsim.core.units import ceil_div
from hwsim.sat.spec import PreGenSpec, SatSpec, SoreSpec, TileSpec, WuveSpec
from rtl.sat.pre_gen_words import PreGenWords
from rtl.sat.wuve import Wuve
from rtl.synth.array import Counts, array_parts
from rtl.synth.xilinx import synthesize

__all__ = ["URAM_BYTES", "accelerator_parts", "buffer_urams"]

URAM_BYTES = 4096 * 8
"""Data of an UltraRAM: 4096 words of 64 bits, the other 8 being for error correction (UG573)."""


def accelerator_parts(
    spec: SatSpec, count: Callable[[wiring.Component], Counts] = synthesize
) -> Iterator[tuple[str, int, Counts]]:
    """Yield (name, how many, cells of one) of each kind of part of the accelerator.

    Parameters
    ----------
    spec : SatSpec
        As configured; SORE's pattern is the array's longest.
    count : (component) -> {resource: cells}
        Synthesis of one part.

    Notes
    -----
    WUVE is synthesised with one lane and pre-generation with one group of lanes (``nm_m`` of them:
    transposer, a sorter per lane and direction, packers), since lanes are alike; what lanes could
    share is counted once per lane. Buffers are counted by capacity, each half on its own.
    """
    sorter = spec.sore.sorter
    tile = TileSpec(array=spec.array, nm_n=sorter.nm_n, nm_m=sorter.nm_m)
    for name, number, cells in array_parts(tile, count):
        yield f"array: {name}", number, cells
    lane = spec.model_copy(update={"wuve": WuveSpec(lanes=1)})
    cells = count(Wuve(lane))
    yield "WUVE lane", spec.wuve.lanes, cells
    group = PreGenSpec(sore=SoreSpec(lanes=sorter.nm_m, sorter=sorter))
    groups = ceil_div(spec.sore.lanes, sorter.nm_m)
    yield f"{sorter.nm_m} SORE lanes of both directions", groups, count(PreGenWords(group))
    yield "buffers by capacity", 1, {**dict.fromkeys(cells, 0), "uram": buffer_urams(spec)}


def buffer_urams(spec: SatSpec) -> int:
    """Return the UltraRAMs that hold all buffers, in halves; the lane buffer in quarters."""
    halves = spec.capacities().values()
    urams = sum(2 * ceil_div(ceil_div(size, 2), URAM_BYTES) for size in halves)
    return urams + 4 * ceil_div(ceil_div(spec.buffers.lane_bytes, 4), URAM_BYTES)
