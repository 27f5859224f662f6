"""Write products of a sparse matrix and dense ones as thread programs: SpMM, SpMV, SDDMM.

Threads take even shares of rows and non-zeros (:mod:`hwsim.piuma.even_share`). What is read in
order goes through the cache; single elements of a vector do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.even_share import EvenShare, Piece, SharedRows
from hwsim.piuma.isa import ZERO, Assembler, Register
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
    """Address of 4 bytes per row: whether others add to the row of c, and zero it before."""
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
    """Append a thread's share of an SpMM; it meets all other threads once (rectified: twice)."""
    share = EvenShare(a, product.m, product.a.ptr)
    result = SharedRows(a, share, 8 * product.width, product.c)
    _emit_pieces(a, product, share, result)
    if product.is_rectified:
        result.rectify(a)


def _emit_pieces(a: Assembler, product: DenseProduct, share: EvenShare, result: SharedRows) -> None:
    """Append the loop over a thread's pieces of rows."""
    with share.pieces(a, has_empty=True) as piece:
        if product.is_shared is not None:
            with a.scratch(1) as (is_shared,):
                a.load_item(is_shared, product.is_shared, piece.row, size=4, is_cached=True)
                a.emit("or", piece.is_cut, piece.is_cut, is_shared)
            with a.when("ne", piece.is_cut, ZERO):
                a.branch("ge", piece.first, piece.stop, piece.following)
        full = product.width // _WIDTH * _WIDTH
        if full:
            with a.scratch(2) as (offset, stop):
                a.move(offset, 0)
                a.move(stop, 8 * full)
                with a.count_up(offset, stop, 8 * _WIDTH):
                    _piece_chunk(a, product, (piece, result), offset, _WIDTH)
        if product.width > full:
            with a.scratch(1) as (offset,):
                a.move(offset, 8 * full)
                _piece_chunk(a, product, (piece, result), offset, product.width - full)


def _piece_chunk(
    a: Assembler,
    product: DenseProduct,
    where: tuple[Piece, SharedRows],
    offset: Register,
    width: int,
) -> None:
    """Compute ``width`` elements of a row of the result, ``offset`` bytes from its begin."""
    piece, result = where
    sums = a.registers(width)
    for total in sums:
        a.move(total, 0.0)
    with a.scratch(4) as (p, value, at, x):
        a.add(p, piece.first, 0)
        with a.count_up(p, piece.stop):
            a.load_item(at, product.a.col, p, size=4, is_cached=True)
            a.load_item(value, product.a.val, p, is_cached=True)
            a.emit("muli", at, at, imm=8 * product.width)
            a.add(at, at, offset)
            for i, total in enumerate(sums):
                a.load(x, at, product.y + 8 * i, is_cached=width > 1)
                a.emit("fmul", x, x, value)
                a.emit("fadd", total, total, x)
        a.emit("muli", at, piece.row, imm=8 * product.width)
        a.add(at, at, offset)
        distances = [(total, 8 * i) for i, total in enumerate(sums)]
        result.store(a, piece, distances, at, is_rectified=product.is_rectified)
    a.release(*sums)


def write_sddmm(a: Assembler, spec: PiumaSpec, product: DenseProduct) -> Launch:
    """Append SDDMM and return where its threads begin."""
    _require_threads(spec)
    entry = a.place
    a.fresh()
    share = EvenShare(a, product.m, product.a.ptr)
    p, mine, theirs, end, total, x, y = a.registers(7)
    with share.pieces(a, has_empty=False) as piece:
        a.add(p, piece.first, 0)
        with a.count_up(p, piece.stop):
            a.load_item(theirs, product.a.col, p, size=4, is_cached=True)
            a.emit("muli", theirs, theirs, imm=8 * product.width)
            a.emit("muli", mine, piece.row, imm=8 * product.width)
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
