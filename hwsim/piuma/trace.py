"""Turn a run into a trace: what each pipeline and DMA engine mostly did, interval by interval.

Instructions are too many to be events. Every INTERVAL_CYCLES the accounts are looked at; a slice
is a run of intervals in which a unit was in one state most of the time. A wait is charged when it
ends, so that intervals without any charge belong to the wait that ends next.

Counters are sampled at the same times: bytes of off-chip memory, threads of each pipeline that wait
for an access, descriptors queued in each DMA engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.components.engine_trace import MAX_TRACE_EVENTS, TraceBuilder
from hwsim.core.program import INSTRUCTION, Program
from hwsim.core.result import STALL_REASONS, Trace
from hwsim.core.trace import TraceSink
from hwsim.piuma.state import (
    ATOMIC,
    BUSY,
    CACHE,
    DMA_LENGTH,
    DRAM,
    DRAM_READ,
    DRAM_WRITE,
    HALTED,
    NETWORK,
    OF_PIPE,
    REASON,
    Chip,
)

__all__ = ["INTERVAL_CYCLES", "ActivityTrace", "Watcher", "prevailing_states"]

INTERVAL_CYCLES = 1000

_STATES = ["busy", *STALL_REASONS, "idle"]
_IDLE = len(_STATES) - 1
_ACCESSES = (ATOMIC, CACHE, DRAM, NETWORK)
_LEVELS_AT = 7
"""Column of a sample behind bytes and DRAM's bursts, which are not counted here."""


class Watcher:
    """Keeps copies of the accounts of one op's run."""

    def __init__(self) -> None:
        self._pipelines = 0
        self.times: list[int] = [0]
        self._accounts: list[NDArray[np.int64]] = []
        self._moved: list[NDArray[np.int64]] = [np.zeros(2, np.int64)]
        self._levels: list[NDArray[np.int64]] = []

    def look(self, chip: Chip, now: int) -> None:
        """Note the accounts in cycle ``now``; only the last look at a cycle counts."""
        if self._accounts and now == self.times[-1]:
            self.times.pop()
            self._accounts.pop()
            self._moved.pop()
            self._levels.pop()
        self.times.append(now)
        self._pipelines = len(chip.pipe)
        self._accounts.append(np.concatenate([chip.accounts, chip.dma_accounts]))
        self._moved.append(chip.block[:, [DRAM_READ, DRAM_WRITE]].sum(axis=0))
        self._levels.append(np.concatenate([_waiting(chip, now), chip.block[:, DMA_LENGTH]]))

    def samples(self) -> NDArray[np.int64]:
        """Return the counters of each interval as :meth:`TraceSink.take` gets them."""
        times, levels = np.array(self.times), np.stack(self._levels)
        units = levels.shape[1] + 1  # the track of ops has none
        found = np.zeros((len(levels), _LEVELS_AT + 2 * units), np.int64)
        found[:, 0], found[:, 1], found[:, 4] = times[:-1], times[1:], times[1:]
        found[:, 2:4] = np.diff(np.stack(self._moved), axis=0)
        engines = levels.shape[1] - self._pipelines
        in_flight = _LEVELS_AT + units
        found[:, in_flight : in_flight + self._pipelines] = levels[:, : self._pipelines]
        queued = _LEVELS_AT + self._pipelines
        found[:, queued : queued + engines] = levels[:, self._pipelines :]
        return found

    def states(self) -> NDArray[np.int64]:
        """Return int64[intervals, units]: see :func:`prevailing_states`."""
        accounts = np.stack([np.zeros_like(self._accounts[0]), *self._accounts])
        return prevailing_states(np.diff(accounts, axis=0), np.diff(self.times))


