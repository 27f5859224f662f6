"""Serve off-chip memory requests asynchronously, exact to the cycle.

Contract of a memory (every implementation, njit functions on two state arrays):

- ``submit(request, t)`` hands over a request at cycle ``t``; calls come in order of time. It says
  nothing about completion: a scheduler may reorder, and a link shared by max-min fairness may
  change the rate of every request in flight whenever one comes or goes.
- ``next_time()`` is the earliest cycle at which a completion is due if nothing more is submitted.
  It may change with every submission, so a caller asks again after each.
- ``advance(until)`` returns the completions due at or before ``until``, in order of completion.
- ``data_cycles(requester, since, until)`` counts the cycles of [since, until) in which data of
  ``requester`` moved, for requests not yet returned by ``advance``; this is busy time, the
  remainder of a request's life is waiting for memory.
- ``snapshot(t)`` writes all state that matters from ``t`` on, relative to ``t``, and ``shift(dt)``
  moves it in time: equal snapshots must have equal futures. Requests carry no address here; a
  memory that looks at addresses adds them to the request and to the snapshot.

One request moves at least one byte; its data phase may share its first and last cycle with its
neighbours. Rates are rationals ``num / den`` bytes per cycle held in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwsim.components.jit import njit_inline
from hwsim.core.errors import InputError

__all__ = [
    "NEVER",
    "Completion",
    "FixedRateMemory",
    "MemoryParameters",
    "Request",
    "memory_data_cycles",
    "memory_next_time",
    "memory_pop",
    "memory_shift",
    "memory_snapshot",
    "memory_state",
    "memory_submit",
]

NEVER = np.iinfo(np.int64).max
"""The time of an event that is not going to happen."""

# Columns of the memory state, int64[8]. The server is free from FREE_CYCLE + FREE_PART / NUM.
IS_IDEAL, NUM, DEN, LATENCY, FREE_CYCLE, FREE_PART, HEAD, LENGTH = range(8)
# Columns of the request ring, int64[capacity, 5]: data moves in cycles [BEGIN, END).
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


def memory_state(parameters: MemoryParameters, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the state int64[8] and the ring int64[capacity, 5] of an idle memory."""
    p = parameters
    state = np.array([p.is_ideal, p.num, p.den, p.latency_cycles, 0, 0, 0, 0], np.int64)
    return state, np.zeros((capacity, 5), np.int64)


@njit_inline
def memory_submit(memory, ring, requester, tag, size_bytes, t):
    """Append a request at cycle ``t`` to the one FIFO server; there must be room in the ring."""
    row = (memory[HEAD] + memory[LENGTH]) % ring.shape[0]
    memory[LENGTH] += 1
    ring[row, REQUESTER] = requester
    ring[row, TAG] = tag
    if memory[IS_IDEAL] != 0:
        ring[row, BEGIN] = t
        ring[row, END] = t
        ring[row, DONE] = t
        return
    if memory[FREE_CYCLE] < t:  # idle since before t, a remainder of a cycle included
        memory[FREE_CYCLE] = t
        memory[FREE_PART] = 0
    ring[row, BEGIN] = memory[FREE_CYCLE]
    parts = memory[FREE_PART] + size_bytes * memory[DEN]
    memory[FREE_CYCLE] += parts // memory[NUM]
    memory[FREE_PART] = parts % memory[NUM]
    end = memory[FREE_CYCLE] + (1 if memory[FREE_PART] > 0 else 0)
    ring[row, END] = end
    ring[row, DONE] = end + memory[LATENCY]


@njit_inline
def memory_next_time(memory, ring):
    """Return the cycle of the next completion, NEVER if nothing is in flight."""
    if memory[LENGTH] == 0:
        return NEVER
    return ring[memory[HEAD], DONE]


@njit_inline
def memory_pop(memory, ring, until):
    """Remove the next completion due at or before ``until``; return its ring row or -1.

    The row stays readable until the next submission.
    """
    row = memory[HEAD]
    if memory[LENGTH] == 0 or ring[row, DONE] > until:
        return -1
    memory[HEAD] = (row + 1) % ring.shape[0]
    memory[LENGTH] -= 1
    return row


@njit_inline
def memory_data_cycles(memory, ring, requester, since, until):
    """Return the cycles of [since, until) in which data of ``requester`` moved."""
    total = 0
    row = memory[HEAD]
    for _ in range(memory[LENGTH]):
        if ring[row, REQUESTER] == requester:
            end = min(ring[row, END], until)
            begin = max(ring[row, BEGIN], since)
            if end > begin:
                total += end - begin
                since = end  # neighbours may share a cycle: count it once
        row = row + 1 if row + 1 < ring.shape[0] else 0
    return total


@njit_inline
def memory_snapshot(memory, ring, t, out, at):
    """Write the state relative to ``t`` into ``out`` from ``at`` on; return the next position."""
    is_serving = memory[FREE_CYCLE] >= t
    out[at] = memory[FREE_CYCLE] - t if is_serving else 0
    out[at + 1] = memory[FREE_PART] if is_serving else 0
    out[at + 2] = memory[LENGTH]
    at += 3
    row = memory[HEAD]
    for _ in range(memory[LENGTH]):
        out[at] = ring[row, REQUESTER]
        out[at + 1] = ring[row, TAG]
        out[at + 2] = max(ring[row, BEGIN] - t, 0)
        out[at + 3] = max(ring[row, END] - t, 0)
        out[at + 4] = ring[row, DONE] - t
        at += 5
        row = row + 1 if row + 1 < ring.shape[0] else 0
    return at


@njit_inline
def memory_shift(memory, ring, dt):
    """Move the whole state ``dt`` cycles into the future."""
    memory[FREE_CYCLE] += dt
    row = memory[HEAD]
    for _ in range(memory[LENGTH]):
        ring[row, BEGIN] += dt
        ring[row, END] += dt
        ring[row, DONE] += dt
        row = row + 1 if row + 1 < ring.shape[0] else 0


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
    """One FIFO server of fixed rate behind the contract above, for use outside of kernels."""

    def __init__(self, parameters: MemoryParameters, capacity: int = 64) -> None:
        self._memory, self._ring = memory_state(parameters, capacity)

    def submit(self, request: Request, t: int) -> None:
        """Hand over ``request`` at cycle ``t``.

        Raises
        ------
        InputError
            If it moves no byte, or if ``capacity`` requests are in flight.
        """
        if request.size_bytes < 1:
            raise InputError("request.size_bytes", "at least 1", str(request.size_bytes))
        if self._memory[LENGTH] == len(self._ring):
            raise InputError("memory.capacity", "room for a request", f"{len(self._ring)} held")
        memory_submit(
            self._memory, self._ring, request.requester, request.tag, request.size_bytes, t
        )

    def next_time(self) -> int | None:
        """Return the cycle of the next completion, None if nothing is in flight."""
        cycle = int(memory_next_time(self._memory, self._ring))
        return None if cycle == NEVER else cycle

    def advance(self, until: int) -> list[Completion]:
        """Return the completions due at or before ``until``, in order of completion."""
        done = []
        while (row := memory_pop(self._memory, self._ring, until)) >= 0:
            requester, tag, _, _, cycle = self._ring[row].tolist()
            done.append(Completion(requester, tag, cycle))
        return done

    def data_cycles(self, requester: int, since: int, until: int) -> int:
        """Return the cycles of [since, until) in which data of ``requester`` moved."""
        return int(memory_data_cycles(self._memory, self._ring, requester, since, until))
