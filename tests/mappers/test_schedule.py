"""Check schedules on training graphs: order, what may overlap, and the bounds they are held to."""

from __future__ import annotations

from itertools import groupby

import pytest

from hwsim.core.graph import OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.mapping import Mapping
from mappers.greedy import map_graph
from mappers.schedule import Schedule, schedule_graph
from models.build import GraphBuilder
from models.training import training_graph
from models.zoo import load_model


def residual_iteration(method: str = "bdwp") -> OpGraph:
    b = GraphBuilder("net")
    x = b.relu("stem.relu", b.conv("stem", b.input("x", (32, 3, 16, 16)), 32, 3, pad=1))
    for name in ("first", "second"):
        y = b.relu(f"{name}.relu", b.conv(f"{name}.a", x, 32, 3, pad=1))
        y = b.conv(f"{name}.b", y, 32, 3, pad=1)
        x = b.elementwise(f"{name}.add", "add", y, b.conv(f"{name}.short", x, 32, 1))
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    forward = b.build([b.linear("head", x, 10)])
    return training_graph(forward, method, (1, 1) if method == "dense" else (2, 8))


def slots_of(mappings: list[Mapping]) -> list[list[Mapping]]:
    return [
        list(members) for _, members in groupby(mappings, lambda m: m.placement.get("slot", m.op))
    ]


METHODS = ("dense", "sdgp", "bdwp")


@pytest.mark.parametrize("method", METHODS)
def test_every_op_comes_once_and_after_what_it_needs(method: str) -> None:
    graph = residual_iteration(method)
    machine = make_machine("sat")
    mappings = schedule_graph(graph, machine).mappings
    assert sorted(m.op for m in mappings) == sorted(op.name for op in graph.ops())
    done: set[str] = set(graph.inputs) | set(graph.tensors) - {op.output for op in graph.ops()}
    for mapping in mappings:
        op = graph.op(mapping.op)
        assert {operand.tensor for operand in op.inputs} <= done, op.name
        done.add(op.output)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_a_slot_crosses_between_array_and_other_units(method: str) -> None:
    graph = residual_iteration(method)
    mappings = schedule_graph(graph, make_machine("sat")).mappings
    crossings = overlaps = 0
    for slot in slots_of(mappings):
        names = {m.op for m in slot if m.dataflow not in ("fused", "none")}
        overlaps += len({graph.op(name).is_gemm for name in names}) == 2
        maker = {graph.op(name).output: graph.op(name) for name in names}
        for name in names:
            needs = [o.tensor for o in graph.op(name).inputs if o.tensor in maker]
            # Other work may follow other work of its slot; products depend on nothing there.
            crossings += sum(maker[t].is_gemm or graph.op(name).is_gemm for t in needs)
    assert crossings == 0
    assert overlaps > 3


@pytest.mark.parametrize("method", METHODS)
def test_the_schedule_is_faster_than_the_graphs_order_and_its_estimate_is_near(
    method: str,
) -> None:
    graph = residual_iteration(method)
    machine = make_machine("sat")
    schedule = schedule_graph(graph, machine)
    in_order = machine.run(machine.lower(graph, map_graph(graph, machine)))
    scheduled = machine.run(machine.lower(graph, schedule.mappings))
    scheduled.check()
    assert scheduled.cycles < in_order.cycles
    assert scheduled.cycles >= schedule.work_bound_cycles
    assert schedule.cycles == pytest.approx(scheduled.cycles, rel=0.05)
    busy = [run.stats.units["stce"].busy for run in (in_order, scheduled)]
    assert busy[0] == busy[1]  # the array's own work does not depend on the order
    assert in_order.stats.bytes == scheduled.stats.bytes


def test_the_bounds_are_below_every_schedule() -> None:
    graph = residual_iteration()
    schedule = schedule_graph(graph, make_machine("sat"))
    assert schedule.work_bound_cycles <= schedule.slot_bound_cycles <= schedule.cycles


@pytest.mark.parametrize("network", ["resnet18-64", "vgg19"])
def test_deferred_products_are_placed_close_to_the_relaxed_bound(network: str) -> None:
    machine = make_machine("sat")
    forward = load_model(network, batch=64, has_batch_norm=True)
    schedule = schedule_graph(training_graph(forward, "bdwp", (2, 8)), machine)
    assert schedule.cycles <= 1.01 * schedule.slot_bound_cycles


def test_a_machine_without_slots_keeps_the_graphs_order() -> None:
    b = GraphBuilder("two")
    x = b.linear("first", b.input("x", (8, 32)), 32)
    graph = b.build([b.linear("second", x, 32)])
    machine = make_machine("sat", "scalesim")
    schedule = schedule_graph(graph, machine, dataflow="ws")
    assert schedule.mappings == map_graph(graph, machine, dataflow="ws")


def test_two_schedules_of_one_graph_are_equal() -> None:
    graph, machine = residual_iteration(), make_machine("sat")
    first, second = (schedule_graph(graph, machine) for _ in range(2))
    assert isinstance(first, Schedule)
    assert first.mappings == second.mappings
