"""Ask every registered machine for what every machine owes: accounts, bounds, bytes, repetition."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hwsim.core.errors import HwsimError
from hwsim.core.graph import Stage
from hwsim.core.machine import make_machine
from hwsim.core.result import Result

FILLED_FROM_DRAM = {
    "cpu": ("llc_refill",),
    "flightllm": ("a_buffer", "b_buffer", "bias_buffer", "fsb_buffer", "meta_buffer"),
    "piuma": ("registers", "cache", "dma"),
    "sat": ("activation_buffer", "weight_buffer", "lane_operands"),
}
"""Levels that loads write, and nothing else does. A new machine names its own."""
STORED_TO_DRAM = {
    "cpu": ("llc_refill",),
    "flightllm": ("global_buffer",),
    "piuma": ("registers", "cache", "dma"),
    "sat": ("output_buffer", "lane_results"),
}
"""Levels that stores read, and nothing else does."""
FOLLOWS_DATA = {"piuma"}
"""Machines whose work depends on values: what they do cannot be told without running."""
ESTIMATE_RANGE = (0.5, 1.05)
"""Closed forms leave out start-up and waits, so they may be low; hardly ever high."""
PLANS_ITS_TRAFFIC = {"flightllm", "sat"}
"""Machines whose bytes are decided before they run; caches decide theirs while running."""


Lower = Callable[..., Any]


def text(result: Result) -> str:
    return json.dumps(result.to_json(), sort_keys=True)


def test_every_unit_accounts_for_every_cycle(case: Any) -> None:
    result = case.machine.run(case.program)
    assert result.cycles > 0
    for name, unit in result.stats.units.items():
        assert unit.busy + sum(unit.stall.values()) + unit.idle == result.cycles, name
        assert min(unit.busy, unit.idle, *unit.stall.values()) >= 0, name
    for layer in result.layers:
        assert layer.account.total == layer.cycles, layer.name
    assert sum(layer.cycles for layer in result.layers) == result.cycles
    result.check()
    parts = result.to_json()["energy_by_component_pj"]
    assert sum(parts.values()) == pytest.approx(result.to_json()["energy_pj"], rel=1e-9)
    assert min(parts.values()) >= 0
    idle = case.machine.idle_energy_pj(result.cycles)
    assert parts["static"] == idle["static"] > 0
    assert sum(parts.values()) > sum(idle.values())  # work costs something on top


@pytest.mark.parametrize("cycles", [0, 1, 1_000_000])
def test_no_work_costs_static_power_alone(machine: Any, cycles: int) -> None:
    parts = machine.idle_energy_pj(cycles)
    assert {name for name, pj in parts.items() if pj} == ({"static"} if cycles else set())
    second = machine.idle_energy_pj(machine.clock_hz)["static"]
    assert parts["static"] == pytest.approx(second * cycles / machine.clock_hz, rel=1e-12)


def test_layers_are_the_graphs_ops_in_order(case: Any) -> None:
    result = case.machine.run(case.program)
    assert [layer.name for layer in result.layers] == [op.name for op in case.graph.ops()]
    totals = case.graph.totals()
    assert (result.stats.macs, result.stats.useful_macs) == (totals["macs"], totals["useful_macs"])
    assert 0.0 <= result.utilization <= 1.0
    for op, layer in zip(case.graph.ops(), result.layers, strict=True):
        assert layer.issued_macs >= layer.useful_macs == op.useful_macs(), op.name
        assert layer.useful_macs <= layer.cycles * result.peak_macs_per_cycle, op.name


@pytest.mark.evidence("machine_name", "T1")
def test_cycles_lie_within_bounds(case: Any) -> None:
    bounds = case.machine.bounds(case.program)
    cycles = case.machine.run(case.program).cycles
    assert 0 < bounds.min_cycles <= cycles <= bounds.max_cycles


@pytest.mark.graphs("one_product")
def test_work_that_the_bounds_do_not_know_leaves_them(machine_name: str, lower: Lower) -> None:
    case = lower(machine_name, None, "one_product")
    bounds = case.machine.bounds(case.program)
    slow = case.program.instructions.copy()
    slow["cycles"][int(slow["cycles"].argmax())] += bounds.max_cycles
    slower = case.machine.run(replace(case.program, instructions=slow))
    assert slower.cycles > bounds.max_cycles


@pytest.mark.evidence("machine_name", "T1")
def test_bytes_are_conserved_between_levels(case: Any, machine_name: str) -> None:
    result = case.machine.run(case.program)
    for moved in (result.stats.bytes, *(layer.bytes for layer in result.layers)):
        filled = sum(moved[level]["write"] for level in FILLED_FROM_DRAM[machine_name])
        stored = sum(moved[level]["read"] for level in STORED_TO_DRAM[machine_name])
        assert moved["dram"] == {"read": filled, "write": stored}


def test_two_runs_are_identical(case: Any) -> None:
    assert text(case.machine.run(case.program)) == text(case.machine.run(case.program))


def test_every_detail_of_stepping_gives_the_same_cycles(case: Any) -> None:
    fast = case.machine.run(case.program).to_json()
    assert case.machine.run(case.program, detail="tile").to_json() == fast


@pytest.mark.graphs("convolutions", "attention", "sparse_2_8")
def test_more_bandwidth_never_costs_cycles(machine_name: str, lower: Lower) -> None:
    for graph in ("convolutions", "attention", "sparse_2_8"):
        program = lower(machine_name, None, graph).program
        cycles = []
        for bandwidth in (10**8, 10**9, 5 * 10**9, 10**10, 2 * 10**10, 4 * 10**10, 10**12):
            faster = make_machine(
                machine_name, settings=[f"memory.bandwidth_bytes_per_s={bandwidth}"]
            )
            cycles.append(faster.run(program).cycles)
        assert cycles == sorted(cycles, reverse=True), graph
        assert cycles[0] > cycles[-1]  # the sweep reaches both ends


def test_estimates_are_close_to_simulated_cycles(case: Any, machine_name: str) -> None:
    simulated = case.machine.run(case.program)
    estimated = case.machine.run(case.program, detail="estimate")
    if machine_name not in FOLLOWS_DATA:
        low, high = ESTIMATE_RANGE
        assert low <= estimated.cycles / simulated.cycles <= high
    assert (simulated.fidelity, estimated.fidelity) == ("cycle", "estimate")
    assert estimated.to_json().keys() == simulated.to_json().keys()
    assert estimated.stats.bytes.keys() == simulated.stats.bytes.keys()
    if machine_name in PLANS_ITS_TRAFFIC:
        assert estimated.stats.bytes == simulated.stats.bytes
    estimated.check()


@pytest.mark.graphs("one_product")
def test_check_notices_a_lost_cycle_and_a_lost_byte(machine_name: str, lower: Lower) -> None:
    case = lower(machine_name, None, "one_product")
    run = case.machine.run(case.program)
    unit = next(iter(run.stats.units.values()))
    unit.idle += 1
    with pytest.raises(HwsimError, match="units"):
        run.check()
    unit.idle -= 1
    run.stats.bytes["dram"]["read"] += 1
    with pytest.raises(HwsimError, match="bytes.dram.read"):
        run.check()


METHODS = ("dense", "bdwp", "sdgp")


def weight_gradient_cycles(case: Any) -> dict[str, int]:
    """Return the cycles of each WU product's instructions, loops unrolled."""
    products = [op.name for op in case.graph.ops() if op.is_gemm and op.stage is Stage.WU]
    found = dict.fromkeys(products, 0)
    for chunk in case.program.chunks():
        for name in products:
            is_mine = chunk["op_id"] == case.program.op_names.index(name)
            found[name] += int(chunk["cycles"][is_mine].sum())
    return found


