"""Record what one kernel, or all kernels of one op, took on a core."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwsim.core.result import STALL_REASONS, UnitStats

__all__ = ["COUNT_NAMES", "LINE_BYTES", "KernelRun", "empty_accounts"]

LINE_BYTES = 64

COUNT_NAMES = (
    *("load_bytes", "store_bytes", "l1_hits", "l1_misses"),
    *("l1_fills", "l1_evictions", "l2_fills", "l2_evictions", "l3_fills", "l3_evictions"),
    *("memory_reads", "memory_writes", "prefetches", "page_walks", "l2_hits", "l3_hits"),
)
"""Counters of a run; fills, evictions, reads and writes are lines of 64 bytes."""


def empty_accounts(width: int) -> NDArray[np.int64]:
    """Return accounts of ``width`` slots over no cycles."""
    return np.zeros((width, 2 + len(STALL_REASONS)), dtype=np.int64)


@dataclass(frozen=True)
class KernelRun:
    """What one kernel took.

    ``slots[s]`` is the account of dispatch slot s: busy, stalls in order, idle; every account
    sums to ``cycles``. ``uops`` are dispatch slots taken, ``instructions`` rows executed.
    """

    start_cycle: int
    end_cycle: int
    instructions: int
    uops: int
    macs: int
    slots: NDArray[np.int64]
    counts: dict[str, int]

    @property
    def cycles(self) -> int:
        """Return the cycles from the first dispatch to the last retirement."""
        return self.end_cycle - self.start_cycle

    @property
    def account(self) -> UnitStats:
        """Return the account of the first slot: busy if anything was dispatched at all."""
        return UnitStats.from_account(self.slots[0])

    @classmethod
    def together(cls, parts: list[KernelRun], cycle: int, width: int) -> KernelRun:
        """Return consecutive runs as one; without any, an empty one at ``cycle``."""
        if not parts:
            nothing = dict.fromkeys(COUNT_NAMES, 0)
            return cls(cycle, cycle, 0, 0, 0, empty_accounts(width), nothing)
        return cls(
            start_cycle=parts[0].start_cycle,
            end_cycle=parts[-1].end_cycle,
            instructions=sum(part.instructions for part in parts),
            uops=sum(part.uops for part in parts),
            macs=sum(part.macs for part in parts),
            slots=np.sum([part.slots for part in parts], axis=0),
            counts={name: sum(part.counts[name] for part in parts) for name in COUNT_NAMES},
        )

    def lengthened(self, cycles: int, reason: int) -> KernelRun:
        """Return the run with ``cycles`` more in which every slot waits for ``reason``."""
        slots = self.slots.copy()
        slots[:, 1 + reason] += cycles
        return replace(self, end_cycle=self.end_cycle + cycles, slots=slots)
