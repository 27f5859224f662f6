"""Write SpMM for single-threaded pipelines alone, and for both kinds together.

A single-threaded pipeline lets the DMA engine bring a tile's dense rows into its part of the
scratchpad and multiplies from there, eight loads in flight, the next non-zero's among them. Tiles
are added to the result by atomics; its rows are zeroed by DMA first.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.dense_rows import DenseProduct, emit_rows
from hwsim.piuma.isa import SPAD, THREAD, THREADS, ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.opcodes import COPY, FILL
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spmm.tiles import FLAG_BYTES, TILE_FIELDS, part_bytes
from hwsim.piuma.state import ALL_THREADS, Launch

__all__ = ["HotTiles", "TileArrays", "require_pipelines"]

_WIDTH = 8
"""Columns that are summed in registers at once."""
_TILE_BYTES = 8 * len(TILE_FIELDS)
_ROW_LO, _ROW_HI, _COL_LO, _COLS, _PLACE, _ZEROED = range(0, _TILE_BYTES, 8)


@dataclass(frozen=True)
class TileArrays:
    """Addresses of a :class:`~hwsim.piuma.spmm.tiles.Tiling`'s hot part."""

    tiles: int
    firsts: int
    rows: SparseArrays


def require_pipelines(spec: PiumaSpec, *, has_cold: bool) -> None:
    """Raise :class:`InputError` if the machine lacks a kind of pipelines."""
    if spec.stp.pipelines < 1 or (has_cold and spec.mtp.pipelines < 1):
        need = f"1 single-threaded{' and 1 multi-threaded' if has_cold else ''} pipeline"
        found = f"{spec.mtp.pipelines}, {spec.stp.pipelines}"
        raise InputError("mtp.pipelines, stp.pipelines", need, found)


