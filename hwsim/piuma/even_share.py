"""Give threads even shares of a sparse matrix: rows and non-zeros together, long rows cut.

A row counts like one more non-zero, so that row r begins at position r + ptr[r] of all rows and
non-zeros; every thread takes as many positions (merge-based partitioning, Merrill and Garland
2016). Where its share begins a thread finds by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hwsim.piuma.isa import THREAD, THREADS, ZERO, Assembler, Label, Register
from hwsim.piuma.state import ALL_THREADS

__all__ = ["EvenShare", "Piece", "SharedRows"]


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


class SharedRows:
    """Rows of doubles at ``result``, ``row_bytes`` each, that several threads add to by atomics.

    The second thread of such a row stores zeros before all threads meet.
    """

    def __init__(self, a: Assembler, share: EvenShare, row_bytes: int, result: int) -> None:
        self.row_bytes, self.result = row_bytes, result
        (self.row,) = a.registers(1)
        share.emit_cut_row(a, self.row)
        with a.when("ge", self.row, ZERO):
            self._each(a, lambda at: a.store(ZERO, at, result))
        a.barrier(ALL_THREADS)

    def rectify(self, a: Assembler) -> None:
        """Let all threads meet again, and replace negative sums by zeros."""
        a.barrier(ALL_THREADS)
        with a.when("ge", self.row, ZERO), a.scratch(2) as (x, zero):
            a.move(zero, 0.0)

            def rectify(at: Register) -> None:
                a.load(x, at, self.result)
                a.emit("fmax", x, x, zero)
                a.store(x, at, self.result)

            self._each(a, rectify)

    def store(
        self,
        a: Assembler,
        piece: Piece,
        sums: list[tuple[Register, int]],
        at: Register,
        *,
        is_rectified: bool,
    ) -> None:
        """Store ``sums``, each with its distance from offset ``at``; add them if a row is cut."""
        done, is_cut = Label(), Label()
        a.branch("ne", piece.is_cut, ZERO, is_cut)
        if is_rectified:
            with a.scratch(1) as (zero,):
                a.move(zero, 0.0)
                for total, _ in sums:
                    a.emit("fmax", total, total, zero)
        for total, distance in sums:
            a.store(total, at, self.result + distance)
        a.jump(done)
        a.mark(is_cut)
        with a.scratch(1) as (old,):
            for total, distance in sums:
                a.atomic("afadd", old, at, total, self.result + distance)
        a.mark(done)

    def _each(self, a: Assembler, emit: Callable[[Register], None]) -> None:
        """Repeat what ``emit`` appends for every element of the row, given its offset."""
        with a.scratch(2) as (at, stop):
            a.emit("muli", at, self.row, imm=self.row_bytes)
            a.add(stop, at, self.row_bytes)
            with a.count_up(at, stop, 8):
                emit(at)
