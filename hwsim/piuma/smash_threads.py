"""Write what SMASH's multi-threaded pipelines do: hash, and in V1 and V2 write back."""

from __future__ import annotations

from hwsim.piuma.isa import BLOCK, SPAD, THREAD, ZERO, Assembler, Label, Register
from hwsim.piuma.partition import emit_bounds
from hwsim.piuma.smash_inner import HashLoops
from hwsim.piuma.smash_layout import HEADER_BYTES, IS_SPLIT, ROW_HI, ROW_LO
from hwsim.piuma.smash_role import SmashRole

__all__ = ["SmashThreads"]


class SmashThreads(SmashRole):
    """The threads that hash products."""

    def threads(self, a: Assembler) -> None:
        """Bound rows, then window by window hash and (V1, V2) write back."""
        a.release(emit_bounds(a, self.spec, self.product))
        lane, half, head = a.registers(3)
        a.add(lane, THREAD, 0)
        with a.scratch(1) as (base,):
            a.emit("muli", base, BLOCK, imm=self.block_threads)
            a.alu("sub", lane, lane, base)
        if not self.is_double:
            self._clear_slice(a, lane)
        a.move(half, 0)
        with a.forever() as end:
            self.sync(a)
            self.half_base(a, head, half)
            with a.scratch(1) as (lo,):
                a.emit("muli", lo, half, imm=HEADER_BYTES)
                a.add(lo, lo, SPAD)
                a.load(lo, lo, ROW_LO)
                a.branch("lt", lo, ZERO, end)
            self._hash_window(a, lane, half, head)
            self.sync(a)
            if self.is_double:
                with a.scratch(1) as (one,):
                    a.move(one, 1)
                    a.alu("xor", half, half, one)
            else:
                self.sync(a)
                self._write_back(a, lane)
                self.sync(a)
        a.emit("halt")

    def _slice(self, a: Assembler, lane: Register, lo: Register, hi: Register) -> None:
        """Set ``lo`` and ``hi`` to a thread's slots' addresses, without the table's offset."""
        with a.scratch(1) as (count,):
            a.move(count, self.block_threads)
            a.emit("muli", lo, lane, imm=self.layout.slots)
            a.alu("div", lo, lo, count)
            a.add(hi, lane, 1)
            a.emit("muli", hi, hi, imm=self.layout.slots)
            a.alu("div", hi, hi, count)
        for bound in (lo, hi):
            a.emit("shli", bound, bound, imm=4)
            a.add(bound, bound, SPAD)

    def _clear_slice(self, a: Assembler, lane: Register) -> None:
        with a.scratch(3) as (slot, stop, empty):
            a.move(empty, -1)
            self._slice(a, lane, slot, stop)
            with a.count_up(slot, stop, 16):
                a.store(empty, slot, self.layout.table)

    def _hash_window(self, a: Assembler, lane: Register, half: Register, head: Register) -> None:
        """Take rows or tokens until there are none left, and hash their products."""
        lo, row, p, stop, header = a.registers(5)
        a.emit("muli", header, half, imm=HEADER_BYTES)
        a.add(header, header, SPAD)
        a.load(lo, header, ROW_LO)
        if self.has_tokens:
            with a.forever() as end:
                with a.scratch(1) as (q,):
                    a.emit("muli", q, BLOCK, imm=self.spec.queue.queues)
                    a.emit("qpop", p, q)
                a.branch("lt", p, ZERO, end)
                # A token holds the row within the window above 40 bits of a place in A.
                a.emit("shri", row, p, imm=40)
                a.add(row, row, lo)
                a.emit("andi", p, p, imm=(1 << 40) - 1)
                a.load_item(stop, self.product.a.ptr + 4, row, size=4, is_cached=True)
                with a.scratch(1) as (limit,):
                    a.add(limit, p, self.spec.smash.token_nonzeros)
                    a.alu("min", stop, stop, limit)
                self._hash_nonzeros(a, header, head, lo, row, p, stop)
        else:
            with a.scratch(1) as (last,):
                a.load(last, header, ROW_HI)
                a.add(row, lo, lane)
                with a.count_up(row, last, self.block_threads):
                    a.load_item(p, self.product.a.ptr, row, size=4, is_cached=True)
                    a.load_item(stop, self.product.a.ptr + 4, row, size=4, is_cached=True)
                    self._hash_nonzeros(a, header, head, lo, row, p, stop)
        a.release(lo, row, p, stop, header)

    def _hash_nonzeros(
        self,
        a: Assembler,
        header: Register,
        head: Register,
        lo: Register,
        row: Register,
        p: Register,
        stop: Register,
    ) -> None:
        """Hash the products of A's non-zeros ``p`` to ``stop`` of ``row``."""
        inner = HashLoops(self, a, header, head, lo, row)
        split, done = Label(), Label()
        with a.scratch(1) as (is_split,):
            a.load(is_split, header, IS_SPLIT)
            a.branch("ne", is_split, ZERO, split)
        inner.nonzeros(p, stop, is_split=False)
        a.jump(done)
        a.mark(split)
        inner.nonzeros(p, stop, is_split=True)
        a.mark(done)
        inner.close()

    def _write_back(self, a: Assembler, lane: Register) -> None:
        """Move a thread's slots to C and empty them; V1 may sort them first."""
        slot, stop, empty, tag = a.registers(4)
        a.move(empty, -1)
        self._slice(a, lane, slot, stop)
        if self.layout.version == 1 and self.spec.smash.is_sorted:
            self._sort_slice(a, slot, stop, empty)
        lo, row, place = a.registers(3)
        a.load(lo, SPAD, ROW_LO)
        with a.count_up(slot, stop, 16) as following:
            a.load(tag, slot, self.layout.table)
            a.branch("eq", tag, empty, following)
            a.store(empty, slot, self.layout.table)
            with a.scratch(2) as (value, one):
                a.load(value, slot, self.layout.table + 8)
                a.store(ZERO, slot, self.layout.table + 8)
                a.emit("shri", row, tag, imm=self.layout.column_bits)
                if self.spec.smash.tag == "global":
                    a.alu("sub", row, row, lo)
                a.emit("shli", row, row, imm=3)
                a.add(row, row, SPAD)
                a.move(one, 1)
                a.atomic("aadd", place, row, one, self.layout.counts)
                a.emit("andi", tag, tag, imm=(1 << self.layout.column_bits) - 1)
                a.emit("shli", row, place, imm=2)
                a.store(tag, row, self.product.c.col, size=4)
                a.emit("shli", row, place, imm=3)
                a.store(value, row, self.product.c.val)
        a.release(slot, stop, empty, tag, lo, row, place)

    def _sort_slice(self, a: Assembler, first: Register, stop: Register, empty: Register) -> None:
        """Move a slice's entries to its front, ordered by tag: insertion sort."""
        table = self.layout.table
        slot, end, tag, value, at, other = a.registers(6)
        a.add(slot, first, 0)
        a.add(end, first, 0)
        with a.count_up(slot, stop, 16) as following:
            a.load(tag, slot, table)
            a.branch("eq", tag, empty, following)
            a.load(value, slot, table + 8)
            a.store(empty, slot, table)
            a.store(ZERO, slot, table + 8)
            a.add(at, end, 0)
            placed = Label()
            top = a.mark()
            a.branch("eq", at, first, placed)
            a.load(other, at, table - 16)
            a.branch("lt", other, tag, placed)
            a.store(other, at, table)
            a.load(other, at, table - 8)
            a.store(other, at, table + 8)
            a.add(at, at, -16)
            a.jump(top)
            a.mark(placed)
            a.store(tag, at, table)
            a.store(value, at, table + 8)
            a.add(end, end, 16)
        a.release(slot, end, tag, value, at, other)
