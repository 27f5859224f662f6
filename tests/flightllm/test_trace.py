"""Check the events of a run: in time, complete, tokens before their takers, layers end to end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hwsim.core.machine import make_machine
from hwsim.core.result import Trace
from hwsim.flightllm.body import pieces
from hwsim.flightllm.isa import LD, UNITS
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.machine import FlightMachine
from hwsim.flightllm.trace import record_trace
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload
from tests.flightllm.tiny_model import TINY

REQUEST = Workload(phase="request", prompt_tokens=20, generate_tokens=14)


def compiled(workload: Workload = REQUEST) -> tuple[FlightMachine, FlightProgram]:
    machine = make_machine("flightllm", "vhk158")
    assert isinstance(machine, FlightMachine)
    graph = llm_graph("tiny", parse_config(TINY), workload)
    return machine, machine.lower(graph, map_graph(graph, machine))


def traced(max_events: int = 10**6) -> tuple[FlightProgram, Trace]:
    machine, program = compiled()
    return program, record_trace(program, machine.spec.speed, max_events)


def test_every_instruction_of_every_step_is_an_event() -> None:
    program, trace = traced()
    counts = np.bincount(trace.events["unit"], minlength=7)
    assert counts[:6].tolist() == program.counts().tolist()
    assert counts[6] == sum(run.steps for run in program.runs)
    assert not trace.is_truncated


def test_events_end_with_the_run_and_units_work_one_at_a_time() -> None:
    machine, program = compiled()
    result = machine.run(program, trace=True)
    assert result.trace is not None
    events = result.trace.events
    assert events["end"].max() == result.cycles
    for unit in range(len(UNITS)):
        mine = events[events["unit"] == unit]
        assert (mine["start"][1:] >= mine["end"][:-1] - 0).all()
        # Starts and ends are cut to whole cycles, so a unit's busy cycles differ by one each.
        gap = abs(int((mine["end"] - mine["start"]).sum()) - result.stats.units[UNITS[unit]].busy)
        assert gap <= 1 + len(mine)


def test_layers_follow_each_other_step_by_step() -> None:
    program, trace = traced()
    layers = trace.events[trace.events["unit"] == len(UNITS)]
    assert all(a["end"] == b["start"] for a, b in pairwise(layers))
    names = [trace.op_names[event["op_id"]] for event in layers]
    step = [run.op for run in program.runs if run.op.startswith("decode32/")]
    first = names.index(step[0])
    assert names[first : first + 2 * len(step)] == step * 2


def test_tokens_are_taken_after_they_are_released() -> None:
    _, trace = traced()
    assert len(trace.flows) > 1000
    assert (trace.flows["time_to"] >= trace.flows["time_from"]).all()


def test_a_long_trace_is_cut_and_says_so() -> None:
    _, trace = traced(max_events=100)
    assert trace.is_truncated
    assert len(trace.events) == 100


@pytest.mark.parametrize("tokens", [1, 130])
def test_tracing_changes_no_cycle(tokens: int) -> None:
    machine, program = compiled(Workload(phase="prefill", seq_tokens=tokens))
    assert machine.run(program, trace=True).cycles == machine.run(program).cycles


def test_counters_move_every_byte_and_show_buffers_in_use() -> None:
    machine, program = compiled()
    result = machine.run(program, trace=True)
    assert result.trace is not None
    counters = result.trace.counters
    for unit, name in (("ld", "memory read"), ("st", "memory written")):
        times, values = counters[f"{name} (bytes/cycle)"]
        assert times[-1] == result.cycles
        moved = (values[:-1] * np.diff(times)).sum()
        expected = 0
        for run in program.runs:
            code = program.bodies[run.body].code
            is_zeros = (code["unit"] == LD) & (code["flags"] & 1 > 0)  # filled without memory
            mine = code[(code["unit"] == UNITS.index(unit)) & ~is_zeros]
            expected += run.steps * int((mine["length"] * pieces(mine)).sum())
        assert moved == pytest.approx(expected, rel=1e-9)
    at_work = counters["ld requests in flight"][1]
    assert set(at_work.tolist()) <= {0.0, 1.0}
    assert any(name.endswith("(tokens)") and values.max() for name, (_, values) in counters.items())
