"""Append the instructions of lane-parallel work: on its own, or beside tiles of the array.

Work moves through the lane buffer in chunks: load, compute, put. Beside array tiles the chunks are
spread evenly, so that one stream of instructions keeps both DMA channels and both units busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwsim.core.errors import MappingError
from hwsim.core.units import ceil_div
from hwsim.sat.isa import InstructionBuffer
from hwsim.sat.lane_work import LaneWork
from hwsim.sat.spec import SatSpec
from hwsim.sat.traffic import OpTraffic

__all__ = ["Amount", "LaneEmitter", "LaneOp", "Piece", "spread"]

_CHUNK_BYTES = 64 * 1024
"""Bytes a chunk moves at most, operands and results together, if the buffer allows (assumed)."""

_BESIDE_CHUNK_BYTES = 256 * 1024
"""The same beside array tiles: fewer, so that they do not fill the units' queues (assumed)."""

_SMALL_CHUNK_BYTES = 1024
"""Chunks below this are not worth a request each; they are gathered (assumed)."""

_GATHERED_CHUNKS = 4
"""Chunks that may follow each other without filling the units' queues (assumed)."""

Amount = tuple[int, int, int]
"""Bytes in, elements, bytes out."""


@dataclass(frozen=True)
class LaneOp:
    """One op of a lane-parallel unit: its place in the program, its work, where to count bytes."""

    index: int
    name: str
    work: LaneWork
    traffic: OpTraffic

    @property
    def amount(self) -> Amount:
        """Return the whole work."""
        return self.work.bytes_in, self.work.elems, self.work.bytes_out


class LaneEmitter:
    """Append chunks of one slot's lane ops, which follow each other in their own stream."""

    def __init__(self, code: InstructionBuffer, spec: SatSpec) -> None:
        self.code = code
        self.room_bytes = spec.buffers.lane_bytes // 4
        self.has_predecessor = False

    def alone(self, op: LaneOp) -> None:
        """Append all of ``op`` with nothing beside it."""
        self.begin(op)
        self._chunks(op, op.amount, 1, _CHUNK_BYTES)

    def beside(self, op: LaneOp, amount: Amount, times: int = 1) -> None:
        """Append ``amount`` of ``op``, to run beside what is appended before and after it.

        ``times`` is how often the enclosing loops repeat what is appended.
        """
        self._chunks(op, amount, times, _BESIDE_CHUNK_BYTES)

    def _chunks(self, op: LaneOp, amount: Amount, times: int, limit_bytes: int) -> None:
        """Append ``amount`` of ``op`` in as few even chunks as limit and buffer allow."""
        limit_bytes = min(limit_bytes, self.room_bytes)
        if limit_bytes < op.work.bytes_per_elem:
            need, have = op.work.bytes_per_elem * 4, self.room_bytes * 4
            raise MappingError(f"{op.name}: lane buffer", need, have)
        outer, self.code.op_id = self.code.op_id, op.index
        count = max(1, ceil_div(amount[0] + amount[2], limit_bytes))
        for start, repeat in ((0, count - 1), (count - 1, 1)):
            if repeat:
                part = tuple(_share(total, count, start) for total in amount)
                with self.code.loop(repeat):
                    self._chunk(op, part, repeat * times)
        self.code.op_id = outer

    def _chunk(self, op: LaneOp, amount: Sequence[int], times: int) -> None:
        size_in, elems, size_out = amount
        unit, traffic = op.work.unit, op.traffic
        self.code.transfer("load", size_in, wait="lane_free", release=f"{unit}_full")
        cycles = ceil_div(elems, op.work.lanes)
        self.code.lanes(unit, cycles, wait=f"{unit}_full put_free", release="lane_free put_full")
        self.code.transfer("put", size_out, wait="put_full", release="put_free")
        traffic.load("lane_operands", size_in * times)
        traffic.drain("lane_operands", size_in * times)
        traffic.fill("lane_results", size_out * times)
        traffic.store(size_out * times, "lane_results")

    def begin(self, op: LaneOp) -> None:
        """Let ``op`` load only after the lane op before it in the slot has stored its results."""
        outer, self.code.op_id = self.code.op_id, op.index
        if self.has_predecessor:
            self.code.sync("lane_out", release="lane_op_done")
            self.code.sync("lane_in", wait="lane_op_done")
        self.has_predecessor = True
        self.code.op_id = outer


def _share(total: int, count: int, index: int) -> int:
    """Return part ``index`` of an even split whose last part takes the remainder."""
    each = total // count
    return total - each * (count - 1) if index == count - 1 else each


