"""A traced run names every call and operator with its cycles, and the memory's bytes."""

from __future__ import annotations

import numpy as np

from hwsim.core.machine import make_machine
from hwsim.core.program import Program
from hwsim.core.sparsity import Unstructured
from mappers.greedy import map_graph
from tests.cpu.test_machine import pointwise_net


class Sink:
    """Keeps copies of what it is handed."""

    def __init__(self) -> None:
        self.events: list[np.ndarray] = []
        self.samples: list[np.ndarray] = []

    def begin(self, program: Program, lanes: int) -> None:
        assert lanes == 1
        self.table = program

    def take(self, events: np.ndarray, samples: np.ndarray) -> None:
        self.events.append(events.copy())
        self.samples.append(samples.copy())


def lowered(*settings: str):
    machine = make_machine("cpu", settings=list(settings))
    graph = machine.adapt(pointwise_net(16, 16, (6, 6), Unstructured(keep=0.1), batch=2))
    return machine, machine.lower(graph, map_graph(graph, machine))


def test_calls_and_operators_tile_the_run() -> None:
    machine, program = lowered()
    sink = Sink()
    result = machine.run(program, trace=sink)
    events = np.concatenate(sink.events)
    assert np.all(np.diff(events[:, 0]) >= 0)
    rows = sink.table.instructions[events[:, 1]]
    calls, ops = events[rows["unit"] == 0], events[rows["unit"] == 1]
    assert len(calls) == len(program.calls)
    assert sink.table.opcodes[rows["opcode"][1]] == program.calls[0].kernel.name
    assert calls[0, 0] == 0
    np.testing.assert_array_equal(calls[1:, 0], calls[:-1, 2])
    ran = [layer for layer in result.layers if layer.cycles]
    assert [(op[0], op[2]) for op in ops[:-1].tolist()] == [
        (layer.start_cycle, layer.end_cycle) for layer in ran[:-1]
    ]
    # The last operator also waits until its stores have reached the L1.
    assert ops[-1, 2] <= ran[-1].end_cycle
    moved = np.concatenate(sink.samples)[:, 2:4].sum(axis=0).tolist()
    assert moved == [result.stats.bytes["dram"]["read"], result.stats.bytes["dram"]["write"]]


def test_a_trace_changes_no_cycle_and_can_stay_in_memory() -> None:
    machine, program = lowered()
    plain, traced = machine.run(program), machine.run(program, trace=True)
    assert plain.cycles == traced.cycles
    assert plain.trace is None
    assert traced.trace is not None
    assert len(traced.trace.events) == len(program.calls) + sum(x.cycles > 0 for x in plain.layers)


def test_an_ideal_memory_never_waits() -> None:
    cycles = {}
    for model in ("ideal", "simple"):
        machine, program = lowered(f"memory.model={model}")
        result = machine.run(program)
        bounds = machine.bounds(program)
        assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
        cycles[model] = result.cycles, result.stats.units["slot0"].stall["dram"]
    assert cycles["ideal"] < cycles["simple"]
    assert cycles["ideal"][1] == 0 < cycles["simple"][1]
