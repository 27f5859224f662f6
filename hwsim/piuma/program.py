"""Hold a graph's thread programs: code, where threads begin, and where tensors lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.core.program import Program
from hwsim.piuma.isa import format_instruction
from hwsim.piuma.memory_map import MemoryMap
from hwsim.piuma.state import Launch

__all__ = ["OpCode", "ThreadProgram"]


@dataclass(frozen=True)
class OpCode:
    """One op's part: instructions [first, last) of the program, jumps counting from ``first``."""

    name: str
    first: int
    last: int
    launch: Launch


@dataclass
class ThreadProgram(Program):
    """A program whose threads jump: it has no counted loops and no channels.

    ``instructions`` : THREAD_INSTRUCTION[:] of all ops, one after the other.
    """

    memory: MemoryMap = field(default_factory=MemoryMap)
    codes: list[OpCode] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of instructions; how often each runs depends on the data."""
        return len(self.instructions)

    def verify(self) -> None:
        """Nothing to check beyond what assembling has."""

    def disassemble(self, limit: int = 200) -> str:
        """Return the instructions as text, at most ``limit`` lines."""
        lines = []
        for code in self.codes:
            lines.append(f"{code.name}:")
            rows = self.instructions[code.first : code.last]
            lines += [f"{i:5}  {format_instruction(row)}" for i, row in enumerate(rows)]
        if len(lines) > limit:
            lines = [*lines[:limit], f"… {len(lines) - limit} more"]
        return "\n".join(lines)
