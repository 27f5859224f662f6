"""Check that the mapper takes the cheapest candidate, and what it does without one."""

from __future__ import annotations

import pytest

from hwsim.core.errors import InputError, MappingError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.machine import Machine, make_machine
from mappers import greedy
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.zoo import load_model


def linear_graph(m: int, k: int, n: int) -> OpGraph:
    b = GraphBuilder("linear")
    return b.build([b.linear("fc", b.input("x", (m, k)), n)])


def mixed_graph() -> OpGraph:
    b = GraphBuilder("mixed")
    x = b.input("x", (2, 16, 14, 14))
    x = b.relu("relu", b.conv("conv", x, 48, 3, pad=1))
    x = b.pool("pool", b.conv("depthwise", x, 48, 3, pad=1, groups=48), "max", 2)
    x = b.flatten("flat", x)
    return b.build([b.softmax("softmax", b.linear("fc", x, 30))])


def test_every_matrix_product_gets_the_cheapest_candidate() -> None:
    machine = make_machine("sat")
    graph = mixed_graph()
    for op, mapping in zip(graph.ops(), map_graph(graph, machine), strict=True):
        if not op.is_gemm:
            continue
        candidates = [c for flow in ("ws", "os") for c in machine.candidates(op, flow)]
        assert len(candidates) > 1
        cheapest = min(machine.estimate(op, candidate).cycles for candidate in candidates)
        assert machine.estimate(op, mapping).cycles == cheapest
        assert max(machine.estimate(op, c).cycles for c in candidates) > cheapest


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_a_wanted_dataflow_is_used_for_every_product(dataflow: str) -> None:
    machine = make_machine("sat")
    graph = mixed_graph()
    mappings = map_graph(graph, machine, dataflow=dataflow)
    flows = {m.dataflow for op, m in zip(graph.ops(), mappings, strict=True) if op.is_gemm}
    assert flows == {dataflow}


def test_shared_choices_are_those_of_separate_searches_and_searched_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, graph = make_machine("sat"), mixed_graph()
    searched: list[str] = []
    search = greedy._search

    def noted(op: Op, machine: Machine, flow: str) -> greedy.Choice:
        searched.append(flow)
        return search(op, machine, flow)

    monkeypatch.setattr(greedy, "_search", noted)
    apart = {flow: map_graph(graph, machine, dataflow=flow) for flow in ("auto", "ws", "os")}
    products = sum(op.is_gemm for op in graph.ops())
    assert len(searched) == 4 * products  # both flows for auto, then each by itself
    searched.clear()
    known: greedy.Known = {}
    for flow, mappings in apart.items():
        assert map_graph(graph, machine, dataflow=flow, known=known) == mappings
    assert len(searched) == 2 * products


def test_a_refusal_that_is_known_names_the_op_that_asks() -> None:
    machine = make_machine("sat", settings=["buffers.weight_bytes=1024"])
    known: greedy.Known = {}
    for name in ("first", "second"):
        b = GraphBuilder("linear")
        graph = b.build([b.linear(name, b.input("x", (8, 4096)), 64)])
        with pytest.raises(MappingError, match=name):
            map_graph(graph, machine, dataflow="os", known=known)


def test_a_dataflow_the_machine_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="auto or one of ws, os on sat"):
        map_graph(linear_graph(4, 4, 4), make_machine("sat"), dataflow="is")
    scalesim = make_machine("sat", "scalesim")
    assert map_graph(linear_graph(4, 4, 4), scalesim, dataflow="is")[0].dataflow == "is"


def test_every_mapping_fits_its_machine() -> None:
    small = ["buffers.activation_bytes=131072", "buffers.weight_bytes=65536"]
    for settings in ([], small):
        machine = make_machine("sat", settings=settings)
        graph = load_model("resnet18")
        mappings = map_graph(graph, machine)
        assert [mapping.op for mapping in mappings] == [op.name for op in graph.ops()]
        for mapping in mappings:
            mapping.check(machine.spec)


def test_auto_falls_back_to_the_dataflow_that_fits() -> None:
    # OS keeps the whole reduction of a column tile in half the weight buffer: 32 columns of
    # 2048 FP16 weights need 128 KiB, twice for double buffering; WS can cut the reduction.
    graph = linear_graph(64, 2048, 64)
    machine = make_machine("sat", settings=["buffers.weight_bytes=65536"])
    with pytest.raises(MappingError) as caught:
        map_graph(graph, machine, dataflow="os")
    assert caught.value.resource == "fc: weight"
    assert (caught.value.need_amount, caught.value.have_amount) == (2 * 32 * 2048 * 2, 65536)
    assert map_graph(graph, machine)[0].dataflow == "ws"


def test_if_nothing_fits_the_error_names_buffer_need_and_have() -> None:
    # One row of 2048 FP16 activations, twice.
    machine = make_machine("sat", settings=["buffers.activation_bytes=4096"])
    with pytest.raises(MappingError, match="fc: activation: need 8192 bytes, found 4096 bytes"):
        map_graph(linear_graph(64, 2048, 64), machine)


def test_views_need_no_unit_and_unknown_operators_are_unmodelled() -> None:
    b = GraphBuilder("odd")
    x = b.flatten("flat", b.input("x", (2, 3, 4, 5)))
    odd = b.add(OpKind.UNMODELLED, "odd", [x], (2, 60), attrs={"operator": "Odd"})
    graph = b.build([b.softmax("softmax", odd)])
    flows = [mapping.dataflow for mapping in map_graph(graph, make_machine("sat"))]
    assert flows == ["none", "unmodelled", "vector"]


def test_equal_layers_get_equal_mappings_under_their_own_names() -> None:
    b = GraphBuilder("twins")
    x = b.linear("first", b.input("x", (9, 40)), 40)
    graph = b.build([b.linear("second", x, 40)])
    first, second = map_graph(graph, make_machine("sat"))
    assert (first.op, second.op) == ("first", "second")
    assert first.model_copy(update={"op": "second"}) == second


def test_fusion_can_be_switched_off() -> None:
    machine = make_machine("sat")
    fused = {m.op: m for m in map_graph(mixed_graph(), machine)}
    apart = {m.op: m for m in map_graph(mixed_graph(), machine, fuse=False)}
    assert fused["relu"].dataflow == "fused"
    assert fused["relu"].placement == {"into": "conv"}
    assert apart["relu"].dataflow == "vector"
