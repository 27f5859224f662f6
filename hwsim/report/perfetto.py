"""Write a run's trace for ui.perfetto.dev: Chrome trace-event JSON, streamed.

One thread per unit, one slice per instruction, one arrow per token that a consumer waited for.
The format ties an arrow's end to the slice that encloses its time stamp (``"bp": "e"``), so a
start is put into the producer's last cycle and a finish onto the consumer's first.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, reason_of
from hwsim.core.result import Trace
from hwsim.core.units import ceil_div

__all__ = ["write_trace"]

PICOSECONDS = 10**12
CHUNK_EVENTS = 65536
FLOW_LEAD_NS = 2
"""The viewer keeps whole nanoseconds; an arrow leaves its slice at least this early."""
SLICE, FLOW_START, FLOW_FINISH, COUNTER = range(4)
"""Kinds of record; at equal times in this order, so that slices exist before arrows end."""

Ints = NDArray[np.int64]
Counters = Mapping[str, tuple[Sequence[int] | Ints, Sequence[float] | NDArray[np.float64]]]


@dataclass(frozen=True)
class _Flows:
    """Arrows whose both ends lie in recorded slices; times in cycles."""

    rows: Ints
    start: Ints
    start_lane: Ints
    finish: Ints
    finish_lane: Ints


@dataclass(frozen=True)
class _Lanes:
    """Track of every event. Overlapping requests of one unit lie on several tracks."""

    of_event: Ints
    names: list[str]


def write_trace(
    trace: Trace,
    path: Path,
    *,
    clock_hz: int,
    counters: Counters | None = None,
) -> None:
    """Write ``trace`` to ``path`` (gzip if its name ends in ``.gz``), complete or not at all.

    Parameters
    ----------
    trace : Trace
        Times in cycles.
    path : Path
        File to write; an earlier one is replaced when the new one is finished.
    clock_hz : int
        Clock of the cycles; time stamps are microseconds of simulated time.
    counters : mapping of str to (cycles, values), optional
        Values over time, for example ``{"dram queue (requests)": ([0, 12], [0, 1])}``.

    Raises
    ------
    InputError
        If ``path`` cannot be written or ``clock_hz`` is not positive.
    """
    if clock_hz < 1:
        raise InputError("clock_hz", "at least 1 Hz", str(clock_hz))
    try:
        with _replacing(path) as stream:
            for text in _document(trace, clock_hz, counters or {}):
                stream.write(text)
    except OSError as error:
        raise InputError("--trace", "a writable file", f"{path}: {reason_of(error)}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Yield a stream to a temporary file beside ``path``; rename it when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as raw:
        temporary = Path(raw.name)
    try:
        if path.suffix == ".gz":
            # No file name and no time in the header: equal runs give equal files.
            with temporary.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                import io

                with io.TextIOWrapper(packed, encoding="utf-8") as stream:
                    yield stream
        else:
            with temporary.open("w", encoding="utf-8") as stream:
                yield stream
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _document(trace: Trace, clock_hz: int, counters: Counters) -> Iterator[str]:
    lanes = _assign_lanes(trace)
    flows = _bind_flows(trace, lanes, clock_hz)
    other = {
        "clock_hz": clock_hz,
        "is_truncated": trace.is_truncated,
        "unbound_flows": len(trace.flows) - len(flows.rows),
    }
    yield '{"displayTimeUnit":"ns","otherData":' + json.dumps(other) + ',"traceEvents":[\n'
    yield _metadata("process_name", 0, {"name": "hwsim"})
    for lane, name in enumerate(lanes.names):
        yield ",\n" + _metadata("thread_name", lane, {"name": name})
        yield ",\n" + _metadata("thread_sort_index", lane, {"sort_index": lane})
    yield from _records(trace, lanes, flows, counters, clock_hz)
    yield "\n]}\n"


def _metadata(name: str, lane: int, args: dict[str, Any]) -> str:
    return json.dumps({"name": name, "ph": "M", "pid": 1, "tid": lane + 1, "args": args})


def _assign_lanes(trace: Trace) -> _Lanes:
    """Put each unit's events on one track, or on as many as overlap at a time."""
    events = trace.events
    of_event = np.zeros(len(events), np.int64)
    names: list[str] = []
    for unit, name in enumerate(trace.units):
        mine = np.flatnonzero(events["unit"] == unit)
        first = len(names)
        names.append(name)
        start, end = events["start"][mine], events["end"][mine]
        if not len(mine) or bool(np.all(start[1:] >= np.maximum.accumulate(end)[:-1])):
            of_event[mine] = first
            continue
        free_at: list[int] = []
        for event, begin, finish in zip(mine.tolist(), start.tolist(), end.tolist(), strict=True):
            lane = next((i for i, free in enumerate(free_at) if free <= begin), len(free_at))
            free_at[lane : lane + 1] = [finish]
            of_event[event] = first + lane
        names += [f"{name} ({lane + 1})" for lane in range(1, len(free_at))]
    return _Lanes(of_event, names)


