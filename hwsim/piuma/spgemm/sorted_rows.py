"""Write the row-wise product that expands products, sorts them and compresses equal columns.

The sort is a merge sort, bottom-up and stable, between two halves of the thread's own room, so that
sums are those of a loop over k.
"""

from __future__ import annotations

from hwsim.piuma.isa import ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import MemoryMap
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.row_product import Room, RowProduct, emit_private, place_private

__all__ = ["SortedRows", "emit_sort"]

PAIR_BYTES = 16
"""A column of 8 bytes and a value."""


class SortedRows(RowProduct):
    """Expand, sort, compress (ESC), a row at a time."""

    def __init__(
        self, spec: PiumaSpec, product: SparseProduct, room: Room, private: int, most_products: int
    ) -> None:
        super().__init__(spec, product, room)
        self.private, self.half_bytes = private, PAIR_BYTES * max(1, most_products)

    @classmethod
    def place(cls, memory: MemoryMap, spec: PiumaSpec, name: str, most_products: int) -> int:
        """Return where pairs go (see :func:`place_private`)."""
        return place_private(memory, spec, name, 2 * PAIR_BYTES * max(1, most_products))

    def emit_before(self, a: Assembler) -> None:
        """Nothing comes before."""

    def open(self, a: Assembler) -> None:
        """Point to the thread's pairs."""
        (self.pairs,) = a.registers(1)
        emit_private(a, self.spec, self.private, 2 * self.half_bytes, self.pairs)

    def close(self, a: Assembler) -> None:
        """Release the register of :meth:`open`."""
        a.release(self.pairs)

    def emit_row(self, a: Assembler, row: Register, out: Register) -> None:
        """Expand, sort and compress one row."""
        end, source = a.registers(2)
        a.add(end, self.pairs, 0)
        self._expand(a, row, end)
        a.add(source, self.pairs, 0)
        emit_sort(a, source, end, self.half_bytes)
        self._compress(a, source, end, out)
        a.release(end, source)

    def _expand(self, a: Assembler, row: Register, end: Register) -> None:
        """Write all products of a row to ``end``, which moves behind them."""
        product = self.product
        p, stop, factor, begin, last = a.registers(5)
        a.load_item(p, product.a.ptr, row, size=4, is_cached=True)
        a.load_item(stop, product.a.ptr + 4, row, size=4, is_cached=True)
        with a.count_up(p, stop):
            with a.scratch(1) as (k,):
                a.load_item(k, product.a.col, p, size=4, is_cached=True)
                a.load_item(factor, product.a.val, p, is_cached=True)
                a.load_item(begin, product.b.ptr, k, size=4)
                a.emit("shli", k, k, imm=2)
                a.load(last, k, product.b.ptr + 4, size=4)
            with a.count_up(begin, last), a.scratch(2) as (column, value):
                a.load_item(column, product.b.col, begin, size=4)
                a.load_item(value, product.b.val, begin)
                a.emit("fmul", value, factor, value)
                a.store(column, end)
                a.store(value, end, 8)
                a.add(end, end, PAIR_BYTES)
        a.release(p, stop, factor, begin, last)

    def _compress(self, a: Assembler, source: Register, end: Register, out: Register) -> None:
        """Sum neighbours of equal column and append them as entries."""
        current, total, column, value = a.registers(4)
        a.move(current, -1)
        with a.count_up(source, end, PAIR_BYTES) as following:
            a.load(column, source)
            a.load(value, source, 8)
            other = Label()
            a.branch("ne", column, current, other)
            a.emit("fadd", total, total, value)
            a.jump(following)
            a.mark(other)
            with a.when("ge", current, ZERO):
                self.append(a, out, current, total)
            a.add(current, column, 0)
            a.add(total, value, 0)
        with a.when("ge", current, ZERO):
            self.append(a, out, current, total)
        a.release(current, total, column, value)


def emit_sort(a: Assembler, source: Register, end: Register, half_bytes: int) -> None:
    """Sort pairs from ``source`` to ``end`` by their first words; both may move to the other half.

    ``source`` begins as the lower half's address.
    """
    size, width, target = a.registers(3)
    a.alu("sub", size, end, source)
    a.move(width, PAIR_BYTES)
    a.add(target, source, half_bytes)
    done = Label()
    top = a.mark()
    a.branch("ge", width, size, done)
    _merge_pass(a, source, target, size, width)
    with a.scratch(1) as (old,):
        a.add(old, source, 0)
        a.add(source, target, 0)
        a.add(target, old, 0)
    a.emit("shli", width, width, imm=1)
    a.jump(top)
    a.mark(done)
    a.add(end, source, size)
    a.release(size, width, target)


def _merge_pass(
    a: Assembler, source: Register, target: Register, size: Register, width: Register
) -> None:
    """Merge neighbouring runs of ``width`` bytes from ``source`` to ``target``."""
    left, middle, right, stop, end, to = a.registers(6)
    a.add(left, source, 0)
    a.add(end, source, size)
    a.add(to, target, 0)
    with a.forever() as done:
        a.branch("ge", left, end, done)
        a.add(middle, left, width)
        a.alu("min", middle, middle, end)
        a.add(right, middle, 0)
        a.add(stop, middle, width)
        a.alu("min", stop, stop, end)
        _merge_runs(a, (left, middle), (right, stop), to)
        a.add(left, stop, 0)
    a.release(left, middle, right, stop, end, to)


def _merge_runs(
    a: Assembler,
    first: tuple[Register, Register],
    second: tuple[Register, Register],
    to: Register,
) -> None:
    """Merge two runs, each from a place to an end; of equal keys the first run's goes first."""
    key, other = a.registers(2)
    take_first, take_second, merged = Label(), Label(), Label()
    rest_first, rest_second = Label(), Label()
    a.branch("ge", first[0], first[1], rest_second)
    a.branch("ge", second[0], second[1], rest_first)
    a.load(key, first[0])
    a.load(other, second[0])
    top = a.mark()
    a.branch("lt", other, key, take_second)
    a.mark(take_first)
    _move_pair(a, first[0], key, to)
    a.branch("ge", first[0], first[1], rest_second)
    a.load(key, first[0])
    a.jump(top)
    a.mark(take_second)
    _move_pair(a, second[0], other, to)
    a.branch("ge", second[0], second[1], rest_first)
    a.load(other, second[0])
    a.jump(top)
    for rest, run in ((rest_first, first), (rest_second, second)):
        a.mark(rest)
        with a.forever() as end:
            a.branch("ge", run[0], run[1], end)
            a.load(key, run[0])
            _move_pair(a, run[0], key, to)
        a.jump(merged)
    a.mark(merged)
    a.release(key, other)


def _move_pair(a: Assembler, place: Register, key: Register, to: Register) -> None:
    with a.scratch(1) as (value,):
        a.load(value, place, 8)
        a.store(key, to)
        a.store(value, to, 8)
    a.add(place, place, PAIR_BYTES)
    a.add(to, to, PAIR_BYTES)
