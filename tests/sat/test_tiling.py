"""Check the macro tilings that a mapper may choose from, and their predicted cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import MappingError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import make_machine
from hwsim.core.sparsity import NM
from hwsim.core.units import ceil_div
from hwsim.sat.plan import GemmPlan, Packing, conv_rows
from hwsim.sat.spec import PRESETS, SatSpec
from hwsim.sat.tiling import estimate_gemm, gemm_plans
from models.build import GraphBuilder

SPEC = PRESETS["vcu1525"]


def op_of(graph: OpGraph) -> Op:
    return next(graph.ops())


def linear(m: int, k: int, n: int, nm: tuple[int, int] | None = None) -> Op:
    b = GraphBuilder("linear")
    op = op_of(b.build([b.linear("fc", b.input("x", (m, k)), n, bias=False)]))
    if nm is None:
        return op
    x, weight = op.inputs
    pattern = NM(nm_n=nm[0], nm_m=nm[1])
    return op.model_copy(update={"inputs": (x, weight.model_copy(update={"pattern": pattern}))})


def conv(channels: int, size: int, batch: int = 1) -> Op:
    b = GraphBuilder("conv")
    x = b.input("x", (batch, channels, size, size))
    return op_of(b.build([b.conv("conv", x, channels, 3, pad=1)]))


def with_buffers(activation: int, weight: int, output: int) -> SatSpec:
    sizes = {"activation_bytes": activation, "weight_bytes": weight, "output_bytes": output}
    return SPEC.merge({"buffers": sizes})


@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize("op", [linear(100, 300, 200), conv(24, 20, 3)])
@pytest.mark.parametrize("size", [1 << 14, 1 << 16, 1 << 20])
def test_every_plan_fits_the_buffers_twice(dataflow: str, op: Op, size: int) -> None:
    spec = with_buffers(size, 1 << 16, size)
    plans = list(gemm_plans(op, dataflow, spec))
    assert plans
    for plan in plans:
        for buffer, need in plan.buffer_bytes().items():
            assert need <= spec.capacities()[buffer]


def test_os_never_cuts_the_reduction() -> None:
    spec = with_buffers(1 << 20, 1 << 17, 1 << 20)
    op = linear(64, 4096, 64)
    with pytest.raises(MappingError) as caught:
        list(gemm_plans(op, "os", spec))
    # One column tile of the whole reduction, FP16, both halves.
    assert caught.value.need_amount == 2 * 32 * 4096 * 2
    assert all(plan.k_tile < 4096 for plan in gemm_plans(op, "ws", spec))


@pytest.mark.parametrize(
    ("spec", "resource", "need"),
    [
        (with_buffers(1023, 1 << 20, 1 << 20), "fc: activation", 2 * 256 * 2),
        (with_buffers(1 << 20, 4095, 1 << 20), "fc: weight", 2 * 32 * 32 * 2),
        (with_buffers(1 << 20, 1 << 20, 255), "fc: output", 2 * 32 * 4),
    ],
)
def test_the_error_says_what_the_smallest_tile_needs(
    spec: SatSpec, resource: str, need: int
) -> None:
    # Smallest: one row of 256 inputs, one array tile of weights, one row of 32 FP32 sums.
    op = linear(100, 256, 64)
    with pytest.raises(MappingError) as caught:
        list(gemm_plans(op, "ws", spec))
    assert (caught.value.resource, caught.value.need_amount) == (resource, need)
    assert caught.value.have_amount == need - 1
    name = resource.removeprefix("fc: ")
    enough = spec.merge({"buffers": {f"{name}_bytes": need}})
    assert list(gemm_plans(op, "ws", enough))


def test_convolutions_are_cut_into_whole_output_rows() -> None:
    op = conv(8, 12, batch=4)
    for plan in gemm_plans(op, "ws", with_buffers(1 << 13, 1 << 16, 1 << 13)):
        rows, rest = divmod(plan.m_tile, op.dims["ow"])
        assert rest == 0
        assert op.dims["oh"] % rows == 0 or rows % op.dims["oh"] == 0


def test_a_pruned_layer_may_also_run_dense() -> None:
    patterns = {plan.nm for plan in gemm_plans(linear(16, 64, 32, (2, 8)), "ws", SPEC)}
    assert patterns == {(2, 8), (1, 1)}
    # A reduction of one group keeps 31 of 32 rows idle when sparse; dense fills 8 of them.
    short = linear(1000, 8, 32, (2, 8))
    cheapest = min(
        gemm_plans(short, "ws", SPEC), key=lambda plan: estimate_gemm(plan, SPEC).compute_cycles
    )
    assert cheapest.nm == (1, 1)


def test_scalesim_takes_the_product_whole() -> None:
    (plan,) = gemm_plans(linear(100, 300, 200), "is", PRESETS["scalesim"])
    assert (plan.m_tile, plan.n_tile, plan.k_tile) == (100, 200, 300)


def test_estimate_of_one_resident_tile_counts_each_tensor_once() -> None:
    op = linear(64, 128, 96)
    whole = [
        plan
        for plan in gemm_plans(op, "ws", SPEC)
        if (plan.m_tile, plan.n_tile, plan.k_tile) == (64, 96, 128) and plan.order == "mn"
    ]
    estimate = estimate_gemm(whole[0], SPEC)
    read, written = (64 * 128 + 128 * 96) * 2, 64 * 96 * 2
    assert (estimate.dram_read_bytes, estimate.dram_write_bytes) == (read, written)
    rate = SPEC.memory_bytes_per_cycle
    bytes_ = (read + written) * rate.denominator
    assert estimate.memory_cycles == ceil_div(bytes_, rate.numerator)
    # Nothing overlaps with a single tile: load, compute, store, and a latency each way.
    assert estimate.cycles == (
        estimate.compute_cycles + estimate.memory_cycles + 2 * SPEC.memory.latency_cycles
    )


def test_a_streamed_operand_is_read_once_per_tile_of_the_other() -> None:
    op = linear(256, 512, 256)
    spec = with_buffers(1 << 17, 1 << 17, 1 << 17)
    inputs, weights = 256 * 512 * 2, 512 * 256 * 2
    for plan in gemm_plans(op, "ws", spec):
        estimate = estimate_gemm(plan, spec)
        m_tiles, n_tiles = ceil_div(256, plan.m_tile), ceil_div(256, plan.n_tile)
        if plan.order == "mn":
            expected = inputs + weights * (1 if plan.is_weight_resident else m_tiles)
        else:
            expected = weights + inputs * (1 if plan.is_input_resident else n_tiles)
        assert estimate.dram_read_bytes == expected


@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize("nm", [(1, 1), (2, 8)])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 8, 1), (100, 1000, 70), (333, 2056, 129)])
def test_an_estimate_sums_tile_by_tile(
    dataflow: str, nm: tuple[int, int], m: int, k: int, n: int
) -> None:
    """Walk over every macro tile by itself, ragged ones and continued sums among them."""
    weight = 1 << 19 if dataflow == "os" else 1 << 15  # small enough for WS to cut k
    spec = with_buffers(1 << 16, weight, 1 << 16)
    op = linear(m, k, n, nm if nm[1] > 1 else None)
    for plan in gemm_plans(op, dataflow, spec):
        cycles = written = 0
        for rows in cut(m, plan.m_tile):
            for columns in cut(n, plan.n_tile):
                written += rows * columns * 2
                for index, depth in enumerate(cut(k, plan.k_tile)):
                    cycles += plan.timing(rows, columns, depth, index > 0).cycles
        estimate = estimate_gemm(plan, spec)
        assert (estimate.compute_cycles, estimate.dram_write_bytes) == (cycles, written)


def cut(total: int, tile: int) -> list[int]:
    return [min(tile, total - start) for start in range(0, total, tile)]


@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize("op", [linear(100, 300, 200, (2, 8)), conv(24, 20, 3)])
def test_a_machine_costs_a_candidate_as_the_mapping_it_stands_for(dataflow: str, op: Op) -> None:
    machine = make_machine("sat")
    costed = [(cost, mapping()) for cost, mapping in machine.costed_candidates(op, dataflow)]
    assert costed
    assert [mapping for _, mapping in costed] == list(machine.candidates(op, dataflow))
    assert all(cost == machine.estimate(op, mapping) for cost, mapping in costed)


@given(
    channels=st.integers(1, 40),
    size=st.integers(1, 40),
    batch=st.integers(1, 9),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
)
def test_no_buffer_needs_less_for_more_rows(
    channels: int, size: int, batch: int, kernel: int, stride: int
) -> None:
    # What the search for the largest fitting tile relies on.
    b = GraphBuilder("conv")
    x = b.input("x", (batch, channels, size, size))
    layer = b.conv("conv", x, 8, kernel, pad=kernel // 2, stride=stride)
    op = op_of(b.build([layer]))
    single = Packing("single", 1)
    lowest = GemmPlan(op, "ws", "mn", single, (1, 1), op.dims["ow"], 8, 8, SPEC.array)
    rows = conv_rows(op)
    assert rows == sorted(rows)
    needs = [lowest.resized("m_tile", count * op.dims["ow"]).buffer_bytes() for count in rows]
    for less, more in zip(needs, needs[1:], strict=False):
        assert all(less[name] <= more[name] for name in less)


def test_a_resized_plan_is_the_plan_of_that_size() -> None:
    op = conv(24, 20)
    single = Packing("single", 1)
    plans = [GemmPlan(op, "ws", "mn", single, (1, 1), m, 8, 8, SPEC.array) for m in (20, 100)]
    assert plans[0].timing(20, 8, 8) != plans[1].timing(100, 8, 8)  # fills what plans remember
    assert plans[0].resized("m_tile", 100) == plans[1]
    assert plans[0].resized("m_tile", 100).buffer_bytes() == plans[1].buffer_bytes()
    assert plans[0].m_tile == 20
