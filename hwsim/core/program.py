"""Hold a machine's instructions with counted loops, and unroll them lazily.

A program is a structured array of instructions plus a tree of counted loops written as two extra
instruction kinds: ``LOOP`` (``count`` repetitions of everything up to its ``END``). Loops nest.
Each ordinary instruction names the unit that executes it, the op it belongs to, what it waits for
and what it releases, and how long it occupies its unit or how many bytes it moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.result import STALL_REASONS

__all__ = ["END", "INSTRUCTION", "LOOP", "MAX_LOOP_DEPTH", "Program", "TokenChannel"]

LOOP = -1
"""Pseudo-unit of a loop head; ``count`` is the number of repetitions."""
END = -2
"""Pseudo-unit of a loop end."""
MAX_LOOP_DEPTH = 4

INSTRUCTION = np.dtype(
    [
        ("unit", np.int16),  # index into Program.units, or LOOP / END
        ("opcode", np.int16),  # index into Program.opcodes
        ("op_id", np.int32),  # index into Program.op_names
        ("operand", np.int32),  # whatever the machine's opcode needs, for example a shape's index
        ("count", np.int64),  # repetitions (LOOP only)
        ("wait", np.int64),  # bit c set: take one token from channel c before starting
        ("release", np.int64),  # bit c set: put one token into channel c when done
        ("cycles", np.int64),  # occupation of the unit; 0 for memory requests
        ("mem_bytes", np.int64),  # bytes to move; 0 for compute
        ("mem_address", np.int64),  # first byte, before strides
        ("mem_stride", np.int64, (MAX_LOOP_DEPTH,)),  # bytes added per repetition, per depth
        ("is_write", np.int8),
        ("macs", np.int64),  # multiply-accumulate slots issued, padding included
        ("stall", np.int64, (len(STALL_REASONS),)),  # part of `cycles` lost inside, by reason
    ]
)
"""One instruction. Inside its ``cycles`` the unit is busy for ``cycles - stall.sum()``."""


@dataclass(frozen=True)
class TokenChannel:
    """A counting semaphore between one producer and one consumer unit.

    ``initial`` tokens are present at the start (free halves of a buffer). A consumer that waits
    on an empty channel is charged ``reason`` (a name in STALL_REASONS).
    """

    name: str
    initial: int
    reason: str


@dataclass
class Program:
    """Instructions of a whole graph for one machine.

    Attributes
    ----------
    machine : str
        Machine name.
    units, opcodes, op_names : list of str
        Names behind the indices in ``instructions``.
    channels : list of TokenChannel
        At most 62.
    instructions : INSTRUCTION[:]
        With LOOP / END pairs.
    tensors : dict of str to array
        Attached values and masks by name.
    meta : dict
        Anything JSON-able the machine wants to keep (mappings, per-op facts).
    """

    machine: str
    units: list[str]
    opcodes: list[str]
    op_names: list[str]
    channels: list[TokenChannel]
    instructions: NDArray[np.void]
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def program_hash(self) -> str:
        """Return a hash of the instructions."""
        return hashlib.sha256(self.instructions.tobytes()).hexdigest()[:16]

    def __len__(self) -> int:
        """Return the dynamic instruction count (loops counted out, LOOP / END not counted)."""
        return int(self.dynamic_counts().sum())

    def dynamic_counts(self) -> NDArray[np.int64]:
        """Return how often each instruction runs : int64[len(instructions)], 0 for LOOP and END."""
        counts, factor, factors = [], 1, []
        units = self.instructions["unit"].tolist()
        repeats = self.instructions["count"].tolist()
        for unit, count in zip(units, repeats, strict=True):
            if unit == LOOP:
                factors.append(factor)
                factor *= count
            elif unit == END:
                factor = factors.pop()
            counts.append(factor if unit >= 0 else 0)
        return np.array(counts, dtype=np.int64)

    def unit_cycles(self, unit: str) -> dict[str, int]:
        """Return, per op, the cycles of its instructions on ``unit``, whatever overlaps them."""
        rows = self.instructions
        cycles = rows["cycles"] * self.dynamic_counts() * (rows["unit"] == self.units.index(unit))
        total = np.zeros(len(self.op_names), dtype=np.int64)
        np.add.at(total, np.maximum(rows["op_id"], 0), cycles)
        return dict(zip(self.op_names, total.tolist(), strict=True))

    def verify(self) -> None:
        """Raise :class:`InputError` if loops, units, channels or op ids are inconsistent."""
        rows, unit = self.instructions, self.instructions["unit"]
        is_loop, is_end, is_work = unit == LOOP, unit == END, unit >= 0
        depth = np.cumsum(is_loop.astype(np.int64) - is_end)
        faults = [
            (is_loop & (rows["count"] < 1), "a loop count of at least 1", rows["count"]),
            (
                ~(is_loop | is_end | (is_work & (unit < len(self.units)))),
                f"a unit below {len(self.units)}",
                unit,
            ),
            (
                (depth < 0) | (depth > MAX_LOOP_DEPTH),
                f"loops nested 0 to {MAX_LOOP_DEPTH} deep",
                depth,
            ),
            (
                is_work & ((rows["op_id"] < 0) | (rows["op_id"] >= len(self.op_names))),
                "a known op_id",
                rows["op_id"],
            ),
        ]
        for is_bad, need, found in faults:
            if is_bad.any():
                index = int(is_bad.argmax())
                raise InputError(f"program[{index}]", need, str(found[index]))
        if len(depth) and depth[-1] != 0:
            raise InputError("program", "every loop closed", f"{depth[-1]} open")
        used = int(np.bitwise_or.reduce(rows["wait"] | rows["release"])) if len(rows) else 0
        if used >> len(self.channels):
            raise InputError("program", f"channels below {len(self.channels)}", bin(used))

    def chunks(self, size: int = 65536) -> Iterator[NDArray[np.void]]:
        """Yield the unrolled instructions (addresses final) in arrays of at most ``size``."""
        pending: list[NDArray[np.void]] = []
        held = 0
        for block in self._blocks():
            pending.append(block)
            held += len(block)
            if held >= size:
                joined = np.concatenate(pending)
                while len(joined) >= size:
                    yield joined[:size]
                    joined = joined[size:]
                pending, held = [joined], len(joined)
        if held:
            yield np.concatenate(pending)

    def _blocks(self) -> Iterator[NDArray[np.void]]:
        """Yield runs of straight-line instructions in execution order."""
        units = self.instructions["unit"]
        marks = np.flatnonzero(units < 0)
        position = 0
        stack: list[list[int]] = []  # [index after LOOP, repetitions left, iteration]
        while position < len(units):
            if units[position] == LOOP:
                stack.append([position + 1, int(self.instructions[position]["count"]), 0])
                position += 1
            elif units[position] == END:
                top = stack[-1]
                top[1] -= 1
                top[2] += 1
                if top[1] > 0:
                    position = top[0]
                else:
                    stack.pop()
                    position += 1
            else:
                later = marks[np.searchsorted(marks, position) :]
                stop = int(later[0]) if len(later) else len(units)
                block = self.instructions[position:stop].copy()
                for depth, (_, _, iteration) in enumerate(stack):
                    block["mem_address"] += block["mem_stride"][:, depth] * iteration
                yield block
                position = stop

    def disassemble(self, limit: int = 200) -> str:
        """Return the instructions as text, loops indented, at most ``limit`` lines."""
        lines: list[str] = []
        indent = 0
        for row in self.instructions[:limit]:
            unit = int(row["unit"])
            if unit == END:
                indent -= 1
                continue
            pad = "  " * indent
            if unit == LOOP:
                lines.append(f"{pad}loop {int(row['count'])}:")
                indent += 1
                continue
            name = self.opcodes[int(row["opcode"])]
            size = f"{int(row['mem_bytes'])} B" if row["mem_bytes"] else f"{int(row['cycles'])} cyc"
            waits = ",".join(self._channel_names(int(row["wait"])))
            releases = ",".join(self._channel_names(int(row["release"])))
            op = self.op_names[int(row["op_id"])]
            lines.append(
                f"{pad}{self.units[unit]:8} {name:10} {size:>14}  {op}"
                f"  wait[{waits}] rel[{releases}]"
            )
        if len(self.instructions) > limit:
            lines.append(f"… {len(self.instructions) - limit} more")
        return "\n".join(lines)

    def _channel_names(self, bits: int) -> list[str]:
        return [c.name for i, c in enumerate(self.channels) if bits >> i & 1]
