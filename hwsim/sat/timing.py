"""Count the cycles of one GEMM on the SAT array by closed form.

The formulas are derived in docs/sat_microarchitecture.md and proved equal to the cycle-by-cycle
stepping of :mod:`hwsim.sat.pe` by property tests. The ``scalesim`` timing reproduces the counts
SCALE-Sim prints (the index of the last cycle; edge folds charged full size).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.sat.spec import ArraySpec

__all__ = ["ArrayGemm", "GemmTiming", "gemm_timing", "lane_cycles"]


class ArrayGemm(NamedTuple):
    """One product Y[m, n] = A[m, k] · B[k, n] with B keeping ``nm_n`` of ``nm_m`` along k.

    ``is_continued``: sums go on from stored ones (the reduction was cut). Weight-stationary
    tiles read them on the way in anyway; output-stationary PEs must shift them in first.
    """

    m: int
    k: int
    n: int
    nm_n: int = 1
    nm_m: int = 1
    is_continued: bool = False

    @property
    def k_groups(self) -> int:
        """Return ⌈k / nm_m⌉."""
        return ceil_div(self.k, self.nm_m)


@dataclass(frozen=True)
class GemmTiming:
    """Cycles of a GEMM and where they went; ``busy`` + losses = ``cycles``.

    ``hazard``: adder latency not hidden by interleaving; ``resource``: the edge feed; ``fill``:
    skew and latency; ``load``: exposed stationary loads; ``drain``: result shift-out.
    ``slots`` are product slots issued by each PE (padding included).
    """

    cycles: int
    busy: int
    hazard: int = 0
    resource: int = 0
    fill: int = 0
    load: int = 0
    drain: int = 0

    def issued_macs(self, array: ArraySpec) -> int:
        """Return the product slots of the whole array."""
        return self.busy * array.rows * array.cols


def lane_cycles(
    full_steps: int,
    entries: int,
    tail_entries: int,
    nm_n: int,
    adder_latency: int,
    beats: int,
    is_stationary: bool,
) -> int:
    """Return U: cycles from a tile's start to after its last issue, for one lane.

    ``full_steps`` steps of ``entries`` interleaved entries, then one step of ``tail_entries``
    (0 for none); ``beats`` cycles feed one group. ``is_stationary`` is True for WS, whose steps
    use new partial sums, False for OS, whose steps add to the same ones.
    """
    tail_span = 0
    if tail_entries:
        tail_span = (nm_n - 1) * max(tail_entries, adder_latency) + tail_entries
    if not full_steps:
        return tail_entries * (beats - 1) + tail_span
    spacing = max(entries, adder_latency)
    span = (nm_n - 1) * spacing + entries
    occupied = span if is_stationary else nm_n * spacing
    start = entries * (beats - 1)
    last_full = start + (full_steps - 1) * max(occupied, entries * beats)
    if not tail_entries:
        return last_full + span
    return last_full + max(occupied, entries + tail_entries * (beats - 1)) + tail_span


def gemm_timing(array: ArraySpec, dataflow: str, gemm: ArrayGemm) -> GemmTiming:
    """Return the cycles of ``gemm`` under ``dataflow``: ws, os, and is for ``scalesim`` timing.

    Raises :class:`InputError` for a dataflow or pattern the array lacks.
    """
    if array.timing == "scalesim":
        return _scalesim(array, dataflow, gemm)
    if dataflow == "ws":
        return _weight_stationary(array, gemm)
    if dataflow == "os":
        return _output_stationary(array, gemm)
    raise InputError("--dataflow", "one of ws, os", repr(dataflow))


def _weight_stationary(array: ArraySpec, gemm: ArrayGemm) -> GemmTiming:
    adder = array.adder_latency_cycles
    beats = ceil_div(gemm.nm_m, array.edge_elems_per_cycle)
    entries = min(array.interleave, gemm.m)
    full_steps, tail = divmod(gemm.m, entries)
    stream = lane_cycles(full_steps, entries, tail, gemm.nm_n, adder, beats, True)
    unfed = lane_cycles(full_steps, entries, tail, gemm.nm_n, adder, 1, True)
    hop = (gemm.nm_n - 1) * max(entries, adder) + adder
    latency = array.multiplier_latency_cycles + adder - 1
    tile = stream + (array.rows - 1) * hop + (array.cols - 1) + latency
    load = array.rows * gemm.nm_n
    tiles = ceil_div(gemm.k_groups, array.rows) * ceil_div(gemm.n, array.cols)
    period = _tile_period(array, tile, stream, load, hop)
    cycles = (tiles - 1) * period + tile + load
    slots = tiles * gemm.m * gemm.nm_n
    # Between two tiles the array waits for skew to leave first; what is longer than that
    # is the exposed part of the next stationary load.
    gap_fill = max(0, min(period, tile) - stream)
    exposed = load + (tiles - 1) * (period - stream - gap_fill)
    return GemmTiming(
        cycles,
        busy=slots,
        hazard=tiles * unfed - slots,
        resource=tiles * (stream - unfed),
        fill=(tiles - 1) * gap_fill + tile - stream,
        load=exposed,
    )


def _tile_period(array: ArraySpec, tile: int, stream: int, load: int, hop: int) -> int:
    """Return the cycles between the starts of consecutive weight-stationary tiles."""
    if not array.has_double_buffered_weights:
        return tile + load
    apart = max(tile, load)
    if not array.overlap_skew:
        return apart
    wave = (array.rows - 1) * hop + max(array.cols + load, hop)
    return min(apart, max(stream, wave))


def _output_stationary(array: ArraySpec, gemm: ArrayGemm) -> GemmTiming:
    tiles = ceil_div(gemm.m, array.rows) * ceil_div(gemm.n, array.cols)
    blocks, tail = divmod(tiles, array.interleave)
    groups = [(array.interleave, blocks)] if blocks else []
    if tail:
        groups.append((tail, 1))
    beats = ceil_div(gemm.nm_m, array.edge_elems_per_cycle)
    adder = array.adder_latency_cycles

    def stream(entries: int, feed_beats: int) -> int:
        steps = gemm.k_groups
        return lane_cycles(steps, entries, 0, gemm.nm_n, adder, feed_beats, False)

    streams = [(entries, stream(entries, beats), count) for entries, count in groups]
    total_stream = sum(cycles * count for _, cycles, count in streams)
    unfed = sum(stream(entries, 1) * count for entries, count in groups)
    slots = tiles * gemm.k_groups * gemm.nm_n
    fill, drain = _output_overheads(array, streams)
    # Stored sums are shifted in through the same column chains that shift results out.
    load = tiles * array.rows if gemm.is_continued else 0
    return GemmTiming(
        total_stream + fill + drain + load,
        busy=slots,
        hazard=unfed - slots,
        resource=total_stream - unfed,
        fill=fill,
        load=load,
        drain=drain,
    )


def _output_overheads(array: ArraySpec, streams: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return (fill, drain) cycles outside the streams, for (entries, stream, count) blocks."""
    skew = array.rows + array.cols - 2
    latency = array.multiplier_latency_cycles + array.adder_latency_cycles - 1
    blocks = sum(count for _, _, count in streams)
    drains = sum(entries * array.rows * count for entries, _, count in streams)
    per_block = latency if array.overlap_skew else skew + latency
    once = skew if array.overlap_skew else 0
    if not array.overlap_drain:
        return blocks * per_block + once, drains
    if array.overlap_skew:
        per_block, once = 0, skew + latency
    fill = blocks * per_block + once
    # A block may not finish before the previous block has been shifted out.
    waits, previous = 0, 0
    for entries, stream, count in streams:
        waits += max(0, previous - stream - per_block)
        previous = entries * array.rows
        waits += (count - 1) * max(0, previous - stream - per_block)
    return fill, waits + previous