def _bind_flows(trace: Trace, lanes: _Lanes, clock_hz: int) -> _Flows:
    """Find for every token the slice that released it and the slice that took it.

    An instruction of no cycles cannot hold an arrow: the unit's last slice before it, or the
    next after it, stands in.
    """
    is_long = trace.events["end"] > trace.events["start"]
    count = len(trace.flows)
    producer = np.full(count, -1, np.int64)
    consumer = np.full(count, -1, np.int64)
    for unit in range(len(trace.units)):
        mine = np.flatnonzero((trace.events["unit"] == unit) & is_long)
        if not len(mine):
            continue
        starts, ends = trace.events["start"][mine], trace.events["end"][mine]
        by_end = np.argsort(ends, kind="stable")
        sent = np.flatnonzero(trace.flows["unit_from"] == unit)
        place = np.searchsorted(ends[by_end], trace.flows["time_from"][sent], "right") - 1
        producer[sent] = np.where(place >= 0, mine[by_end[place]], -1)
        taken = np.flatnonzero(trace.flows["unit_to"] == unit)
        place = np.searchsorted(starts, trace.flows["time_to"][taken], "left")
        inside = np.minimum(place, len(mine) - 1)
        consumer[taken] = np.where(place < len(mine), mine[inside], -1)
    rows = np.flatnonzero((producer >= 0) & (consumer >= 0))
    made, used = producer[rows], consumer[rows]
    lead = max(1, ceil_div(FLOW_LEAD_NS * clock_hz, 10**9))
    start = np.maximum(trace.events["start"][made], trace.events["end"][made] - lead)
    finish = trace.events["start"][used].astype(np.int64)
    ordered = start <= finish
    return _Flows(
        rows[ordered],
        start[ordered].astype(np.int64),
        lanes.of_event[made[ordered]],
        finish[ordered],
        lanes.of_event[used[ordered]],
    )


def _records(
    trace: Trace,
    lanes: _Lanes,
    flows: _Flows,
    counters: Counters,
    clock_hz: int,
) -> Iterator[str]:
    """Yield all records in order of time, a chunk at a time."""
    samples = [
        (name, cycle, value)
        for name, (cycles, values) in counters.items()
        for cycle, value in zip(cycles, values, strict=True)
    ]
    sizes = (len(trace.events), len(flows.rows), len(flows.rows), len(samples))
    kinds = np.repeat(np.arange(4), sizes)
    items = np.concatenate([np.arange(size) for size in sizes])
    times = np.concatenate(
        [
            trace.events["start"].astype(np.int64),
            flows.start,
            flows.finish,
            np.array([cycle for _, cycle, _ in samples], np.int64),
        ]
    )
    order = np.lexsort((kinds, times))
    for first in range(0, len(order), CHUNK_EVENTS):
        lines = []
        for index in order[first : first + CHUNK_EVENTS].tolist():
            kind, item = int(kinds[index]), int(items[index])
            if kind == SLICE:
                record = _slice(trace, lanes, item, clock_hz)
            elif kind == COUNTER:
                name, cycle, value = samples[item]
                record = (
                    f'{_head("C", name, cycle, 0, clock_hz)},"args":{{"value":{float(value)!r}}}}}'
                )
            else:
                record = _arrow(trace, flows, item, kind, clock_hz)
            lines.append(",\n" + record)
        yield "".join(lines)


def _stamp(cycle: int, clock_hz: int) -> int:
    """Return picoseconds, rounded down from the exact time (the same for every record)."""
    # A number of 64 bits would overflow here: counters come as arrays.
    return int(cycle) * PICOSECONDS // clock_hz


def _micro(picoseconds: int) -> str:
    return f"{picoseconds // 10**6}.{picoseconds % 10**6:06d}"


def _head(phase: str, name: str, cycle: int, lane: int, clock_hz: int) -> str:
    stamp = _micro(_stamp(cycle, clock_hz))
    return f'{{"name":{json.dumps(name)},"ph":"{phase}","ts":{stamp},"pid":1,"tid":{lane + 1}'


def _slice(trace: Trace, lanes: _Lanes, item: int, clock_hz: int) -> str:
    event = trace.events[item]
    start, end = int(event["start"]), int(event["end"])
    opcode, op = trace.opcodes[int(event["opcode"])], trace.op_names[int(event["op_id"])]
    length = _micro(_stamp(end, clock_hz) - _stamp(start, clock_hz))
    args = f'{{"op":{json.dumps(op)},"start_cycle":{start},"cycles":{end - start}}}'
    head = _head("X", f"{op} {opcode}", start, int(lanes.of_event[item]), clock_hz)
    return f'{head},"dur":{length},"cat":{json.dumps(opcode)},"args":{args}}}'


def _arrow(trace: Trace, flows: _Flows, item: int, kind: int, clock_hz: int) -> str:
    flow = trace.flows[int(flows.rows[item])]
    name = trace.channels[int(flow["channel"])]
    if kind == FLOW_START:
        head = _head("s", name, int(flows.start[item]), int(flows.start_lane[item]), clock_hz)
    else:
        head = _head("f", name, int(flows.finish[item]), int(flows.finish_lane[item]), clock_hz)
    args = f'{{"released_cycle":{int(flow["time_from"])},"taken_cycle":{int(flow["time_to"])}}}'
    return f'{head},"cat":"token","id":{item + 1},"bp":"e","args":{args}}}'
