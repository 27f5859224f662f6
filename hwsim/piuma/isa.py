"""Name the instructions of a thread, and assemble thread programs from Python.

The instruction set is this project's own: a small RISC with the memory, atomic and offload
operations that texts about the machine name. A thread has 32 registers of 64 bits; float
instructions read them as IEEE doubles. An address counts bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from hwsim.piuma.opcodes import OPCODES

__all__ = [
    "BLOCK",
    "COMPARISONS",
    "REGISTERS",
    "SPAD",
    "THREAD",
    "THREADS",
    "THREAD_INSTRUCTION",
    "ZERO",
    "Assembler",
    "Label",
    "Register",
    "format_instruction",
]

REGISTERS = 32

THREAD_INSTRUCTION = np.dtype(
    [
        ("opcode", np.int64),
        ("rd", np.int64),
        ("rs1", np.int64),
        ("rs2", np.int64),
        ("imm", np.int64),
        ("op_id", np.int64),  # the graph op that it belongs to
    ]
)
"""One instruction; immediates hold whole addresses (assumed: no extra instruction to make one)."""


class Register(int):
    """A register number, so that it is not taken for an immediate."""


class Label:
    """A place in a program, known once it is marked."""

    def __init__(self) -> None:
        self.place: int | None = None


ZERO, THREAD, THREADS, SPAD, BLOCK = (Register(i) for i in range(5))
"""Preset registers: 0; the thread's number among those of its kind in the machine (multi- or
single-threaded pipelines); how many of these there are; address of the block's scratchpad; block.
"""

COMPARISONS = {"eq": "beq", "ne": "bne", "lt": "blt", "ge": "bge", "flt": "fblt"}
_OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt"}
_IMMEDIATE = {"add": "addi", "mul": "muli", "and": "andi", "shl": "shli", "shr": "shri"}
_CODE = {name: code for code, name in enumerate(OPCODES)}

Value = Register | int


class Assembler:
    """Collect instructions; names of methods are mnemonics.

    An operand is a :class:`Register` or an ``int`` immediate. ``op_id`` goes into every
    instruction.
    """

    def __init__(self, op_id: int = 0) -> None:
        self.op_id = op_id
        self._rows: list[list[int]] = []
        self._jumps: list[tuple[int, Label]] = []
        self._free = list(range(REGISTERS - 1, BLOCK, -1))

    @property
    def place(self) -> int:
        """Return the number of the next instruction."""
        return len(self._rows)

    def fresh(self) -> Assembler:
        """Return the same program with all registers unused, for another kind of thread."""
        self._free = list(range(REGISTERS - 1, BLOCK, -1))
        return self

    def registers(self, count: int) -> list[Register]:
        """Return ``count`` registers that nobody uses."""
        if count > len(self._free):
            raise RuntimeError(f"need {count} registers, found {len(self._free)}")
        return [Register(self._free.pop()) for _ in range(count)]

    def consecutive(self, count: int) -> list[Register]:
        """Return ``count`` unused registers with consecutive numbers."""
        low = next(
            r for r in range(BLOCK + 1, REGISTERS) if set(range(r, r + count)) <= set(self._free)
        )
        self._free = [r for r in self._free if not low <= r < low + count]
        return [Register(r) for r in range(low, low + count)]

    def release(self, *registers: Register) -> None:
        """Give registers back."""
        self._free += [int(r) for r in registers]

    @contextmanager
    def scratch(self, count: int) -> Iterator[list[Register]]:
        """Lend ``count`` registers to a block."""
        lent = self.registers(count)
        yield lent
        self.release(*lent)

    def emit(self, name: str, rd: int = 0, rs1: int = 0, rs2: int = 0, imm: int = 0) -> None:
        """Append one instruction."""
        self._rows.append([_CODE[name], int(rd), int(rs1), int(rs2), int(imm)])

    def move(self, rd: Register, value: Value | float) -> None:
        """Set ``rd`` to a register, an integer or (given a float) a double's bits."""
        if isinstance(value, Register):
            self.emit("addi", rd, value)
        elif isinstance(value, float):
            self.emit("li", rd, imm=int(np.float64(value).view(np.int64)))
        else:
            self.emit("li", rd, imm=value)

    def alu(self, name: str, rd: Register, left: Register, right: Value) -> None:
        """Append an arithmetic instruction; immediates where the instruction has them."""
        if isinstance(right, Register):
            self.emit(name, rd, left, right)
        elif name == "sub":
            self.emit("addi", rd, left, imm=-right)
        else:
            self.emit(_IMMEDIATE[name], rd, left, imm=right)

    def add(self, rd: Register, left: Register, right: Value) -> None:
        """Append ``rd = left + right``."""
        self.alu("add", rd, left, right)

    def load(
        self,
        rd: Register,
        base: Register,
        offset: int = 0,
        *,
        size: int = 8,
        is_cached: bool = False,
    ) -> None:
        """Append a load of 8 bytes, or of 4 with their sign."""
        self.emit(f"ld{'c' if is_cached else ''}{size}", rd, base, imm=offset)

    def store(self, value: Register, base: Register, offset: int = 0, *, size: int = 8) -> None:
        """Append a store of the low 8 or 4 bytes."""
        self.emit(f"st{size}", rs1=base, rs2=value, imm=offset)

    def load_item(
        self, rd: Register, array: int, index: Register, *, size: int = 8, is_cached: bool = False
    ) -> None:
        """Append ``rd = array[index]``; ``rd`` serves for the address."""
        self.emit("shli", rd, index, imm=size.bit_length() - 1)
        self.load(rd, rd, array, size=size, is_cached=is_cached)

    def atomic(
        self, name: str, rd: Register, base: Register, value: Register, offset: int = 0
    ) -> None:
        """Append an atomic; ``rd`` becomes the old value (for cas it holds the expected one)."""
        self.emit(name, rd, base, value, offset)

    def barrier(self, group: int) -> None:
        """Append a barrier of the threads of ``group``, plus the block for a block's own."""
        self.emit("bar", imm=group)

    def branch(self, comparison: str, left: Register, right: Register, to: Label) -> None:
        """Append a conditional jump."""
        self._jumps.append((self.place, to))
        self.emit(COMPARISONS[comparison], rs1=left, rs2=right)

    def jump(self, to: Label) -> None:
        """Append a jump."""
        self._jumps.append((self.place, to))
        self.emit("jmp")

    def mark(self, label: Label | None = None) -> Label:
        """Let ``label`` (a new one if none) stand for this place."""
        label = label or Label()
        label.place = self.place
        return label

    @contextmanager
    def when(self, comparison: str, left: Register, right: Register) -> Iterator[None]:
        """Run the block only if the comparison holds."""
        end = Label()
        self.branch(_OPPOSITE[comparison], left, right, end)
        yield
        self.mark(end)

    @contextmanager
    def count_up(self, index: Register, stop: Register, step: Value = 1) -> Iterator[Label]:
        """Repeat the block while ``index < stop``, adding ``step`` after each round.

        Yields the label of that addition, for leaving a round early.
        """
        end, following = Label(), Label()
        self.branch("ge", index, stop, end)
        top = self.mark()
        yield following
        self.mark(following)
        self.add(index, index, step)
        self.branch("lt", index, stop, top)
        self.mark(end)

    @contextmanager
    def forever(self) -> Iterator[Label]:
        """Repeat the block; yields the label behind it."""
        end = Label()
        top = self.mark()
        yield end
        self.jump(top)
        self.mark(end)

    def array(self) -> NDArray[np.void]:
        """Return THREAD_INSTRUCTION[:] with all jumps resolved."""
        for row, label in self._jumps:
            if label.place is None:
                raise RuntimeError(f"instruction {row} jumps to a label that was never marked")
            self._rows[row][4] = label.place
        rows = [(*row, self.op_id) for row in self._rows]
        return np.array(rows, dtype=THREAD_INSTRUCTION)


def format_instruction(row: np.void) -> str:
    """Return one instruction as text."""
    name = OPCODES[int(row["opcode"])]
    rd, rs1, rs2, imm = (int(row[key]) for key in ("rd", "rs1", "rs2", "imm"))
    return f"{name:8} r{rd}, r{rs1}, r{rs2}, {imm}"
