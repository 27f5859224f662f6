"""Say, word by word and cycle by cycle, what passes the edges of the SAT array for one product.

The values follow the golden order of additions on FP16 and FP32 words, special values included;
the cycles follow the recurrences of docs/sat_microarchitecture.md, not the closed forms of
:mod:`hwsim.sat.timing`, with which the last cycle must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, SpecError
from hwsim.core.formats import NMCompact
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div, round_up
from hwsim.sat.float_units import add_fp32, multiplier_timing, multiply_fp16
from hwsim.sat.spec import ArraySpec, TileSpec

__all__ = ["EdgeStream", "TileRun", "lane_schedule", "play_product", "tile_timing"]

Cycles = NDArray[np.int64]


def tile_timing(spec: TileSpec) -> UnitTiming:
    """Return cycles from a dense row's first beat to its sums (weight-stationary), and between."""
    array = spec.array
    hops = array.rows * array.adder_latency_cycles
    return UnitTiming(multiplier_timing(array).latency_cycles + hops + array.cols - 1, 1)


@dataclass(frozen=True)
class EdgeStream:
    """Words that pass one edge in order, and the cycles in which they do.

    Attributes
    ----------
    words : [words, lanes]
        FP16 or FP32 words as unsigned integers.
    cycles : int64[words]
        From the start of the product; a word that enters in cycle x is used in cycle x at the
        earliest, one that leaves in cycle x was computed in cycle x - 1.
    """

    words: NDArray[Any]
    cycles: Cycles


@dataclass(frozen=True)
class TileRun:
    """Everything that passes the edges for one product.

    Attributes
    ----------
    west : list[EdgeStream]
        Beats uint16[words, edge_elems_per_cycle] of each row's lane.
    weights : EdgeStream
        uint16[words, cols]; ``indices`` int64[words, cols] belong to them.
    sums, out : EdgeStream
        Stored sums and results, uint32[words, cols].
    tiles, k_tiles : int
        Tiles in all; reduction tiles per column tile (1 if output-stationary).
    result : uint32[m, n]
        The product.
    """

    west: list[EdgeStream]
    weights: EdgeStream
    indices: NDArray[np.int64]
    sums: EdgeStream
    out: EdgeStream
    tiles: int
    k_tiles: int
    result: NDArray[np.uint32]

    @property
    def cycles(self) -> int:
        """Return the cycles from the start until the last sum has left."""
        return int(self.out.cycles[-1])


def lane_schedule(
    entries: list[int], nm_n: int, adder_latency: int, beats: int, is_stationary: bool
) -> tuple[Cycles, list[Cycles]]:
    """Return when a lane takes beats and issues products, from the start of its tile.

    Parameters
    ----------
    entries : list[int]
        Interleaved entries per step.
    nm_n, adder_latency, beats : int
        Products per entry and step; L; beats per group.
    is_stationary : bool
        Steps use new partial sums (weight-stationary) or the same ones.

    Returns
    -------
    beat_cycles : int64[beats in all]
    issue_cycles : list of int64[nm_n, entries], one per step
    """
    taken: list[Cycles] = []
    issues: list[Cycles] = []
    fill, free, previous_free = 0, 0, 0  # free: when the lane, and the other bank, is free
    for count in entries:
        fill = max(fill, previous_free)
        groups = fill + np.arange(1, count + 1) * beats - 1 - np.arange(count)
        start = max(free, int(groups.max()))
        spacing = max(count, adder_latency)
        issues.append(start + np.arange(nm_n)[:, None] * spacing + np.arange(count))
        taken.append(fill + np.arange(count * beats))
        fill += count * beats
        span = (nm_n - 1) * spacing + count if is_stationary else nm_n * spacing
        previous_free, free = free, start + span
    return np.concatenate(taken), issues


