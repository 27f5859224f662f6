"""Write what empties SMASH V3's halves: DMA copies of fragments, DMA fills of tables."""

from __future__ import annotations

from hwsim.piuma.isa import BLOCK, SPAD, ZERO, Assembler, Register
from hwsim.piuma.opcodes import COPY, FILL
from hwsim.piuma.partition import emit_find_rows
from hwsim.piuma.smash_layout import BOUND, COL_LO, FLAGS, HEADER_BYTES, ROW_HI, ROW_LO
from hwsim.piuma.smash_role import WINDOWS, SmashRole

__all__ = ["SmashCopier"]


class SmashCopier(SmashRole):
    """The second single-threaded pipeline."""

    def copier(self, a: Assembler) -> None:
        """Empty the halves, then copy what windows leave in them to C, in order of windows."""
        row, last, entry = emit_find_rows(a, self.spec, self.product)
        a.release(last)
        fields = a.consecutive(6)
        half, base, header, q = a.registers(4)
        for number in (0, 1):
            a.move(half, number)
            self.half_base(a, base, half)
            with a.scratch(1) as (bound,):
                a.move(bound, self.layout.range_columns)
                self._post_fills(a, fields, base, half, bound)
        a.emit("muli", q, BLOCK, imm=self.spec.queue.queues)
        a.add(q, q, WINDOWS)
        with a.forever() as end:
            a.emit("qpop", half, q)
            a.branch("lt", half, ZERO, end)
            a.emit("muli", header, half, imm=HEADER_BYTES)
            a.add(header, header, SPAD)
            self.half_base(a, base, half)
            self._copy_rows(a, fields, header, base, row, entry)
            with a.scratch(1) as (bound,):
                a.load(bound, header, BOUND)
                self._post_fills(a, fields, base, half, bound)
        with a.scratch(1) as (place,):
            a.add(place, row, BLOCK)
            a.emit("shli", place, place, imm=2)
            a.store(entry, place, self.product.c.ptr, size=4)
        a.emit("halt")

    def _copy_rows(
        self,
        a: Assembler,
        fields: list[Register],
        header: Register,
        base: Register,
        row: Register,
        entry: Register,
    ) -> None:
        source, target, size = fields[0], fields[1], fields[2]
        a.move(fields[5], 0)
        hi, counter, count, col_lo, first = a.registers(5)
        a.load(row, header, ROW_LO)
        a.load(hi, header, ROW_HI)
        a.load(col_lo, header, COL_LO)
        a.add(counter, base, 0)
        with a.count_up(row, hi):
            with a.when("eq", col_lo, ZERO), a.scratch(1) as (place,):
                a.add(place, row, BLOCK)
                a.emit("shli", place, place, imm=2)
                a.store(entry, place, self.product.c.ptr, size=4)
            a.load(count, counter, self.layout.counts)
            with a.when("ne", count, ZERO):
                a.load(first, counter, self.layout.bases)
                for bits, fragment, array in (
                    (2, self.layout.columns, self.product.c.col),
                    (3, self.layout.values, self.product.c.val),
                ):
                    a.emit("shli", source, first, imm=bits)
                    a.add(source, source, base)
                    a.add(source, source, fragment)
                    a.emit("shli", target, entry, imm=bits)
                    a.add(target, target, array)
                    a.emit("shli", size, count, imm=bits)
                    a.emit("dma", rs1=source, imm=COPY)
                a.add(entry, entry, count)
            a.add(counter, counter, 8)
        a.release(hi, counter, count, col_lo, first)

    def _post_fills(
        self,
        a: Assembler,
        fields: list[Register],
        base: Register,
        half: Register,
        bound: Register,
    ) -> None:
        """Empty a half's table and sums; its counter goes up when all before has been done."""
        source, target, size, _, _, flag = fields
        a.move(flag, 0)
        a.move(source, -1)
        a.add(target, base, self.layout.table)
        a.move(size, 16 * self.layout.slots)
        a.emit("dma", rs1=source, imm=FILL)
        a.move(source, 0)
        a.add(target, base, self.layout.values)
        a.emit("shli", size, bound, imm=3)
        a.emit("shli", flag, half, imm=3)
        a.add(flag, flag, SPAD)
        a.add(flag, flag, FLAGS)
        a.emit("dma", rs1=source, imm=FILL)
