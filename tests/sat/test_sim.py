"""Check whole runs: what stepping, tracing and hardware options do and do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.units import ceil_div
from mappers.greedy import map_graph
from models.build import GraphBuilder


def small_network(channels: int, size: int, width: int) -> OpGraph:
    b = GraphBuilder("small")
    x = b.conv("conv0", b.input("x", (1, 3, size, size)), channels, 3, pad=1)
    x = b.conv("depthwise", b.relu("act", x), channels, 3, stride=2, pad=1, groups=channels)
    x = b.conv("pointwise", x, width, 1)
    return b.build([b.linear("fc", b.flatten("flat", x), 10)])


def test_one_resident_layer_takes_load_compute_and_store_in_a_row(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    machine, program = lower_plan(linear(64, 128, 96), (64, 96, 128))
    array_cycles = int(program.instructions["cycles"].max())
    rate, latency = machine.spec.memory_bytes_per_cycle, machine.spec.memory.latency_cycles

    def transfer(size: int) -> int:
        return ceil_div(size * rate.denominator, rate.numerator) + latency

    # Weights are dispatched in cycle 0, activations in cycle 1 queue behind them in the memory.
    loads = transfer((128 * 96 + 64 * 128) * 2)
    assert machine.run(program).cycles == loads + array_cycles + transfer(64 * 96 * 2)


@pytest.mark.parametrize("detail", ["tile", "pe"])
def test_stepping_changes_nothing(detail: str) -> None:
    options = ["array.rows=4", "array.cols=4", "buffers.activation_bytes=16384"]
    machine = make_machine("sat", settings=options)
    graph = small_network(6, 8, 5)
    program = machine.lower(graph, map_graph(graph, machine))
    fast = machine.run(program)
    assert machine.run(program, detail=detail).to_json() == fast.to_json()
    traced = machine.run(program, trace=True)
    assert traced.trace is not None
    assert traced.to_json() == fast.to_json()


def test_an_unknown_detail_is_refused() -> None:
    machine = make_machine("sat")
    graph = small_network(6, 8, 5)
    with pytest.raises(InputError, match="--detail: need one of fast, tile, pe, estimate"):
        machine.run(machine.lower(graph, map_graph(graph, machine)), detail="slow")


@pytest.mark.evidence("sat", "T1")
@settings(max_examples=60)
@given(
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    channels=st.integers(1, 20),
    size=st.integers(3, 12),
    buffer_bits=st.integers(14, 18),
    queue_depth=st.integers(1, 8),
    latency=st.integers(0, 50),
    dataflow=st.sampled_from(["auto", "ws"]),
)
def test_accounts_bounds_and_bytes_hold_on_any_array(
    rows: int,
    cols: int,
    channels: int,
    size: int,
    buffer_bits: int,
    queue_depth: int,
    latency: int,
    dataflow: str,
) -> None:
    options = [f"array.rows={rows}", f"array.cols={cols}", f"queue_depth={queue_depth}"]
    options += [f"memory.latency_cycles={latency}"]
    buffers = ("activation", "weight", "output")
    options += [f"buffers.{name}_bytes={1 << buffer_bits}" for name in buffers]
    machine = make_machine("sat", settings=options)
    graph = small_network(channels, size, 9)
    program = machine.lower(graph, map_graph(graph, machine, dataflow=dataflow))
    result = machine.run(program)
    result.check()
    bounds = machine.bounds(program)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
    moved = result.stats.bytes
    filled = moved["activation_buffer"]["write"] + moved["weight_buffer"]["write"]
    assert moved["dram"] == {"read": filled, "write": moved["output_buffer"]["read"]}
    assert result.to_json() == machine.run(program, detail="tile").to_json()


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("memory.latency_cycles=200", "memory.latency_cycles=0"),
        ("memory.efficiency_percent=10", "memory.efficiency_percent=100"),
        ("array.adder_latency_cycles=12", "array.adder_latency_cycles=2"),
        ("vector.lanes=1", "vector.lanes=64"),
        ("array.has_double_buffered_weights=false", "array.has_double_buffered_weights=true"),
    ],
)
def test_better_hardware_is_faster(worse: str, better: str) -> None:
    graph = small_network(16, 16, 24)
    cycles = []
    for setting in (worse, better):
        machine = make_machine("sat", settings=[setting])
        mappings = map_graph(graph, machine, dataflow="ws")
        cycles.append(machine.run(machine.lower(graph, mappings)).cycles)
    assert cycles[0] > cycles[1]


def test_sparse_weights_are_faster_than_dense_and_do_less(linear: Callable[..., Any]) -> None:
    machine = make_machine("sat")
    dense, sparse = (
        machine.run(machine.lower(graph, map_graph(graph, machine)))
        for graph in (linear(512, 2048, 256), linear(512, 2048, 256, (2, 8)))
    )
    assert dense.cycles > 2 * sparse.cycles
    assert sparse.stats.useful_macs * 4 == dense.stats.useful_macs
    assert sparse.stats.energy_pj < dense.stats.energy_pj