def _scalesim(array: ArraySpec, dataflow: str, gemm: ArrayGemm) -> GemmTiming:
    """SCALE-Sim's printed counts: WS ⌈K/R⌉⌈N/C⌉(M+2R+C−2)−1 and so on (SCALE-Sim v3)."""
    rows, cols = array.rows, array.cols
    if gemm.nm_m > 1 and dataflow != "ws":
        raise InputError("--dataflow", "ws for N:M weights (preset scalesim)", repr(dataflow))
    k = ceil_div(gemm.k * gemm.nm_n, gemm.nm_m)
    if dataflow == "ws":
        folds, stream, load = ceil_div(k, rows) * ceil_div(gemm.n, cols), gemm.m, rows
    elif dataflow == "os":
        folds, stream, load = ceil_div(gemm.m, rows) * ceil_div(gemm.n, cols), k, 0
    elif dataflow == "is":
        folds, stream, load = ceil_div(k, rows) * ceil_div(gemm.m, cols), gemm.n, rows
    else:
        raise InputError("--dataflow", "one of ws, os, is", repr(dataflow))
    skew = rows + cols - 2
    # The printed number is an index, one less than the count: take the cycle from the skew,
    # or, on a one-PE array, from the stream.
    missing_skew = 1 if skew else 0
    return GemmTiming(
        folds * (stream + load + skew) - 1,
        busy=folds * stream - (1 - missing_skew),
        fill=folds * skew - missing_skew,
        load=folds * load,
    )
