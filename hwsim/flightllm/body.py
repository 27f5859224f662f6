"""Collect the instructions of one layer with exact costs, tokens and buffer places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.flightllm.isa import (
    CODE,
    LD,
    MISC,
    MISC_OPS,
    MM,
    ROW,
    SPREAD,
    ST,
    STRIPED,
    SYS,
    TURNED,
)
from hwsim.flightllm.places import NOWHERE, OPERANDS, Place
from hwsim.flightllm.plan import Coding, Layer
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.unit_costs import Cost, UnitCosts

__all__ = [
    "A_CHANNELS",
    "Body",
    "BodyBuilder",
    "Ring",
    "Transfer",
    "bits",
    "groups_of",
    "pieces",
]

_LEVELS = ("b_buffer", "meta_buffer", "bias_buffer", "fsb_buffer", "a_buffer")
"""Buffers by the mode of a load."""
_A = _LEVELS.index("a_buffer")

A_CHANNELS = 8
"""Channels that an activation or weight tile of the A buffer is spread over."""


_UNPLACED = Place()


def bits(*units: int) -> int:
    """Return the set of ``units`` as a mask."""
    return sum(1 << unit for unit in units)


@dataclass(frozen=True)
class Transfer:
    """How a load or store is charged: where its bytes go and how many a byte of memory stands for.

    ``parallel`` channels work at once; ``ratio`` is how many bytes on chip one byte of HBM gives;
    ``coding`` says what happens on the way: codewords are expanded by decoders, groups are not.
    """

    is_crossed: bool = False
    parallel: int = 1
    ratio: Fraction = Fraction(1)
    coding: Coding = ""


def groups_of(layer: Layer, blocks: int) -> int:
    """Return the kept groups among ``blocks`` of 16 weights of a grouped layer, 0 of another."""
    return ceil_div(layer.density.numerator * blocks, layer.density.denominator) * (
        layer.coding == "gqsa"
    )


@dataclass(frozen=True)
class Body:
    """The instructions of a layer: code, cycles of each before the speed-up, traffic and slots.

    ``costs`` are the cycles that instructions occupy their units for, ``told`` those until one
    that waits for their token may start; an instruction names both by one index. Completions of a
    unit are ``completion_gap_cycles`` apart or more. A pair of units holds ``token_depth`` tokens,
    a unit ``in_flight`` instructions that have not completed; 0: any number. ``hbm_read`` and
    ``hbm_write`` are bytes of memory, ``filled`` bytes written to each buffer; ``extents`` are
    bytes per channel of each operand (places.py).
    """

    code: NDArray[np.void]
    costs: tuple[Fraction, ...]
    told: tuple[Fraction, ...]
    expand: tuple[Fraction, ...]
    completion_gap_cycles: int
    token_depth: int
    in_flight: int
    hbm_read: int
    hbm_write: int
    filled: dict[str, int]
    drained: dict[str, int]
    issued_macs: int
    extents: tuple[int, ...]

    def counts(self) -> NDArray[np.int64]:
        """Return the instructions per unit."""
        return np.bincount(self.code["unit"], minlength=6).astype(np.int64)


class Ring:
    """Places of tiles in the A buffer, and how many older tiles must be done before a load."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.head = 0
        self.used = 0
        self.live: deque[int] = deque()

    def place(self, addresses: int) -> tuple[int, int]:
        """Return (first address, tiles to wait for) of a tile of ``addresses``."""
        waits = 0
        while self.used + addresses > self.depth and self.live:
            self.used -= self.live.popleft()
            waits += 1
        first = self.head
        self.head = (self.head + addresses) % self.depth
        self.used += addresses
        self.live.append(addresses)
        return first, waits


