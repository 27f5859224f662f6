"""Check what WUVE, SORE and the vector path are given: elements, bytes, and A10's balance."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest

from hwsim.core.errors import SpecError
from hwsim.core.graph import OpGraph, OpKind, Role
from hwsim.core.machine import make_machine
from hwsim.core.program import Program
from hwsim.sat.isa import UNITS
from hwsim.sat.lane_work import LaneWork, lane_unit, lane_work
from hwsim.sat.spec import PRESETS, SatSpec
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.training import training_graph

SPEC = PRESETS["vcu1525"]


@cache
def iteration(method: str, nm: tuple[int, int] = (2, 8), *, pregenerate: bool = True) -> OpGraph:
    """Return an iteration of a plain, a strided and a 1x1 convolution and a classifier."""
    b = GraphBuilder("net")
    x = b.relu("act0", b.conv("first", b.input("x", (2, 3, 8, 8)), 16, 3, pad=1, bias=False))
    x = b.conv("plain", x, 32, 3, pad=1, bias=False)
    x = b.relu("act1", b.conv("strided", x, 32, 3, stride=2, pad=1, bias=False))
    x = b.relu("act2", b.conv("pointwise", x, 16, 1))
    x = b.flatten("flat", b.global_pool("mean", x, "average"))
    graph = b.build([b.linear("head", x, 10)])
    return training_graph(graph, method, nm, pregenerate=pregenerate)


def work_of(graph: OpGraph, name: str, spec: SatSpec = SPEC) -> LaneWork:
    return lane_work(graph, graph.op(name), 0, spec)


def compact_bytes(elems: int, nm: tuple[int, int]) -> Fraction:
    """Return elems · 2 B · N (16 + log2 M) / (16 M): N slots of value and index per M values."""
    nm_n, nm_m = nm
    return Fraction(elems * 2 * nm_n * (16 + nm_m.bit_length() - 1), 16 * nm_m)


@pytest.mark.parametrize("layer", ["plain", "strided", "pointwise"])
@pytest.mark.parametrize(
    ("method", "copy"),
    # Only BDWP reads compact weights in both passes. SR-STE's BP reads its masked ones as dense.
    [("dense", 2), ("sr-ste", 2), ("sdgp", 2), ("sdwp", 2), ("bdwp", 0)],
)
def test_wuve_reads_10_bytes_per_weight_and_writes_8_and_a_copy_that_somebody_reads(
    method: str, copy: int, layer: str
) -> None:
    graph = iteration(method)
    elems = graph.tensors[f"{layer}.weight"].elems
    gradient, weight, momentum = 2, 4, 4
    assert work_of(graph, f"{layer}.weight.update") == LaneWork(
        unit="wuve",
        lanes=SPEC.wuve.lanes,
        bytes_in=elems * (gradient + weight + momentum),
        elems=elems,
        bytes_out=elems * (weight + momentum + copy),
    )


@pytest.mark.parametrize("name", ["first.weight", "head.weight", "head.bias", "pointwise.bias"])
def test_weights_that_stay_dense_are_copied_under_bdwp_too(name: str) -> None:
    graph = iteration("bdwp")
    elems = graph.tensors[name].elems
    assert work_of(graph, f"{name}.update").bytes_out == elems * (8 + 2)


def test_weights_selected_in_front_of_products_are_copied() -> None:
    graph = iteration("bdwp", pregenerate=False)
    elems = graph.tensors["plain.weight"].elems
    assert work_of(graph, "plain.weight.update").bytes_out == elems * (8 + 2)


@pytest.mark.parametrize("nm", [(1, 4), (2, 4), (1, 8), (2, 8), (4, 8), (2, 16)])
def test_sore_takes_32_values_per_cycle_whatever_n_and_writes_compact_groups(
    nm: tuple[int, int],
) -> None:
    graph = iteration("bdwp", nm)
    elems = 32 * 16 * 9
    work = work_of(graph, "plain.ff.prune")
    size = compact_bytes(elems, nm)
    assert size.denominator == 1
    assert work == LaneWork("sore", 32, 0, elems, int(size))  # weights come from WUVE, not memory
    assert cycles_of(lowered(graph), "sore", "plain.ff.prune") == elems // 32


@pytest.mark.parametrize("nm", [(2, 4), (2, 8), (2, 16)])
def test_selection_in_front_of_a_product_reads_what_the_product_does_not(
    nm: tuple[int, int],
) -> None:
    elems = 32 * 16 * 9
    work = work_of(iteration("bdwp", nm, pregenerate=False), "plain.bp.prune")
    assert work == LaneWork("sore", 32, elems * 2 - int(compact_bytes(elems, nm)), elems, 0)


@pytest.mark.parametrize(
    ("lanes", "nm", "used"), [(33, (2, 8), 32), (40, (2, 16), 32), (15, (2, 8), 8), (8, (2, 8), 8)]
)
def test_sore_selects_in_whole_tiles_of_m_lanes(lanes: int, nm: tuple[int, int], used: int) -> None:
    spec = make_machine("sat", settings=[f"sore.lanes={lanes}"]).spec
    assert isinstance(spec, SatSpec)
    graph = iteration("bdwp", nm)
    selections = [op for op in graph.ops() if op.kind is OpKind.NM_PRUNE]
    assert {lane_work(graph, op, 0, spec).lanes for op in selections} == {used}


def test_fewer_sore_lanes_than_a_tile_are_refused() -> None:
    machine = make_machine("sat", settings=["sore.lanes=7"])
    graph = iteration("bdwp")
    with pytest.raises(SpecError, match=r"sore\.lanes: need at least nm_m = 8, found 7"):
        machine.lower(graph, map_graph(graph, machine))


def test_selected_gradients_are_read_dense_and_written_compact() -> None:
    elems = 2 * 32 * 8 * 8  # dY of "plain"
    work = work_of(iteration("sdgp"), "plain.dy.prune")
    assert work == LaneWork("sore", 32, elems * 2, elems, int(compact_bytes(elems, (2, 8))))


def lowered(graph: OpGraph) -> Program:
    machine = make_machine("sat")
    return machine.lower(graph, map_graph(graph, machine))


def cycles_of(program: Program, unit: str, op: str | None = None) -> int:
    """Return the cycles of all work of ``unit``, or of that of one op."""
    rows, times = program.instructions, program.dynamic_counts()
    is_mine = rows["unit"] == UNITS.index(unit)
    if op is not None:
        is_mine &= rows["op_id"] == program.op_names.index(op)
    return int((rows["cycles"] * times)[is_mine].sum())


def moved(program: Program, direction: str) -> int:
    return sum(fact["bytes"]["dram"][direction] for fact in program.meta["ops"])


@pytest.mark.evidence("sat", "T1")
@pytest.mark.parametrize("nm", [(2, 4), (2, 8)])
def test_pre_generation_changes_traffic_by_dense_minus_compact_and_no_work(
    nm: tuple[int, int],
) -> None:
    before, after = (iteration("bdwp", nm, pregenerate=on) for on in (False, True))
    late, early = lowered(before), lowered(after)
    for unit in ("stce", "sore", "wuve", "vector"):
        assert cycles_of(early, unit) == cycles_of(late, unit) > 0, unit
    selected = [op.dims["elems"] for op in after.ops() if op.kind is OpKind.NM_PRUNE]
    dense = 2 * sum(selected)
    compact = sum(int(compact_bytes(elems, nm)) for elems in selected)
    # In front of products the dense copy is read instead of the compact one, …
    assert moved(late, "read") - moved(early, "read") == dense - compact
    # … and written instead of both compact ones, once for its two directions.
    assert moved(late, "write") - moved(early, "write") == dense // 2 - compact


def test_without_selection_pre_generation_changes_nothing() -> None:
    hashes = {lowered(iteration("dense", pregenerate=on)).program_hash() for on in (False, True)}
    assert len(hashes) == 1


def vector_graph(kind: str) -> OpGraph:
    b = GraphBuilder(kind)
    if kind == "softmax":
        return b.build([b.softmax("op", b.input("x", (4, 100)))])
    if kind == "layer_norm":
        return b.build([b.layer_norm("op", b.input("x", (4, 100)))])
    if kind == "batch_norm":
        return b.build([b.batch_norm("op", b.input("x", (4, 10, 6, 6)))])
    return b.build([b.pool("op", b.input("x", (4, 10, 6, 6)), "max", int(kind[-1]))])


@pytest.mark.parametrize(
    ("kind", "stages", "passes"),
    [
        ("softmax", 3, 3),  # maximum; exponentials and sum; scale
        ("softmax", 1, 3),
        ("layer_norm", 3, 2),  # both sums; scale and shift
        ("batch_norm", 3, 2),
        ("pool2", 3, 2),  # 4 comparisons, 3 in a chain
        ("pool3", 3, 3),
        ("pool3", 1, 9),
    ],
)
def test_vector_path_visits_each_result_once_per_pass(kind: str, stages: int, passes: int) -> None:
    graph = vector_graph(kind)
    op = graph.op("op")
    spec = SPEC.model_copy(update={"vector": SPEC.vector.model_copy(update={"stages": stages})})
    work = work_of(graph, "op", spec)
    out = graph.tensors[op.output].elems
    read = sum(graph.tensors[operand.tensor].elems for operand in op.inputs)
    assert work == LaneWork("vector", spec.vector.lanes, read * 2, out * passes, out * 2)


def test_a_sum_over_pixels_visits_its_operand_not_its_few_results() -> None:
    work = work_of(iteration("dense"), "pointwise.wu.bias")
    pixels = 2 * 16 * 4 * 4
    assert (work.elems, work.bytes_in, work.bytes_out) == (pixels, pixels * 2, 16 * 2)


def test_every_op_of_an_iteration_has_its_unit() -> None:
    kinds = {OpKind.WEIGHT_UPDATE: "wuve", OpKind.NM_PRUNE: "sore"}
    for op in iteration("bdwp").ops():
        if not op.is_gemm:
            assert lane_unit(op) == kinds.get(op.kind, "vector"), op.name
    weights = [op for op in iteration("bdwp").ops() if op.kind is OpKind.NM_PRUNE]
    assert all(op.inputs[0].role is Role.WEIGHT for op in weights)
