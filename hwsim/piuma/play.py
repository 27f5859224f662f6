"""Play a launch of thread programs to its end, and say what went wrong if it cannot."""

from __future__ import annotations

from collections.abc import Callable

from hwsim.components.dram.arrival_call import finish_arrival
from hwsim.core.errors import HwsimError
from hwsim.piuma import thread_kernels
from hwsim.piuma.state import (
    BAD_ADDRESS,
    BAD_BARRIER,
    BAD_QUEUE,
    DEADLOCK,
    ERROR,
    ERROR_THREAD,
    LAST_DMA,
    NOW,
    PC,
    Chip,
)

__all__ = ["finish_memory", "play"]

_CHUNK_CYCLES = 1 << 20
"""Cycles between two looks at Ctrl-C."""
_ERRORS = {
    BAD_ADDRESS: "an aligned address inside the memory",
    DEADLOCK: "a thread that can go on",
    BAD_QUEUE: "a queue of the machine",
    BAD_BARRIER: "a barrier of the machine",
}


def play(
    chip: Chip,
    *,
    is_plain: bool = False,
    watch: Callable[[Chip, int], None] | None = None,
    chunk_cycles: int = _CHUNK_CYCLES,
) -> int:
    """Run ``chip`` until every thread has halted and every engine is done; return the cycles.

    ``is_plain`` looks at every pipeline in every cycle instead of going from event to event.
    ``watch`` is called with the chip and the cycle every ``chunk_cycles`` and at the end.

    Raises
    ------
    HwsimError
        If a thread leaves the memory, or all wait for each other: a wrong thread program.
    """
    run = thread_kernels.run_plainly if is_plain else thread_kernels.run_events
    is_done = False
    while not is_done:
        is_done = run(chip.table, int(chip.scalar[NOW]) + chunk_cycles)
        if watch is not None:
            watch(chip, int(chip.scalar[NOW]))
    error = int(chip.scalar[ERROR])
    if error:
        thread = int(chip.scalar[ERROR_THREAD])
        row = int(chip.thread[max(thread, 0), PC]) - 1
        where = f"thread {thread}, instruction {row}"
        text = " ".join(str(x) for x in chip.code[row, :5])
        raise HwsimError(where, _ERRORS[error], text)
    return int(max(chip.scalar[NOW], chip.scalar[LAST_DMA]))


def finish_memory(chip: Chip, cycles: int) -> int:
    """Let DRAM write what still waits after ``cycles``; return the cycle at which all is there."""
    if not chip.dram.size:
        return cycles
    return max(cycles, finish_arrival(chip.dram_place, cycles))
