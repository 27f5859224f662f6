"""Improve a placement of deferred products: move one to another slot, or swap two.

Each product in turn makes the one change that saves most cycles; the search ends when none does.
All changes open to a product are weighed at once, as arrays over slots and over products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mappers.work import Work

if TYPE_CHECKING:
    from mappers.deferral import Loads

__all__ = ["improved_placement"]

_MAX_ROUNDS = 50
"""Rounds of improvement; the search ends much earlier, when a round finds nothing."""

_NOWHERE = -1
"""Slot of a product that runs on its own at the end."""

_Cycles = NDArray[np.int64]


def improved_placement(loads: Loads, start: Mapping[Work, int]) -> dict[Work, int]:
    """Return ``start`` after moves and swaps; no single one of them saves cycles any more."""
    placement = _Placement(loads, start)
    count, idle = len(loads.products), 0
    for product in islice(cycle(range(count)), count * _MAX_ROUNDS):
        idle = 0 if placement.improve(product) else idle + 1
        if idle == count:
            break
    slots = zip(loads.products, placement.slot.tolist(), strict=True)
    return {work: slot for work, slot in slots if slot != _NOWHERE}


class _Placement:
    """Where each product is, and what each slot lasts with it.

    Attributes
    ----------
    cycles, moved, released, slot : int64[products]
        Each product's time on the array and on the memory, the last slot that it must wait for,
        and its own.
    placed : list of int
        Products with a slot, those placed first in front: they win ties.
    array, others, memory, length : int64[slots]
        Cycles of each slot's products, of its other work and of what both move; the longest of
        the three.
    """

    def __init__(self, loads: Loads, start: Mapping[Work, int]) -> None:
        index = {work: i for i, work in enumerate(loads.products)}
        self.cycles = _array(work.cycles for work in loads.products)
        self.moved = _array(work.memory_cycles for work in loads.products)
        self.released = _array(loads.released[work] for work in loads.products)
        self.slot = np.full(len(index), _NOWHERE, np.int64)
        self.placed: list[int] = []
        self.array, self.others = _array(loads.array), _array(loads.others)
        self.memory, self.gaps = _array(loads.memory), _array(loads.gaps)
        self.length = np.maximum(np.maximum(self.array, self.others), self.memory)
        for work, there in start.items():
            self._move(index[work], there)

    def improve(self, product: int) -> bool:
        """Make the best move or swap of ``product`` if it saves cycles; say whether one did."""
        saved, there = self._best_move(product)
        swap_saved, other = self._best_swap(product)
        if max(saved, swap_saved) <= 0:
            return False
        if swap_saved > saved:
            there = int(self.slot[other])
            self._move(other, int(self.slot[product]))
        self._move(product, there)
        return True

    def _best_move(self, product: int) -> tuple[int, int]:
        """Return what moving ``product`` to another gap saves at most, and the first such gap."""
        here, own, moved = self.slot[product], self.cycles[product], self.moved[product]
        saved = own
        if here != _NOWHERE:
            saved = self.length[here] - self._length_with(here, -own, -moved)
        gaps = self.gaps[np.searchsorted(self.gaps, self.released[product], "right") :]
        gaps = gaps[gaps != here]
        if saved <= 0 or not gaps.size:
            return 0, _NOWHERE  # its slot lasts as long without it, or there is no other
        added = self._length_with(gaps, own, moved) - self.length[gaps]
        best = int(added.argmin())
        return int(saved - added[best]), int(gaps[best])

    def _best_swap(self, product: int) -> tuple[int, int]:
        """Return what changing places saves at most, and the first product to do so with."""
        here = self.slot[product]
        if here == _NOWHERE:
            return 0, _NOWHERE
        others = np.array(self.placed)
        there = self.slot[others]
        may_swap = (there != here) & (there > self.released[product])
        may_swap &= self.released[others] < here
        others, there = others[may_swap], there[may_swap]
        if not others.size:
            return 0, _NOWHERE
        longer = self.cycles[others] - self.cycles[product]
        more = self.moved[others] - self.moved[product]
        saved = self.length[here] - self._length_with(here, longer, more)
        saved += self.length[there] - self._length_with(there, -longer, -more)
        best = int(saved.argmax())
        return int(saved[best]), int(others[best])

    def _length_with(
        self, slots: np.int64 | _Cycles, cycles: np.int64 | _Cycles, moved: np.int64 | _Cycles
    ) -> _Cycles:
        """Return what ``slots`` last with ``cycles`` and ``moved`` added to array and memory."""
        array, memory = self.array[slots] + cycles, self.memory[slots] + moved
        length: _Cycles = np.maximum(np.maximum(array, memory), self.others[slots])
        return length

    def _move(self, product: int, there: int) -> None:
        here = int(self.slot[product])
        self.slot[product] = there
        if here == _NOWHERE:
            self.placed.append(product)
        else:
            self._add(here, -self.cycles[product], -self.moved[product])
        self._add(there, self.cycles[product], self.moved[product])

    def _add(self, slot: int, cycles: np.int64, moved: np.int64) -> None:
        self.array[slot] += cycles
        self.memory[slot] += moved
        self.length[slot] = max(self.array[slot], self.others[slot], self.memory[slot])


def _array(values: Iterable[int]) -> _Cycles:
    return np.fromiter(values, np.int64)
