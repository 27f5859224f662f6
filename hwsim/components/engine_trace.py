"""Turn the engine's recorded instructions into a trace of events and token flows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program
from hwsim.core.result import Trace

__all__ = ["EVENT", "FLOW", "MAX_TRACE_EVENTS", "build_trace"]

MAX_TRACE_EVENTS = 1_000_000
"""Default bound on recorded events (24 MB)."""

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


def build_trace(
    program: Program, recorded: NDArray[np.int64], started: int, max_events: int
) -> Trace:
    """Return the trace of the first ``max_events`` instructions that started.

    Parameters
    ----------
    program : Program
        The program that ran.
    recorded : int64[max_events + 1, 3]
        Instruction index, start and end cycle, in order of start; the last row is not used.
    started, max_events : int
        Instructions that started in all, and how many could be recorded.
    """
    rows = recorded[: min(started, max_events)]
    events = np.zeros(len(rows), EVENT)
    code = program.instructions[rows[:, 0]]
    for name in ("unit", "opcode", "op_id"):
        events[name] = code[name]
    events["start"], events["end"] = rows[:, 1], rows[:, 2]
    is_truncated = started > max_events
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
    )


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
