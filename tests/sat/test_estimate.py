"""Check the closed-form prediction of whole programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.machine import make_machine
from hwsim.core.units import ceil_div
from mappers.greedy import map_graph
from mappers.schedule import schedule_graph
from models.training import training_graph
from models.zoo import load_model


@pytest.mark.parametrize("bandwidth", [10**9, 25_600_000_000, 10**13])
def test_one_layer_takes_the_longer_of_array_and_memory_and_two_latencies(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], bandwidth: int
) -> None:
    settings = (f"memory.bandwidth_bytes_per_s={bandwidth}", "memory.latency_cycles=7")
    machine, program = lower_plan(linear(64, 128, 96), (64, 96, 128), settings)
    array_cycles = int(program.instructions["cycles"].max())
    rate = machine.spec.memory_bytes_per_cycle
    memory = sum(
        ceil_div(size * rate.denominator, rate.numerator)
        for size in ((128 * 96 + 64 * 128) * 2, 64 * 96 * 2)
    )
    estimate = machine.run(program, detail="estimate")
    assert estimate.cycles == max(array_cycles, memory) + 2 * 7
    estimate.check()


def test_a_whole_network_is_predicted_within_a_tenth() -> None:
    machine = make_machine("sat")
    graph = load_model("resnet18")
    program = machine.lower(graph, map_graph(graph, machine))
    simulated, estimated = machine.run(program), machine.run(program, detail="estimate")
    assert estimated.fidelity == "estimate"
    assert 0.9 <= estimated.cycles / simulated.cycles <= 1.0
    assert estimated.stats.bytes == simulated.stats.bytes
    assert estimated.stats.issued_macs == simulated.stats.issued_macs


def test_ideal_memory_costs_nothing(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    settings = ("memory.model=ideal", "memory.latency_cycles=0")
    machine, program = lower_plan(linear(64, 128, 96), (64, 96, 128), settings)
    estimate = machine.run(program, detail="estimate")
    assert estimate.cycles == int(program.instructions["cycles"].max())


def test_a_slot_lasts_as_long_as_its_longest_side() -> None:
    machine = make_machine("sat")
    forward = load_model("resnet18-64", batch=32, has_batch_norm=True)
    graph = training_graph(forward, "bdwp", (2, 8))
    program = machine.lower(graph, schedule_graph(graph, machine).mappings)
    simulated, estimated = machine.run(program), machine.run(program, detail="estimate")
    estimated.check()
    assert 0.9 <= estimated.cycles / simulated.cycles <= 1.0
    in_order = machine.lower(graph, map_graph(graph, machine))
    assert estimated.cycles < machine.run(in_order, detail="estimate").cycles
