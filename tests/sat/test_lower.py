"""Check the instructions of single layers: order, tokens, loops and sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.errors import MappingError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import make_machine
from hwsim.core.program import Program
from hwsim.sat.isa import CHANNELS, OPCODES, UNITS
from hwsim.sat.lane_work import vector_passes
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.training import training_graph


def opcodes(program: Program) -> list[str]:
    """Return the executed opcodes in program order, loops unrolled."""
    return [OPCODES[code] for chunk in program.chunks() for code in chunk["opcode"].tolist()]


def balance(program: Program) -> dict[str, int]:
    """Return, per channel, initial and released tokens minus taken ones."""
    times = program.dynamic_counts()
    rows = program.instructions
    left = {}
    for bit, channel in enumerate(CHANNELS):
        given = int(((rows["release"] >> bit & 1) * times).sum())
        taken = int(((rows["wait"] >> bit & 1) * times).sum())
        left[channel.name] = channel.initial + given - taken
    return left


def test_a_resident_tile_is_loaded_computed_and_stored_once(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(64, 128, 96), (64, 96, 128))
    assert opcodes(program) == ["load_w", "load_a", "gemm", "store"]
    sizes = [size for size in program.instructions["mem_bytes"].tolist() if size]
    assert sizes == [128 * 96 * 2, 64 * 128 * 2, 64 * 96 * 2]


def test_resident_weights_are_loaded_once_for_all_rows(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(64, 128, 96), (8, 96, 128))
    counted = opcodes(program)
    assert {name: counted.count(name) for name in ("load_w", "load_a", "gemm", "store")} == {
        "load_w": 1,
        "load_a": 8,
        "gemm": 8,
        "store": 8,
    }
    assert len(program.instructions) < len(program)  # the middle repeats as a loop


def test_streamed_weights_are_loaded_for_every_row_tile(
    linear: Callable[..., Any], lower_plan: Callable[..., Any]
) -> None:
    _, program = lower_plan(linear(64, 128, 96), (16, 32, 64))
    counted = opcodes(program)
    # 4 row tiles x 3 column tiles x 2 cuts of k; results leave once per row and column tile.
    assert [counted.count(name) for name in ("load_w", "gemm", "store")] == [24, 24, 12]


@pytest.mark.parametrize(
    ("tile", "order"),
    [((64, 96, 128), "mn"), ((24, 40, 128), "mn"), ((24, 40, 128), "nm"), ((8, 96, 32), "mn")],
)
def test_every_buffer_half_is_given_back(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], tile: Any, order: str
) -> None:
    _, program = lower_plan(linear(64, 128, 96), tile, order=order)
    left = balance(program)
    assert left == {channel.name: channel.initial for channel in CHANNELS if channel.name in left}


def weight_gradient(m: int, k: int, n: int) -> OpGraph:
    """Return one product of activations: X^T [m, k] by dY [k, n]."""
    b = GraphBuilder("wgrad")
    x, dy = b.input("x", (m, k)), b.input("dy", (k, n))
    return b.build([b.matmul("wu", x, dy)])


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_sums_go_on_from_slice_to_slice_and_leave_once(
    lower_plan: Callable[..., Any], dataflow: str
) -> None:
    graph, tile = weight_gradient(64, 128, 64), (64, 32, 48)
    _, program = lower_plan(graph, tile, order="sliced", dataflow=dataflow)
    # 2 column tiles; each takes both operands in slices of 48, 48 and 32.
    assert opcodes(program) == (["load_w", "load_a", "gemm"] * 3 + ["store"]) * 2
    sizes = [int(row["mem_bytes"]) for chunk in program.chunks() for row in chunk]
    column = [size for k in (48, 48, 32) for size in (k * 32 * 2, 64 * k * 2)] + [64 * 32 * 2]
    assert [size for size in sizes if size] == column * 2
    slices = [(shape[2], shape[-1]) for shape in program.meta["gemm_shapes"]]
    assert slices == [(48, False), (48, True), (32, True)]


@pytest.mark.parametrize("tile", [(64, 32, 48), (32, 64, 128), (24, 32, 10), (64, 64, 1)])
@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_slices_give_every_buffer_half_back(
    lower_plan: Callable[..., Any], tile: Any, dataflow: str
) -> None:
    graph = weight_gradient(64, 128, 64)
    machine, program = lower_plan(graph, tile, order="sliced", dataflow=dataflow)
    left = balance(program)
    assert left == {channel.name: channel.initial for channel in CHANNELS if channel.name in left}
    result = machine.run(program)
    result.check()
    assert result.stats.macs == 64 * 128 * 64


def test_slices_keep_their_partial_sums_on_chip(lower_plan: Callable[..., Any]) -> None:
    _, program = lower_plan(weight_gradient(64, 128, 64), (64, 64, 32), order="sliced")
    moved = program.meta["ops"][0]["bytes"]
    sums = 64 * 64 * 4
    # 4 slices: stored thrice and read again thrice, then complete.
    assert moved["partial_sums"] == {"read": 3 * sums, "write": 3 * sums}
    assert moved["dram"] == {"read": 2 * 64 * 128 * 2, "write": 64 * 64 * 2}


def test_a_following_op_waits_for_all_stores_but_prefetches_weights() -> None:
    b = GraphBuilder("two")
    x = b.linear("first", b.input("x", (8, 32)), 32, bias=False)
    graph = b.build([b.linear("second", x, 32, bias=False)])
    machine = make_machine("sat")
    program = machine.lower(graph, map_graph(graph, machine, dataflow="ws"))
    second = [row for row in program.instructions if int(row["op_id"]) == 1]
    names = [OPCODES[int(row["opcode"])] for row in second if UNITS[int(row["unit"])] == "dma_in"]
    assert names == ["load_w", "sync", "load_a"]
    assert set(balance(program).values()) == {channel.initial for channel in CHANNELS}


def layer_iteration() -> OpGraph:
    b = GraphBuilder("net")
    x = b.relu("act", b.conv("first", b.input("x", (2, 3, 8, 8)), 16, 3, pad=1))
    x = b.flatten("flat", b.global_pool("mean", b.conv("second", x, 16, 3, pad=1), "average"))
    return training_graph(b.build([b.linear("head", x, 10)]), "bdwp", (2, 8))


def test_an_op_on_another_unit_does_not_take_what_was_loaded_for_the_op_before() -> None:
    # WUVE's update is followed by a sum on the vector path, which waits for operands too: were
    # they to share a channel, the sum would run on the update's operands and end before it.
    machine = make_machine("sat")
    graph = layer_iteration()
    program = machine.lower(graph, map_graph(graph, machine))
    layers = [layer for layer in machine.run(program).layers if sum(layer.bytes["dram"].values())]
    assert {"vector", "wuve", "sore", "stce"} == {layer.unit for layer in layers if layer.cycles}
    assert [layer.name for layer in layers if layer.account.busy == 0] == []
    for before, after in zip(layers, layers[1:], strict=False):
        if after.unit != "stce":  # products prefetch weights
            assert after.start_cycle >= before.end_cycle, after.name


def test_fused_work_runs_between_array_and_store() -> None:
    b = GraphBuilder("fused")
    x = b.linear("fc", b.input("x", (8, 32)), 32, bias=False)
    graph = b.build([b.relu("relu", x)])
    machine = make_machine("sat")
    program = machine.lower(graph, map_graph(graph, machine))
    assert opcodes(program) == ["load_w", "load_a", "gemm", "vector", "store"]
    vector = program.instructions[3]
    assert int(vector["cycles"]) == 8 * 32 // machine.spec.vector.lanes
    apart = machine.lower(graph, map_graph(graph, machine, fuse=False))
    assert apart.meta["ops"][1]["bytes"]["dram"] == {"read": 8 * 32 * 2, "write": 8 * 32 * 2}
    assert program.meta["ops"][1]["bytes"]["dram"] == {"read": 0, "write": 0}


@pytest.mark.parametrize(
    ("kind", "fused", "stages", "passes"),
    [
        (OpKind.ELEMENTWISE, 0, 3, 1),
        (OpKind.ELEMENTWISE, 2, 3, 1),
        (OpKind.ELEMENTWISE, 3, 3, 2),
        (OpKind.SOFTMAX, 0, 3, 3),
        (OpKind.NORMALIZATION, 1, 3, 3),
        (OpKind.POOL, 0, 3, 2),  # 4 comparisons of a 2 x 2 window
        (OpKind.POOL, 0, 1, 4),
        (OpKind.LINEAR, 0, 3, 0),
        (OpKind.LINEAR, 4, 3, 2),
    ],
)
def test_pointwise_steps_chain_through_the_stages(
    kind: OpKind, fused: int, stages: int, passes: int
) -> None:
    b = GraphBuilder("pool")
    pool = next(b.build([b.pool("op", b.input("x", (1, 1, 4, 4)), "max", 2)]).ops())
    op = pool.model_copy(update={"kind": kind})
    assert vector_passes(op, fused, stages) == passes


def test_vector_ops_are_streamed_through_the_buffers_in_chunks() -> None:
    b = GraphBuilder("add")
    x, y = b.input("x", (1000, 100)), b.input("y", (1000, 100))
    graph = b.build([b.elementwise("add", "add", x, y)])
    machine = make_machine("sat", settings=["buffers.lane_bytes=8192"])
    program = machine.lower(graph, map_graph(graph, machine))
    moved = [int(row["mem_bytes"]) for row in program.instructions]
    assert max(moved) <= 2048
    assert program.meta["ops"][0]["bytes"]["dram"] == {"read": 400_000, "write": 200_000}
    tiny = make_machine("sat", settings=["buffers.lane_bytes=16"])
    with pytest.raises(MappingError, match="add: lane buffer: need 24 bytes, found 16"):
        tiny.lower(graph, map_graph(graph, tiny))


def test_scalesim_counts_have_no_memory(linear: Callable[..., Any]) -> None:
    machine = make_machine("sat", "scalesim")
    graph = linear(64, 128, 96)
    program = machine.lower(graph, map_graph(graph, machine, dataflow="is"))
    assert opcodes(program) == ["gemm"]
    assert program.meta["ops"][0]["bytes"]["dram"] == {"read": 0, "write": 0}
