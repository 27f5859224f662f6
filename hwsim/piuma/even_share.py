"""Give threads even shares of a sparse matrix: rows and non-zeros together, long rows cut.

A row counts like one more non-zero, so that row r begins at position r + ptr[r] of all rows and
non-zeros; every thread takes as many positions (merge-based partitioning, Merrill and Garland
2016). Where its share begins a thread finds by bisection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hwsim.piuma.isa import THREAD, THREADS, ZERO, Assembler, Label, Register

__all__ = ["EvenShare", "Piece"]


@dataclass(frozen=True)
class Piece:
    """What a thread has of one row: entries from ``first`` to before ``stop``.

    ``is_cut`` is not 0 if other threads have the row's other entries. ``following`` is the label
    of the next piece, for leaving early.
    """

    row: Register
    first: Register
    stop: Register
    is_cut: Register
    following: Label


class EvenShare:
    """A thread's share of ``rows``, whose pointers of 4 bytes lie at ``ptr``.

    Attributes
    ----------
    row : Register
        The last row that begins before the share, or 0.
    begin, end : Register
        Positions from which to before which the share extends.
    """

    def __init__(self, a: Assembler, rows: int, ptr: int) -> None:
        self.rows, self.ptr = rows, ptr
        self.row, self.begin, self.end = a.registers(3)
        self._emit_position(a, self.begin, 0)
        self._emit_position(a, self.end, 1)
        self._emit_search(a)

    def _emit_position(self, a: Assembler, position: Register, ahead: int) -> None:
        """Set ``position`` to where the share of the thread so many ahead begins."""
        with a.scratch(1) as (number,):
            a.load(position, ZERO, self.ptr + 4 * self.rows, size=4, is_cached=True)
            a.add(position, position, self.rows)
            a.add(number, THREAD, ahead)
            a.alu("mul", position, position, number)
            a.alu("div", position, position, THREADS)

    def _emit_search(self, a: Assembler) -> None:
        """Set ``row`` to the number of rows that begin before the share, less one."""
        row = self.row
        with a.scratch(3) as (high, middle, at):
            a.move(row, 0)
            a.move(high, self.rows)
            with a.forever() as out:
                a.branch("ge", row, high, out)
                a.add(middle, row, high)
                a.emit("shri", middle, middle, imm=1)
                a.load_item(at, self.ptr, middle, size=4, is_cached=True)
                a.add(at, at, middle)
                is_before, following = Label(), Label()
                a.branch("lt", at, self.begin, is_before)
                a.add(high, middle, 0)
                a.jump(following)
                a.mark(is_before)
                a.add(row, middle, 1)
                a.mark(following)
            a.alu("sub", row, row, 1)
            a.alu("max", row, row, ZERO)

    def emit_cut_row(self, a: Assembler, row: Register) -> None:
        """Set ``row`` to a row that this thread alone is the first to go on with, or to -1."""
        end = Label()
        with a.scratch(2) as (at, limit):
            a.move(row, -1)
            a.load_item(at, self.ptr, self.row, size=4, is_cached=True)
            a.add(at, at, self.row)
            a.branch("ge", at, self.begin, end)
            self._emit_position(a, limit, -1)
            a.branch("lt", at, limit, end)  # another thread goes on with it before
            a.load_item(at, self.ptr + 4, self.row, size=4, is_cached=True)
            a.add(at, at, self.row)
            a.branch("lt", at, self.begin, end)  # nothing is left of it
            a.add(row, self.row, 0)
            a.mark(end)

    @contextmanager
    def pieces(self, a: Assembler, *, has_empty: bool) -> Iterator[Piece]:
        """Repeat the block for each piece; empty rows are among them if ``has_empty``."""
        row, begin, end = self.row, self.begin, self.end
        first, stop, is_cut = a.registers(3)
        out, following = Label(), Label()
        a.load_item(first, self.ptr, row, size=4, is_cached=True)
        top = a.mark()
        with a.scratch(2) as (at, limit):
            a.add(at, row, first)
            a.branch("ge", at, end, out)
            a.load_item(stop, self.ptr + 4, row, size=4, is_cached=True)
            a.move(is_cut, 0)
            a.alu("sub", limit, end, row)
            a.alu("sub", limit, limit, 1)
            with a.when("lt", limit, stop):
                a.add(stop, limit, 0)
                a.move(is_cut, 1)
            begins_here = Label()
            a.branch("ge", at, begin, begins_here)
            a.alu("sub", first, begin, row)
            a.alu("sub", first, first, 1)
            a.move(is_cut, 1)
            if has_empty:
                a.branch("ge", first, stop, following)
            a.mark(begins_here)
            if not has_empty:
                a.branch("ge", first, stop, following)
        yield Piece(row, first, stop, is_cut, following)
        a.mark(following)
        a.add(row, row, 1)
        a.add(first, stop, 0)
        a.jump(top)
        a.mark(out)
        a.release(first, stop, is_cut)
