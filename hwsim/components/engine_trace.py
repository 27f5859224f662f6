"""Turn the engine's records into a trace: events, token flows and sampled counters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program
from hwsim.core.result import Trace

__all__ = ["EVENT", "FLOW", "MAX_TRACE_EVENTS", "TraceBuilder", "counter_changes", "counter_names"]

MAX_TRACE_EVENTS = 1_000_000
"""Default bound on events that are kept in memory (28 MB)."""

EVENT = np.dtype(
    [
        ("unit", np.int32),
        ("opcode", np.int32),
        ("op_id", np.int32),
        ("start", np.int64),
        ("end", np.int64),
    ]
)
FLOW = np.dtype(
    [
        ("channel", np.int32),
        ("unit_from", np.int32),
        ("time_from", np.int64),
        ("unit_to", np.int32),
        ("time_to", np.int64),
    ]
)

Ints = NDArray[np.int64]


def counter_names(program: Program) -> list[str]:
    """Return what a sample's columns from the bytes read on mean, the cycle of levels left out."""
    return [
        "memory read (bytes/cycle)",
        "memory written (bytes/cycle)",
        "memory reads queued (bursts)",
        "memory writes queued (bursts)",
        *(f"{unit} queue (instructions)" for unit in program.units),
        *(f"{unit} requests in flight" for unit in program.units),
        *(f"{channel.name} (tokens)" for channel in program.channels),
    ]


_RATES = 2
"""The first counters are rates over a sample's interval, the others levels at a time."""


def counter_values(samples: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Return the cycles from which the counters of ``samples`` hold, and their values.

    Both are [sample, counter]; a rate holds from the begin of its interval.
    """
    values = np.delete(samples[:, 2:], 2, axis=1).astype(np.float64)
    values[:, :_RATES] /= (samples[:, 1] - samples[:, 0])[:, None]
    times = np.repeat(samples[:, 4:5], values.shape[1], axis=1)
    times[:, :_RATES] = samples[:, :1]
    return times, values


def counter_changes(
    samples: Ints, last: NDArray[np.float64] | None
) -> tuple[Ints, NDArray[np.float64]]:
    """Return the values that differ from the sample before, and the latest values.

    Parameters
    ----------
    samples : int64[m, columns]
        As :meth:`TraceSink.take` gets them; m at least 1.
    last : float64[counter] or None
        The latest values of the samples before; None: there are none.

    Returns
    -------
    changes : int64[n, 3]
        Cycle (not decreasing), counter, bits of the float64 value.
    """
    times, values = counter_values(samples)
    before = np.zeros(values.shape[1]) if last is None else last
    is_new = values != np.vstack([before, values[:-1]])
    rows, counters = np.nonzero(is_new)
    changes = np.stack([times[is_new], counters, values[is_new].view(np.int64)], axis=1)
    return changes, values[-1].copy()


class TraceBuilder:
    """Keep the first ``max_events`` instructions that start, and all samples, in memory."""

    def __init__(self, program: Program, max_events: int) -> None:
        self._program = program
        self._max_events = max_events
        self._events: list[Ints] = []
        self._samples: list[Ints] = []
        self._started = 0

    def begin(self, program: Program, lanes: int) -> None:
        """Nothing has to be prepared."""

    def take(self, events: Ints, samples: Ints) -> None:
        """Keep records; of events beyond the bound only what ends the requests kept."""
        if self._started <= self._max_events:
            self._events.append(events.copy())
            self._started += int((events[:, 1] >= 0).sum())
        else:
            self._events.append(_first_completions(events, self._program))
        self._samples.append(samples.copy())

    def build(self, cycles: int) -> Trace:
        """Return the trace of a run that took ``cycles``."""
        program = self._program
        rows = np.concatenate([np.zeros((0, 4), np.int64), *self._events])
        starts = np.flatnonzero(rows[:, 1] >= 0)
        ends = _ends(rows, starts, program.instructions["unit"], cycles)
        is_truncated = len(starts) > self._max_events
        starts, ends = starts[: self._max_events], ends[: self._max_events]
        events = np.zeros(len(starts), EVENT)
        code = program.instructions[rows[starts, 1]]
        for name in ("unit", "opcode", "op_id"):
            events[name] = code[name]
        events["start"], events["end"] = rows[starts, 0], ends
        flows = [
            _channel_flows(events, code, channel, program.channels[channel].initial)
            for channel in range(len(program.channels))
        ]
        joined = np.concatenate([np.zeros(0, FLOW), *flows])
        return Trace(
            units=program.units,
            op_names=program.op_names,
            opcodes=program.opcodes,
            channels=[c.name for c in program.channels],
            events=events,
            flows=joined[np.argsort(joined["time_to"], kind="stable")],
            is_truncated=is_truncated,
            counters=self._counters(),
        )

    def _counters(self) -> dict[str, tuple[Ints, NDArray[np.float64]]]:
        """Return times and values of the counters that are not always 0, changes only."""
        if not self._samples or not len(samples := np.concatenate(self._samples)):
            return {}
        changes, _ = counter_changes(samples, None)
        counters = {}
        for counter, name in enumerate(counter_names(self._program)):
            mine = changes[changes[:, 1] == counter]
            if len(mine):
                counters[name] = (
                    # After the run nothing moves and nothing waits.
                    np.append(mine[:, 0], samples[-1, 1]),
                    np.append(np.ascontiguousarray(mine[:, 2]).view(np.float64), 0.0),
                )
        return counters


def _first_completions(events: Ints, program: Program) -> Ints:
    """Return the first completed request of every lane in ``events``."""
    done = events[events[:, 1] < 0]
    units = program.instructions["unit"][~done[:, 1]]
    _, first = np.unique(np.stack([units, done[:, 3]]), axis=1, return_index=True)
    return done[first]


def _ends(rows: Ints, starts: Ints, unit_of: NDArray[np.int32], cycles: int) -> Ints:
    """Return the end of each start: the k-th request of a lane is done at its k-th completion."""
    ends = rows[starts, 2]
    is_request = ends < 0
    begun = starts[is_request]
    done = np.flatnonzero(rows[:, 1] < 0)
    lanes = int(rows[:, 3].max(initial=0)) + 1
    begun_lane = unit_of[rows[begun, 1]].astype(np.int64) * lanes + rows[begun, 3]
    done_lane = unit_of[~rows[done, 1]].astype(np.int64) * lanes + rows[done, 3]
    found = np.full(len(begun), cycles, np.int64)  # of a truncated record's last ones
    for lane in np.unique(begun_lane):
        mine = np.flatnonzero(begun_lane == lane)
        times = rows[done[done_lane == lane], 0][: len(mine)]
        found[mine[: len(times)]] = times
    ends[is_request] = found
    return ends


def _channel_flows(
    events: NDArray[np.void], code: NDArray[np.void], channel: int, initial: int
) -> NDArray[np.void]:
    """Pair the k-th take of a channel with its k-th token; initial tokens come from nobody.

    In a truncated trace the releases missing from the record end no earlier than its last start,
    so that the pairs of takes before that are still right.
    """
    releases = events[code["release"] >> channel & 1 == 1]
    releases = releases[np.argsort(releases["end"], kind="stable")]
    takes = events[code["wait"] >> channel & 1 == 1][initial:]
    pairs = min(len(takes), len(releases))
    takes, releases = takes[:pairs], releases[:pairs]
    flows = np.zeros(pairs, FLOW)
    flows["channel"] = channel
    flows["unit_from"], flows["time_from"] = releases["unit"], releases["end"]
    flows["unit_to"], flows["time_to"] = takes["unit"], takes["start"]
    return flows
