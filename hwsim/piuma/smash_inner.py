"""Write the innermost loops of SMASH: products, hashing, probing, merging."""

from __future__ import annotations

from hwsim.piuma.isa import ZERO, Assembler, Label, Register
from hwsim.piuma.smash_layout import COL_HI, COL_LO, FACTOR, SHIFT
from hwsim.piuma.smash_role import SmashRole

__all__ = ["HashLoops"]


class HashLoops:
    """Emits the loops over non-zeros of A and of B's rows for one row of C."""

    def __init__(
        self,
        smash: SmashRole,
        a: Assembler,
        header: Register,
        head: Register,
        lo: Register,
        row: Register,
    ) -> None:
        self.smash, self.a, self.head = smash, a, head
        self.layout, self.product = smash.layout, smash.product
        self.tag_row, self.counter, self.empty, self.table_end = a.registers(4)
        a.move(self.empty, -1)
        relative = self.counter
        a.alu("sub", relative, row, lo)
        source = row if smash.spec.smash.tag == "global" else relative
        a.emit("shli", self.tag_row, source, imm=self.layout.column_bits)
        self.extra: list[Register] = []
        if self.layout.hash == "high":
            (self.shift,) = self.extra = a.registers(1)
            a.load(self.shift, header, SHIFT)
        elif self.layout.hash == "low_xor_row":
            (self.mix,) = self.extra = a.registers(1)
            a.emit("muli", self.mix, source, imm=FACTOR)
        a.emit("shli", self.counter, relative, imm=3)
        a.add(self.counter, self.counter, head)
        a.add(self.table_end, head, 16 * self.layout.slots)
        self.header = header
        if self.layout.version == 3:
            (self.first,) = more = a.registers(1)
            self.extra += more
            a.load(self.first, self.counter, self.layout.bases)

    def close(self) -> None:
        """Give the registers back."""
        self.a.release(self.tag_row, self.counter, self.empty, self.table_end, *self.extra)

    def nonzeros(self, p: Register, stop: Register, *, is_split: bool) -> None:
        """Emit the loop over non-zeros ``p`` to ``stop`` of A."""
        a, b = self.a, self.product.b
        factor, col_at, val_at, col_end = a.registers(4)
        with a.count_up(p, stop):
            with a.scratch(1) as (k,):
                a.load_item(k, self.product.a.col, p, size=4, is_cached=True)
                a.load_item(factor, self.product.a.val, p, is_cached=True)
                a.emit("shli", k, k, imm=2)
                a.load(col_at, k, b.ptr, size=4)
                a.load(col_end, k, b.ptr + 4, size=4)
            a.emit("shli", val_at, col_at, imm=3)
            a.emit("shli", col_at, col_at, imm=2)
            a.emit("shli", col_end, col_end, imm=2)
            with a.count_up(col_at, col_end, 4) as following:
                self._product(factor, col_at, val_at, following, is_split=is_split)
        a.release(factor, col_at, val_at, col_end)

    def _product(
        self,
        factor: Register,
        col_at: Register,
        val_at: Register,
        following: Label,
        *,
        is_split: bool,
    ) -> None:
        a, product = self.a, self.product
        is_cached = self.smash.spec.smash.b_access == "cached"
        key, value, slot, old = a.registers(4)
        a.load(key, col_at, product.b.col, size=4, is_cached=is_cached)
        a.add(val_at, val_at, 8)
        if is_split:
            for offset, comparison in ((COL_LO, "lt"), (COL_HI, "ge")):
                a.load(old, self.header, offset)
                a.branch(comparison, key, old, following)
        a.load(value, val_at, product.b.val - 8, is_cached=is_cached)
        a.emit(product.multiply, value, factor, value)
        a.alu("or", key, key, self.tag_row)
        self._first_slot(slot, key)
        a.emit("shli", slot, slot, imm=4)
        a.add(slot, slot, self.head)
        self._probe(key, slot, old, value)
        a.release(key, value, slot, old)

    def _first_slot(self, slot: Register, key: Register) -> None:
        a, layout = self.a, self.layout
        if layout.hash == "high":
            a.alu("shr", slot, key, self.shift)
        elif layout.hash == "mult":
            a.emit("muli", slot, key, imm=FACTOR)
            a.emit("andi", slot, slot, imm=(1 << 32) - 1)
            a.emit("shri", slot, slot, imm=32 - layout.slot_bits)
            return
        elif layout.hash == "low_xor_row":
            a.alu("xor", slot, key, self.mix)
        a.emit("andi", slot, key if layout.hash == "low" else slot, imm=layout.slots - 1)

    def _probe(self, key: Register, slot: Register, old: Register, value: Register) -> None:
        """Find the key's slot by compare-and-swap, then add the product."""
        a, layout = self.a, self.layout
        won, merged, done = Label(), Label(), Label()
        top = a.mark()
        a.move(old, -1)
        a.atomic("cas", old, slot, key, layout.table)
        a.branch("eq", old, key, merged)
        a.branch("eq", old, self.empty, won)
        a.add(slot, slot, 16)
        a.branch("lt", slot, self.table_end, top)
        a.add(slot, self.head, 0)
        a.jump(top)
        a.mark(won)
        with a.scratch(1) as (one,):
            a.move(one, 1)
            a.atomic("aadd", old, self.counter, one, layout.counts)
        if layout.version == 3:
            self._publish(key, slot, old)
            a.jump(done)
            a.mark(merged)
            # Whoever inserted the key may not yet have said where its sum is.
            a.load(old, slot, layout.table + 8)
            a.branch("lt", old, ZERO, merged)
            a.mark(done)
            a.emit("shli", slot, old, imm=3)
            a.add(slot, slot, self.head)
            a.atomic(self.product.accumulate, old, slot, value, layout.values)
        else:
            a.mark(merged)
            a.atomic(self.product.accumulate, old, slot, value, layout.table + 8)

    def _publish(self, key: Register, slot: Register, place: Register) -> None:
        """Note a new key's column at its ``place`` in the fragment and publish the place."""
        a, layout = self.a, self.layout
        a.add(place, place, self.first)
        a.emit("andi", key, key, imm=(1 << layout.column_bits) - 1)
        with a.scratch(1) as (at,):
            a.emit("shli", at, place, imm=2)
            a.add(at, at, self.head)
            a.store(key, at, layout.columns, size=4)
        a.store(place, slot, layout.table + 8)
