"""Walk micro-ops row by row: every instruction and address that a call executes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwsim.cpu import isa
from hwsim.cpu.microkernel.uops import BoundKernel

__all__ = ["walk"]

Step = tuple[int, int, int, bool]


class _Walker:
    def __init__(self, bound: BoundKernel, address: Mapping[str, int]) -> None:
        self.kernel = bound.kernel
        self.rows = [tuple(row.tolist()) for row in bound.kernel.rows]
        self.names = bound.kernel.rows.dtype.names
        starts = bound.addresses(address)
        self.at = [starts[name] for name in bound.kernel.pointers]
        self.streams = [bound.streams[name].tolist() for name in bound.kernel.streams]
        self.position = [0] * len(self.streams)
        self.mark = [0] * len(self.streams)
        self.steps: list[Step] = []

    def next_of(self, stream: int) -> int:
        self.position[stream] += 1
        return int(self.streams[stream][self.position[stream] - 1])

    def run(self, start: int, stop: int) -> None:
        index = start
        while index < stop:
            row = dict(zip(self.names, self.rows[index], strict=True))
            if row["opcode"] == isa.LOOP:
                end = self.end_of(index)
                count = row["count"]
                for _ in range(count if count >= 0 else self.next_of(-1 - count)):
                    self.run(index + 1, end)
                index = end + 1
                continue
            if row["opcode"] != isa.POINTER:
                is_access = row["pointer"] >= 0
                address = self.at[row["pointer"]] + row["offset"] if is_access else 0
                is_write = isa.OPCODES[row["opcode"]].startswith("store")
                self.steps.append((index, address, row["size"] if is_access else 0, is_write))
            if row["update"] == isa.STEP:
                self.at[row["updated"]] += row["step"]
            elif row["update"] == isa.STEP_STREAM:
                self.at[row["updated"]] += self.next_of(row["step"])
            elif row["update"] == isa.REWIND:
                self.position[row["step"]] = self.mark[row["step"]]
            elif row["update"] == isa.MARK:
                self.mark[row["step"]] = self.position[row["step"]]
            index += 1

    def end_of(self, loop: int) -> int:
        depth = 0
        for index in range(loop, len(self.rows)):
            opcode = self.rows[index][0]
            depth += (opcode == isa.LOOP) - (opcode == isa.END)
            if depth == 0:
                return index
        raise AssertionError("open loop")


def walk(bound: BoundKernel, address: Mapping[str, int]) -> list[Step]:
    """Return (row, address, bytes, is_write) of every instruction, in order; 0 bytes: no access."""
    walker = _Walker(bound, address)
    walker.run(0, len(walker.rows))
    counts = bound.kernel.dynamic_counts(bound.streams)
    is_real = bound.kernel.rows["opcode"] >= 0
    assert int(counts[is_real].sum()) == len(walker.steps)
    assert np.bincount([s[0] for s in walker.steps], minlength=len(counts)).tolist() == [
        int(c) if real else 0 for c, real in zip(counts, is_real, strict=True)
    ]
    return walker.steps
