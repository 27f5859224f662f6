"""Describe a micro-kernel once: structured code over integer and 4-lane float registers.

A description is a list of nodes: plain instructions, counted loops and conditions. Registers are
numbered by a first-fit allocator while the description is written, so that the highest number in
use at any time is what the kernel needs; a back end maps numbers to its registers one to one.
Pointers are byte addresses in integer registers; a vector register holds four float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ARGUMENTS", "If", "Instr", "Kernel", "KernelBuilder", "Loop", "Node", "Reg"]

ARGUMENTS = 10
"""Integer arguments at most; AArch64 passes eight in registers."""


@dataclass(frozen=True, slots=True)
class Reg:
    """A register: ``file`` x (integer) or v (vector), numbered from 0."""

    file: Literal["x", "v"]
    number: int

    def __str__(self) -> str:
        return f"{self.file}{self.number}"


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction.

    Attributes
    ----------
    op : str
        Integer: mov, const, addi, shift (left by imm, right by -imm), add, sub, mul, select_lt
        (dst = src0 if src2 < src3 else src1, unsigned), load_u32, load_s32.
        Memory: load, load_dup, store, store_high (lanes 2 and 3), prefetch.
        Vector: fma, fma_lane, mul, mul_lane, add, min, max, and, mov, zero, dup_lane, ext, uzp1,
        uzp2, zip1, zip2, addp (names of the NEON instructions).
    dst : tuple of Reg
        Written; ``fma`` reads it too. Empty for stores and prefetches.
    src : tuple of Reg
        Read; the base address of a memory access comes last.
    imm : int
        Constant operand, offset in bytes, lane, or the distance in lanes of ``ext``.
    lanes : int
        Lanes that a memory access moves or an operation needs: 4, 2 or 1.
    post : int
        Bytes added to the base after the access; ``imm`` is 0 then.
    """

    op: str
    dst: tuple[Reg, ...] = ()
    src: tuple[Reg, ...] = ()
    imm: int = 0
    lanes: int = 4
    post: int = 0