class HotTiles:
    """SpMM over hot tiles, and if ``has_cold`` over the rest's rows (``product``) as well."""

    def __init__(
        self, spec: PiumaSpec, product: DenseProduct, hot: TileArrays, *, has_cold: bool
    ) -> None:
        self.spec, self.product, self.hot, self.has_cold = spec, product, hot, has_cold
        self.part_bytes = part_bytes(spec)

    def write(self, a: Assembler) -> Launch:
        """Append the programs of all pipelines and return where they begin."""
        mtp = -1
        if self.has_cold:
            mtp = a.place
            emit_rows(a.fresh(), self.product)
            a.emit("halt")
        entries = []
        for lane in range(self.spec.stp.pipelines):
            entries.append(a.place)
            self._tiles(a.fresh(), lane)
        return Launch(mtp, tuple(entries))

    def _tiles(self, a: Assembler, lane: int) -> None:
        """Zero rows of the result, wait for all, then work off the pipeline's tiles."""
        flag = self.part_bytes * (lane + 1) - FLAG_BYTES
        first, tile, last = a.registers(3)
        a.load_item(first, self.hot.firsts, THREAD)
        with a.scratch(1) as (at,):
            a.add(at, THREAD, 1)
            a.load_item(last, self.hot.firsts, at)
        for register in (first, last):
            a.emit("muli", register, register, imm=_TILE_BYTES)
        a.add(tile, first, 0)
        if self.has_cold:
            with a.count_up(tile, last, _TILE_BYTES) as following, a.scratch(2) as (row, rows):
                a.load(rows, tile, self.hot.tiles + _ZEROED)
                a.branch("eq", rows, ZERO, following)
                a.load(row, tile, self.hot.tiles + _ROW_LO)
                self._zero(a, flag, row, rows)
            a.add(tile, first, 0)
        else:
            self._zero_share(a, flag)
        a.release(first)
        a.barrier(ALL_THREADS)
        with a.count_up(tile, last, _TILE_BYTES):
            self._fetch(a, tile, lane, flag)
            self._rows(a, tile, lane)
        a.emit("halt")

    def _zero_share(self, a: Assembler, flag: int) -> None:
        """Zero the pipeline's share of the whole result."""
        with a.scratch(3) as (row, rows, pipelines):
            for register, number in ((row, 0), (rows, 1)):
                a.add(register, THREAD, number)
                a.emit("muli", register, register, imm=self.product.m)
                a.add(pipelines, THREADS, 0)
                a.alu("div", register, register, pipelines)
            a.alu("sub", rows, rows, row)
            self._zero(a, flag, row, rows)

    def _zero(self, a: Assembler, flag: int, row: Register, rows: Register) -> None:
        """Let the DMA engine zero ``rows`` of the result, from ``row`` on."""
        row_bytes = 8 * self.product.width
        source, target, size, stride, index, done = fields = a.consecutive(6)
        a.emit("muli", size, rows, imm=row_bytes)
        a.emit("muli", target, row, imm=row_bytes)
        a.add(target, target, self.product.c)
        for register in (source, stride, index):
            a.move(register, 0)
        a.add(done, SPAD, flag)
        a.emit("dma", rs1=source, imm=FILL)
        a.release(*fields)
        self._await(a, flag)

    @staticmethod
    def _await(a: Assembler, flag: int) -> None:
        """Poll until the DMA engine has counted up, and take the count back."""
        with a.scratch(1) as (found,):
            top = a.mark()
            a.load(found, SPAD, flag)
            a.branch("eq", found, ZERO, top)
            a.store(ZERO, SPAD, flag)

    def _fetch(self, a: Assembler, tile: Register, lane: int, flag: int) -> None:
        """Bring a tile's dense rows into the scratchpad."""
        row_bytes = 8 * self.product.width
        source, target, size, stride, index, done = fields = a.consecutive(6)
        a.load(source, tile, self.hot.tiles + _COL_LO)
        a.load(size, tile, self.hot.tiles + _COLS)
        a.emit("muli", source, source, imm=row_bytes)
        a.add(source, source, self.product.y)
        a.emit("muli", size, size, imm=row_bytes)
        a.add(target, SPAD, lane * self.part_bytes)
        for register in (stride, index):
            a.move(register, 0)
        a.add(done, SPAD, flag)
        a.emit("dma", rs1=source, imm=COPY)
        a.release(*fields)
        self._await(a, flag)

    def _rows(self, a: Assembler, tile: Register, lane: int) -> None:
        row, last, place = a.registers(3)
        a.load(row, tile, self.hot.tiles + _ROW_LO)
        a.load(last, tile, self.hot.tiles + _ROW_HI)
        a.load(place, tile, self.hot.tiles + _PLACE)
        a.emit("shli", place, place, imm=2)
        full = self.product.width // _WIDTH * _WIDTH
        with a.count_up(row, last):
            empty = Label()
            with a.scratch(2) as (p, stop):
                a.load(p, place, self.hot.rows.ptr, size=4, is_cached=True)
                a.load(stop, place, self.hot.rows.ptr + 4, size=4, is_cached=True)
                a.branch("ge", p, stop, empty)
            (offset,) = a.registers(1)
            a.move(offset, 0)
            if full:
                with a.scratch(1) as (end,):
                    top = a.mark()
                    self._chunk(a, (row, place, offset), lane, _WIDTH)
                    a.add(offset, offset, 8 * _WIDTH)
                    a.move(end, 8 * full)
                    a.branch("lt", offset, end, top)
            if self.product.width > full:
                self._chunk(a, (row, place, offset), lane, self.product.width - full)
            a.release(offset)
            a.mark(empty)
            a.add(place, place, 4)
        a.release(row, last, place)

    def _chunk(
        self, a: Assembler, where: tuple[Register, Register, Register], lane: int, width: int
    ) -> None:
        """Compute ``width`` elements of a row, ``offset`` bytes from its begin, and add them."""
        row, place, offset = where
        row_bytes = 8 * self.product.width
        sums = a.registers(width)
        for total in sums:
            a.move(total, 0.0)
        p, at = a.registers(2)
        a.load(p, place, self.hot.rows.ptr, size=4, is_cached=True)
        with a.scratch(2 + width) as (stop, value, *factors):
            a.load(stop, place, self.hot.rows.ptr + 4, size=4, is_cached=True)
            self._load_column(a, at, p)
            self._load_value(a, value, p)
            with a.count_up(p, stop):
                a.emit("muli", at, at, imm=row_bytes)
                a.add(at, at, offset)
                a.add(at, at, SPAD)
                for i, x in enumerate(factors):
                    a.load(x, at, lane * self.part_bytes + 8 * i)
                # The next non-zero, long before it is used; behind the last one it is not.
                self._load_column(a, at, p, ahead=1)
                for x in factors:
                    a.emit("fmul", x, x, value)
                self._load_value(a, value, p, ahead=1)
                for x, total in zip(factors, sums, strict=True):
                    a.emit("fadd", total, total, x)
        a.emit("muli", at, row, imm=row_bytes)
        a.add(at, at, offset)
        with a.scratch(width) as olds:
            for i, (old, total) in enumerate(zip(olds, sums, strict=True)):
                a.atomic("afadd", old, at, total, self.product.c + 8 * i)
        a.release(*sums, p, at)

    def _load_column(self, a: Assembler, x: Register, p: Register, ahead: int = 0) -> None:
        a.emit("shli", x, p, imm=2)
        a.load(x, x, self.hot.rows.col + 4 * ahead, size=4, is_cached=True)

    def _load_value(self, a: Assembler, x: Register, p: Register, ahead: int = 0) -> None:
        a.emit("shli", x, p, imm=3)
        a.load(x, x, self.hot.rows.val + 8 * ahead, is_cached=True)
