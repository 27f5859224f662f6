"""Hold a kernel as the machine instructions of one instruction set, control flow still structured.

Both the assembly text and the simulator's micro-ops are written from this form, so that an
instruction in the one is an instruction in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hwsim.cpu.microkernel.ir import Kernel, Reg

__all__ = [
    "STACK",
    "Access",
    "Condition",
    "Counted",
    "Effect",
    "MachineCode",
    "MachineInstr",
    "MachineNode",
]

STACK = Reg("x", 31)
"""The stack pointer; no kernel's own register has this number."""


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes at ``base`` + ``offset`` that an instruction reads, writes or prefetches."""

    base: Reg
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What an instruction does to an integer register.

    ``op``: set (dst = src), const (dst = imm), step (dst = src + imm), shift (dst = src << imm, or
    >> -imm), add, sub, mul (dst = src op other), select (dst = src if test0 < test1 else other),
    data (dst is loaded from where src points).
    """

    op: str
    dst: Reg
    src: Reg
    other: Reg | None = None
    imm: int = 0
    test: tuple[Reg, Reg] | None = None


@dataclass(frozen=True, slots=True)
class MachineInstr:
    """One machine instruction.

    Attributes
    ----------
    text : str
        Assembly; ``{label}`` stands for a branch target.
    opcode : str
        Its class in :data:`hwsim.cpu.isa.OPCODES`.
    dst, src : tuple of int
        Registers as the micro-op form numbers them; the accumulator of an fma comes first, the
        address register of a write-back access too.
    access : Access, optional
        Of memory.
    effects : tuple of Effect
        On integer registers, after the access.
    has_write_back : bool
        Whether the access renews its address register.
    macs : int
        Multiply-accumulate lanes.
    """

    text: str
    opcode: str
    dst: tuple[int, ...] = ()
    src: tuple[int, ...] = ()
    access: Access | None = None
    effects: tuple[Effect, ...] = ()
    has_write_back: bool = False
    macs: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A loop: ``head`` runs once and skips the body if ``until`` is below and nothing is left.

    ``tail`` ends each turn (its last instruction branches back), ``after`` runs once behind.
    """

    counter: Reg
    step: int
    until: str
    head: tuple[MachineInstr, ...]
    body: tuple[MachineNode, ...]
    tail: tuple[MachineInstr, ...]
    after: tuple[MachineInstr, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """``head`` branches over the body unless ``reg`` passes ``test``; see the description's If."""

    reg: Reg
    test: str
    imm: int
    head: tuple[MachineInstr, ...]
    body: tuple[MachineNode, ...]


MachineNode = MachineInstr | Counted | Condition


@dataclass(frozen=True)
class MachineCode:
    """A kernel of one instruction set.

    Attributes
    ----------
    kernel : Kernel
        Where it comes from.
    body : tuple of MachineNode
        The code, from entry to return.
    """

    kernel: Kernel
    body: tuple[MachineNode, ...] = field(repr=False)

    def lines(self, label: Callable[[int], str]) -> list[str]:
        """Return the assembly lines; ``label`` names the n-th branch target."""
        writer = _Lines(label)
        writer.nodes(self.body)
        return writer.lines


class _Lines:
    def __init__(self, label: Callable[[int], str]) -> None:
        self.label, self.count = label, 0
        self.lines: list[str] = []

    def new_label(self) -> str:
        self.count += 1
        return self.label(self.count)

    def put(self, instrs: Sequence[MachineInstr], label: str = "") -> None:
        self.lines += [f"    {instr.text.format(label=label)}" for instr in instrs]

    def nodes(self, nodes: Sequence[MachineNode]) -> None:
        for node in nodes:
            if isinstance(node, MachineInstr):
                self.put((node,))
            elif isinstance(node, Condition):
                end = self.new_label()
                self.put(node.head, end)
                self.nodes(node.body)
                self.lines.append(f"{end}:")
            else:
                start, end = self.new_label(), self.new_label()
                self.put(node.head, end)
                self.lines.append(f"{start}:")
                self.nodes(node.body)
                self.put(node.tail, start)
                self.lines.append(f"{end}:")
                self.put(node.after)
