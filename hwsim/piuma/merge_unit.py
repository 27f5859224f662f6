"""Say what the merger emits and when: golden merge and cycle model of the tree of cells.

A list is a sequence of elements of ascending coordinates and an end mark. A cell takes the lower of
its two heads, both if they are equal, and adds their values; when both lists have ended it passes
one end mark on. A tree of cells emits at most one element per cycle: Gamma's merger of 64 ways is
described that way (TeAAL's artifact: one swap per cycle per PE); cells and cycles are this
project's own. Sums wrap modulo two to the width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import MergeSpec

__all__ = ["END", "Element", "MergeUnitModel", "merge_lists", "timing"]


class Element(NamedTuple):
    """One transfer; an end mark carries zeros."""

    is_end: bool
    coordinate: int
    value: int


END = Element(True, 0, 0)
"""What follows the last element of a list, and is all of an empty one."""


def timing(spec: MergeSpec) -> UnitTiming:
    """Return the cycle contract: one cycle per rank of cells, one element per cycle."""
    return UnitTiming(latency_cycles=spec.levels, interval_cycles=1)


def merge_lists(spec: MergeSpec, lists: Sequence[Mapping[int, int]]) -> list[Element]:
    """Return the sum of sparse vectors {coordinate: value}, coordinates ascending, and its end."""
    totals: Counter[int] = Counter()
    for elements in lists:
        totals.update(elements)
    top = 1 << spec.value_bits
    return [*(Element(False, at, totals[at] % top) for at in sorted(totals)), END]


class MergeUnitModel(UnitModel):
    """The tree cycle by cycle: streams ``i__w`` of elements, ``o`` of the merged list.

    Cell 1 is the root, cells 2 k and 2 k + 1 feed cell k; leaves are the inputs in order.
    """

    outputs = ("o",)

    def __init__(self, spec: MergeSpec) -> None:
        self.spec = spec
        self.inputs = tuple(f"i__{way}" for way in range(spec.ways))
        self.registers: list[Element | None] = [None] * spec.ways
        self._heads: list[Element | None] = []
        self._taken: list[bool] = []

    def offers(self) -> dict[str, Word]:
        """Return the root's register."""
        root = self.registers[1]
        return {} if root is None else {"o": root}

    @property
    def is_busy(self) -> bool:
        """Return whether a cell below the root holds an element."""
        return any(register is not None for register in self.registers[2:])

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept the heads that the lowest rank of cells takes; decides the whole cycle."""
        ways = self.spec.ways
        inputs = [offered.get(name) for name in self.inputs]
        self._heads = [*self.registers, *(word and Element(*word) for word in inputs)]
        self._taken = [False] * (2 * ways)
        self._taken[1] = "o" in leaving
        for cell in range(1, ways):
            left, right = self._heads[2 * cell : 2 * cell + 2]
            is_free = self.registers[cell] is None or self._taken[cell]
            if not is_free or left is None or right is None:
                continue
            # An end mark is behind every coordinate; two of them are equal.
            ranks = [(head.is_end, head.coordinate) for head in (left, right)]
            self._taken[2 * cell] = ranks[0] <= ranks[1]
            self._taken[2 * cell + 1] = ranks[1] <= ranks[0]
        return frozenset(name for way, name in enumerate(self.inputs) if self._taken[ways + way])

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Move the heads that were taken up by one rank."""
        del accepted, leaving
        for cell in range(1, self.spec.ways):
            chosen = [self._heads[n] for n in (2 * cell, 2 * cell + 1) if self._taken[n]]
            first = chosen[0] if chosen else None
            if first is not None:
                total = sum(head.value for head in chosen if head) % (1 << self.spec.value_bits)
                self.registers[cell] = first._replace(value=total)
            elif self._taken[cell]:
                self.registers[cell] = None
