"""Hold a network's code: for every op the kernels it calls, with addresses and streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program
from hwsim.cpu.isa import OPCODES, UOP, UopKernel

__all__ = ["Call", "CpuProgram", "make_program"]

Streams = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Call:
    """One run of a kernel for op ``op_id``: start addresses of its pointers, and its streams."""

    op_id: int
    kernel: UopKernel
    addresses: dict[str, int]
    streams: Streams = field(default_factory=dict)

    def counts(self) -> NDArray[np.int64]:
        """Return how often each row of the kernel runs."""
        return self.kernel.dynamic_counts(self.streams)


@dataclass
class CpuProgram(Program):
    """A program whose instructions are the rows of all distinct kernels, one after the other.

    ``calls`` say in which order they run, where and on which data.
    """

    calls: list[Call] = field(default_factory=list)

    def program_hash(self) -> str:
        """Return a hash of code, addresses and streams."""
        digest = hashlib.sha256(self.instructions.tobytes())
        for call in self.calls:
            digest.update(f"{call.op_id} {call.kernel.name} {call.addresses}".encode())
            for name, values in sorted(call.streams.items()):
                digest.update(name.encode())
                digest.update(values.tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return sum(int(call.counts()[call.kernel.rows["opcode"] >= 0].sum()) for call in self.calls)

    def dynamic_counts(self) -> NDArray[np.int64]:
        """Return how often each row of ``instructions`` runs, all calls together."""
        first = self._first_rows()
        counts = np.zeros(len(self.instructions), dtype=np.int64)
        for call in self.calls:
            at = first[id(call.kernel)]
            counts[at : at + len(call.kernel.rows)] += call.counts()
        return counts

    def _first_rows(self) -> dict[int, int]:
        first: dict[int, int] = {}
        at = 0
        for call in self.calls:
            if id(call.kernel) not in first:
                first[id(call.kernel)] = at
                at += len(call.kernel.rows)
        return first

    def unit_cycles(self, unit: str) -> dict[str, int]:
        """Return no cycles: on a core they are known only by running it."""
        del unit
        return dict.fromkeys(self.op_names, 0)

    def verify(self) -> None:
        """Raise :class:`InputError` if a kernel breaks the contract of its form."""
        for kernel in {id(call.kernel): call.kernel for call in self.calls}.values():
            kernel.verify()

    def chunks(self, size: int = 65536) -> Iterator[NDArray[np.void]]:
        """Yield the rows of the kernels in order of the calls, loops as they stand."""
        del size
        for call in self.calls:
            yield call.kernel.rows

    def disassemble(self, limit: int = 200) -> str:
        """Return the code of the calls as text, at most ``limit`` lines."""
        lines: list[str] = []
        for call in self.calls:
            lines.append(f"{self.op_names[call.op_id]}: {call.kernel.name}")
            text = call.kernel.disassemble(max(1, limit - len(lines)))
            lines += ["  " + line for line in text.splitlines()]
            if len(lines) >= limit:
                break
        return "\n".join(lines[:limit])


def make_program(
    op_names: list[str], calls: list[Call], tensors: dict[str, Any], meta: dict[str, Any]
) -> CpuProgram:
    """Return the verified program of ``calls``."""
    kernels = {id(call.kernel): call.kernel for call in calls}.values()
    rows = [kernel.rows for kernel in kernels]
    program = CpuProgram(
        machine="cpu",
        units=["core"],
        opcodes=list(OPCODES),
        op_names=op_names,
        channels=[],
        instructions=np.concatenate(rows) if rows else np.zeros(0, dtype=UOP),
        tensors=tensors,
        meta=meta,
        calls=calls,
    )
    program.verify()
    return program