def _waiting(chip: Chip, now: int) -> NDArray[np.int64]:
    """Return how many threads of each pipeline wait for an access in cycle ``now``."""
    thread = chip.thread
    is_waiting = (chip.ready > now) & (thread[:, HALTED] == 0)
    is_waiting &= np.isin(thread[:, REASON], _ACCESSES)
    return np.bincount(thread[is_waiting, OF_PIPE], minlength=len(chip.pipe))


def prevailing_states(charged: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the state that most of each interval was charged to.

    Parameters
    ----------
    charged : int64[intervals, units, 1 + stall reasons]
        Busy cycles, then stalls by reason, that were charged in each interval.
    lengths : int64[intervals]
        Cycles.
    """
    idle = np.maximum(lengths[:, None] - charged.sum(axis=2), 0)
    states = np.concatenate([charged, idle[:, :, None]], axis=2).argmax(axis=2)
    waits = 1 + charged[:, :, 1:].argmax(axis=2)
    following = np.full(states.shape[1], _IDLE)
    for interval in range(len(states) - 1, -1, -1):
        is_silent = ~charged[interval].any(axis=1)
        states[interval] = np.where(is_silent, following, states[interval])
        has_waited = charged[interval, :, 1:].any(axis=1)
        following = np.where(is_silent, following, np.where(has_waited, waits[interval], BUSY))
    return states


class ActivityTrace:
    """Collects the activity of op after op, kept in memory or handed to a sink."""

    def __init__(self, units: list[str], op_names: list[str], sink: TraceSink | None) -> None:
        self._units, self._ops = len(units), len(op_names)
        self._table = _table(units, op_names)
        self._builder = TraceBuilder(self._table, MAX_TRACE_EVENTS) if sink is None else None
        self._sink = sink or self._builder
        self._now = 0
        self._done = 0
        assert self._sink is not None
        self._sink.begin(self._table, 1)

    def add(self, watcher: Watcher, cycles: int) -> None:
        """Add the next op, which took ``cycles``."""
        states = watcher.states()
        begin = np.array(watcher.times[:-1]) + self._now
        changes = np.ones(states.shape, dtype=bool)
        changes[1:] = states[1:] != states[:-1]
        places, units = np.nonzero(changes)
        order = np.lexsort((places, units))
        starts, owners, shown = begin[places], units[order], states[places, units][order]
        ends = np.append(starts[order][1:], self._now + cycles)
        is_last = np.append(owners[1:] != owners[:-1], True)
        ends[is_last] = self._now + cycles
        rows = (owners * self._ops + self._done) * len(_STATES) + shown
        events = np.stack([starts[order], rows, ends, np.zeros_like(rows)], axis=1)
        whole = [self._now, self._units * self._ops * len(_STATES) + self._done]
        events = np.concatenate([[[*whole, self._now + cycles, 0]], events])
        assert self._sink is not None
        samples = watcher.samples()
        samples[:, [0, 1, 4]] += self._now
        self._sink.take(events[np.argsort(events[:, 0], kind="stable")], samples)
        self._now += cycles
        self._done += 1

    def build(self) -> Trace | None:
        """Return the trace that was kept in memory, None if it went to a sink."""
        return self._builder.build(self._now) if self._builder is not None else None


def _table(units: list[str], op_names: list[str]) -> Program:
    """Return a program with a row per unit, op and state, then one per op."""
    count = len(units) * len(op_names) * len(_STATES)
    rows = np.zeros(count + len(op_names), INSTRUCTION)
    number = np.arange(count)
    rows["opcode"][:count] = number % len(_STATES)
    rows["op_id"][:count] = number // len(_STATES) % len(op_names)
    rows["unit"][:count] = number // (len(_STATES) * len(op_names))
    rows["unit"][count:], rows["opcode"][count:] = len(units), len(_STATES)
    rows["op_id"][count:] = np.arange(len(op_names))
    return Program(
        machine="piuma",
        units=[*units, "op"],
        opcodes=[*_STATES, "run"],
        op_names=op_names,
        channels=[],
        instructions=rows,
    )