def play_product(
    spec: TileSpec,
    dataflow: Literal["ws", "os"],
    a: NDArray[np.uint16],
    b: NMCompact,
    *,
    interleave: int | None = None,
    stored: NDArray[np.uint32] | None = None,
) -> TileRun:
    """Return what passes the edges for A · B (+ ``stored``), default overlap options.

    Parameters
    ----------
    spec : TileSpec
        The array as built.
    dataflow : "ws" or "os"
    a : uint16[m, k]
        FP16 words.
    b : NMCompact
        FP16 weights [k, n]; dense is one slot per group of one element.
    interleave : int, optional
        Partial sums used per PE, at most those built. Absent: all.
    stored : uint32[m, n], optional
        FP32 words that the sums start from. Absent: +0.

    Raises
    ------
    SpecError, InputError
        If options, pattern or sizes do not fit the array.
    """
    array = spec.array
    if array.overlap_skew or array.overlap_drain:
        raise SpecError("array.overlap_skew, overlap_drain", "false in RTL", "true")
    groups, nm_n, n = b.values.shape
    if nm_n > spec.nm_n or b.nm_m > spec.nm_m:
        raise InputError("b", f"at most {spec.nm_n}:{spec.nm_m}", f"{nm_n}:{b.nm_m}")
    entries = array.interleave if interleave is None else interleave
    used = array.model_copy(update={"interleave": entries})
    is_stationary = dataflow == "ws"
    m = len(a)
    padded = (
        m if is_stationary else round_up(m, array.rows),
        round_up(groups, array.rows) if is_stationary else groups,
        round_up(n, array.cols),
    )
    product = _Product(used, a, b, stored, *padded)
    return _stationary(product) if is_stationary else _output(product)


