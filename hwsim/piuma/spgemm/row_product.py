"""Write what all row-wise baselines of the sparse product share: rows to threads, result to C.

Every thread takes a run of rows of about equal bound, computes them into room of its own (as long
as the rows' bounds), and copies them to C once all threads have said how much they found. C is in
one piece, rows in order, whatever the number of blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.piuma.isa import BLOCK, SPAD, THREAD, ZERO, Assembler, Register
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.partition import emit_bounds, emit_find_row
from hwsim.piuma.row_range import block_threads, counts_bytes, emit_place, emit_tell
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import ALL_THREADS, Launch

__all__ = ["RowProduct", "Room", "emit_private", "place_private"]


@dataclass(frozen=True)
class Room:
    """Addresses of what the kernels need beside operands and result.

    Attributes
    ----------
    found : SparseArrays
        Rows before they are copied: ``ptr`` holds where each row ends.
    counts : int
        Address of the entries that threads found (:mod:`~hwsim.piuma.row_range`).
    """

    found: SparseArrays
    counts: int

    @classmethod
    def place(cls, memory: MemoryMap, spec: PiumaSpec, name: str, rows: int, most: int) -> Room:
        """Return the room for ``rows`` with ``most`` entries."""
        return cls(
            memory.add_sparse(f"{name}.found", rows, most),
            memory.add(f"{name}.counts", counts_bytes(spec)),
        )


def place_private(memory: MemoryMap, spec: PiumaSpec, name: str, thread_bytes: int) -> int:
    """Return the address of ``thread_bytes`` per thread off chip, 0 if scratchpads hold them."""
    if thread_bytes * block_threads(spec) <= spec.spad.capacity_bytes:
        return 0
    return memory.add(f"{name}.private", thread_bytes * spec.mtp_threads)


def emit_private(
    a: Assembler, spec: PiumaSpec, address: int, thread_bytes: int, base: Register
) -> None:
    """Set ``base`` to a thread's own bytes (see :func:`place_private`)."""
    if address:
        a.emit("muli", base, THREAD, imm=thread_bytes)
        a.add(base, base, address)
        return
    a.emit("muli", base, BLOCK, imm=block_threads(spec))
    a.alu("sub", base, THREAD, base)
    a.emit("muli", base, base, imm=thread_bytes)
    a.add(base, base, SPAD)


class RowProduct(ABC):
    """One baseline; what it does for a row is :meth:`emit_row`."""

    def __init__(self, spec: PiumaSpec, product: SparseProduct, room: Room) -> None:
        if spec.mtp.pipelines < 1:
            raise InputError("mtp.pipelines", "at least 1 for this kernel", "0")
        self.spec, self.product, self.room = spec, product, room

    @abstractmethod
    def emit_before(self, a: Assembler) -> None:
        """Append what comes before rows are dealt out."""

    @abstractmethod
    def open(self, a: Assembler) -> None:
        """Reserve and set the registers that stay the same from row to row."""

    @abstractmethod
    def emit_row(self, a: Assembler, row: Register, out: Register) -> None:
        """Append a row's computation: its entries go to place ``out``, which moves behind them."""

    @abstractmethod
    def close(self, a: Assembler) -> None:
        """Release what :meth:`open` has reserved."""

    def write(self, a: Assembler) -> Launch:
        """Append the whole kernel and return where its threads begin."""
        entry = a.place
        a.fresh()
        self.emit_before(a)
        first, last, begin = self.emit_share(a)
        (out,) = a.registers(1)
        a.add(out, begin, 0)
        self.open(a)
        with a.scratch(1) as (row,):
            a.add(row, first, 0)
            with a.count_up(row, last):
                self.emit_row(a, row, out)
                with a.scratch(1) as (at,):
                    a.emit("shli", at, row, imm=2)
                    a.store(out, at, self.room.found.ptr, size=4)
        self.close(a)
        self._collect(a, first, last, begin, out)
        a.emit("halt")
        return Launch(entry)

    def emit_share(self, a: Assembler) -> tuple[Register, Register, Register]:
        """Return registers with the thread's rows [first, last), and where its room begins."""
        total = emit_bounds(a, self.spec, self.product)
        first, last, begin = a.registers(3)
        with a.scratch(2) as (number, unused):
            parts = self.spec.mtp_threads
            a.add(number, THREAD, 1)
            emit_find_row(a, self.spec, self.product, total, number, (last, unused), parts)
            a.add(number, THREAD, 0)
            emit_find_row(a, self.spec, self.product, total, number, (first, begin), parts)
        a.release(total)
        return first, last, begin

    def append(self, a: Assembler, out: Register, column: Register, value: Register) -> None:
        """Append an entry to the thread's room and move ``out`` behind it."""
        with a.scratch(1) as (at,):
            a.emit("shli", at, out, imm=2)
            a.store(column, at, self.room.found.col, size=4)
            a.emit("shli", at, out, imm=3)
            a.store(value, at, self.room.found.val)
        a.add(out, out, 1)

    def _collect(
        self, a: Assembler, first: Register, last: Register, begin: Register, out: Register
    ) -> None:
        """Find the thread's place in C and copy its rows there."""
        found, c = self.room.found, self.product.c
        shift, at, value = a.registers(3)
        a.alu("sub", value, out, begin)
        emit_tell(a, self.spec, self.room.counts, value)
        a.barrier(ALL_THREADS)
        emit_place(a, self.spec, self.room.counts, shift)
        a.alu("sub", shift, shift, begin)
        with a.when("eq", THREAD, ZERO):
            a.move(at, 0)
            a.store(ZERO, at, c.ptr, size=4)
        with a.count_up(first, last):
            a.emit("shli", at, first, imm=2)
            a.load(value, at, found.ptr, size=4, is_cached=True)
            a.add(value, value, shift)
            a.store(value, at, c.ptr + 4, size=4)
        with a.scratch(1) as (target,):
            for bits, source, array in ((2, found.col, c.col), (3, found.val, c.val)):
                size = 1 << bits
                a.emit("shli", at, begin, imm=bits)
                a.emit("shli", last, out, imm=bits)
                a.emit("shli", target, shift, imm=bits)
                a.add(target, target, at)
                with a.count_up(at, last, size):
                    a.load(value, at, source, size=size, is_cached=True)
                    a.store(value, target, array, size=size)
                    a.add(target, target, size)
        a.release(first, last, begin, out, shift, at, value)
