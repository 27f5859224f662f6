"""Is a written trace complete, ordered, and are its arrows tied to the right slices?"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.result import Trace
from hwsim.report import perfetto
from hwsim.report.perfetto import write_trace

EVENT = np.dtype(
    [("unit", "i4"), ("opcode", "i4"), ("op_id", "i4"), ("start", "i8"), ("end", "i8")]
)
FLOW = np.dtype(
    [("channel", "i4"), ("unit_from", "i4"), ("time_from", "i8"), ("unit_to", "i4")]
    + [("time_to", "i8")]
)
CLOCK = 200_000_000


def pipeline(tiles: int = 20, load: int = 30, compute: int = 50) -> Trace:
    """Return a load unit that feeds an array: tile i is computed when it is loaded."""
    events, flows, ready, free = [], [], 0, 0
    for tile in range(tiles):
        events.append((0, 0, tile % 3, ready, ready + load))
        ready += load
        start = max(ready, free)
        events.append((1, 1, tile % 3, start, start + compute))
        flows.append((0, 0, ready, 1, start))
        free = start + compute
    rows = np.array(events, EVENT)
    return Trace(
        units=["dma", "stce"],
        op_names=["conv1", 'odd "name"', "fc"],
        opcodes=["LOAD", "GEMM"],
        channels=["tile loaded"],
        events=rows[np.argsort(rows["start"], kind="stable")],
        flows=np.array(flows, FLOW),
    )


def written(trace: Trace, tmp_path: Path, clock_hz: int = CLOCK, **options: Any) -> dict[str, Any]:
    path = tmp_path / "trace.json"
    write_trace(trace, path, clock_hz=clock_hz, **options)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def of_phase(document: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [event for event in document["traceEvents"] if event["ph"] == phase]


def loose_ends(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the flow ends that no slice of their track encloses, in the viewer's nanoseconds."""

    def nanoseconds(event: dict[str, Any], key: str) -> int:
        return int(event[key] * 1000 + 1e-6)

    slices = of_phase(document, "X")
    return [
        end
        for end in (*of_phase(document, "s"), *of_phase(document, "f"))
        if not any(
            s["tid"] == end["tid"]
            and nanoseconds(s, "ts")
            <= nanoseconds(end, "ts")
            < nanoseconds(s, "ts") + nanoseconds(s, "dur")
            for s in slices
        )
    ]


def test_times_are_microseconds_of_simulated_time(tmp_path: Path) -> None:
    document = written(pipeline(), tmp_path)
    first = next(event for event in of_phase(document, "X") if event["cat"] == "GEMM")
    assert first["ts"] == pytest.approx(30 * 1e6 / CLOCK)
    assert first["dur"] == pytest.approx(50 * 1e6 / CLOCK)
    assert first["args"] == {"op": "conv1", "start_cycle": 30, "cycles": 50}
    assert first["name"] == "conv1 GEMM"


def test_every_event_is_written_once_on_its_units_track(tmp_path: Path) -> None:
    trace = pipeline()
    document = written(trace, tmp_path)
    names = {
        event["tid"]: event["args"]["name"]
        for event in of_phase(document, "M")
        if event["name"] == "thread_name"
    }
    drawn = Counter(names[event["tid"]] for event in of_phase(document, "X"))
    assert drawn == {"dma": 20, "stce": 20}


@pytest.mark.parametrize("clock_hz", [1_000_000, CLOCK, 225_000_000, 2_000_000_000])
def test_every_arrow_starts_and_ends_inside_a_slice(tmp_path: Path, clock_hz: int) -> None:
    document = written(pipeline(), tmp_path, clock_hz)
    starts, ends = of_phase(document, "s"), of_phase(document, "f")
    assert sorted(e["id"] for e in starts) == sorted(e["id"] for e in ends) == list(range(1, 21))
    assert all(event["bp"] == "e" for event in ends)
    assert loose_ends(document) == []
    finish = {event["id"]: event["ts"] for event in ends}
    assert all(event["ts"] <= finish[event["id"]] for event in starts)