class _Product:
    """Operands padded to whole tiles, and sums after every group of k."""

    def __init__(
        self,
        array: ArraySpec,
        a: NDArray[np.uint16],
        b: NMCompact,
        stored: NDArray[np.uint32] | None,
        rows: int,
        groups: int,
        cols: int,
    ) -> None:
        self.array = array
        self.m, self.n = len(a), b.values.shape[2]
        self.nm_n, self.nm_m = b.values.shape[1], b.nm_m
        self.beats = ceil_div(b.nm_m, array.edge_elems_per_cycle)
        self.is_continued = stored is not None
        self.a = np.zeros((rows, groups, b.nm_m), dtype=np.uint16)
        self.a.reshape(rows, -1)[: self.m, : a.shape[1]] = a
        self.values = np.zeros((groups, self.nm_n, cols), dtype=np.uint16)
        self.values[: len(b.values), :, : self.n] = b.values.view(np.uint16)
        self.indices = np.zeros(self.values.shape, dtype=np.int64)
        self.indices[: len(b.values), :, : self.n] = b.indices
        start = np.zeros((rows, cols), dtype=np.uint32)
        if stored is not None:
            start[: self.m, : self.n] = stored
        self.sums = [start, *self._after_groups(start)]

    def _after_groups(self, total: NDArray[np.uint32]) -> Iterator[NDArray[np.uint32]]:
        for group in range(len(self.values)):
            for slot in range(self.nm_n):
                operands = self.a[:, group, self.indices[group, slot]]
                weights = np.broadcast_to(self.values[group, slot], operands.shape).copy()
                total = add_fp32(total, multiply_fp16(operands, weights))
            yield total

    def beats_of(self, rows: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Return the beats uint16[*, f] of the groups (row, group), padded behind each group."""
        width = self.array.edge_elems_per_cycle
        beats = np.zeros((len(rows), self.beats * width), dtype=np.uint16)
        beats[:, : self.nm_m] = self.a[rows, groups]
        return beats.reshape(-1, width)

    @property
    def result(self) -> NDArray[np.uint32]:
        return self.sums[-1][: self.m, : self.n]

    def schedule(self, entries: list[int], is_stationary: bool) -> tuple[Cycles, list[Cycles]]:
        adder = self.array.adder_latency_cycles
        return lane_schedule(entries, self.nm_n, adder, self.beats, is_stationary)


def _stationary(product: _Product) -> TileRun:
    array = product.array
    rows, cols, adder = array.rows, array.cols, array.adder_latency_cycles
    m, nm_n = product.m, product.nm_n
    k_tiles, n_tiles = len(product.values) // rows, product.values.shape[2] // cols
    tiles = [(column, k) for column in range(n_tiles) for k in range(k_tiles)]
    steps = [min(array.interleave, m - row) for row in range(0, m, array.interleave)]
    beats, issues = product.schedule(steps, True)
    hop = (nm_n - 1) * max(min(array.interleave, m), adder) + adder
    latency = array.multiplier_latency_cycles + adder
    # A sum is in the output register in the cycle after it was computed.
    leaving = np.concatenate([step[-1] for step in issues]) + (rows - 1) * hop + cols - 1 + latency
    length, load = int(leaving[-1]), rows * nm_n
    is_double = array.has_double_buffered_weights
    period = max(length, load) if is_double else length + load
    starts = load + np.arange(len(tiles)) * period
    loads = np.concatenate([[0], starts[:-1]]) if is_double else starts - load
    asks = np.concatenate([step[0] for step in issues]) + array.multiplier_latency_cycles - 1

    every_row = np.arange(m)
    west = [
        EdgeStream(
            np.concatenate(
                [product.beats_of(every_row, np.full(m, k * rows + row)) for _, k in tiles]
            ),
            _shifted(beats, starts + row * hop),
        )
        for row in range(rows)
    ]
    columns = [slice(column * cols, (column + 1) * cols) for column, _ in tiles]
    # The last row's last value first.
    loaded = [
        [part[k * rows : (k + 1) * rows, :, where].reshape(load, cols)[::-1] for part in parts]
        for (_, k), where in zip(tiles, columns, strict=True)
        for parts in [(product.values, product.indices)]
    ]
    reads = [number for number, (_, k) in enumerate(tiles) if k or product.is_continued]
    entering = [product.sums[tiles[number][1] * rows][:, columns[number]] for number in reads]
    left = [
        product.sums[(k + 1) * rows][:, where] for (_, k), where in zip(tiles, columns, strict=True)
    ]
    return TileRun(
        west,
        EdgeStream(
            np.concatenate([values for values, _ in loaded]), _shifted(np.arange(load), loads)
        ),
        np.concatenate([indices for _, indices in loaded]),
        EdgeStream(_joined(entering, cols), _shifted(asks, starts[reads])),
        EdgeStream(_joined(left, cols), _shifted(leaving, starts)),
        len(tiles),
        k_tiles,
        product.result,
    )


def _output(product: _Product) -> TileRun:
    array = product.array
    rows, cols = array.rows, array.cols
    groups = len(product.values)
    row_tiles, n_tiles = len(product.a) // rows, product.values.shape[2] // cols
    tiles = [(column, row) for column in range(n_tiles) for row in range(row_tiles)]
    latency = array.multiplier_latency_cycles + array.adder_latency_cycles - 1
    west_words: list[list[NDArray[np.uint16]]] = [[] for _ in range(rows)]
    west_cycles: list[Cycles] = []
    weights, indices, weight_cycles = [], [], []
    sums, sum_cycles, out, out_cycles = [], [], [], []
    now = 0
    for first in range(0, len(tiles), array.interleave):
        block = tiles[first : first + array.interleave]
        entries = len(block)
        places = np.arange(entries * rows)
        if product.is_continued:
            sums.append(_leaving(product.sums[0], block, rows, cols))
            sum_cycles.append(now + places)
            now += len(places)
        beats, issues = product.schedule([entries] * groups, False)
        of_group = np.repeat(np.arange(groups), entries)
        for row in range(rows):
            of_row = np.tile([tile * rows + row for _, tile in block], groups)
            west_words[row].append(product.beats_of(of_row, of_group))
        west_cycles.append(now + beats)
        for group in range(groups):
            for slot in range(product.nm_n):
                for column, _ in block:
                    where = slice(column * cols, (column + 1) * cols)
                    weights.append(product.values[group, slot, where])
                    indices.append(product.indices[group, slot, where])
        weight_cycles.append(now + np.concatenate([step.ravel() for step in issues]))
        now += int(issues[-1].max()) + 1 + rows + cols - 2 + latency
        out.append(_leaving(product.sums[-1], block, rows, cols))
        # A result is in the output register in the cycle after it was shifted out.
        out_cycles.append(now + 1 + places)
        now += len(places)
    west = [
        EdgeStream(np.concatenate(words), np.concatenate(west_cycles) + row)
        for row, words in enumerate(west_words)
    ]
    return TileRun(
        west,
        EdgeStream(np.array(weights), np.concatenate(weight_cycles)),
        np.array(indices),
        EdgeStream(_joined(sums, cols), np.concatenate([np.arange(0), *sum_cycles])),
        EdgeStream(_joined(out, cols), np.concatenate(out_cycles)),
        len(tiles),
        1,
        product.result,
    )


def _leaving(
    totals: NDArray[np.uint32], block: list[tuple[int, int]], rows: int, cols: int
) -> NDArray[np.uint32]:
    """Return the words of a block in the order of the column chains: last row, last entry first."""
    words = [
        totals[tile * rows + row, column * cols : (column + 1) * cols]
        for row in range(rows - 1, -1, -1)
        for column, tile in reversed(block)
    ]
    return np.array(words, dtype=np.uint32)


def _joined(parts: list[NDArray[np.uint32]], cols: int) -> NDArray[np.uint32]:
    return np.concatenate([np.zeros((0, cols), dtype=np.uint32), *parts])


def _shifted(cycles: Cycles, starts: Cycles) -> Cycles:
    """Return ``cycles`` from each of ``starts``, one after the other."""
    return (np.asarray(starts)[:, None] + cycles).ravel()
