"""Group work into slots by list scheduling: products on the array, other work beside them.

At every step the ready work with the longest chain to the end goes first. If it is no product, the
work that follows from it without a product joins it, and ready products are pulled forward to keep
the array busy meanwhile: the shortest that lasts long enough, so that longer ones are left for
longer gaps. If it is a product, other ready work that fits into its time runs beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mappers.work import Work

__all__ = ["Slot", "list_slots"]


@dataclass
class Slot:
    """Work that runs beside each other; each list is in order."""

    products: list[Work] = field(default_factory=list)
    others: list[Work] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        """Return the estimate: the longest of array, other units and memory."""
        work = [*self.products, *self.others]
        return max(
            sum(w.cycles for w in self.products),
            sum(w.cycles for w in self.others),
            sum(w.memory_cycles for w in work),
        )


class _Ready:
    """Work whose predecessors have finished, in or before the present slot."""

    def __init__(self, works: Sequence[Work]) -> None:
        self.missing = {work: len(work.before) for work in works}
        self.ready = [work for work in works if not work.before]

    def best(self, among: Iterable[Work]) -> Work | None:
        """Return the work with the longest chain to the end; ties go in the graph's order."""
        return max(among, key=lambda w: (w.rank_cycles, -w.position), default=None)

    def take(self, work: Work) -> None:
        """Remove ``work``; what waited for nothing else becomes ready."""
        self.ready.remove(work)
        for later in work.after:
            if later not in self.missing:
                continue  # left out of this schedule
            self.missing[later] -= 1
            if not self.missing[later]:
                self.ready.append(later)


def list_slots(works: Sequence[Work]) -> list[Slot]:
    """Return slots in order; all of ``works`` appears once, after what it depends on.

    ``works`` contains everything that its members depend on; what follows may be left out.
    """
    ready = _Ready(works)
    slots = []
    while ready.ready:
        at_start = set(ready.ready)  # only these are independent of the slot's other work
        first = ready.best(ready.ready)
        assert first is not None
        slot = Slot()
        if first.is_product:
            _take_products(slot, ready, at_start)
            _fill_with_others(slot, ready, at_start)
        else:
            _take_chain(slot, ready)
            _fill_with_products(slot, ready, at_start)
        slots.append(slot)
    return slots


def _take_products(slot: Slot, ready: _Ready, at_start: set[Work]) -> None:
    """Take products while the most urgent work is one that does not depend on the slot."""
    while (best := ready.best(ready.ready)) and best.is_product and best in at_start:
        ready.take(best)
        slot.products.append(best)


def _take_chain(slot: Slot, ready: _Ready) -> None:
    """Take other work until a product is the most urgent."""
    while (best := ready.best(ready.ready)) and not best.is_product:
        ready.take(best)
        slot.others.append(best)


def _fill_with_others(slot: Slot, ready: _Ready, at_start: set[Work]) -> None:
    left = sum(work.cycles for work in slot.products)
    inside = set(at_start)
    while True:
        fitting = [w for w in ready.ready if not w.is_product and w in inside and w.cycles <= left]
        work = ready.best(fitting)
        if work is None:
            return
        before = set(ready.ready)
        ready.take(work)
        inside |= set(ready.ready) - before  # follows from other work of this slot alone
        slot.others.append(work)
        left -= work.cycles


def _fill_with_products(slot: Slot, ready: _Ready, at_start: set[Work]) -> None:
    left = sum(work.cycles for work in slot.others)
    while left > 0:
        products = [w for w in ready.ready if w.is_product and w in at_start]
        if not products:
            return
        enough = [w for w in products if w.cycles >= left]
        pick = min(enough, key=_length) if enough else max(products, key=_length)
        ready.take(pick)
        slot.products.append(pick)
        left -= pick.cycles


def _length(work: Work) -> tuple[int, int]:
    return work.cycles, work.position