class BodyBuilder:
    """Append instructions of one layer. Costs are cycles of the clock, exact."""

    def __init__(self, spec: FlightSpec) -> None:
        self.spec = spec
        self.rows: list[tuple[int, ...]] = []
        self.costs: dict[Cost, int] = {}
        self.units = UnitCosts(spec)
        self.loads: dict[tuple[Fraction | int, Transfer, int], list[int]] = {}
        self.stores: dict[tuple[int, Transfer], list[int]] = {}
        self.issued = 0
        self._issued_before = 0
        self._copied: list[tuple[int, int, int]] = []

    def _transfer(self, size: Fraction, how: Transfer, mode: int) -> int:
        """Return the index of the cost of ``size`` on-chip bytes."""
        if how.coding == "gqsa":
            stored = (size, how.ratio, how.parallel)
            return self._cost(self.units.stored(*stored, is_crossed=how.is_crossed))
        if how.coding == "qmoe":
            coded = (size, how.ratio, how.parallel)
            return self._cost(self.units.decoded(*coded, is_crossed=how.is_crossed))
        buffers = self.spec.buffers
        port = buffers.a_bytes_per_cycle if mode == _A else buffers.b_bytes_per_cycle
        cost = self.units.transfer(
            size, how.ratio, how.parallel, is_crossed=how.is_crossed, port_bytes=port
        )
        return self._cost(cost)

    def load(
        self,
        size: Fraction | int,
        how: Transfer,
        *,
        mode: int,
        channel: int = 0,
        bank: int = 0,
        wait: int = 0,
        release: int = 0,
        at: Place = _UNPLACED,
        moved: int | None = None,
    ) -> None:
        """Append a load of ``size`` on-chip bytes to ``channel``'s part of a buffer.

        ``moved`` are the bytes that its fields name, if they are not those it is charged.
        """
        key = (size, how, mode)
        known = self.loads.get(key)
        if known is None:  # [times, cost, bytes of memory per row]
            exact = Fraction(size)
            known = [0, self._transfer(exact, how, mode), _up(exact / how.ratio)]
            self.loads[key] = known
        known[0] += 1
        named = known[2] if moved is None else moved
        self._move(LD, wait, release, known[1], mode, channel, named, bank, at)

    def repeat(self, count: int, emit: Callable[[int], None]) -> None:
        """Append what ``emit(index)`` appends for ``count`` indices, all alike but 0, 1 and last.

        The others are copies of index 1's instructions; their addresses go on as from 0 to 1.
        """
        starts = []
        for index in range(min(2, count)):
            first, before = len(self.rows), self._tally()
            starts.append(first)
            emit(index)
        copies = count - 3
        if copies > 0:
            self._copied.append((*starts, copies))
            self.rows += self.rows[first:] * copies
            for table, counts in zip((self.loads, self.stores), before, strict=True):
                for key, entry in table.items():
                    entry[0] += copies * (entry[0] - counts.get(key, 0))
            self.issued += copies * (self.issued - self._issued_before)
        if count > 2:
            emit(count - 1)

    def _tally(self) -> tuple[dict[Any, int], dict[Any, int]]:
        self._issued_before = self.issued
        return (
            {key: entry[0] for key, entry in self.loads.items()},
            {key: entry[0] for key, entry in self.stores.items()},
        )

    def zero_fill(self, size: int, bank: int = 0, channel: int = 0) -> None:
        """Append a load that writes zeros at the speed of the A buffer."""
        cost = self._cost(self.units.zero_fill(size))
        self._add(LD, 0, 0, cost, mode=_A, flags=1, bank=bank, channel=channel, length=size)

    def store(
        self,
        size: int,
        how: Transfer,
        *,
        channel: int = 0,
        bank: int = 0,
        wait: int = 0,
        release: int = 0,
        at: Place = _UNPLACED,
        moved: int | None = None,
    ) -> None:
        """Append a store of ``size`` bytes of results; ``moved`` as of a load."""
        known = self.stores.get((size, how))
        if known is None:
            known = [0, self._transfer(Fraction(size), how, _A)]
            self.stores[size, how] = known
        known[0] += 1
        named = size if moved is None else moved
        self._move(ST, wait, release, known[1], 0, channel, named, bank, at)

    def matrix(
        self,
        unit: int,
        k_blocks: int,
        density: Fraction,
        *,
        flags: int,
        wait: int,
        release: int,
        a: int = 0,
        b: int = 0,
        out: int = 0,
        slots: Fraction = Fraction(1),
        groups: int = 0,
    ) -> None:
        """Append MM or MV over ``k_blocks``; ``slots`` scales the slots that are issued.

        ``groups`` of INT4 weights, if there are any, pass their engines instead of the chains.
        ``a``, ``b``, ``out`` are addresses of the A, B and global buffers.
        """
        mpe = self.spec.mpe
        cycles = mpe.block_cycles * k_blocks
        rate = mpe.mm_macs_per_cycle if unit == MM else mpe.mv_macs_per_cycle
        self.issued += ceil(cycles * rate * slots)
        matrix = self.units.groups(groups) if groups else self.units.matrix(k_blocks, density)
        cost = self._cost(matrix)
        self._add(unit, wait, release, cost, k=k_blocks, flags=flags, bank=out, a=a, b=b)

    def misc(
        self,
        op: str,
        elems: int,
        *,
        wait: int = 0,
        release: int = 0,
        a: int = 0,
        b: int = 0,
    ) -> None:
        """Append an SFU instruction over ``elems``; softmax and norms take two passes."""
        beats = ceil_div(elems, self.spec.sfu.lanes)
        cost = self._cost(self.units.misc(op, elems))
        index = MISC_OPS.index(op)
        self._add(MISC, wait, release, cost, mode=index, k=beats, bank=a, a=a, b=b)

    def barrier(self, release: int) -> None:
        """Append the barrier that ends the layer."""
        self._add(SYS, bits(ST), release, self._cost(self.units.barrier()))

    def build(self) -> Body:
        """Return the finished layer."""
        filled: dict[str, Fraction] = {}
        for (size, how, mode), (times, _, _) in self.loads.items():
            level = _LEVELS[mode]
            filled[level] = filled.get(level, Fraction(0)) + times * Fraction(size) / how.ratio
        read = _up(sum(filled.values(), start=Fraction(0)))
        written = sum(times * size for (size, _), (times, _) in self.stores.items())
        code = np.array(self.rows, dtype=CODE)
        self._advance(code)
        return Body(
            code,
            tuple(cost.busy for cost in self.costs),
            tuple(cost.told for cost in self.costs),
            tuple(cost.expand for cost in self.costs),
            self.units.completion_gap_cycles,
            *self.units.scoreboard_limits,
            read,
            written,
            _split(filled, read),
            {"global_buffer": written},
            self.issued,
            _extents(code),
        )

    def _advance(self, code: NDArray[np.void]) -> None:
        """Give the copies of a repeated part the addresses that follow from its first two.

        Addresses go on; places in buffers alternate between those of the first two.
        """
        for first, second, copies in self._copied:
            size = second - first
            parts = code[first : first + (2 + copies) * size].reshape(2 + copies, size)
            turns = np.arange(1, 1 + copies)[:, None]
            step = parts["address"][1] - parts["address"][0]
            parts["address"][2:] = parts["address"][1] + turns * step
            for field in ("bank", "a", "b"):
                parts[field][2:] = parts[field][np.arange(copies) % 2]

    def _cost(self, cost: Cost) -> int:
        """Return the index of ``cost`` in the layer's costs."""
        return self.costs.setdefault(cost, len(self.costs))

    def _move(
        self,
        unit: int,
        wait: int,
        release: int,
        cost: int,
        mode: int,
        channel: int,
        size: int,
        bank: int,
        at: Place,
    ) -> None:
        """Append a transfer: from ``at``'s channel if it is on one, else to ``channel``'s part."""
        row = ceil_div(size, at.rows)
        flags = STRIPED * at.is_striped | SPREAD * at.is_spread
        flags |= TURNED * at.is_turned | ROW * at.is_row
        where = channel if at.is_striped or at.operand == NOWHERE else at.channel
        self._add(
            unit, wait, release, cost, mode=mode, channel=where, flags=flags, length=row,
            loops=at.loops, address=at.address, stride=at.stride, bank=bank, operand=at.operand,
        )  # fmt: skip

    def _add(
        self,
        unit: int,
        wait: int,
        release: int,
        cost: int,
        *,
        mode: int = 0,
        channel: int = 0,
        k: int = 0,
        flags: int = 0,
        length: int = 0,
        loops: int = 0,
        address: int = 0,
        stride: int = 0,
        bank: int = 0,
        a: int = 0,
        b: int = 0,
        operand: int = 0,
    ) -> None:
        self.rows.append(
            (
                *(unit, wait, release, cost, mode, channel, k, flags, length, loops),
                *(address, stride, bank, a, b, operand),
            )
        )


