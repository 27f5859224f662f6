"""Write the index of short walks: every vertex's visits, sorted, counted, as shares of all."""

from __future__ import annotations

from typing import Any

from hwsim.piuma.isa import Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.row_range import emit_rows_of_thread
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.spgemm.row_product import Room
from hwsim.piuma.spgemm.sorted_rows import PAIR_BYTES, SortedRows

__all__ = ["WalkRows"]

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
"""Constants of splitmix64 (Steele, Lea, Flood 2014), as signed words."""
_MAX_SEED = 1 << 16
_DRAW_BITS = 31


class WalkRows(SortedRows):
    """Expand a row by walking instead of multiplying; the rest is a sort and a sum.

    Attributes
    ----------
    thresholds : int
        Address of 4 bytes per edge: the draw below which an edge up to this one is taken.
    attrs : mapping
        ``walks`` per vertex, ``go_on_below``, ``seed``, ``row_products``: most visits of a vertex.
    """

    def __init__(
        self,
        spec: PiumaSpec,
        graph: tuple[int, SparseArrays, SparseArrays],
        room: Room,
        private: int,
        thresholds: int,
        attrs: dict[str, Any],
    ) -> None:
        n, edges, result = graph
        product = SparseProduct(n, n, n, edges, edges, result, 0, 0, 0, is_integer=False)
        super().__init__(spec, product, room, private, attrs["row_products"])
        self.thresholds, self.attrs = thresholds, attrs

    def emit_share(self, a: Assembler) -> tuple[Register, Register, Register]:
        """Deal rows out evenly: all have about as many visits."""
        first, last, begin = a.registers(3)
        emit_rows_of_thread(a, self.product.m, self.spec.mtp_threads, first, last)
        most = min(self.product.n, self.attrs["row_products"])
        a.emit("muli", begin, first, imm=most)
        return first, last, begin

    def append(self, a: Assembler, out: Register, column: Register, value: Register) -> None:
        """Append a share of visits."""
        with a.scratch(1) as (share,):
            a.emit("fdiv", share, value, self._visits)
            super().append(a, out, column, share)

    def open(self, a: Assembler) -> None:
        """Keep a register for the number of visits, too."""
        super().open(a)
        (self._visits,) = a.registers(1)

    def close(self, a: Assembler) -> None:
        """Release the registers of :meth:`open`."""
        super().close(a)
        a.release(self._visits)

    def _expand(self, a: Assembler, row: Register, end: Register) -> None:
        """Walk from vertex ``row``: write every vertex visited, with a one."""
        walk, last, state, step, at, one = a.registers(6)
        a.emit("muli", walk, row, imm=self.attrs["walks"])
        a.add(last, walk, self.attrs["walks"])
        a.move(one, 1.0)
        with a.count_up(walk, last) as following:
            a.emit("muli", state, walk, imm=_MAX_SEED)
            a.add(state, state, self.attrs["seed"])
            a.emit("muli", state, state, imm=_MIX[0])
            a.move(step, 0)
            a.add(at, row, 0)
            top = a.mark()
            a.store(at, end)
            a.store(one, end, 8)
            a.add(end, end, PAIR_BYTES)
            with a.scratch(2) as (bits, below):
                self._draw(a, state, step, bits)
                a.move(below, self.attrs["go_on_below"])
                a.branch("ge", bits, below, following)
                self._draw(a, state, step, bits)
                self._go(a, row, bits, at)
            a.jump(top)
        a.alu("sub", self._visits, end, self.pairs)
        a.emit("shri", self._visits, self._visits, imm=PAIR_BYTES.bit_length() - 1)
        a.emit("float", self._visits, self._visits)
        a.release(walk, last, state, step, at, one)

    @staticmethod
    def _draw(a: Assembler, state: Register, step: Register, bits: Register) -> None:
        """Set ``bits`` to the walk's next draw."""
        a.add(step, step, _STEP)
        a.add(bits, state, step)
        with a.scratch(1) as (high,):
            a.emit("shri", high, bits, imm=32)
            a.emit("andi", high, high, imm=(1 << 32) - 1)
            a.alu("xor", bits, bits, high)
        a.emit("muli", bits, bits, imm=_MIX[1])
        a.emit("shri", bits, bits, imm=64 - _DRAW_BITS)
        a.emit("andi", bits, bits, imm=(1 << _DRAW_BITS) - 1)

    def _go(self, a: Assembler, row: Register, bits: Register, at: Register) -> None:
        """Take an edge of ``at`` by binary search, or return to ``row`` from a dead end."""
        edges = self.product.a
        low, high, middle, found = a.registers(4)
        a.emit("shli", middle, at, imm=2)
        a.load(low, middle, edges.ptr, size=4)
        a.load(high, middle, edges.ptr + 4, size=4)
        dead, done, taken = Label(), Label(), Label()
        a.branch("ge", low, high, dead)
        a.add(high, high, -1)
        top = a.mark()
        a.branch("ge", low, high, taken)
        a.add(middle, low, high)
        a.emit("shri", middle, middle, imm=1)
        a.load_item(found, self.thresholds, middle, size=4)
        right = Label()
        a.branch("ge", bits, found, right)
        a.add(high, middle, 0)
        a.jump(top)
        a.mark(right)
        a.add(low, middle, 1)
        a.jump(top)
        a.mark(dead)
        a.add(at, row, 0)
        a.jump(done)
        a.mark(taken)
        a.load_item(at, edges.col, low, size=4)
        a.mark(done)
        a.release(low, high, middle, found)