@pytest.mark.graphs("training_dense", "training_bdwp", "training_sdgp")
def test_weight_gradients_are_the_same_work_under_every_method(
    machine_name: str, lower: Lower
) -> None:
    cases = {method: lower(machine_name, None, f"training_{method}") for method in METHODS}
    dense = weight_gradient_cycles(cases["dense"])
    assert len(dense) == 5
    assert min(dense.values()) > 0
    assert all(weight_gradient_cycles(case) == dense for case in cases.values())


@pytest.mark.graphs("training_dense", "training_bdwp", "training_sdgp")
def test_training_is_not_faster_than_its_multiply_accumulates_allow(
    machine_name: str, lower: Lower
) -> None:
    runs = {}
    for method in METHODS:
        case = lower(machine_name, None, f"training_{method}")
        runs[method] = case.machine.run(case.program)
    dense = runs.pop("dense")
    for method, run in runs.items():
        bound = dense.stats.useful_macs / run.stats.useful_macs
        assert 1.0 < bound < 4.0, method
        assert dense.cycles / run.cycles < bound, method


@pytest.mark.graphs("training_dense", "training_bdwp", "training_sdgp")
def test_every_stage_of_an_iteration_is_timed(machine_name: str, lower: Lower) -> None:
    for method in METHODS:
        case = lower(machine_name, None, f"training_{method}")
        layers = case.machine.run(case.program).layers
        for stage in (Stage.FF, Stage.BP, Stage.WU):
            assert sum(layer.cycles for layer in layers if layer.stage == stage.value) > 0
