"""A trace holds every instruction and token that moved, up to its bound."""

from __future__ import annotations

import numpy as np

from hwsim.components.dram import MemoryParameters
from hwsim.components.engine import run_program
from hwsim.core.program import END, INSTRUCTION, LOOP, Program, TokenChannel

MEMORY = MemoryParameters(num=10, den=1, latency_cycles=3)


def tiles(count: int) -> Program:
    """Return ``count`` tiles: load 100 bytes, compute 20 cycles, two buffers."""
    rows = np.zeros(4, INSTRUCTION)
    rows["unit"] = [LOOP, 0, 1, END]
    rows["opcode"][2] = 1
    rows["count"][0] = count
    rows["mem_bytes"][1] = 100
    rows["cycles"][2] = 20
    rows["wait"] = [0, 1, 2, 0]
    rows["release"] = [0, 2, 1, 0]
    channels = [TokenChannel("free", 2, "dependency"), TokenChannel("full", 0, "data_wait")]
    return Program("test", ["dma", "pe"], ["load", "mac"], ["op"], channels, rows)


def test_events_are_the_instructions_with_their_times() -> None:
    trace = run_program(tiles(3), MEMORY, 4, trace=True).trace
    loads = [(int(e["start"]), int(e["end"])) for e in trace.events if e["unit"] == 0]
    macs = [(int(e["start"]), int(e["end"])) for e in trace.events if e["unit"] == 1]
    assert loads == [(0, 13), (2, 23), (33, 46)]  # dispatched in 0 and 2; a buffer is free at 33
    assert macs == [(13, 33), (33, 53), (53, 73)]
    assert {int(e["opcode"]) for e in trace.events if e["unit"] == 1} == {1}
    assert not trace.is_truncated


def test_flows_join_the_release_of_a_token_to_its_use() -> None:
    trace = run_program(tiles(3), MEMORY, 4, trace=True).trace
    full = [tuple(f.tolist()) for f in trace.flows if f["channel"] == 1]
    free = [tuple(f.tolist()) for f in trace.flows if f["channel"] == 0]
    assert full == [(1, 0, 13, 1, 13), (1, 0, 23, 1, 33), (1, 0, 46, 1, 53)]
    assert free == [(0, 1, 33, 0, 33)]  # the first two tokens were there from the start


def test_events_per_unit_are_in_order_and_busy_cycles_agree() -> None:
    run = run_program(tiles(40), MEMORY, 4, trace=True)
    macs = run.trace.events[run.trace.events["unit"] == 1]
    assert (np.diff(macs["start"]) > 0).all()
    assert int((macs["end"] - macs["start"]).sum()) == run.units["pe"].busy
    assert (run.trace.flows["time_to"] >= run.trace.flows["time_from"]).all()


def test_trace_stops_at_its_bound_and_says_so_without_changing_the_run() -> None:
    whole = run_program(tiles(100), MEMORY, 4, trace=True)
    part = run_program(tiles(100), MEMORY, 4, trace=True, max_events=30)
    assert (whole.trace.is_truncated, part.trace.is_truncated) == (False, True)
    assert part.trace.events.tolist() == whole.trace.events[:30].tolist()
    assert part.cycles == whole.cycles == run_program(tiles(100), MEMORY, 4).cycles


def test_trace_of_exactly_the_bound_is_whole() -> None:
    assert not run_program(tiles(15), MEMORY, 4, trace=True, max_events=30).trace.is_truncated


def test_tracing_steps_every_instruction() -> None:
    assert run_program(tiles(1000), MEMORY, 4, trace=True).skipped_instructions == 0
    assert run_program(tiles(1000), MEMORY, 4).skipped_instructions > 0
