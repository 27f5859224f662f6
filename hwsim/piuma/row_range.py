"""Give threads rows: runs of equal length, and where a row's entries lie."""

from __future__ import annotations

from hwsim.piuma.isa import THREAD, Assembler, Register
from hwsim.piuma.memory_map import SparseArrays

__all__ = ["emit_entries", "emit_place", "emit_rows_of_thread"]


def emit_rows_of_thread(
    a: Assembler, rows: int, threads: int, first: Register, last: Register
) -> None:
    """Set ``first`` and ``last`` to the thread's run of ``rows``."""
    with a.scratch(1) as (count,):
        a.move(count, threads)
        a.emit("muli", first, THREAD, imm=rows)
        a.alu("div", first, first, count)
        a.add(last, THREAD, 1)
        a.emit("muli", last, last, imm=rows)
        a.alu("div", last, last, count)


def emit_entries(
    a: Assembler, matrix: SparseArrays, row: Register, begin: Register, end: Register
) -> None:
    """Set ``begin`` and ``end`` to the places of a row's entries."""
    with a.scratch(1) as (at,):
        a.add(at, row, 0)
        for piece in range(1, matrix.pieces):
            # A row's pointer lies as many words further as pieces have begun.
            with a.scratch(2) as (start, place):
                a.move(place, matrix.starts + 16 * piece)
                a.load(start, place, is_cached=True)
                with a.when("ge", row, start):
                    a.add(at, at, 1)
        a.emit("shli", at, at, imm=2)
        a.load(begin, at, matrix.ptr, size=4, is_cached=True)
        a.load(end, at, matrix.ptr + 4, size=4, is_cached=True)


def emit_place(a: Assembler, counts: int, place: Register) -> None:
    """Set ``place`` to the sum of ``counts`` of the threads before this one."""
    with a.scratch(3) as (thread, stop, count):
        a.move(place, 0)
        a.move(thread, 0)
        a.add(stop, THREAD, 0)
        with a.count_up(thread, stop):
            a.load_item(count, counts, thread, is_cached=True)
            a.add(place, place, count)
