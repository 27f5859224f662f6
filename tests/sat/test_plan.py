"""Check how an op is cut into tiles and how groups share the array."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, Operand, OpKind
from hwsim.core.sparsity import NM, Pattern, Unstructured
from hwsim.sat.plan import (
    GemmPlan,
    Packing,
    array_dims,
    nm_of,
    packings,
    phases,
    plan_gemm,
    row_units,
    swaps_operands,
)
from hwsim.sat.spec import PRESETS, ArraySpec
from models.build import GraphBuilder

SPEC = PRESETS["vcu1525"]


def conv(ci: int, co: int, size: int, *, batch: int = 1, **options: int) -> Op:
    b = GraphBuilder("conv")
    x = b.input("x", (batch, ci, size, size))
    return next(b.build([b.conv("conv", x, co, 3, pad=1, **options)]).ops())


def pruned(op: Op, pattern: Pattern) -> Op:
    x, weight, *rest = op.inputs
    inputs = (x, weight.model_copy(update={"pattern": pattern}), *rest)
    return op.model_copy(update={"inputs": inputs})


def plan(op: Op, tile: tuple[int, int, int], packing: Packing | None = None) -> GemmPlan:
    return GemmPlan(op, "ws", "mn", packing or Packing("single", 1), nm_of(op), *tile, SPEC.array)


@given(total=st.integers(1, 500), tile=st.integers(1, 500))
def test_phases_cover_everything_in_order_once(total: int, tile: int) -> None:
    found = phases(total, tile)
    sizes = [phase.size for phase in found for _ in range(phase.repeat)]
    assert sum(sizes) == total
    assert all(size == tile for size in sizes[:-1])
    assert 0 < sizes[-1] <= tile
    assert [phase.is_first for phase in found] == [True] + [False] * (len(found) - 1)
    assert [phase.is_last for phase in found] == [False] * (len(found) - 1) + [True]
    # First and last are told apart from what repeats, so that a program stays short.
    assert len(found) <= 4
    assert all(phase.repeat == 1 for phase in found if phase.is_first or phase.is_last)


def test_convolution_tiles_hold_whole_output_rows() -> None:
    assert row_units(conv(8, 8, 14)) == 14
    b = GraphBuilder("linear")
    assert row_units(next(b.build([b.linear("fc", b.input("x", (4, 4)), 4)]).ops())) == 1


@pytest.mark.parametrize(
    ("rows", "in_rows"),
    # One output row of a 3x3 window needs 3 input rows; the image has only 14.
    [(1, 3), (2, 4), (12, 14), (13, 14), (14, 14), (15, 14 + 3), (28, 28)],
)
def test_a_tile_of_output_rows_reads_its_halo(rows: int, in_rows: int) -> None:
    op = conv(8, 8, 14, batch=2)
    made = plan(op, (14 * rows, 8, 72))
    assert made.input_bytes(14 * rows, 1) == in_rows * 14 * 8 * 2


def test_strided_windows_read_stride_rows_per_output_row() -> None:
    op = conv(8, 8, 14, stride=2)
    assert plan(op, (7, 8, 72)).input_bytes(7 * 3, 1) == (2 * 2 + 3) * 14 * 8 * 2


def test_depthwise_convolutions_may_share_a_tile() -> None:
    # 9 taps deep, 1 column wide: 3 groups on the diagonal of 32 rows; gathered, 8 groups share
    # the rows of one tap, so that 32 columns take 4 x 9 = 36 > 32 rows: 3 x 8 = 24 groups.
    found = {p.kind: p for p in packings(conv(40, 40, 8, groups=40), SPEC.array)}
    assert found["single"] == Packing("single", 1)
    assert found["diagonal"] == Packing("diagonal", 3)
    assert found["gather"] == Packing("gather", 24, 8)


def test_gathered_groups_fill_one_array_tile() -> None:
    op = conv(40, 40, 8, groups=40)
    gemm = Packing("gather", 24, 8).gemm(op.gemm(), 64, 24, (1, 1))
    assert (gemm.nm_n, gemm.nm_m, gemm.n) == (1, 8, 24)
    assert gemm.k_groups == 3 * 9 <= SPEC.array.rows
    ragged = Packing("gather", 24, 8).gemm(op.gemm(), 64, 16, (1, 1))
    assert (ragged.k_groups, ragged.n) == (2 * 9, 16)


def test_plain_and_wide_convolutions_are_not_packed() -> None:
    assert packings(conv(40, 40, 8), SPEC.array) == [Packing("single", 1)]
    assert packings(conv(128, 128, 8, groups=2), SPEC.array) == [Packing("single", 1)]
    scalesim = ArraySpec(timing="scalesim")
    assert packings(conv(40, 40, 8, groups=40), scalesim) == [Packing("single", 1)]


def test_patterns_the_array_cannot_skip_are_refused() -> None:
    op = conv(32, 32, 8)
    assert nm_of(op) == (1, 1)
    assert nm_of(pruned(op, NM(nm_n=2, nm_m=8))) == (2, 8)
    for pattern in (Unstructured(keep=0.5), NM(nm_n=2, nm_m=8, axis=1), NM(nm_n=1, nm_m=64)):
        with pytest.raises(InputError, match="conv: (pattern|operand multiplexer)"):
            nm_of(pruned(op, pattern))


@pytest.mark.parametrize("packing", [Packing("single", 1), Packing("gather", 24, 8)])
def test_a_mapping_gives_its_plan_back(packing: Packing) -> None:
    op = conv(40, 40, 8, groups=40)
    made = plan(op, (16, 24, 216), packing)
    assert plan_gemm(op, made.to_mapping(), SPEC) == made


def test_buffers_hold_two_of_every_tile() -> None:
    op = pruned(conv(32, 64, 14), NM(nm_n=2, nm_m=8))
    made = plan(op, (28, 64, 288))
    assert made.buffer_bytes() == {
        "activation": 2 * (4 * 14 * 32 * 2),
        "weight": 2 * (36 * 2 * 64 * 19 // 8),
        "output": 2 * (28 * 64 * 4),
    }


def sliced(op: Op, tile: tuple[int, int, int]) -> GemmPlan:
    return GemmPlan(op, "os", "sliced", Packing("single", 1), (1, 1), *tile, SPEC.array)


def gradient(op: Op, kind: OpKind) -> Op:
    """Return the product that reduces over the pixels or rows of ``op``."""
    dims = dict(op.dims)
    if kind is OpKind.MATMUL:
        dims = {"batch": 1, "m": op.dims["k"], "k": op.dims["batch"], "n": op.dims["n"]}
    inputs = (Operand(tensor="x"), Operand(tensor="dy"))
    return op.model_copy(update={"kind": kind, "dims": dims, "inputs": inputs})


@pytest.mark.parametrize(("rows", "in_rows"), [(1, 3), (4, 6), (14, 14), (28, 28)])
def test_a_slice_of_a_weight_gradient_reads_x_with_halo_and_the_same_pixels_of_dy(
    rows: int, in_rows: int
) -> None:
    op = gradient(conv(8, 40, 14, batch=2), OpKind.CONV_WGRAD)
    made = sliced(op, (72, 32, 14 * rows))
    assert (made.m, row_units(op)) == (8 * 9, 14)
    assert made.input_bytes(72, 1, 14 * rows) == in_rows * 14 * 8 * 2
    assert made.weight_bytes(32, 14 * rows, 1) == 14 * rows * 32 * 2
    assert made.output_bytes(72, 32) == 72 * 32 * 2


def test_a_slice_of_a_matrix_product_reads_its_part_of_both_operands() -> None:
    b = GraphBuilder("linear")
    fc = next(b.build([b.linear("fc", b.input("x", (300, 64)), 96, bias=False)]).ops())
    made = sliced(gradient(fc, OpKind.MATMUL), (64, 32, 100))
    assert (made.dims.m, made.dims.k, made.dims.n) == (64, 300, 96)
    assert made.input_bytes(64, 1, 100) == 64 * 100 * 2
    assert made.weight_bytes(32, 100, 1) == 100 * 32 * 2
    assert made.to_mapping().loop_order == "mn(k)"
    assert plan_gemm(made.op, made.to_mapping(), SPEC) == made


def test_sparse_activations_turn_the_product_over() -> None:
    op = conv(64, 32, 8)
    x = op.inputs[0].model_copy(update={"pattern": NM(nm_n=2, nm_m=8, axis=1)})
    turned = op.model_copy(update={"inputs": (x, *op.inputs[1:])})
    assert swaps_operands(turned)
    assert not swaps_operands(op)
    dims = array_dims(turned)
    assert (dims.m, dims.k, dims.n) == (32, 64 * 9, 8 * 8)
    assert nm_of(turned) == (2, 8)
    # The mask must lie along the reduction, which for activations is their second axis.
    wrong = op.model_copy(update={"inputs": (pruned_operand(x, 0), *op.inputs[1:])})
    with pytest.raises(InputError, match="along the reduction"):
        nm_of(wrong)


def pruned_operand(operand: Operand, axis: int) -> Operand:
    return operand.model_copy(update={"pattern": NM(nm_n=2, nm_m=8, axis=axis)})
