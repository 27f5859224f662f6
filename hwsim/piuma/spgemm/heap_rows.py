"""Write the row-wise product that merges rows of B by a heap of their next columns.

A heap's node is the next column of a list above the list's number, so that equal columns leave it
in order of lists and sums are those of a loop over k. Heap and lists are the thread's own.
"""

from __future__ import annotations

from hwsim.piuma.isa import ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import MemoryMap
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.row_product import Room, RowProduct, emit_private, place_private

__all__ = ["LIST_BITS", "HeapRows"]

LIST_BITS = 30
"""Low bits of a node that number the list; columns have 31 bits."""
_LIST_BYTES = 24  # next place, end, factor


class HeapRows(RowProduct):
    """Merge the rows of B that a row of A names; every thread holds one heap."""

    def __init__(
        self, spec: PiumaSpec, product: SparseProduct, room: Room, private: int, most_lists: int
    ) -> None:
        super().__init__(spec, product, room)
        self.most_lists = most_lists
        self.private = private
        self.columns, self.values = product.b.col, product.b.val

    @staticmethod
    def private_bytes(most_lists: int) -> int:
        """Return the bytes of one thread's heap and lists."""
        return (8 + _LIST_BYTES) * max(1, most_lists)

    @classmethod
    def place(cls, memory: MemoryMap, spec: PiumaSpec, name: str, most_lists: int) -> int:
        """Return where heaps go (see :func:`place_private`)."""
        return place_private(memory, spec, name, cls.private_bytes(most_lists))

    def emit_before(self, a: Assembler) -> None:
        """Nothing comes before."""

    def open(self, a: Assembler) -> None:
        """Point to the thread's heap and lists."""
        self.heap, self.lists = a.registers(2)
        size = self.private_bytes(self.most_lists)
        emit_private(a, self.spec, self.private, size, self.heap)
        a.add(self.lists, self.heap, 8 * max(1, self.most_lists))

    def close(self, a: Assembler) -> None:
        """Release the registers of :meth:`open`."""
        a.release(self.heap, self.lists)

    def emit_row(self, a: Assembler, row: Register, out: Register) -> None:
        """Open the row's lists, then take the least column until all are read."""
        (size,) = a.registers(1)
        a.move(size, 0)
        self._open_lists(a, row, size)
        current, total = a.registers(2)
        a.move(current, -1)
        with a.forever() as end:
            a.branch("eq", size, ZERO, end)
            self._take(a, size, current, total, out)
        with a.when("ge", current, ZERO):
            self.append(a, out, current, total)
        a.release(size, current, total)

    def _open_lists(self, a: Assembler, row: Register, size: Register) -> None:
        with a.scratch(5) as (p, stop, begin, end, factor):
            a.load_item(p, self.product.a.ptr, row, size=4, is_cached=True)
            a.load_item(stop, self.product.a.ptr + 4, row, size=4, is_cached=True)
            with a.count_up(p, stop) as following:
                with a.scratch(1) as (k,):
                    a.load_item(k, self.product.a.col, p, size=4, is_cached=True)
                    a.load_item(begin, self.product.b.ptr, k, size=4)
                    a.emit("shli", k, k, imm=2)
                    a.load(end, k, self.product.b.ptr + 4, size=4)
                a.branch("ge", begin, end, following)
                a.load_item(factor, self.product.a.val, p, is_cached=True)
                self.push(a, size, begin, end, factor)

    def push(
        self, a: Assembler, size: Register, begin: Register, end: Register, factor: Register | None
    ) -> None:
        """Add a list, which is not empty, to the heap."""
        with a.scratch(4) as (at, node, place, parent):
            a.emit("muli", at, size, imm=_LIST_BYTES)
            a.add(at, at, self.lists)
            a.store(begin, at)
            a.store(end, at, 8)
            if factor is not None:
                a.store(factor, at, 16)
            self._node(a, node, begin, size)
            a.add(place, size, 0)
            settled = Label()
            top = a.mark()
            a.branch("eq", place, ZERO, settled)
            a.add(parent, place, -1)
            a.emit("shri", parent, parent, imm=1)
            self._load_node(a, at, parent)
            a.branch("lt", at, node, settled)
            self._shift(a, at, (place, parent), top)
            a.mark(settled)
            self._store_node(a, node, place)
        a.add(size, size, 1)

    def _shift(
        self, a: Assembler, node: Register, places: tuple[Register, Register], again: Label
    ) -> None:
        """Put ``node`` from the second of ``places`` into the first, and go on from the second."""
        place, vacated = places
        self._store_node(a, node, place)
        a.add(place, vacated, 0)
        a.jump(again)

    def _node(self, a: Assembler, node: Register, place: Register, number: Register) -> None:
        """Set ``node`` to the column at ``place`` above the list's number."""
        a.load_item(node, self.columns, place, size=4)
        a.emit("shli", node, node, imm=LIST_BITS)
        a.alu("or", node, node, number)

    def _load_node(self, a: Assembler, node: Register, place: Register) -> None:
        a.emit("shli", node, place, imm=3)
        a.add(node, node, self.heap)
        a.load(node, node)

    def _store_node(self, a: Assembler, node: Register, place: Register) -> None:
        with a.scratch(1) as (at,):
            a.emit("shli", at, place, imm=3)
            a.add(at, at, self.heap)
            a.store(node, at)

    def _take(
        self, a: Assembler, size: Register, current: Register, total: Register, out: Register
    ) -> None:
        """Take the heap's top into the sum, and put the list's next column in its place."""
        node, number, at, place = a.registers(4)
        a.load(node, self.heap)
        a.emit("andi", number, node, imm=(1 << LIST_BITS) - 1)
        a.emit("shri", node, node, imm=LIST_BITS)
        a.emit("muli", at, number, imm=_LIST_BYTES)
        a.add(at, at, self.lists)
        a.load(place, at)
        with a.scratch(1) as (value,):
            self.emit_value(a, value, place, at)
            same, summed = Label(), Label()
            a.branch("eq", node, current, same)
            with a.when("ge", current, ZERO):
                self.append(a, out, current, total)
            a.add(current, node, 0)
            a.add(total, value, 0)
            a.jump(summed)
            a.mark(same)
            a.emit("fadd", total, total, value)
            a.mark(summed)
        a.add(place, place, 1)
        with a.scratch(1) as (end,):
            a.load(end, at, 8)
            read, sift = Label(), Label()
            a.branch("ge", place, end, read)
            a.store(place, at)
            self._node(a, node, place, number)
            a.jump(sift)
            a.mark(read)
            a.add(size, size, -1)
            self._load_node(a, node, size)
            a.mark(sift)
        a.release(number, at, place)
        self._sift_down(a, node, size)
        a.release(node)

    def emit_value(self, a: Assembler, value: Register, place: Register, at: Register) -> None:
        """Set ``value`` to the product at ``place`` of the list described ``at``."""
        with a.scratch(1) as (factor,):
            a.load(factor, at, 16)
            a.load_item(value, self.values, place)
            a.emit("fmul", value, factor, value)

    def _sift_down(self, a: Assembler, node: Register, size: Register) -> None:
        """Put ``node`` in the top's place and restore the heap's order."""
        place, child, least, other = a.registers(4)
        a.move(place, 0)
        settled, left = Label(), Label()
        top = a.mark()
        a.emit("shli", child, place, imm=1)
        a.add(child, child, 1)
        a.branch("ge", child, size, settled)
        self._load_node(a, least, child)
        a.add(other, child, 1)
        a.branch("ge", other, size, left)
        self._load_node(a, other, other)
        a.branch("lt", least, other, left)
        a.add(least, other, 0)
        a.add(child, child, 1)
        a.mark(left)
        a.branch("lt", node, least, settled)
        self._shift(a, least, (place, child), top)
        a.mark(settled)
        self._store_node(a, node, place)
        a.release(place, child, least, other)
