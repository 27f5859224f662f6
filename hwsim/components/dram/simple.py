"""Serve memory requests by one FIFO server of fixed rate: the memory called ``simple``.

One request moves at least one byte; its data phase may share its first and last cycle with its
neighbours. Rates are rationals ``num / den`` bytes per cycle held in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwsim.components.dram.layout import NEVER
from hwsim.components.jit import interpreted, njit_inline
from hwsim.core.errors import InputError

__all__ = [
    "NEVER",
    "Completion",
    "FixedRateMemory",
    "MemoryParameters",
    "Request",
    "memory_data_cycles",
    "memory_moved",
    "memory_next_time",
    "memory_pop",
    "memory_shift",
    "memory_snapshot",
    "memory_state",
    "memory_submit",
]

# Columns of row 0, the memory's state. The server is free from FREE_CYCLE + FREE_PART / NUM; the
# other rows are a ring of LENGTH requests, the oldest in row HEAD.
IS_IDEAL, NUM, DEN, LATENCY, FREE_CYCLE, FREE_PART, HEAD, LENGTH = range(8)
# Columns of a request: data moves in cycles [BEGIN, END).
REQUESTER, TAG, BEGIN, END, DONE = range(5)


@dataclass(frozen=True)
class MemoryParameters:
    """A memory of ``num / den`` bytes per cycle and a latency added after the data phase.

    An ideal memory completes every request in the cycle of its submission.
    """

    num: int = 1
    den: int = 1
    latency_cycles: int = 0
    is_ideal: bool = False

    def __post_init__(self) -> None:
        for name, lowest in (("num", 1), ("den", 1), ("latency_cycles", 0)):
            found = getattr(self, name)
            if not lowest <= found < 1 << 31:
                raise InputError(
                    f"memory.{name}", f"an integer from {lowest} to 2^31 - 1", str(found)
                )

    @classmethod
    def from_rate(cls, bytes_per_cycle: Fraction, latency_cycles: int) -> MemoryParameters:
        """Return the memory of exactly ``bytes_per_cycle``."""
        return cls(bytes_per_cycle.numerator, bytes_per_cycle.denominator, latency_cycles)


def memory_state(parameters: MemoryParameters, capacity: int) -> np.ndarray:
    """Return the state int64[1 + capacity, 8] of an idle memory."""
    p = parameters
    memory = np.zeros((1 + capacity, 8), np.int64)
    memory[0] = [p.is_ideal, p.num, p.den, p.latency_cycles, 0, 0, 1, 0]
    return memory


@njit_inline
def memory_submit(memory, requester, tag, size_bytes, t):
    """Append a request at cycle ``t`` to the one FIFO server; there must be room in the ring."""
    row = memory[0, HEAD] + memory[0, LENGTH]
    if row >= memory.shape[0]:
        row -= memory.shape[0] - 1
    memory[0, LENGTH] += 1
    memory[row, REQUESTER] = requester
    memory[row, TAG] = tag
    begin, end, done = t, t, t
    if memory[0, IS_IDEAL] == 0:
        if memory[0, FREE_CYCLE] < t:  # idle since before t, a remainder of a cycle included
            memory[0, FREE_CYCLE] = t
            memory[0, FREE_PART] = 0
        begin = memory[0, FREE_CYCLE]
        parts = memory[0, FREE_PART] + size_bytes * memory[0, DEN]
        end = begin + parts // memory[0, NUM]
        rest = parts % memory[0, NUM]
        memory[0, FREE_CYCLE] = end
        memory[0, FREE_PART] = rest
        if rest > 0:
            end += 1
        done = end + memory[0, LATENCY]
    memory[row, BEGIN] = begin
    memory[row, END] = end
    memory[row, DONE] = done


@njit_inline
def memory_next_time(memory):
    """Return the cycle of the next completion, NEVER if nothing is in flight."""
    return memory[memory[0, HEAD], DONE] if memory[0, LENGTH] > 0 else NEVER


@njit_inline
def memory_pop(memory, until):
    """Remove the next completion due at or before ``until``; return its row or -1.

    The row stays readable until the next submission.
    """
    row = memory[0, HEAD]
    if memory[0, LENGTH] == 0 or memory[row, DONE] > until:
        return np.int64(-1)
    memory[0, HEAD] = row + 1 if row + 1 < memory.shape[0] else 1
    memory[0, LENGTH] -= 1
    return row


@njit_inline
def memory_data_cycles(memory, requester, since, until):
    """Return the cycles of [since, until) in which data of ``requester`` moved."""
    total = 0
    row = memory[0, HEAD]
    for _ in range(memory[0, LENGTH]):
        begin = max(memory[row, BEGIN], since)
        if begin >= until:  # so do all later requests: first in, first out
            break
        if memory[row, REQUESTER] == requester and memory[row, END] > begin:
            since = min(memory[row, END], until)  # neighbours may share a cycle: count it once
            total += since - begin
        row = row + 1 if row + 1 < memory.shape[0] else 1
    return total


@njit_inline
def memory_moved(memory, sizes, kinds, kind, t):
    """Return the bytes of requests in flight of ``kind`` that moved before ``t``, rounded down.

    ``sizes``, ``kinds`` : int64[n], by tag modulo n.
    """
    moved = 0
    row = memory[0, HEAD]
    for _ in range(memory[0, LENGTH]):
        i = memory[row, TAG] % sizes.shape[0]
        begin, end = memory[row, BEGIN], memory[row, END]
        if kinds[i] == kind and t > begin and end > begin:
            moved += sizes[i] * (min(t, end) - begin) // (end - begin)
        row = row + 1 if row + 1 < memory.shape[0] else 1
    return moved


@njit_inline
def memory_snapshot(memory, t, table, out, at):
    """Write the state relative to ``t`` into row ``out`` of ``table`` from column ``at`` on.

    Returns the next free column.
    """
    is_serving = memory[0, FREE_CYCLE] >= t
    table[out, at] = memory[0, FREE_CYCLE] - t if is_serving else 0
    table[out, at + 1] = memory[0, FREE_PART] if is_serving else 0
    table[out, at + 2] = memory[0, LENGTH]
    at += 3
    row = memory[0, HEAD]
    for _ in range(memory[0, LENGTH]):
        table[out, at] = memory[row, REQUESTER]
        table[out, at + 1] = memory[row, TAG]
        for column in range(BEGIN, DONE + 1):
            table[out, at + column] = max(memory[row, column] - t, 0)
        at += 5
        row = row + 1 if row + 1 < memory.shape[0] else 1
    return at


@njit_inline
def memory_shift(memory, dt):
    """Move the whole state ``dt`` cycles into the future."""
    memory[0, FREE_CYCLE] += dt
    for row in range(1, memory.shape[0]):  # unused rows too: nobody reads their times
        memory[row, BEGIN] += dt
        memory[row, END] += dt
        memory[row, DONE] += dt


@dataclass(frozen=True)
class Request:
    """``size_bytes`` to move for ``requester``; ``tag`` comes back with the completion."""

    requester: int
    tag: int
    size_bytes: int


@dataclass(frozen=True)
class Completion:
    """The request ``tag`` of ``requester`` was done at ``cycle``."""

    requester: int
    tag: int
    cycle: int


class FixedRateMemory:
    """One FIFO server of fixed rate behind the contract above, interpreted, for use by Python."""

    def __init__(self, parameters: MemoryParameters, capacity: int = 64) -> None:
        self._memory = memory_state(parameters, capacity)

    def submit(self, request: Request, t: int) -> None:
        """Hand over ``request`` at cycle ``t``.

        Raises
        ------
        InputError
            If it moves no byte, or if ``capacity`` requests are in flight.
        """
        if request.size_bytes < 1:
            raise InputError("request.size_bytes", "at least 1", str(request.size_bytes))
        capacity = len(self._memory) - 1
        if self._memory[0, LENGTH] == capacity:
            raise InputError("memory.capacity", "room for a request", f"{capacity} held")
        submit = interpreted(memory_submit)
        submit(self._memory, request.requester, request.tag, request.size_bytes, t)

    def next_time(self) -> int | None:
        """Return the cycle of the next completion, None if nothing is in flight."""
        cycle = int(interpreted(memory_next_time)(self._memory))
        return None if cycle == NEVER else cycle

    def advance(self, until: int) -> list[Completion]:
        """Return the completions due at or before ``until``, in order of completion."""
        done = []
        pop = interpreted(memory_pop)
        while (row := pop(self._memory, until)) >= 0:
            requester, tag, _, _, cycle = self._memory[row, : DONE + 1].tolist()
            done.append(Completion(requester, tag, cycle))
        return done

    def data_cycles(self, requester: int, since: int, until: int) -> int:
        """Return the cycles of [since, until) in which data of ``requester`` moved."""
        return int(interpreted(memory_data_cycles)(self._memory, requester, since, until))
