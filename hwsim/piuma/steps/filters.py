"""Write steps that copy a sparse matrix without some of its entries.

Threads have runs of rows. They count what they keep, learn where theirs begin, and copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.isa import THREAD, ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.row_range import each_entry, emit_place, emit_rows_of_thread, emit_tell
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import ALL_THREADS, Launch

__all__ = ["DropSeen", "DropSmall", "Entry", "Filter", "PruneEdges", "RowCopy"]


@dataclass(frozen=True)
class RowCopy:
    """From where to where a filter copies.

    Attributes
    ----------
    source, target : SparseArrays
        ``target`` is in one piece, rows in order.
    counts : int
        Address of what threads keep (:mod:`~hwsim.piuma.row_range`).
    """

    rows: int
    source: SparseArrays
    target: SparseArrays
    counts: int


@dataclass(frozen=True)
class Entry:
    """What a test looks at.

    Attributes
    ----------
    row, p : Register
        The entry's row and place in the source.
    value : Register
        What it becomes.
    is_copying : bool
        Whether this is the second pass.
    """

    row: Register
    p: Register
    value: Register
    is_copying: bool


class Filter(ABC):
    """What all filters share."""

    def __init__(self, spec: PiumaSpec, copy: RowCopy) -> None:
        if spec.mtp.pipelines < 1:
            raise InputError("mtp.pipelines", "at least 1 for this step", "0")
        self.spec, self.rows = spec, copy.rows
        self.source, self.target, self.counts = copy.source, copy.target, copy.counts

    @abstractmethod
    def emit_test(self, a: Assembler, entry: Entry, drop: Label) -> None:
        """Set ``entry.value``, or jump to ``drop``."""

    def open(self, a: Assembler) -> None:
        """Reserve and set what stays the same; called before each of the two passes."""
        del a

    def close(self, a: Assembler) -> None:
        """Release what :meth:`open` has reserved."""
        del a

    def emit_meet(self, a: Assembler, first: Register, last: Register) -> None:
        """Append what threads have to do together before they count: nothing by default."""
        del a, first, last

    def write(self, a: Assembler) -> Launch:
        """Append the step and return where its threads begin."""
        entry = a.place
        a.fresh()
        first, last, place = a.registers(3)
        emit_rows_of_thread(a, self.rows, self.spec.mtp_threads, first, last)
        self.emit_meet(a, first, last)
        a.move(place, 0)
        self._pass(a, first, last, place, is_copying=False)
        emit_tell(a, self.spec, self.counts, place)
        a.barrier(ALL_THREADS)
        emit_place(a, self.spec, self.counts, place)
        with a.when("eq", THREAD, ZERO), a.scratch(1) as (at,):
            a.move(at, self.target.ptr)
            a.store(ZERO, at, size=4)
        self._pass(a, first, last, place, is_copying=True)
        a.emit("halt")
        return Launch(entry)

    def _pass(
        self, a: Assembler, first: Register, last: Register, place: Register, *, is_copying: bool
    ) -> None:
        self.open(a)
        row, p, stop, value = a.registers(4)
        a.add(row, first, 0)
        with a.count_up(row, last):
            with each_entry(a, self.source, row, p, stop) as following:
                self.emit_test(a, Entry(row, p, value, is_copying), following)
                if is_copying:
                    self._copy(a, p, value, place)
                a.add(place, place, 1)
            if is_copying:
                with a.scratch(1) as (at,):
                    a.emit("shli", at, row, imm=2)
                    a.store(place, at, self.target.ptr + 4, size=4)
        a.release(row, p, stop, value)
        self.close(a)

    def _copy(self, a: Assembler, p: Register, value: Register, place: Register) -> None:
        with a.scratch(2) as (column, at):
            a.load_item(column, self.source.col, p, size=4, is_cached=True)
            a.emit("shli", at, place, imm=2)
            a.store(column, at, self.target.col, size=4)
            a.emit("shli", at, place, imm=3)
            a.store(value, at, self.target.val)


class DropSmall(Filter):
    """Scale entries and drop what is then below ``least``."""

    def __init__(self, spec: PiumaSpec, copy: RowCopy, *, scale: float, least: float) -> None:
        super().__init__(spec, copy)
        self.scale, self.least = scale, least

    def open(self, a: Assembler) -> None:
        """Hold both numbers in registers."""
        self._scale, self._least = a.registers(2)
        a.move(self._scale, float(self.scale))
        a.move(self._least, float(self.least))

    def close(self, a: Assembler) -> None:
        """Release the registers of :meth:`open`."""
        a.release(self._scale, self._least)

    def emit_test(self, a: Assembler, entry: Entry, drop: Label) -> None:
        """Scale and compare; the same in both passes."""
        a.load_item(entry.value, self.source.val, entry.p, is_cached=True)
        a.emit("fmul", entry.value, entry.value, self._scale)
        a.branch("flt", entry.value, self._least, drop)


class DropSeen(Filter):
    """Keep, as ones, entries whose ``level`` is negative, and set it to ``depth``.

    ``level`` : address of 8 bytes per row and column.
    """

    def __init__(
        self, spec: PiumaSpec, copy: RowCopy, *, level: int, columns: int, depth: int
    ) -> None:
        super().__init__(spec, copy)
        self.level, self.columns, self.depth = level, columns, depth

    def emit_test(self, a: Assembler, entry: Entry, drop: Label) -> None:
        """Look the level up; while copying, set it."""
        with a.scratch(2) as (at, level):
            a.emit("muli", at, entry.row, imm=self.columns)
            a.load_item(level, self.source.col, entry.p, size=4, is_cached=True)
            a.add(at, at, level)
            a.emit("shli", at, at, imm=3)
            a.load(level, at, self.level)
            a.branch("ge", level, ZERO, drop)
            if entry.is_copying:
                a.move(level, self.depth)
                a.store(level, at, self.level)
        a.move(entry.value, 1.0)


class PruneEdges(Filter):
    """Drop edges whose score is below a bound, and the first so many of those at it; loops stay.

    ``scores`` : address of a double per entry; ``bound`` : address of the bound and that count;
    ``ties`` : address of threads' counts of such edges.
    """

    def __init__(
        self, spec: PiumaSpec, copy: RowCopy, *, scores: int, bound: int, ties: int
    ) -> None:
        super().__init__(spec, copy)
        self.scores, self.bound, self.ties = scores, bound, ties

    def emit_meet(self, a: Assembler, first: Register, last: Register) -> None:
        """Count each thread's edges at the bound, and say how many lie before its own."""
        (self._before,) = a.registers(1)
        count, row, p, stop, bound = a.registers(5)
        self._load_bound(a, bound, 0)
        a.move(count, 0)
        a.add(row, first, 0)
        with a.count_up(row, last), each_entry(a, self.source, row, p, stop) as following:
            with a.scratch(1) as (found,):
                a.load_item(found, self.source.col, p, size=4, is_cached=True)
                a.branch("eq", found, row, following)
                a.load_item(found, self.scores, p, is_cached=True)
                a.branch("ne", found, bound, following)
            a.add(count, count, 1)
        emit_tell(a, self.spec, self.ties, count)
        a.release(count, row, p, stop, bound)
        a.barrier(ALL_THREADS)
        emit_place(a, self.spec, self.ties, self._before)

    def _load_bound(self, a: Assembler, register: Register, offset: int) -> None:
        a.move(register, self.bound + offset)
        a.load(register, register, is_cached=True)

    def open(self, a: Assembler) -> None:
        """Load the bound; edges at it are counted from those of the threads before."""
        self._bound, self._dropped, self._ties = a.registers(3)
        self._load_bound(a, self._bound, 0)
        self._load_bound(a, self._dropped, 8)
        a.add(self._ties, self._before, 0)

    def close(self, a: Assembler) -> None:
        """Release the registers of :meth:`open`."""
        a.release(self._bound, self._dropped, self._ties)

    def emit_test(self, a: Assembler, entry: Entry, drop: Label) -> None:
        """Compare scores as integers: doubles from 0 on have the order of their bits."""
        keep, at_bound = Label(), Label()
        value = entry.value
        a.load_item(value, self.source.col, entry.p, size=4, is_cached=True)
        a.branch("eq", value, entry.row, keep)
        a.load_item(value, self.scores, entry.p, is_cached=True)
        a.branch("eq", value, self._bound, at_bound)
        a.branch("lt", value, self._bound, drop)
        a.jump(keep)
        a.mark(at_bound)
        with a.scratch(1) as (mine,):
            a.add(mine, self._ties, 0)
            a.add(self._ties, self._ties, 1)
            a.branch("lt", mine, self._dropped, drop)
        a.mark(keep)
        a.load_item(value, self.source.val, entry.p, is_cached=True)
