"""Write products of a sparse matrix and dense ones as thread programs: SpMM, SpMV, SDDMM.

Every thread takes every so-many-th row. What is read in order goes through the cache; single
elements of a vector do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.isa import THREAD, THREADS, ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch

__all__ = ["DenseProduct", "emit_rows", "write_sddmm", "write_spmm"]

_WIDTH = 8
"""Columns that a thread sums in registers at once: a line of doubles."""


@dataclass(frozen=True)
class DenseProduct:
    """Operands and result: ``a`` : sparse [m, n]; ``x``, ``y``, ``c`` : addresses of doubles.

    SpMM: c [m, width] = a · y [n, width]. SDDMM: c [nnz] = a at (i, j) times x [m, width] row i
    times y [n, width] row j.
    """

    m: int
    width: int
    a: SparseArrays
    x: int
    y: int
    c: int
    is_shared: int | None = None
    """Address of 4 bytes per row: whether others add to the row of c, which begins as zeros."""
    is_rectified: bool = False
    """Whether negative elements of an SpMM become 0."""


def _require_threads(spec: PiumaSpec) -> None:
    if spec.mtp.pipelines < 1:
        raise InputError("mtp.pipelines", "at least 1 for this kernel", "0")


def write_spmm(a: Assembler, spec: PiumaSpec, product: DenseProduct) -> Launch:
    """Append SpMM (SpMV for a width of 1) and return where its threads begin."""
    _require_threads(spec)
    entry = a.place
    a.fresh()
    emit_rows(a, product)
    a.emit("halt")
    return Launch(entry)


def emit_rows(a: Assembler, product: DenseProduct) -> None:
    """Append the loop over a thread's rows of an SpMM."""
    row, rows = a.registers(2)
    a.add(row, THREAD, 0)
    a.move(rows, product.m)
    with a.count_up(row, rows, THREADS) as following:
        if product.is_shared is not None:  # rows begin as zeros
            with a.scratch(2) as (p, stop):
                a.load_item(p, product.a.ptr, row, size=4, is_cached=True)
                a.load_item(stop, product.a.ptr + 4, row, size=4, is_cached=True)
                a.branch("ge", p, stop, following)
        full = product.width // _WIDTH * _WIDTH
        if full:
            with a.scratch(2) as (offset, stop):
                a.move(offset, 0)
                a.move(stop, 8 * full)
                with a.count_up(offset, stop, 8 * _WIDTH):
                    _row_chunk(a, product, row, offset, _WIDTH)
        if product.width > full:
            with a.scratch(1) as (offset,):
                a.move(offset, 8 * full)
                _row_chunk(a, product, row, offset, product.width - full)
    a.release(row, rows)


def _row_chunk(
    a: Assembler, product: DenseProduct, row: Register, offset: Register, width: int
) -> None:
    """Compute ``width`` elements of a row of the result, ``offset`` bytes from its begin."""
    sums = a.registers(width)
    for total in sums:
        a.move(total, 0.0)
    with a.scratch(5) as (p, stop, value, at, x):
        a.load_item(p, product.a.ptr, row, size=4, is_cached=True)
        a.load_item(stop, product.a.ptr + 4, row, size=4, is_cached=True)
        with a.count_up(p, stop):
            a.load_item(at, product.a.col, p, size=4, is_cached=True)
            a.load_item(value, product.a.val, p, is_cached=True)
            a.emit("muli", at, at, imm=8 * product.width)
            a.add(at, at, offset)
            for i, total in enumerate(sums):
                a.load(x, at, product.y + 8 * i, is_cached=width > 1)
                a.emit("fmul", x, x, value)
                a.emit("fadd", total, total, x)
        a.emit("muli", at, row, imm=8 * product.width)
        a.add(at, at, offset)
        _store_chunk(a, product, row, at, sums)
    a.release(*sums)


def _store_chunk(
    a: Assembler, product: DenseProduct, row: Register, at: Register, sums: list[Register]
) -> None:
    """Store a row's sums, or add them where others add too."""
    done, shared = Label(), Label()
    if product.is_shared is not None:
        with a.scratch(1) as (is_shared,):
            a.load_item(is_shared, product.is_shared, row, size=4, is_cached=True)
            a.branch("ne", is_shared, ZERO, shared)
    if product.is_rectified:
        with a.scratch(1) as (zero,):
            a.move(zero, 0.0)
            for total in sums:
                a.emit("fmax", total, total, zero)
    for i, total in enumerate(sums):
        a.store(total, at, product.c + 8 * i)
    if product.is_shared is not None:
        a.jump(done)
        a.mark(shared)
        with a.scratch(1) as (old,):
            for i, total in enumerate(sums):
                a.atomic("afadd", old, at, total, product.c + 8 * i)
        a.mark(done)


def write_sddmm(a: Assembler, spec: PiumaSpec, product: DenseProduct) -> Launch:
    """Append SDDMM and return where its threads begin."""
    _require_threads(spec)
    entry = a.place
    a.fresh()
    row, rows, p, stop, mine, theirs, end, total, x, y = a.registers(10)
    a.add(row, THREAD, 0)
    a.move(rows, product.m)
    with a.count_up(row, rows, THREADS):
        a.load_item(p, product.a.ptr, row, size=4, is_cached=True)
        a.load_item(stop, product.a.ptr + 4, row, size=4, is_cached=True)
        with a.count_up(p, stop):
            a.load_item(theirs, product.a.col, p, size=4, is_cached=True)
            a.emit("muli", theirs, theirs, imm=8 * product.width)
            a.emit("muli", mine, row, imm=8 * product.width)
            a.add(end, mine, 8 * product.width)
            a.move(total, 0.0)
            with a.count_up(mine, end, 8):
                a.load(x, mine, product.x, is_cached=True)
                a.load(y, theirs, product.y, is_cached=True)
                a.add(theirs, theirs, 8)
                a.emit("fmul", x, x, y)
                a.emit("fadd", total, total, x)
            a.load_item(x, product.a.val, p, is_cached=True)
            a.emit("fmul", total, total, x)
            a.emit("shli", x, p, imm=3)
            a.store(total, x, product.c)
    a.emit("halt")
    return Launch(entry)