@dataclass(frozen=True, slots=True)
class Loop:
    """Run ``body``, take ``step`` from ``counter``, and repeat.

    ``until`` zero: while the counter is not 0 (the caller knows that it starts as a positive
    multiple of ``step``). ``until`` below: while the counter is at least ``step``, tested on
    entry too.
    """

    counter: Reg
    step: int
    until: Literal["zero", "below"]
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Run ``body`` on a condition.

    ``test``: at_least (``reg`` >= ``imm``, unsigned), bit (``reg`` has the one bit ``imm``) or
    clear (``reg`` has none of the bits ``imm``).
    """

    reg: Reg
    test: Test
    imm: int
    body: tuple[Node, ...]


Node = Instr | Loop | If
Test = Literal["at_least", "bit", "clear"]


@dataclass(frozen=True)
class Kernel:
    """A finished description.

    Attributes
    ----------
    name : str
        For example ``spmm_16x1_pipelined``.
    arguments : tuple of str
        Names of the integer arguments, in x0, x1, … on entry.
    body : tuple of Node
        The code.
    vectors, integers : int
        Registers in use at once, at most; v0 and v1 hold the clamp limits on entry (lane 0).
    uses_clamp : bool
        Whether the two float arguments, lower and upper limit, exist.
    """

    name: str
    arguments: tuple[str, ...]
    body: tuple[Node, ...]
    vectors: int
    integers: int
    uses_clamp: bool


@dataclass
class _File:
    """First-fit numbers of one register file."""

    taken: set[int] = field(default_factory=set)
    high: int = 0

    def take(self) -> int:
        number = next(n for n in range(len(self.taken) + 1) if n not in self.taken)
        self.taken.add(number)
        self.high = max(self.high, number + 1)
        return number


class KernelBuilder:
    """Write a kernel from top to bottom.

    Parameters
    ----------
    name : str
        Of the kernel.
    arguments : tuple of str
        Names of the integer arguments, at most ``ARGUMENTS``.
    has_clamp : bool
        Whether a lower and an upper limit come as float arguments.
    """

    def __init__(self, name: str, arguments: tuple[str, ...], *, has_clamp: bool = True) -> None:
        if len(arguments) > ARGUMENTS:
            raise ValueError(f"{len(arguments)} arguments, at most {ARGUMENTS}")
        self.name = name
        self.arguments = arguments
        self._files = {"x": _File(), "v": _File()}
        self._code: list[list[Node]] = [[]]
        self.args = tuple(self.integer() for _ in arguments)
        self._has_clamp = has_clamp
        if has_clamp:
            self.low, self.high = self.vector(), self.vector()
            for limit in (self.low, self.high):
                self.emit("dup_lane", (limit,), (limit,))

    # Registers

    def vector(self) -> Reg:
        """Return a free vector register."""
        return Reg("v", self._files["v"].take())

    def integer(self) -> Reg:
        """Return a free integer register."""
        return Reg("x", self._files["x"].take())

    def free(self, *regs: Reg) -> None:
        """Give registers back."""
        for reg in regs:
            self._files[reg.file].taken.remove(reg.number)

    @contextmanager
    def vectors(self, count: int) -> Iterator[list[Reg]]:
        """Lend ``count`` vector registers."""
        regs = [self.vector() for _ in range(count)]
        yield regs
        self.free(*regs)

    @contextmanager
    def integers(self, count: int) -> Iterator[list[Reg]]:
        """Lend ``count`` integer registers."""
        regs = [self.integer() for _ in range(count)]
        yield regs
        self.free(*regs)

    # Code

    def emit(
        self,
        op: str,
        dst: tuple[Reg, ...] = (),
        src: tuple[Reg, ...] = (),
        *,
        imm: int = 0,
        lanes: int = 4,
        post: int = 0,
    ) -> None:
        """Append one instruction."""
        self._code[-1].append(Instr(op, dst, src, imm, lanes, post))

    @contextmanager
    def loop(
        self, counter: Reg, step: int = 1, *, until: Literal["zero", "below"] = "zero"
    ) -> Iterator[None]:
        """Repeat what is written inside; see :class:`Loop`."""
        self._code.append([])
        yield
        body = tuple(self._code.pop())
        self._code[-1].append(Loop(counter, step, until, body))

    @contextmanager
    def when(self, reg: Reg, imm: int = 1, *, test: Test = "at_least") -> Iterator[None]:
        """Run what is written inside on a condition; see :class:`If`."""
        self._code.append([])
        yield
        body = tuple(self._code.pop())
        self._code[-1].append(If(reg, test, imm, body))

    def mov(self, dst: Reg, src: Reg) -> None:
        """Copy a register."""
        self.emit("mov", (dst,), (src,))

    def const(self, dst: Reg, value: int) -> None:
        """Put a small constant into an integer."""
        self.emit("const", (dst,), imm=value)

    def shift(self, dst: Reg, src: Reg, by: int) -> None:
        """Shift an integer left by ``by`` bits, or right (unsigned) by ``-by``."""
        self.emit("shift", (dst,), (src,), imm=by)

    def addi(self, dst: Reg, src: Reg, imm: int) -> None:
        """Add a constant to an integer."""
        self.emit("addi", (dst,), (src,), imm=imm)

    def add(self, dst: Reg, a: Reg, b: Reg) -> None:
        """Add two integers."""
        self.emit("add", (dst,), (a, b))

    def load(self, dst: Reg, base: Reg, offset: int = 0, *, lanes: int = 4, post: int = 0) -> None:
        """Load ``lanes`` floats; the lanes above are zero."""
        self.emit("load", (dst,), (base,), imm=offset, lanes=lanes, post=post)

    def store(self, src: Reg, base: Reg, offset: int = 0, *, lanes: int = 4, post: int = 0) -> None:
        """Store the lowest ``lanes`` floats."""
        self.emit("store", (), (src, base), imm=offset, lanes=lanes, post=post)

    def clamp(self, regs: list[Reg], lanes: int = 4) -> None:
        """Limit registers to the two float arguments."""
        for op, limit in (("min", self.high), ("max", self.low)):
            for reg in regs:
                self.emit(op, (reg,), (reg, limit), lanes=lanes)

    def build(self) -> Kernel:
        """Return the finished kernel."""
        return Kernel(
            self.name,
            self.arguments,
            tuple(self._code[0]),
            self._files["v"].high,
            self._files["x"].high,
            self._has_clamp,
        )
