"""A streamed trace, read with Perfetto's own schema, says what the run did, in bounded memory."""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from hwsim.components import engine, trace_file
from hwsim.components.dram import MemoryParameters
from hwsim.components.dram.devices import load_device
from hwsim.components.dram.parameters import DramParameters
from hwsim.components.engine import run_program
from hwsim.components.engine_trace import counter_names
from hwsim.components.trace_file import PerfettoFile
from hwsim.core.errors import InputError
from hwsim.core.program import END, INSTRUCTION, LOOP, Program, TokenChannel

HZ = 10**9  # a cycle is a nanosecond
MEMORY = MemoryParameters(num=10, den=3, latency_cycles=30)


def tiles(count: int, load_bytes: int = 100, cycles: int = 20, buffers: int = 3) -> Program:
    """Return ``count`` tiles: load, a fence of no cycles, compute, store."""
    rows = np.zeros(6, INSTRUCTION)
    rows["unit"] = [LOOP, 0, 1, 1, 2, END]
    rows["opcode"] = [0, 0, 1, 2, 3, 0]
    rows["op_id"] = [0, 0, 0, 1, 1, 0]
    rows["count"][0] = count
    rows["mem_bytes"] = [0, load_bytes, 0, 0, 70, 0]
    rows["is_write"][4] = 1
    rows["cycles"][3] = cycles
    rows["wait"] = [0, 1, 0, 2, 4, 0]
    rows["release"] = [0, 2, 0, 5, 0, 0]
    channels = [
        TokenChannel("free", buffers, "dependency"),
        TokenChannel("full", 0, "data_wait"),
        TokenChannel("result", 0, "dependency"),
    ]
    units, opcodes = ["load", "pe", "store"], ["load", "fence", "mac", "store"]
    return Program("test", units, opcodes, ["a", "b"], channels, rows)


def traced(program: Program, memory: Any, path: Path) -> engine.EngineRun:
    with PerfettoFile(path, HZ) as sink:
        return run_program(program, memory, 4, trace=sink)


