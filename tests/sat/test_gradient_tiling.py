"""Check the tilings of weight gradients (cut along k) and of transposed input gradients."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hwsim.core.errors import MappingError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import make_machine
from hwsim.core.units import round_up
from hwsim.sat.gradient_tiling import sliced_plans, smallest_gradient_plan, transposed_plans
from hwsim.sat.machine import SatMachine
from hwsim.sat.plan import GemmPlan, swaps_operands
from hwsim.sat.spec import PRESETS, SatSpec
from hwsim.sat.tiling import gemm_plans
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.training import training_graph

DEFAULT = PRESETS["vcu1525"]
BUFFERS = st.sampled_from([1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 22])


def conv_iteration(
    ci: int,
    co: int,
    size: int,
    *,
    batch: int = 1,
    kernel: int = 3,
    method: str = "dense",
    **geo: int,
) -> OpGraph:
    """Return an iteration of one convolution "c" whose input needs a gradient too."""
    b = GraphBuilder("conv")
    x = b.input("x", (batch, ci, size, size))
    graph = b.build([b.conv("c", x, co, kernel, pad=kernel // 2, bias=False, **geo)])
    return training_graph(graph, method, (2, 8), input_gradients=("x",))


def linear_iteration(rows: int, k: int, n: int, method: str = "dense") -> OpGraph:
    """Return an iteration of a fully connected layer "fc" that another one follows."""
    b = GraphBuilder("linear")
    x = b.linear("fc", b.input("x", (rows, k)), n, bias=False)
    graph = b.build([b.linear("head", x, 8, bias=False)])
    return training_graph(graph, method, (2, 8), input_gradients=("x",))


@st.composite
def specs(draw: st.DrawFn) -> SatSpec:
    sizes = {f"{name}_bytes": draw(BUFFERS) for name in ("activation", "weight", "output")}
    return DEFAULT.model_copy(update={"buffers": DEFAULT.buffers.model_copy(update=sizes)})


@st.composite
def weight_gradients(draw: st.DrawFn) -> OpGraph:
    extents = [draw(st.integers(1, most)) for most in (70, 70)]
    if draw(st.booleans()):
        return linear_iteration(draw(st.integers(1, 300)), *extents)
    options = {"batch": draw(st.integers(1, 9)), "kernel": draw(st.sampled_from([1, 3]))}
    return conv_iteration(
        *extents, draw(st.integers(3, 20)), stride=draw(st.integers(1, 2)), **options
    )


def covered(plan: GemmPlan) -> tuple[int, int, int]:
    """Return the extents that the macro tiles of a plan add up to."""
    sides = (plan.m_phases(), plan.n_phases(1), plan.k_phases(1))
    m, n, k = (sum(phase.size * phase.repeat for phase in side) for side in sides)
    return m, n, k


@settings(max_examples=60)
@given(weight_gradients(), specs(), st.sampled_from(["ws", "os"]))
def test_slices_fit_the_buffers_and_cover_the_product(
    graph: OpGraph, spec: SatSpec, dataflow: str
) -> None:
    op = next(op for op in graph.ops() if op.name in ("c.wu", "fc.wu"))
    plans = list(sliced_plans(op, dataflow, spec))
    dims, unit = op.gemm(), op.dims.get("ow", 1)
    for plan in plans:
        assert (plan.order, plan.nm) == ("sliced", (1, 1))
        assert covered(plan) == (dims.m, dims.n, dims.k)
        assert plan.k_tile % unit == 0  # whole output rows
        have = spec.capacities()
        assert all(need <= have[buffer] for buffer, need in plan.buffer_bytes().items())
    smallest = smallest_gradient_plan(op, dataflow, spec)
    assert bool(plans) == smallest.fits(spec)
    if not plans and op.kind is OpKind.CONV_WGRAD:
        with pytest.raises(MappingError) as caught:
            list(gemm_plans(op, dataflow, spec))
        assert caught.value.need_amount > caught.value.have_amount
        assert caught.value.resource.startswith("c.wu")


@pytest.mark.parametrize("buffer", ["activation", "weight", "output"])
@pytest.mark.parametrize(("method", "name"), [("dense", "c.wu"), ("sdgp", "c.bp")])
def test_a_gradient_that_cannot_fit_names_the_buffer(buffer: str, method: str, name: str) -> None:
    op = conv_iteration(64, 64, 14, batch=2, method=method).op(name)
    tiny = DEFAULT.buffers.model_copy(update={f"{buffer}_bytes": 64})
    for dataflow in ("ws", "os"):
        with pytest.raises(MappingError, match=f"{name}: {buffer}: need .* bytes, found 64 bytes"):
            list(gemm_plans(op, dataflow, DEFAULT.model_copy(update={"buffers": tiny})))


def test_rows_of_dw_are_cut_only_if_the_output_buffer_cannot_hold_them() -> None:
    op = conv_iteration(64, 64, 14, batch=8).op("c.wu")
    assert {plan.m_tile for plan in sliced_plans(op, "os", DEFAULT)} == {64 * 9}
    # Two halves of 32 columns of FP32 sums: 65536 / (2 · 32 · 4) = 256 rows at most.
    small = DEFAULT.buffers.model_copy(update={"output_bytes": 65536})
    plans = list(sliced_plans(op, "os", DEFAULT.model_copy(update={"buffers": small})))
    halves = (64 * 9, round_up(64 * 9 // 2, 32), round_up(64 * 9 // 4, 32))
    assert {plan.m_tile for plan in plans} == {max(m for m in halves if m <= 256)}


def lowered_fact(graph: OpGraph, name: str, spec_settings: tuple[str, ...] = ()) -> dict[str, Any]:
    machine = make_machine("sat", settings=spec_settings)
    program = machine.lower(graph, map_graph(graph, machine))
    return next(fact for fact in program.meta["ops"] if fact["name"] == name)


def test_one_slice_reads_x_and_dy_once_and_writes_dw() -> None:
    # 16 -> 24 channels, 3x3, stride 2 on two images of 9x9: dY is 5x5; 24 columns are one tile.
    fact = lowered_fact(conv_iteration(16, 24, 9, batch=2, stride=2), "c.wu")
    x, dy, dw = 2 * 16 * 9 * 9, 2 * 24 * 5 * 5, 24 * 16 * 9
    assert fact["mapping"]["tiling"] == {"m": 16 * 9, "n": 24, "k": 2 * 5 * 5}
    assert fact["macs"] == dw * 2 * 5 * 5
    assert fact["bytes"]["dram"] == {"read": (x + dy) * 2, "write": dw * 2}


def test_a_slice_reads_its_halo_again_and_both_operands_are_read_for_every_tile_of_dw() -> None:
    op = conv_iteration(8, 64, 12, batch=1).op("c.wu")
    plan = next(
        GemmPlan(op, "os", "sliced", made.packing, (1, 1), 8 * 9, 32, 4 * 12, made.array)
        for made in sliced_plans(op, "os", DEFAULT)
    )
    # 4 of 12 output rows need 6 input rows of 12 pixels and 8 channels, FP16.
    assert plan.input_bytes(8 * 9, 1, 4 * 12) == 6 * 12 * 8 * 2
    assert plan.weight_bytes(32, 4 * 12, 1) == 4 * 12 * 32 * 2
    machine = make_machine("sat")
    assert isinstance(machine, SatMachine)
    estimate = machine.estimate(op, plan.to_mapping())
    slices, columns = 3, 2
    assert estimate.dram_read_bytes == columns * slices * (6 * 12 * 8 * 2 + 4 * 12 * 32 * 2)
    assert estimate.dram_write_bytes == 64 * 8 * 9 * 2


@pytest.mark.parametrize(
    ("stride", "names"), [(1, ["c.bp"]), (2, [f"c.bp.p{i}" for i in range(4)])]
)
def test_sparse_gradients_are_skipped_by_the_transposed_product_without_cutting_its_reduction(
    stride: int, names: list[str]
) -> None:
    graph = conv_iteration(40, 64, 8, batch=2, stride=stride, method="sdgp")
    for name in names:
        op = graph.op(name)
        assert swaps_operands(op)
        dims = op.gemm()
        plans = [p for flow in ("ws", "os") for p in transposed_plans(op, flow, DEFAULT)]
        assert plans
        for plan in plans:
            assert plan.is_transposed
            assert plan.nm == (2, 8)
            assert plan.k_tile == dims.k
            assert covered(plan) == (dims.n, dims.m, dims.k)
            assert plan.fits(DEFAULT)


def test_the_array_takes_a_quarter_of_the_slots_for_2_8_gradients() -> None:
    def issued(method: str) -> int:
        graph = conv_iteration(64, 64, 16, batch=4, method=method)
        return int(lowered_fact(graph, "c.bp")["issued_macs"])

    # All extents are whole tiles, so that no padding blurs the ratio.
    assert issued("sdgp") * 4 == issued("dense")


def test_transposed_products_read_weights_dense_and_gradients_compact() -> None:
    graph = conv_iteration(32, 64, 8, batch=1, method="sdgp")
    (plan, *_) = (
        plan for plan in transposed_plans(graph.op("c.bp"), "ws", DEFAULT) if plan.n_tile == 64
    )
    dy, weights = 64 * 8 * 8, 32 * 64 * 9
    assert (
        plan.weight_bytes(64, 9 * 64, 1) == dy * 2 // 8 * (16 + 3) // 8
    )  # 2 slots of 19 bits per 8
    assert plan.input_bytes(32, 1) == weights * 2
    fact = lowered_fact(graph, "c.bp")
    assert fact["bytes"]["dram"] == {
        "read": dy * 2 // 8 * 19 // 8 + weights * 2,
        "write": 32 * 8 * 8 * 2,
    }


def test_linear_gradients_are_transposed_too() -> None:
    op = linear_iteration(48, 40, 64, "sdgp").op("fc.bp")
    plans = list(transposed_plans(op, "os", DEFAULT))
    assert {covered(plan) for plan in plans} == {(40, 48, 64)}
    assert all(plan.nm == (2, 8) and plan.k_tile == 64 for plan in plans)


def test_products_of_other_kinds_are_not_sliced() -> None:
    graph = conv_iteration(8, 8, 8)
    assert list(sliced_plans(graph.op("c"), "ws", DEFAULT)) == []
    assert list(sliced_plans(graph.op("c.bp"), "ws", DEFAULT)) == []
    assert not swaps_operands(graph.op("c.wu"))


@settings(max_examples=25)
@given(weight_gradients(), BUFFERS)
def test_estimate_and_lowering_speak_of_the_same_bytes(graph: OpGraph, size: int) -> None:
    settings_ = (f"buffers.activation_bytes={size}", "buffers.output_bytes=16384")
    machine = make_machine("sat", settings=settings_)
    op = next(op for op in graph.ops() if op.name in ("c.wu", "fc.wu"))
    try:
        mappings = map_graph(graph, machine)
    except MappingError:
        assume(False)
    mapping = next(found for found in mappings if found.op == op.name)
    estimate = machine.estimate(op, mapping)
    program = machine.lower(graph, mappings)
    fact = next(fact for fact in program.meta["ops"] if fact["name"] == op.name)
    assert fact["bytes"]["dram"] == {
        "read": estimate.dram_read_bytes,
        "write": estimate.dram_write_bytes,
    }
    assert fact["issued_macs"] == estimate.issued_macs
