"""Say how rows are packed into windows and when: golden packing and cycle model.

A row's bound of partial products is the sum of the lengths of the rows of B that it names, at most
the columns of B (Gustavson's first pass: pointers of B only). Rows join a window in order until the
next one would go beyond the budget or the window has its most rows. A row that is beyond the
budget alone gets a window of its own, marked. Packing by bounds is recollection of the SMASH
thesis; the unit and its cycles are this project's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import WindowSpec

__all__ = ["Mark", "Window", "WindowPackerModel", "marks_of", "pack_rows", "timing"]


class Mark(NamedTuple):
    """A column of the current row, or the end of the row; the last row's end ends the matrix."""

    is_last: bool
    is_end: bool
    column: int


class Window(NamedTuple):
    """Consecutive rows and the sum of their bounds."""

    first_row: int
    rows: int
    bound: int
    is_oversize: bool


def timing(spec: WindowSpec) -> UnitTiming:
    """Return the cycle contract: from the row's end that closes a window, and between marks."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def marks_of(rows: Sequence[Sequence[int]]) -> list[Mark]:
    """Return what is sent for a matrix of at least one row, given the columns of each row."""
    marks = []
    for number, columns in enumerate(rows):
        marks += [Mark(False, False, column) for column in columns]
        marks.append(Mark(number == len(rows) - 1, True, 0))
    return marks


def pack_rows(
    spec: WindowSpec, rows: Sequence[Sequence[int]], lengths: Sequence[int]
) -> list[Window]:
    """Return the windows of a matrix, given the ``lengths`` of the rows of B."""
    windows: list[Window] = []
    first = count = total = 0
    for number, columns in enumerate(rows):
        bound = min(sum(lengths[column] for column in columns), spec.columns)
        if count and (total + bound > spec.budget_elems or count == spec.window_rows):
            windows.append(Window(first, count, total, total > spec.budget_elems))
            first, count, total = number, 0, 0
        count, total = count + 1, total + bound
    return [*windows, Window(first, count, total, total > spec.budget_elems)]


class WindowPackerModel(UnitModel):
    """The unit cycle by cycle.

    Streams: ``i`` marks; ``fetch`` (column,), answered in order on ``fetched`` by the pointers
    (begin, end) of that row of B; ``o`` windows.
    """

    inputs = ("i", "fetched")
    outputs = ("fetch", "o")

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.order: deque[Mark] = deque()
        self.request: Word | None = None
        self.window: Window | None = None
        self.first = self.rows = self.bound = self.row_bound = 0
        self.is_ending = False

    def offers(self) -> dict[str, Word]:
        """Return the registers that hold something."""
        held = {"fetch": self.request, "o": self.window}
        return {name: word for name, word in held.items() if word is not None}

    @property
    def is_busy(self) -> bool:
        """Return whether marks are inside or the last window is."""
        return bool(self.order) or self.is_ending

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept a mark that there is room for, and the answer that is next to be added."""
        taken = set()
        if "i" in offered and len(self.order) < self.spec.outstanding:
            is_free = self.request is None or "fetch" in leaving
            if is_free or offered["i"][1]:
                taken.add("i")
        is_element = bool(self.order) and not self.order[0].is_end and not self.is_ending
        if "fetched" in offered and is_element:
            taken.add("fetched")
        return frozenset(taken)

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Add one length, or end one row, or emit the last window."""
        if "fetch" in leaving:
            self.request = None
        if "o" in leaving:
            self.window = None
        if self.is_ending:
            if self.window is None:
                self._close()
                self.first = self.rows = self.bound = 0
                self.is_ending = False
        elif "fetched" in accepted:
            begin, end = accepted["fetched"]
            length = (end - begin) % (1 << self.spec.pointer_bits)
            self.row_bound = min(self.row_bound + length, self.spec.columns)
            self.order.popleft()
        elif self.order and self.order[0].is_end:
            self._end_row()
        if "i" in accepted:
            mark = Mark(*accepted["i"])
            self.order.append(mark)
            if not mark.is_end:
                self.request = (mark.column,)

    def _close(self) -> None:
        is_oversize = self.bound > self.spec.budget_elems
        self.window = Window(self.first, self.rows, self.bound, is_oversize)

    def _end_row(self) -> None:
        is_full = self.rows == self.spec.window_rows
        is_beyond = self.bound + self.row_bound > self.spec.budget_elems
        if self.rows and (is_full or is_beyond):
            if self.window is not None:
                return
            self._close()
            self.first = (self.first + self.rows) % (1 << self.spec.row_bits)
            self.rows = self.bound = 0
        self.rows += 1
        self.bound += self.row_bound
        self.row_bound = 0
        self.is_ending = self.order.popleft().is_last
