"""Give threads rows: runs of equal length, where a row's entries lie, and where each begins.

Threads tell their counts by :func:`emit_tell` and learn the sum of those before them by
:func:`emit_place`. Of several blocks the counts are also added up by block: a thread then reads at
most a word per block and per thread of its own, not one of every thread before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hwsim.core.units import ceil_div
from hwsim.piuma.isa import BLOCK, THREAD, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.spec import PiumaSpec

__all__ = [
    "block_threads",
    "blocks_at",
    "counts_bytes",
    "each_entry",
    "emit_entries",
    "emit_place",
    "emit_rows_of_thread",
    "emit_tell",
]


def block_threads(spec: PiumaSpec) -> int:
    """Return the threads of a block's multi-threaded pipelines."""
    return spec.mtp.pipelines * spec.mtp.threads


def blocks_at(spec: PiumaSpec) -> int:
    """Return how many bytes behind the first thread's count that of the first block is.

    They share no line of a cache, as the threads' are read before the blocks' are complete.
    """
    return 64 * ceil_div(8 * max(1, spec.mtp_threads), 64)


def counts_bytes(spec: PiumaSpec) -> int:
    """Return the bytes of all counts, zeros at first."""
    if spec.blocks == 1:
        return 8 * max(1, spec.mtp_threads)
    return blocks_at(spec) + 8 * spec.blocks


def emit_tell(a: Assembler, spec: PiumaSpec, counts: int, value: Register) -> None:
    """Tell the thread's count to all others, which have to meet before they read it."""
    with a.scratch(1) as (at,):
        a.emit("shli", at, THREAD, imm=3)
        a.store(value, at, counts)
        if spec.blocks > 1:
            a.emit("shli", at, BLOCK, imm=3)
            a.atomic("aadd", at, at, value, counts + blocks_at(spec))


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


@contextmanager
def each_entry(
    a: Assembler, matrix: SparseArrays, row: Register, p: Register, stop: Register
) -> Iterator[Label]:
    """Repeat the block with ``p`` at each entry of a row; yields the label of the next one."""
    emit_entries(a, matrix, row, p, stop)
    with a.count_up(p, stop) as following:
        yield following


def emit_place(a: Assembler, spec: PiumaSpec, counts: int, place: Register) -> None:
    """Set ``place`` to the sum of ``counts`` of the threads before this one."""
    with a.scratch(3) as (thread, stop, count):
        a.move(place, 0)
        a.move(thread, 0)
        if spec.blocks > 1:
            a.add(stop, BLOCK, 0)
            with a.count_up(thread, stop):
                a.load_item(count, counts + blocks_at(spec), thread, is_cached=True)
                a.add(place, place, count)
            a.emit("muli", thread, BLOCK, imm=block_threads(spec))
        a.add(stop, THREAD, 0)
        with a.count_up(thread, stop):
            a.load_item(count, counts, thread, is_cached=True)
            a.add(place, place, count)
