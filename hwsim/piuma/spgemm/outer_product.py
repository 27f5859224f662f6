"""Write the outer product: partial matrices in memory, then a merge of each row's lists.

In the first phase a thread multiplies a non-zero of a column of A by the row of B of the same
number: that leaves one list, the row of B scaled, and links it to its row of C. In the second phase
threads merge the lists of their rows by a heap.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.piuma.isa import THREAD, THREADS, Assembler, Label, Register
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.heap_rows import HeapRows
from hwsim.piuma.spgemm.row_product import Room
from hwsim.piuma.state import ALL_THREADS

__all__ = ["OuterProduct", "Partials"]


@dataclass(frozen=True)
class Partials:
    """Addresses of the partial matrices.

    Attributes
    ----------
    columns : SparseArrays
        A by columns, brought into that order beforehand.
    col, val : int
        4 and 8 bytes per partial product.
    lists : int
        16 bytes per non-zero of A: where a list begins and ends.
    linked : int
        8 bytes per row: its lists so far.
    taken : int
        8 bytes: partial products so far.
    """

    columns: SparseArrays
    col: int
    val: int
    lists: int
    linked: int
    taken: int

    @classmethod
    def place(
        cls, memory: MemoryMap, name: str, columns: SparseArrays, counts: tuple[int, int, int]
    ) -> Partials:
        """Return places for ``counts`` of (rows, non-zeros of A, partial products)."""
        rows, nonzeros, products = counts
        return cls(
            columns,
            memory.add(f"{name}.partial_col", 4 * products),
            memory.add(f"{name}.partial_val", 8 * products),
            memory.add(f"{name}.lists", 16 * nonzeros),
            memory.add(f"{name}.linked", 8 * rows),
            memory.add(f"{name}.taken", 8),
        )


class OuterProduct(HeapRows):
    """Both phases; the second is the heap's merge over lists that are already products."""

    def __init__(
        self,
        spec: PiumaSpec,
        product: SparseProduct,
        room: Room,
        private: int,
        most_lists: int,
        partials: Partials,
    ) -> None:
        super().__init__(spec, product, room, private, most_lists)
        self.partials = partials
        self.columns, self.values = partials.col, partials.val

    def emit_before(self, a: Assembler) -> None:
        """Multiply non-zeros of A's columns by rows, every thread every so-many-th."""
        columns, b = self.partials.columns, self.product.b
        p, last, k, column_end = a.registers(4)
        a.add(p, THREAD, 0)
        a.move(k, self.product.k)
        a.load_item(last, columns.ptr, k, size=4, is_cached=True)
        a.move(k, -1)
        a.move(column_end, 0)
        with a.count_up(p, last, THREADS) as following, a.scratch(3) as (begin, end, place):
            found = Label()
            top = a.mark()
            a.branch("lt", p, column_end, found)
            a.add(k, k, 1)
            a.emit("shli", column_end, k, imm=2)
            a.load(column_end, column_end, columns.ptr + 4, size=4, is_cached=True)
            a.jump(top)
            a.mark(found)
            a.load_item(begin, b.ptr, k, size=4, is_cached=True)
            a.emit("shli", end, k, imm=2)
            a.load(end, end, b.ptr + 4, size=4, is_cached=True)
            a.branch("ge", begin, end, following)
            with a.scratch(2) as (taken, length):
                a.alu("sub", length, end, begin)
                a.move(taken, self.partials.taken)
                a.atomic("aadd", place, taken, length)
            self._link(a, p, begin, end, place)
            self._scale(a, p, begin, end, place)
        a.release(p, last, k, column_end)
        a.barrier(ALL_THREADS)

    def _link(
        self, a: Assembler, p: Register, begin: Register, end: Register, place: Register
    ) -> None:
        """Note a list, from ``place`` on, for its row."""
        with a.scratch(3) as (row, at, number):
            a.load_item(row, self.partials.columns.col, p, size=4, is_cached=True)
            a.emit("shli", at, row, imm=3)
            a.move(number, 1)
            a.atomic("aadd", number, at, number, self.partials.linked)
            a.load_item(at, self.product.a.ptr, row, size=4)
            a.add(at, at, number)
            a.emit("shli", at, at, imm=4)
            a.store(place, at, self.partials.lists)
            a.alu("sub", number, end, begin)
            a.add(number, number, place)
            a.store(number, at, self.partials.lists + 8)

    def _scale(
        self, a: Assembler, p: Register, begin: Register, end: Register, place: Register
    ) -> None:
        """Write a row of B times a non-zero of A from ``place`` on, which moves behind it."""
        b = self.product.b
        with a.scratch(4) as (factor, q, value, at):
            a.load_item(factor, self.partials.columns.val, p, is_cached=True)
            a.add(q, begin, 0)
            with a.count_up(q, end):
                a.load_item(value, b.col, q, size=4, is_cached=True)
                a.emit("shli", at, place, imm=2)
                a.store(value, at, self.partials.col, size=4)
                a.load_item(value, b.val, q, is_cached=True)
                a.emit("fmul", value, factor, value)
                a.emit("shli", at, place, imm=3)
                a.store(value, at, self.partials.val)
                a.add(place, place, 1)

    def _open_lists(self, a: Assembler, row: Register, size: Register) -> None:
        with a.scratch(4) as (p, stop, begin, end):
            a.load_item(p, self.product.a.ptr, row, size=4, is_cached=True)
            a.load_item(stop, self.partials.linked, row)
            a.add(stop, stop, p)
            with a.count_up(p, stop):
                a.emit("shli", end, p, imm=4)
                a.load(begin, end, self.partials.lists)
                a.load(end, end, self.partials.lists + 8)
                self.push(a, size, begin, end, None)

    def emit_value(self, a: Assembler, value: Register, place: Register, at: Register) -> None:
        """Load a partial product."""
        a.load_item(value, self.values, place)