@dataclass
class Piece:
    """What runs beside the array tiles ``begin`` to ``end`` of one array op.

    ``each`` accompanies every tile, ``rest`` follows the last.
    """

    begin: int
    end: int
    op: LaneOp
    each: Amount = (0, 0, 0)
    rest: Amount = (0, 0, 0)
    is_first: bool = False  # of its op


def spread(
    tiles: Sequence[int], tile_cycles: Sequence[int], ops: Sequence[LaneOp], cycles: Sequence[int]
) -> list[list[Piece]]:
    """Lay lane ops one after the other over the tiles of array ops that follow each other.

    Parameters
    ----------
    tiles, tile_cycles : sequence of int
        Tiles of each array op and what one of them lasts.
    ops, cycles : sequence
        Lane ops and what each lasts on its own; every op gets its share of the array's time.

    Returns
    -------
    list of list of Piece
        Per array op, pieces that cover its tiles in order. Every lane op's amount is contained
        exactly once.
    """
    starts = [0]
    for count, each in zip(tiles, tile_cycles, strict=True):
        starts.append(starts[-1] + count * each)
    done, bounds = 0, [(0, 0)]
    for own in cycles:
        done += own
        begin = starts[-1] * done // max(1, sum(cycles))
        bounds.append(_tile_at(begin, starts, tiles, tile_cycles))
    bounds[-1] = (len(tiles) - 1, tiles[-1])
    pieces: list[list[Piece]] = [[] for _ in tiles]
    for op, begin, end in zip(ops, bounds, bounds[1:], strict=False):
        _lay(op, begin, end, tiles, tile_cycles, pieces)
    return pieces


def _tile_at(
    cycle: int, starts: Sequence[int], tiles: Sequence[int], tile_cycles: Sequence[int]
) -> tuple[int, int]:
    """Return (array op, tile) that begins at or before ``cycle``."""
    last = max(i for i in range(len(tiles)) if starts[i] <= cycle)
    return last, min(tiles[last], (cycle - starts[last]) // max(1, tile_cycles[last]))


def _lay(
    op: LaneOp,
    begin: tuple[int, int],
    end: tuple[int, int],
    tiles: Sequence[int],
    tile_cycles: Sequence[int],
    pieces: list[list[Piece]],
) -> None:
    """Append the pieces of ``op`` between two (array op, tile) positions."""
    spans = []
    for index in range(begin[0], end[0] + 1):
        low = begin[1] if index == begin[0] else 0
        high = end[1] if index == end[0] else tiles[index]
        if high > low:
            spans.append((index, low, high))
    spans = spans or [(*end, end[1])]  # shorter than a tile: between two tiles
    weights = [max(1, (high - low) * tile_cycles[index]) for index, low, high in spans]
    done = 0
    given: Amount = (0, 0, 0)
    for (index, low, high), weight in zip(spans, weights, strict=True):
        done += weight
        upto = _scaled(op.amount, done, sum(weights))
        pieces[index] += _even(op, low, high, _minus(upto, given))
        given = upto
    next(piece for piece in pieces[spans[0][0]] if piece.op is op).is_first = True


def _even(op: LaneOp, low: int, high: int, amount: Amount) -> list[Piece]:
    """Return pieces that move ``amount`` beside the tiles ``low`` to ``high``.

    Each tile gets an equal part; where that would be tiny, some tiles get gathered chunks.
    """
    count = high - low
    moved = amount[0] + amount[2]
    if count and moved // count >= _SMALL_CHUNK_BYTES:
        each = (amount[0] // count, amount[1] // count, amount[2] // count)
        return [Piece(low, high, op, each, _minus(amount, _times(each, count)))]
    parts = max(1, min(count, ceil_div(moved, _GATHERED_CHUNKS * _BESIDE_CHUNK_BYTES)))
    pieces, given = [], (0, 0, 0)
    for part in range(1, parts + 1):
        upto = _scaled(amount, part, parts)
        begin, end = low + count * (part - 1) // parts, low + count * part // parts
        pieces.append(Piece(begin, end, op, rest=_minus(upto, given)))
        given = upto
    return pieces


def _scaled(amount: Amount, numerator: int, denominator: int) -> Amount:
    size_in, elems, size_out = (total * numerator // denominator for total in amount)
    return size_in, elems, size_out


def _minus(left: Amount, right: Amount) -> Amount:
    return left[0] - right[0], left[1] - right[1], left[2] - right[2]


def _times(amount: Amount, count: int) -> Amount:
    return amount[0] * count, amount[1] * count, amount[2] * count
