"""Ask a core for what only it owes: paths, kernels, registers, layouts, odd extents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, MappingError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.sparsity import Block, Pattern, Unstructured
from mappers.greedy import map_graph
from models.build import GraphBuilder


def pointwise_net(
    ci: int, co: int, extent: tuple[int, int], pattern: Pattern, *, batch: int = 1
) -> OpGraph:
    """A first convolution of ``ci`` channels and one 1x1 layer under ``pattern``."""
    b = GraphBuilder("net")
    height, width = extent
    x = b.input("image", (batch, 3, 2 * height, 2 * width))
    x = b.relu("act", b.conv("first", x, ci, 3, stride=2, pad=1))
    graph = b.build([b.conv("point", x, co, 1)])

    def pruned(op: Op) -> Op:
        if op.name != "point":
            return op
        operands = (op.inputs[0], op.inputs[1].model_copy(update={"pattern": pattern}))
        return op.model_copy(update={"inputs": (*operands, *op.inputs[2:])})

    return graph.replace(ops=[pruned(op) for op in graph.ops()])


def run(graph: OpGraph, preset: str = "sd835", kernel: str = "auto", dataflow: str = "auto"):
    machine = make_machine("cpu", preset)
    adapted = machine.adapt(graph, kernel=kernel, dataflow=dataflow)
    program = machine.lower(adapted, map_graph(adapted, machine))
    return machine.run(program), machine.bounds(program), program


def layer(result, name: str):
    return next(found for found in result.layers if found.name == name)


@pytest.mark.parametrize(("keep", "kernel"), [(0.33, "spmm"), (0.34, "gemm")])
def test_a_cluster_runs_sparse_above_two_thirds_of_zeros(keep: float, kernel: str) -> None:
    result, _, _ = run(pointwise_net(10, 10, (6, 6), Unstructured(keep=keep)))
    assert layer(result, "point").mapping["placement"]["kernel"] == kernel
    path = "sparse path" if kernel == "spmm" else "dense path"
    assert result.notes[0].startswith(path)


def test_a_core_with_avx_stays_dense() -> None:
    machine = make_machine("cpu", "wasm-x86", settings=["has_avx=true"])
    graph = machine.adapt(pointwise_net(8, 8, (4, 4), Unstructured(keep=0.1)))
    assert machine.adapt(graph).op("point").attrs["cpu_layout"] == "nhwc"


@pytest.mark.parametrize("level", ["l1", "l2"])
def test_a_cache_without_whole_sets_is_refused_by_its_name(level: str) -> None:
    make_machine("cpu", settings=[f"{level}.ways=8"])
    with pytest.raises(InputError, match=rf"{level}\.size_bytes: need .*{level}\.ways"):
        make_machine("cpu", settings=[f"{level}.ways=3"])


def test_a_network_that_cannot_start_in_chw_names_the_operator() -> None:
    b = GraphBuilder("net")
    graph = b.build([b.conv("wide", b.input("x", (1, 4, 9, 9)), 8, 7, pad=3)])
    machine = make_machine("cpu")
    assert "wide" in machine.adapt(graph).notes[0]
    with pytest.raises(InputError, match="wide"):
        machine.adapt(graph, dataflow="sparse")
    result, _, _ = run(graph)
    assert result.cycles > 0


@pytest.mark.parametrize(
    ("preset", "kernel", "need", "have"),
    [("wasm-x86", "32x2", 21, 16), ("wasm-x86", "16x4", 23, 16), ("sd835", "32x4", 43, 32)],
)
def test_a_kernel_that_needs_more_registers_is_refused(
    preset: str, kernel: str, need: int, have: int
) -> None:
    with pytest.raises(MappingError) as caught:
        run(pointwise_net(8, 8, (4, 4), Unstructured(keep=0.1)), preset, kernel)
    # Sums, two clamp limits, and one vector of pixels with a weight per channel (WebAssembly, where
    # each is used as it is loaded) or the strip's pixels with one vector of weights.
    assert (caught.value.need_amount, caught.value.have_amount) == (need, have)


@pytest.mark.parametrize(
    ("pattern", "nr"), [(Unstructured(keep=0.1), 1), (Block(rows=1, cols=2, keep=0.1), 2),
                        (Block(rows=1, cols=4, keep=0.1), 4)]
)  # fmt: skip
def test_blocks_that_the_weights_fill_are_chosen(pattern: Pattern, nr: int) -> None:
    result, _, _ = run(pointwise_net(32, 32, (5, 5), pattern))
    assert layer(result, "point").mapping["tiling"]["nr"] == nr


def test_an_op_that_needs_the_other_layout_pays_for_the_conversion() -> None:
    def network(*, leaves: bool) -> OpGraph:
        b = GraphBuilder("net")
        x = b.conv("first", b.input("image", (1, 3, 32, 32)), 8, 3, stride=2, pad=1)
        x = b.conv("point", x, 8, 1)
        if leaves:
            x = b.conv("wide", x, 8, 3, pad=1)
        return b.build([x])

    result, _, program = run(network(leaves=True), dataflow="sparse")
    mine = [call.kernel.name for call in program.calls if program.op_names[call.op_id] == "wide"]
    assert mine == ["convert-layout", "igemm_6x8"]
    assert "CHW ends at wide" in " ".join(result.notes)


def test_clamps_take_no_time_and_other_functions_do() -> None:
    def cycles(function: str) -> int:
        b = GraphBuilder("net")
        x = b.conv("first", b.input("image", (1, 3, 16, 16)), 8, 3, stride=2, pad=1)
        result, _, _ = run(b.build([b.elementwise("act", function, x)]))
        return layer(result, "act").cycles

    assert cycles("relu") == 0
    assert 0 < cycles("hard_swish") < cycles("silu")


def test_a_batch_repeats_the_work_but_not_the_weights() -> None:
    pattern = Unstructured(keep=0.1)
    one, _, _ = run(pointwise_net(64, 64, (8, 8), pattern))
    two, _, _ = run(pointwise_net(64, 64, (8, 8), pattern, batch=2))
    assert two.stats.issued_macs == 2 * one.stats.issued_macs
    assert one.cycles < two.cycles < 2 * one.cycles


def test_sparser_layers_take_fewer_cycles() -> None:
    cycles = [
        run(pointwise_net(64, 64, (8, 8), Unstructured(keep=keep)), dataflow="sparse")[0].cycles
        for keep in (0.05, 0.1, 0.2, 0.4, 0.8)
    ]
    assert cycles == sorted(cycles)


extents = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.evidence("cpu", "T0")
@settings(max_examples=25)
@given(
    st.integers(1, 13), st.integers(1, 13), extents, st.floats(0, 1), st.integers(0, 99),
    st.sampled_from(["16x1", "32x1", "16x2", "16x4"]),
)  # fmt: skip
def test_any_extent_and_sparsity_gives_the_golden_values(
    ci: int, co: int, extent: tuple[int, int], keep: float, seed: int, kernel: str
) -> None:
    graph = pointwise_net(ci, co, extent, Unstructured(keep=keep))
    machine = make_machine("cpu")
    graph = machine.adapt(graph, kernel=kernel, dataflow="sparse")
    rng = np.random.default_rng(seed)
    dims = graph.op("point").gemm()
    tensors = {
        "point.b": rng.standard_normal((1, ci, co), dtype=np.float32),
        "point.mask": rng.random((1, ci, co)) < keep,
    }
    inputs = {"point.a": rng.standard_normal((1, dims.m, ci), dtype=np.float32)}
    program = machine.lower(graph, map_graph(graph, machine), tensors)
    outputs, golden = machine.execute(program, inputs), machine.golden(program, inputs)
    assert outputs["point"].tobytes() == golden["point"].tobytes()
    exact = inputs["point.a"].astype(np.float64) @ np.where(
        tensors["point.mask"], tensors["point.b"], 0
    ).astype(np.float64)
    np.testing.assert_allclose(outputs["point"], exact, rtol=1e-5, atol=1e-5)
    result = machine.run(program)
    result.check()
    bounds = machine.bounds(program)
    assert bounds.min_cycles <= result.cycles <= bounds.max_cycles
    # Lanes issued: every stored weight once per pixel; a last pixel by itself takes two lanes.
    nr = layer(result, "point").mapping["tiling"]["nr"]
    mask = tensors["point.mask"][0].T
    whole = mask[: co - co % nr].reshape(-1, nr, ci).any(axis=1).sum() * nr
    stored = int(whole + mask[co - co % nr :].sum())
    pixels = extent[0] * extent[1]
    assert layer(result, "point").issued_macs == stored * (pixels + pixels % 2)


def test_programs_of_another_machine_are_refused() -> None:
    machine = make_machine("sat")
    b = GraphBuilder("net")
    graph = b.build([b.linear("fc", b.input("x", (1, 4)), 4)])
    program = machine.lower(graph, map_graph(graph, machine))
    with pytest.raises(InputError, match="a program lowered for cpu"):
        make_machine("cpu").run(program)


def test_the_same_network_is_faster_on_a_wider_core_and_slower_on_a_small_one() -> None:
    graph = pointwise_net(64, 64, (10, 10), Unstructured(keep=0.1))
    times = {}
    for preset in ("sd835-little", "sd835", "sd855"):
        result, _, _ = run(graph, preset)
        times[preset] = result.cycles / result.clock_hz
    assert times["sd835-little"] > times["sd835"] > times["sd855"]
