"""Write steps that make dense arrays: degrees, sums of sparse rows, dense and blocked products."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.even_share import EvenShare, Piece, SharedRows
from hwsim.piuma.isa import THREAD, THREADS, ZERO, Assembler, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.row_range import emit_entries
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch

__all__ = ["BlockRows", "write_block_rows", "write_combine", "write_dense", "write_vertex"]

_WIDTH = 8
"""Columns that a thread sums in registers at once."""


def _begin(a: Assembler, spec: PiumaSpec) -> int:
    if spec.mtp.pipelines < 1:
        raise InputError("mtp.pipelines", "at least 1 for this step", "0")
    a.fresh()
    return a.place


def write_vertex(
    a: Assembler, spec: PiumaSpec, rows: int, matrix: SparseArrays, sums: int | None, result: int
) -> Launch:
    """Append 1 / sqrt(degree) per row, or with ``sums`` (doubles) those over degree squared.

    Rows without entries get 0.
    """
    entry = _begin(a, spec)
    row, last, begin, end, value = a.registers(5)
    a.add(row, THREAD, 0)
    a.move(last, rows)
    with a.count_up(row, last, THREADS):
        emit_entries(a, matrix, row, begin, end)
        a.alu("sub", end, end, begin)
        a.move(value, 0.0)
        with a.when("ne", end, ZERO):
            if sums is None:
                a.emit("float", end, end)
                a.emit("fsqrt", end, end)
                a.move(value, 1.0)
            else:
                a.alu("mul", end, end, end)
                a.emit("float", end, end)
                a.load_item(value, sums, row, is_cached=True)
            a.emit("fdiv", value, value, end)
        a.emit("shli", begin, row, imm=3)
        a.store(value, begin, result)
    a.emit("halt")
    return Launch(entry)


def write_combine(
    a: Assembler,
    spec: PiumaSpec,
    shape: tuple[int, int],
    parts: list[tuple[SparseArrays, float]],
    result: int,
) -> Launch:
    """Append the dense sum of sparse ``parts`` times their factors; ``result`` : doubles."""
    entry = _begin(a, spec)
    rows, columns = shape
    row, last, base = a.registers(3)
    a.add(row, THREAD, 0)
    a.move(last, rows)
    with a.count_up(row, last, THREADS):
        a.emit("muli", base, row, imm=8 * columns)
        with a.scratch(1) as (stop,):
            a.add(stop, base, 8 * columns)
            with a.count_up(base, stop, 8):
                a.store(ZERO, base, result)
        a.emit("muli", base, row, imm=8 * columns)
        for matrix, factor in parts:
            with a.scratch(5) as (p, end, at, value, scale):
                emit_entries(a, matrix, row, p, end)
                a.move(scale, float(factor))
                with a.count_up(p, end):
                    a.load_item(at, matrix.col, p, size=4, is_cached=True)
                    a.load_item(value, matrix.val, p, is_cached=True)
                    a.emit("fmul", value, value, scale)
                    a.emit("shli", at, at, imm=3)
                    a.add(at, at, base)
                    a.load(scale, at, result)
                    a.emit("fadd", value, value, scale)
                    a.store(value, at, result)
                    a.move(scale, float(factor))
    a.emit("halt")
    return Launch(entry)


def write_dense(
    a: Assembler,
    spec: PiumaSpec,
    extents: tuple[int, int, int],
    x: int,
    weights: int,
    result: int,
) -> Launch:
    """Append x [m, k] times weights [k, n], all doubles; threads take rows."""
    entry = _begin(a, spec)
    m, k, n = extents
    row, rows = a.registers(2)
    a.add(row, THREAD, 0)
    a.move(rows, m)
    with a.count_up(row, rows, THREADS), a.scratch(1) as (offset,):
        full = n // _WIDTH * _WIDTH
        a.move(offset, 0)
        if full:
            with a.scratch(1) as (stop,):
                a.move(stop, 8 * full)
                with a.count_up(offset, stop, 8 * _WIDTH):
                    _dense_chunk(a, (row, offset), (k, n), (x, weights, result), _WIDTH)
        if n > full:
            _dense_chunk(a, (row, offset), (k, n), (x, weights, result), n - full)
    a.emit("halt")
    return Launch(entry)


def _dense_chunk(
    a: Assembler,
    where: tuple[Register, Register],
    extents: tuple[int, int],
    arrays: tuple[int, int, int],
    width: int,
) -> None:
    """Compute ``width`` elements of a row, ``offset`` bytes from its begin."""
    row, offset = where
    k, n = extents
    x, weights, result = arrays
    sums = a.registers(width)
    for total in sums:
        a.move(total, 0.0)
    with a.scratch(5) as (at, stop, value, place, factor):
        a.emit("muli", at, row, imm=8 * k)
        a.add(stop, at, 8 * k)
        a.add(place, offset, 0)
        with a.count_up(at, stop, 8):
            a.load(value, at, x, is_cached=True)
            for i, total in enumerate(sums):
                a.load(factor, place, weights + 8 * i, is_cached=True)
                a.emit("fmul", factor, factor, value)
                a.emit("fadd", total, total, factor)
            a.add(place, place, 8 * n)
        a.emit("muli", at, row, imm=8 * n)
        a.add(at, at, offset)
        for i, total in enumerate(sums):
            a.store(total, at, result + 8 * i)
    a.release(*sums)


@dataclass(frozen=True)
class BlockRows:
    """relu(W X): ``blocks`` of W [rows, …] by block rows, values block by block and row by row.

    ``x`` and ``result`` : addresses of doubles, ``columns`` of them per row.
    """

    rows: int
    columns: int
    block: int
    blocks: SparseArrays
    x: int
    result: int


def write_block_rows(a: Assembler, spec: PiumaSpec, layer: BlockRows) -> Launch:
    """Append the product; threads share blocks evenly, and sum a block's rows in registers."""
    entry = _begin(a, spec)
    width = max(1, _WIDTH // layer.block)
    share = EvenShare(a, layer.rows // layer.block, layer.blocks.ptr)
    result = SharedRows(a, share, 8 * layer.block * layer.columns, layer.result)
    with share.pieces(a, has_empty=True) as piece, a.scratch(1) as (offset,):
        full = layer.columns // width * width
        a.move(offset, 0)
        if full:
            with a.scratch(1) as (stop,):
                a.move(stop, 8 * full)
                with a.count_up(offset, stop, 8 * width):
                    _block_chunk(a, layer, (piece, result, offset), width)
        if layer.columns > full:
            _block_chunk(a, layer, (piece, result, offset), layer.columns - full)
    result.rectify(a)
    a.emit("halt")
    return Launch(entry)


def _block_chunk(
    a: Assembler, layer: BlockRows, where: tuple[Piece, SharedRows, Register], width: int
) -> None:
    """Compute ``width`` columns of a block row, ``offset`` bytes from the rows' begins."""
    piece, result, offset = where
    block, row_bytes = layer.block, 8 * layer.columns
    sums = [a.registers(width) for _ in range(block)]
    for total in (total for line in sums for total in line):
        a.move(total, 0.0)
    with a.scratch(5) as (p, at, place, value, factor):
        a.add(p, piece.first, 0)
        with a.count_up(p, piece.stop):
            a.load_item(at, layer.blocks.col, p, size=4, is_cached=True)
            a.emit("muli", at, at, imm=block * row_bytes)
            a.add(at, at, offset)
            a.emit("muli", place, p, imm=8 * block * block)
            for k in range(block):
                for column in range(width):
                    a.load(value, at, layer.x + k * row_bytes + 8 * column, is_cached=True)
                    for line in range(block):
                        at_value = layer.blocks.val + 8 * (line * block + k)
                        a.load(factor, place, at_value, is_cached=True)
                        a.emit("fmul", factor, factor, value)
                        a.emit("fadd", sums[line][column], sums[line][column], factor)
        a.emit("muli", at, piece.row, imm=block * row_bytes)
        a.add(at, at, offset)
        distances = [
            (total, line * row_bytes + 8 * column)
            for line, totals in enumerate(sums)
            for column, total in enumerate(totals)
        ]
        result.store(a, piece, distances, at, is_rectified=True)
    for line in sums:
        a.release(*line)