def pieces(code: NDArray[np.void]) -> NDArray[np.int64]:
    """Return how many pieces every transfer has."""
    loops = code["loops"].astype(np.int64)
    return np.maximum(loops & 255, 1) * np.maximum(loops >> 8, 1)


_ROW_SPAN = 16
"""Bytes that a row's store reaches over, per byte of it: 16 of every 256."""


def _extents(code: NDArray[np.void]) -> tuple[int, ...]:
    """Return how many bytes of each channel the layer's operands take."""
    length = np.where(code["flags"] & SPREAD > 0, -(-code["length"] // A_CHANNELS), code["length"])
    lines = -(-length // 16) - 1
    length = np.where(code["flags"] & ROW > 0, _ROW_SPAN * 16 * lines + 16, length)
    ends = code["address"] + length + (pieces(code) - 1) * code["stride"]
    ends = np.where(code["flags"] & STRIPED > 0, -(-ends // A_CHANNELS), ends)
    found = np.zeros(OPERANDS, np.int64)
    is_move = code["unit"] <= ST
    np.maximum.at(found, code["operand"][is_move], ends[is_move])
    found[NOWHERE] = 0
    return tuple(found.tolist())


def _up(value: Fraction) -> int:
    return ceil_div(value.numerator, value.denominator)


def _split(parts: dict[str, Fraction], total: int) -> dict[str, int]:
    """Return whole bytes per level that add up to ``total``."""
    found, position, before = {}, Fraction(0), 0
    for index, (level, size) in enumerate(parts.items()):
        position += size
        until = total if index == len(parts) - 1 else int(position)
        found[level] = until - before
        before = until
    return found
