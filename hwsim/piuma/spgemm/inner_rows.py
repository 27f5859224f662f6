"""Write the inner product: every row of A against every column of B, as sorted lists."""

from __future__ import annotations

from hwsim.piuma.isa import ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.row_product import Room, RowProduct

__all__ = ["InnerRows"]


class InnerRows(RowProduct):
    """Intersect lists by two pointers; ``columns`` : B by columns, prepared beforehand."""

    def __init__(
        self, spec: PiumaSpec, product: SparseProduct, room: Room, columns: SparseArrays
    ) -> None:
        super().__init__(spec, product, room)
        self.columns = columns

    def emit_before(self, a: Assembler) -> None:
        """Nothing comes before."""

    def open(self, a: Assembler) -> None:
        """Nothing stays the same."""

    def close(self, a: Assembler) -> None:
        """Nothing to release."""

    def emit_row(self, a: Assembler, row: Register, out: Register) -> None:
        """Intersect a row, unless it is empty, with all columns."""
        begin, stop, column, columns = a.registers(4)
        a.load_item(begin, self.product.a.ptr, row, size=4, is_cached=True)
        a.load_item(stop, self.product.a.ptr + 4, row, size=4, is_cached=True)
        empty = Label()
        a.branch("ge", begin, stop, empty)
        a.move(column, 0)
        a.move(columns, self.product.n)
        with a.count_up(column, columns):
            self._intersect(a, begin, stop, column, out)
        a.mark(empty)
        a.release(begin, stop, column, columns)

    def _intersect(
        self, a: Assembler, begin: Register, stop: Register, column: Register, out: Register
    ) -> None:
        left, right = self.product.a, self.columns
        p, q, last, key, other, total, is_found = a.registers(7)
        a.add(p, begin, 0)
        a.load_item(q, right.ptr, column, size=4, is_cached=True)
        a.load_item(last, right.ptr + 4, column, size=4, is_cached=True)
        a.move(total, 0.0)
        a.move(is_found, 0)
        done, next_key, next_other, compare = Label(), Label(), Label(), Label()
        a.branch("ge", q, last, done)
        a.load_item(key, left.col, p, size=4, is_cached=True)
        a.load_item(other, right.col, q, size=4, is_cached=True)
        a.mark(compare)
        a.branch("lt", key, other, next_key)
        a.branch("lt", other, key, next_other)
        with a.scratch(2) as (x, y):
            a.load_item(x, left.val, p, is_cached=True)
            a.load_item(y, right.val, q, is_cached=True)
            a.emit("fmul", x, x, y)
            a.emit("fadd", total, total, x)
        a.move(is_found, 1)
        a.add(q, q, 1)
        a.branch("ge", q, last, done)
        a.load_item(other, right.col, q, size=4, is_cached=True)
        a.mark(next_key)
        a.add(p, p, 1)
        a.branch("ge", p, stop, done)
        a.load_item(key, left.col, p, size=4, is_cached=True)
        a.jump(compare)
        a.mark(next_other)
        a.add(q, q, 1)
        a.branch("ge", q, last, done)
        a.load_item(other, right.col, q, size=4, is_cached=True)
        a.jump(compare)
        a.mark(done)
        with a.when("ne", is_found, ZERO):
            self.append(a, out, column, total)
        a.release(p, q, last, key, other, total, is_found)