class Read:
    """A trace file as slices, arrows and counters."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.trace = Trace()
        self.trace.ParseFromString(gzip.decompress(data) if path.suffix == ".gz" else data)
        self.tracks: dict[int, str] = {}
        self.slices: list[tuple[str, str, int, int]] = []
        self.counters: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.flows: dict[int, list[tuple[str, int]]] = defaultdict(list)
        names: dict[int, str] = {}
        time = {1: 0, 2: 0}
        running: dict[int, tuple[str, int]] = {}
        for packet in self.trace.packet:
            names |= {entry.iid: entry.name for entry in packet.interned_data.event_names}
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor.name
            if not packet.HasField("track_event"):
                continue
            event = packet.track_event
            time[packet.trusted_packet_sequence_id] += packet.timestamp
            now = time[packet.trusted_packet_sequence_id]
            track = self.tracks[event.track_uuid]
            if event.type == TrackEvent.TYPE_COUNTER:
                self.counters[track].append((now, event.double_counter_value))
                continue
            for flow in (*event.flow_ids, *event.terminating_flow_ids):
                self.flows[flow].append((track.split(" (")[0], now))
            if event.type == TrackEvent.TYPE_SLICE_BEGIN:
                assert event.track_uuid not in running  # slices of a track do not overlap
                running[event.track_uuid] = (names[event.name_iid], now)
            else:
                name, begin = running.pop(event.track_uuid)
                self.slices.append((track.split(" (")[0], name, begin, now))
        assert not running

    def moved(self, name: str) -> float:
        """Return the integral of a counter over time."""
        points = self.counters.get(name, [])
        return sum(
            value * (after - at)
            for (at, value), (after, _) in zip(points, points[1:], strict=False)
        )


READ, WRITTEN = "memory read (bytes/cycle)", "memory written (bytes/cycle)"

counts = st.integers(1, 60)


def dram() -> DramParameters:
    return DramParameters(load_device("ddr4-2400", 1), cycle_hz=HZ)


@settings(max_examples=25, deadline=None)
@given(counts, st.integers(1, 4000), st.integers(0, 300), st.integers(1, 4), st.booleans())
def test_slices_and_arrows_are_those_of_the_trace_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    load_bytes: int,
    cycles: int,
    buffers: int,
    has_dram: bool,
) -> None:
    program = tiles(count, load_bytes, cycles, buffers)
    memory = dram() if has_dram else MEMORY
    path = tmp_path_factory.mktemp("trace") / "t.pftrace"
    run = traced(program, memory, path)
    whole = run_program(program, memory, 4, trace=True)
    assert run.cycles == whole.cycles
    assert whole.trace is not None
    read = Read(path)
    expected = [
        (
            program.units[e["unit"]],
            f"{program.opcodes[e['opcode']]} {program.op_names[e['op_id']]}",
            int(e["start"]),
            int(e["end"]),
        )
        for e in whole.trace.events
    ]
    assert sorted(read.slices) == sorted(expected)
    arrows = sorted(
        (program.units[sender], sent, program.units[taker], taken)
        for _, sender, sent, taker, taken in whole.trace.flows.tolist()
    )
    found = sorted((*ends[0], *ends[1]) for ends in read.flows.values() if len(ends) == 2)
    assert found == arrows


@settings(max_examples=25, deadline=None)
@given(counts, st.integers(1, 100_000), st.integers(0, 3000))
def test_the_bandwidth_counter_integrates_to_the_bytes_moved(
    tmp_path_factory: pytest.TempPathFactory, count: int, load_bytes: int, cycles: int
) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.pftrace"
    run = traced(tiles(count, load_bytes, cycles), MEMORY, path)
    read = Read(path)
    assert read.moved(READ) == pytest.approx(run.bytes_read.sum(), rel=1e-9)
    assert read.moved(WRITTEN) == pytest.approx(run.bytes_written.sum(), rel=1e-9)
    assert run.bytes_read.sum() == count * load_bytes
    times = [at for at, _ in read.counters[READ]]
    assert times == sorted(times)
    # No rate exceeds the memory's; a sample may begin inside a byte.
    assert max(value for _, value in read.counters[READ]) <= 10 / 3 + 1 / 1024


def test_with_dram_the_counter_integrates_to_whole_bursts(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    run = traced(tiles(200, 1000), dram(), path)
    read = Read(path)
    assert run.dram is not None
    assert read.moved(READ) == pytest.approx(run.dram.bytes_read, rel=1e-9)
    assert read.moved(WRITTEN) == pytest.approx(run.dram.bytes_written, rel=1e-9)
    assert run.dram.bytes_read == 200 * 1024  # 1000 bytes are 16 bursts of 64
    assert "memory reads queued (bursts)" in read.counters


def test_counters_in_memory_integrate_as_well() -> None:
    run = run_program(tiles(500, 700), MEMORY, 4, trace=True)
    assert run.trace is not None
    times, values = run.trace.counters[READ]
    assert (values[:-1] * np.diff(times)).sum() == pytest.approx(500 * 700, rel=1e-9)
    assert times[-1] == run.cycles


def test_levels_stay_within_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    program = tiles(300, 900, cycles=2000)  # bound by computing: loads wait for buffers
    traced(program, MEMORY, path)
    read = Read(path)
    assert set(read.counters) <= set(counter_names(program))
    highest = {name: max(value for _, value in points) for name, points in read.counters.items()}
    assert 0 < highest["store queue (instructions)"] <= 4
    assert 0 < highest["full (tokens)"] <= 2  # of three buffers one is being computed on
    assert all(value <= 4 for name, value in highest.items() if "in flight" in name)
    for points in read.counters.values():
        assert points[-1][1] == 0  # nothing moves after the run


def test_records_handed_over_in_small_pieces_give_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tiles(400)
    traced(program, MEMORY, tmp_path / "whole.pftrace")
    monkeypatch.setattr(engine, "CHUNK_EVENTS", 16)
    monkeypatch.setattr(engine, "CHUNK_SAMPLES", 2)
    monkeypatch.setattr(trace_file, "BUFFER_BYTES", 8192)
    traced(program, MEMORY, tmp_path / "pieces.pftrace")
    whole, pieces = Read(tmp_path / "whole.pftrace"), Read(tmp_path / "pieces.pftrace")
    assert pieces.slices == whole.slices
    assert pieces.flows == whole.flows
    assert pieces.counters == whole.counters


def test_a_packed_file_is_the_same_unpacked_and_repeats(tmp_path: Path) -> None:
    for name in ("a.pftrace", "b.pftrace.gz", "c.pftrace.gz"):
        traced(tiles(30), MEMORY, tmp_path / name)
    plain = (tmp_path / "a.pftrace").read_bytes()
    packed = (tmp_path / "b.pftrace.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert (tmp_path / "c.pftrace.gz").read_bytes() == packed


def test_times_are_rounded_down_to_nanoseconds_without_drift(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    program = tiles(50)
    hz = 3 * 10**8
    with PerfettoFile(path, hz) as sink:
        run_program(program, MEMORY, 4, trace=sink)
    whole = run_program(program, MEMORY, 4, trace=True)
    assert whole.trace is not None
    ends = sorted(int(end) * 10**9 // hz for end in whole.trace.events["end"])
    assert sorted(end for *_, end in Read(path).slices) == ends


def test_a_run_that_fails_leaves_an_earlier_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), PerfettoFile(path, HZ):
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.pftrace"]


def test_a_run_that_hands_over_nothing_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"--trace: need a name in .json"),
        PerfettoFile(tmp_path / "t.pftrace", HZ),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--trace: need a writable file"):
        PerfettoFile(tmp_path / "file" / "t.pftrace", HZ).__enter__()
    with pytest.raises(InputError, match="clock_hz"):
        PerfettoFile(tmp_path / "t.pftrace", 0)
