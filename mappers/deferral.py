"""Place products that nobody waits for (weight gradients) where they hide other work.

The backbone's slots are given. Each deferrable product may go to any slot after what it needs; it
costs nothing there as long as the slot's other work lasts longer than its products. Two starting
points, slots in order and largest gaps first, are improved by moves and swaps until neither helps;
the better one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from mappers.exchange import improved_placement
from mappers.slots import Slot
from mappers.work import Work

__all__ = ["Loads", "deferrable", "place_deferred"]

Assignment = dict[Work, int]
"""Slot of each deferred product; one without an entry runs on its own at the end."""


def deferrable(works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """Return products that no other product waits for, and the other work that follows them."""
    feeds_product: dict[Work, bool] = {}
    for work in reversed(works):
        feeds_product[work] = any(w.is_product or feeds_product[w] for w in work.after)
    products = [w for w in works if w.is_product and not feeds_product[w]]
    trailing: dict[Work, None] = {}
    for work in works:
        if any(w in trailing or (w.is_product and w in products) for w in work.before):
            trailing[work] = None
    return products, list(trailing)


def place_deferred(backbone: Sequence[Slot], loads: Loads, trailing: Sequence[Work]) -> list[Slot]:
    """Return ``backbone`` with the products of ``loads`` and, where it fits, ``trailing`` work."""
    slots = [Slot(list(slot.products), list(slot.others)) for slot in backbone]
    starts = (_in_order(loads), _largest_first(loads))
    best = min((improved_placement(loads, start) for start in starts), key=loads.cycles)
    for work in loads.products:
        if work in best:
            slots[best[work]].products.append(work)
        else:
            slots.append(Slot(products=[work]))
    position = {w: i for i, slot in enumerate(slots) for w in slot.products + slot.others}
    for work in trailing:
        position[work] = _place_other(slots, work, position)
    return slots


def _place_other(slots: list[Slot], work: Work, position: dict[Work, int]) -> int:
    """Put other work into the first slot with room for it, or into a new one at the end."""
    earliest = max(position[w] + w.is_product for w in work.before)
    for index in range(earliest, len(slots)):
        slot = slots[index]
        room = sum(w.cycles for w in slot.products) - sum(w.cycles for w in slot.others)
        if work.cycles <= room or index == len(slots) - 1:
            slot.others.append(work)
            return index
    slots.append(Slot(others=[work]))
    return len(slots) - 1


class Loads:
    """What each slot of a backbone takes, and the products that can be added to it.

    Attributes
    ----------
    products : sequence of Work
        What is to be placed.
    released : dict of Work to int
        The last slot that each product must wait for.
    array, others, memory : list of int
        Cycles per slot: its products, its other work, and what both move.
    gaps : list of int
        Slots with other work to hide.
    """

    def __init__(self, slots: Sequence[Slot], products: Sequence[Work]) -> None:
        position = {w: i for i, slot in enumerate(slots) for w in slot.products + slot.others}
        self.products = products
        self.released = {
            work: max((position[w] for w in work.before), default=-1) for work in products
        }
        self.array = [sum(w.cycles for w in slot.products) for slot in slots]
        self.others = [sum(w.cycles for w in slot.others) for slot in slots]
        self.memory = [sum(w.memory_cycles for w in [*s.products, *s.others]) for s in slots]
        self.gaps = [i for i, others in enumerate(self.others) if others]

    def slot_cycles(self, index: int, array: int = 0, memory: int = 0) -> int:
        """Return what slot ``index`` lasts with ``array`` and ``memory`` cycles added."""
        return max(self.array[index] + array, self.others[index], self.memory[index] + memory)

    def cycles(self, assignment: Assignment) -> int:
        """Return the sum over all slots; products without a slot add their own time."""
        array, memory = [0] * len(self.array), [0] * len(self.array)
        alone = 0
        for work in self.products:
            if work in assignment:
                array[assignment[work]] += work.cycles
                memory[assignment[work]] += work.memory_cycles
            else:
                alone += work.cycles
        slots = zip(range(len(array)), array, memory, strict=True)
        return alone + sum(self.slot_cycles(*slot) for slot in slots)


def _in_order(loads: Loads) -> Assignment:
    return _fill(loads, loads.gaps)


def _largest_first(loads: Loads) -> Assignment:
    return _fill(loads, sorted(loads.gaps, key=lambda i: loads.array[i] - loads.others[i]))


def _fill(loads: Loads, gaps: Sequence[int]) -> Assignment:
    """Fill each gap with the shortest released product that lasts long enough, or the longest."""
    assignment: Assignment = {}
    for index in gaps:
        need = loads.others[index] - loads.array[index]
        while need > 0:
            left = [w for w in loads.products if w not in assignment and loads.released[w] < index]
            if not left:
                break
            enough = [w for w in left if w.cycles >= need]
            pick = min(enough, key=_length) if enough else max(left, key=_length)
            assignment[pick] = index
            need -= pick.cycles
    return assignment


def _length(work: Work) -> tuple[int, int]:
    return work.cycles, work.position