def test_instruction_of_no_cycles_lends_its_arrow_to_a_neighbour(tmp_path: Path) -> None:
    trace = pipeline(1)
    rows = [(0, 0, 0, 0, 10), (0, 0, 0, 10, 10), (1, 1, 0, 10, 10), (1, 1, 0, 12, 20)]
    trace.events = np.array(rows, EVENT)
    trace.flows = np.array([(0, 0, 10, 1, 10)], FLOW)
    document = written(trace, tmp_path)
    assert loose_ends(document) == []
    (end,) = of_phase(document, "f")
    assert end["ts"] == pytest.approx(12 * 1e6 / CLOCK)
    assert end["args"] == {"released_cycle": 10, "taken_cycle": 10}


def test_shifted_arrow_would_be_noticed(tmp_path: Path) -> None:
    document = written(pipeline(), tmp_path)
    end = of_phase(document, "s")[0]
    end["ts"] = 1e6
    assert loose_ends(document) == [end]


@pytest.mark.parametrize("clock_hz", [CLOCK, 333_333_333])
def test_records_are_in_order_of_time(tmp_path: Path, clock_hz: int) -> None:
    document = written(pipeline(), tmp_path, clock_hz)
    times = [event["ts"] for event in document["traceEvents"] if "ts" in event]
    assert times == sorted(times)


def test_requests_that_overlap_lie_on_tracks_of_their_own(tmp_path: Path) -> None:
    trace = pipeline(1)
    rows = [(0, 0, 0, 0, 10), (0, 0, 0, 4, 14), (0, 0, 0, 10, 12), (0, 0, 0, 14, 20)]
    trace.events, trace.flows = np.array(rows, EVENT), np.zeros(0, FLOW)
    document = written(trace, tmp_path)
    by_start = {e["args"]["start_cycle"]: e["tid"] for e in of_phase(document, "X")}
    assert by_start[0] != by_start[4]
    assert by_start[0] == by_start[10]
    names = [e["args"]["name"] for e in of_phase(document, "M") if e["name"] == "thread_name"]
    assert names == ["dma", "dma (2)", "stce"]


def test_tokens_from_events_that_were_dropped_are_counted_not_drawn(tmp_path: Path) -> None:
    trace = pipeline()
    trace.events, trace.is_truncated = trace.events[:10], True
    document = written(trace, tmp_path)
    drawn = len(of_phase(document, "s"))
    assert drawn == len(of_phase(document, "f")) < 20
    assert document["otherData"]["unbound_flows"] == 20 - drawn
    assert document["otherData"]["is_truncated"] is True
    assert loose_ends(document) == []


def test_chunks_do_not_change_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(pipeline(), tmp_path)
    monkeypatch.setattr(perfetto, "CHUNK_EVENTS", 7)
    assert written(pipeline(), tmp_path) == whole


def test_counters_are_sampled(tmp_path: Path) -> None:
    document = written(pipeline(), tmp_path, counters={"queue": ([0, 30], [0, 2.5])})
    assert [(e["name"], e["args"]["value"]) for e in of_phase(document, "C")] == [
        ("queue", 0),
        ("queue", 2.5),
    ]


def test_a_counter_late_in_a_run_does_not_overflow(tmp_path: Path) -> None:
    # 2**63 picoseconds are 9.2 million cycles times 10**12; cycles come as arrays of 64 bits.
    late = 10**10
    counters = {"queue": (np.array([late], np.int64), np.array([1.0]))}
    [sample] = of_phase(written(pipeline(), tmp_path, counters=counters), "C")
    assert sample["ts"] == pytest.approx(late / CLOCK * 1e6)


def test_empty_trace_is_a_document(tmp_path: Path) -> None:
    trace = Trace(["dma"], [], [], [], np.zeros(0, EVENT), np.zeros(0, FLOW))
    assert of_phase(written(trace, tmp_path), "X") == []


def test_name_that_ends_in_gz_is_compressed_and_reproducible(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json.gz", tmp_path / "b.json.gz"]
    for path in paths:
        write_trace(pipeline(), path, clock_hz=CLOCK)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert json.loads(gzip.decompress(paths[0].read_bytes())) == written(pipeline(), tmp_path)


def test_interrupted_writing_leaves_the_earlier_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.json"
    write_trace(pipeline(), path, clock_hz=CLOCK)
    before = path.read_bytes()

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(perfetto, "_arrow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_trace(pipeline(3), path, clock_hz=CLOCK)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="^--trace: need a writable file"):
        write_trace(pipeline(), tmp_path / "file" / "trace.json", clock_hz=CLOCK)


def test_clock_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clock_hz"):
        write_trace(pipeline(), tmp_path / "t.json", clock_hz=0)
