"""Bound the rows of a product in parallel, and give every block rows of about equal bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.piuma.isa import BLOCK, THREAD, ZERO, Assembler, Label, Register
from hwsim.piuma.row_range import block_threads, blocks_at, emit_tell
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import ALL_THREADS

if TYPE_CHECKING:
    from hwsim.piuma.smash_role import SparseProduct

__all__ = ["emit_bounds", "emit_find_row", "emit_find_rows"]


def emit_bounds(a: Assembler, spec: PiumaSpec, product: SparseProduct) -> Register:
    """Let every thread bound its share of rows (Gustavson's first pass) and meet all others.

    Returns a register with the sum of all bounds, for the caller to release.
    """
    row, last, total = a.registers(3)
    with a.scratch(1) as (count,):
        a.move(count, spec.mtp_threads)
        a.emit("muli", row, THREAD, imm=product.m)
        a.alu("div", row, row, count)
        a.add(last, THREAD, 1)
        a.emit("muli", last, last, imm=product.m)
        a.alu("div", last, last, count)
    a.move(total, 0)
    with a.scratch(1) as (columns,):
        a.move(columns, product.n)
        with a.count_up(row, last), a.scratch(6) as (p, stop, bound, k, begin, end):
            a.load_item(p, product.a.ptr, row, size=4, is_cached=True)
            a.load_item(stop, product.a.ptr + 4, row, size=4, is_cached=True)
            a.move(bound, 0)
            with a.count_up(p, stop):
                a.load_item(k, product.a.col, p, size=4, is_cached=True)
                a.emit("shli", k, k, imm=2)
                a.load(begin, k, product.b.ptr, size=4)
                a.load(end, k, product.b.ptr + 4, size=4)
                a.alu("sub", end, end, begin)
                a.add(bound, bound, end)
            a.alu("min", bound, bound, columns)
            a.emit("shli", k, row, imm=3)
            a.store(bound, k, product.bounds)
            a.add(total, total, bound)
    emit_tell(a, spec, product.sums, total)
    a.emit("barsum", total, rs2=total, imm=ALL_THREADS)
    a.release(row, last)
    return total


def emit_find_rows(
    a: Assembler, spec: PiumaSpec, product: SparseProduct
) -> tuple[Register, Register, Register]:
    """Meet the bounding threads; return registers with the block's rows [first, last) and the
    first entry of its piece of C (all of it if there is one block)."""
    row, last, entry = a.registers(3)
    with a.scratch(1) as (total,):
        a.emit("barsum", total, rs2=ZERO, imm=ALL_THREADS)
        if spec.blocks == 1:
            a.move(row, 0)
            a.move(last, product.m)
            a.move(entry, 0)
        else:
            with a.scratch(1) as (number,):
                a.add(number, BLOCK, 1)
                emit_find_row(a, spec, product, total, number, (last, entry), spec.blocks)
            emit_find_row(a, spec, product, total, BLOCK, (row, entry), spec.blocks)
    with a.scratch(1) as (at,):
        a.emit("shli", at, BLOCK, imm=4)
        a.store(row, at, product.starts)
        a.store(entry, at, product.starts + 8)
    return row, last, entry


def emit_find_row(
    a: Assembler,
    spec: PiumaSpec,
    product: SparseProduct,
    total: Register,
    number: Register,
    found: tuple[Register, Register],
    parts: int,
) -> None:
    """Set ``found`` to the first row with ``number`` / ``parts`` of all bounds before it, and to
    the sum of those. Call it after :func:`emit_bounds`, whose sum ``total`` holds."""
    row, before = found
    share, thread, threads, next_sum = a.registers(4)
    # Rounded up, so that the last part's share ends behind the last row.
    a.alu("mul", share, total, number)
    a.move(threads, parts)
    a.add(share, share, parts - 1)
    a.alu("div", share, share, threads)
    levels = [(product.sums, spec.mtp_threads)]
    if spec.blocks > 1:
        levels.insert(0, (product.sums + blocks_at(spec), spec.blocks))
    a.move(before, 0)
    a.move(thread, 0)
    for level, (sums, count) in enumerate(levels):
        if level > 0:
            a.emit("muli", thread, thread, imm=block_threads(spec))
        a.move(threads, count)
        inside = Label()
        with a.count_up(thread, threads):
            a.load_item(next_sum, sums, thread, is_cached=True)
            a.add(next_sum, next_sum, before)
            a.branch("ge", next_sum, share, inside)
            a.add(before, next_sum, 0)
        a.mark(inside)
    # Rows without a bound at the very end belong to the last part.
    a.emit("muli", row, thread, imm=product.m)
    a.alu("div", row, row, threads)
    found = Label()
    a.move(threads, product.m)
    with a.count_up(row, threads):
        a.move(thread, parts)
        skip = Label()
        a.branch("eq", number, thread, skip)
        a.branch("ge", before, share, found)
        a.mark(skip)
        a.load_item(next_sum, product.bounds, row, is_cached=True)
        a.add(before, before, next_sum)
    a.mark(found)
    a.release(share, thread, threads, next_sum)
