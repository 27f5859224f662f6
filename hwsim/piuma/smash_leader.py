"""Write what leads a block through SMASH: packing windows, handing out work, placing rows."""

from __future__ import annotations

from hwsim.piuma.isa import BLOCK, SPAD, ZERO, Assembler, Label, Register
from hwsim.piuma.partition import emit_find_rows
from hwsim.piuma.smash_layout import (
    BOUND,
    COL_HI,
    COL_LO,
    FLAGS,
    HEADER_BYTES,
    IS_SPLIT,
    ROW_HI,
    ROW_LO,
    SHIFT,
)
from hwsim.piuma.smash_role import WINDOWS, SmashRole

__all__ = ["SmashLeader"]


class SmashLeader(SmashRole):
    """The first single-threaded pipeline."""

    def leader(self, a: Assembler) -> None:
        """Pack windows, hand out work, and (V1, V2) place the rows of C."""
        row, last, entry = emit_find_rows(a, self.spec, self.product)
        lo, hi, half, used, bound = a.registers(5)
        a.move(half, 0)
        a.move(used, 1)
        with a.forever() as end:
            a.branch("ge", row, last, end)
            a.add(lo, row, 0)
            with a.scratch(1) as (limit,):
                self._pack(a, row, last, bound, limit)
            a.add(hi, row, 0)
            whole, split, following = Label(), Label(), Label()
            a.branch("ne", hi, lo, whole)
            # One row beyond the budget: it may still fill the table further than rows together.
            a.load_item(bound, self.product.bounds, lo, is_cached=True)
            with a.scratch(1) as (most,):
                a.move(most, self.layout.range_columns)
                a.branch("lt", most, bound, split)
            a.add(row, lo, 1)
            a.add(hi, row, 0)
            a.jump(whole)
            a.mark(split)
            self._lead_split(a, lo, hi, half, used, entry, bound)
            a.add(row, hi, 0)
            a.jump(following)
            a.mark(whole)
            with a.scratch(3) as (col_lo, col_hi, is_split):
                a.move(col_lo, 0)
                a.move(col_hi, self.product.n)
                a.move(is_split, 0)
                self._lead_window(a, (lo, hi, col_lo, col_hi, is_split, bound), half, used, entry)
            a.mark(following)
        self._finish(a, row, half, used, entry)

    def _pack(
        self, a: Assembler, row: Register, last: Register, bound: Register, limit: Register
    ) -> None:
        """Advance ``row`` while its bound fits beside those before it; sum them in ``bound``."""
        full = Label()
        a.add(limit, row, self.layout.rows)
        a.alu("min", limit, limit, last)
        a.move(bound, 0)
        with a.scratch(2) as (mine, budget):
            a.move(budget, self.layout.budget)
            top = a.mark()
            a.branch("ge", row, limit, full)
            a.load_item(mine, self.product.bounds, row, is_cached=True)
            a.add(mine, mine, bound)
            a.branch("lt", budget, mine, full)
            a.add(bound, mine, 0)
            a.add(row, row, 1)
            a.jump(top)
            a.mark(full)

    def _lead_split(
        self,
        a: Assembler,
        lo: Register,
        hi: Register,
        half: Register,
        used: Register,
        entry: Register,
        bound: Register,
    ) -> None:
        """Lead one row through the table in ranges of columns that fit whatever they hold."""
        a.add(hi, lo, 1)
        with a.scratch(4) as (col_lo, col_hi, is_split, columns):
            a.move(col_lo, 0)
            a.move(is_split, 1)
            a.move(bound, self.layout.range_columns)
            a.move(columns, self.product.n)
            with a.count_up(col_lo, columns, self.layout.range_columns):
                a.add(col_hi, col_lo, self.layout.range_columns)
                a.alu("min", col_hi, col_hi, columns)
                self._lead_window(a, (lo, hi, col_lo, col_hi, is_split, bound), half, used, entry)

    def _lead_window(
        self,
        a: Assembler,
        window: tuple[Register, ...],
        half: Register,
        used: Register,
        entry: Register,
    ) -> None:
        """Lead the block through one window (lo, hi, columns, split, bound)."""
        lo, hi, col_lo, _, _, _ = window
        header, base = a.registers(2)
        a.emit("muli", header, half, imm=HEADER_BYTES)
        a.add(header, header, SPAD)
        self.half_base(a, base, half)
        if self.is_double:
            self._await_half(a, half, used)
        self._prepare_rows(a, base, lo, hi)
        for offset, value in zip(
            (ROW_LO, ROW_HI, COL_LO, COL_HI, IS_SPLIT, BOUND), window, strict=True
        ):
            a.store(value, header, offset)
        with a.scratch(1) as (shift,):
            self._shift(a, shift, lo, hi)
            a.store(shift, header, SHIFT)
        self.sync(a)
        if self.has_tokens:
            self._push_tokens(a, lo, hi)
        self.sync(a)
        if self.is_double:
            with a.scratch(2) as (q, one):
                a.emit("muli", q, BLOCK, imm=self.spec.queue.queues)
                a.emit("qpush", rs1=self._offset(a, q, WINDOWS), rs2=half)
                a.move(one, 1)
                a.alu("xor", half, half, one)
                with a.when("eq", half, ZERO):
                    a.add(used, used, 1)
        else:
            self._place_rows(a, base, lo, hi, col_lo, entry)
            self.sync(a)
            self.sync(a)
        a.release(header, base)

    @staticmethod
    def _offset(a: Assembler, register: Register, offset: int) -> Register:
        a.add(register, register, offset)
        return register

    def _await_half(self, a: Assembler, half: Register, used: Register) -> None:
        """Poll until the DMA engine has emptied the half for this use of it."""
        with a.scratch(2) as (flag, found):
            a.emit("shli", flag, half, imm=3)
            a.add(flag, flag, SPAD)
            top = a.mark()
            a.load(found, flag, FLAGS)
            a.branch("lt", found, used, top)

    def _prepare_rows(self, a: Assembler, base: Register, lo: Register, hi: Register) -> None:
        """Zero the window's counters; V3: say where each row's fragment begins."""
        with a.scratch(4) as (row, counter, first, bound):
            a.add(row, lo, 0)
            a.add(counter, base, 0)
            a.move(first, 0)
            with a.count_up(row, hi):
                a.store(ZERO, counter, self.layout.counts)
                if self.is_double:
                    a.store(first, counter, self.layout.bases)
                    a.load_item(bound, self.product.bounds, row, is_cached=True)
                    a.add(first, first, bound)
                a.add(counter, counter, 8)

    def _shift(self, a: Assembler, shift: Register, lo: Register, hi: Register) -> None:
        """Set how far a tag goes down for its high bits to number the slots."""
        with a.scratch(3) as (tags, slots, rest):
            a.move(slots, self.layout.slots)
            if self.spec.smash.tag == "global":
                a.move(tags, self.product.m << self.layout.column_bits)
            else:
                a.alu("sub", tags, hi, lo)
                a.emit("shli", tags, tags, imm=self.layout.column_bits)
            a.add(tags, tags, -1)
            a.move(shift, 0)
            enough = Label()
            top = a.mark()
            a.alu("shr", rest, tags, shift)
            a.branch("lt", rest, slots, enough)
            a.add(shift, shift, 1)
            a.jump(top)
            a.mark(enough)

    def _push_tokens(self, a: Assembler, lo: Register, hi: Register) -> None:
        """Cut the rows' non-zeros into tokens, then tell every thread that there are no more."""
        q, row, p, stop, token = a.registers(5)
        a.emit("muli", q, BLOCK, imm=self.spec.queue.queues)
        a.add(row, lo, 0)
        with a.count_up(row, hi):
            a.load_item(p, self.product.a.ptr, row, size=4, is_cached=True)
            a.load_item(stop, self.product.a.ptr + 4, row, size=4, is_cached=True)
            with a.count_up(p, stop, self.spec.smash.token_nonzeros):
                a.alu("sub", token, row, lo)
                a.emit("shli", token, token, imm=40)
                a.alu("or", token, token, p)
                a.emit("qpush", rs1=q, rs2=token)
        a.move(token, -1)
        a.move(p, 0)
        a.move(stop, self.block_threads)
        with a.count_up(p, stop):
            a.emit("qpush", rs1=q, rs2=token)
        a.release(q, row, p, stop, token)

    def _place_rows(
        self,
        a: Assembler,
        base: Register,
        lo: Register,
        hi: Register,
        col_lo: Register,
        entry: Register,
    ) -> None:
        """Turn the rows' counts into places in C and store where rows begin."""
        row, counter, count, place = a.registers(4)
        a.add(row, lo, 0)
        a.add(counter, base, 0)
        with a.count_up(row, hi):
            a.load(count, counter, self.layout.counts)
            a.store(entry, counter, self.layout.counts)
            with a.when("eq", col_lo, ZERO):
                a.add(place, row, BLOCK)
                a.emit("shli", place, place, imm=2)
                a.store(entry, place, self.product.c.ptr, size=4)
            a.add(entry, entry, count)
            a.add(counter, counter, 8)
        a.release(row, counter, count, place)

    def _finish(
        self, a: Assembler, row: Register, half: Register, used: Register, entry: Register
    ) -> None:
        """End the block's piece of C and send everybody home."""
        with a.scratch(3) as (header, stop, q):
            if self.is_double:
                a.emit("muli", q, BLOCK, imm=self.spec.queue.queues)
                a.move(stop, -1)
                a.emit("qpush", rs1=self._offset(a, q, WINDOWS), rs2=stop)
                self._await_half(a, half, used)  # the copier may not yet have read its header
            else:
                a.add(q, row, BLOCK)
                a.emit("shli", q, q, imm=2)
                a.store(entry, q, self.product.c.ptr, size=4)
            a.emit("muli", header, half, imm=HEADER_BYTES)
            a.add(header, header, SPAD)
            a.move(stop, -1)
            a.store(stop, header, ROW_LO)
        self.sync(a)
        a.emit("halt")
