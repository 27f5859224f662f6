"""Check what stepping the array shows: values bit for bit, and cycles counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact, decode_nm, encode_nm
from hwsim.sat.pe import step_gemm
from hwsim.sat.spec import ArraySpec

BARE: dict[str, Any] = {
    "rows": 1,
    "cols": 1,
    "multiplier_latency_cycles": 0,
    "adder_latency_cycles": 1,
    "interleave": 1,
    "edge_elems_per_cycle": 8,
}
"""One PE whose product is multiplied, added and gone within one cycle."""

LIMIT = 100_000


def make_array(**changes: Any) -> ArraySpec:
    return ArraySpec(**{**BARE, **changes})


def draw_operands(
    m: int, k: int, n: int, nm_n: int, nm_m: int, seed: int = 0
) -> tuple[NDArray[np.float16], NMCompact]:
    """Return random A and compact B whose groups each keep ``nm_n`` random elements."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((m, k)).astype(np.float16)
    b = rng.standard_normal((k, n)).astype(np.float16)
    groups = -(-k // nm_m)
    order = np.argsort(rng.random((groups, nm_m, n)), axis=1)
    mask = (np.argsort(order, axis=1) < nm_n).reshape(groups * nm_m, n)[:k]
    return a, encode_nm(b, mask, nm_n, nm_m)


def sum_in_order(a: NDArray[np.float16], b: NMCompact) -> NDArray[np.float32]:
    """Return A · B summed from +0, one float32 addition per element, in the order of k."""
    left, right = a.astype(np.float32), decode_nm(b).astype(np.float32)
    total = np.zeros((a.shape[0], right.shape[1]), np.float32)
    for k in range(b.k):
        total = total + left[:, k, None] * right[None, k]
    return total


def cycles(array: ArraySpec, dataflow: Any, m: int, k: int, n: int, nm: str = "1:1") -> int:
    nm_n, nm_m = (int(part) for part in nm.split(":"))
    a, b = draw_operands(m, k, n, nm_n, nm_m)
    return step_gemm(array, dataflow, a, b, max_cycles=LIMIT).cycles


def same_bits(left: NDArray[np.float32], right: NDArray[np.float32]) -> bool:
    return left.tobytes() == np.ascontiguousarray(right).tobytes()


def test_one_product_takes_one_cycle_beside_load_or_drain() -> None:
    # WS: the weight is loaded in cycle 0, multiplied in cycle 1. OS: cycle 1 shifts out.
    assert cycles(make_array(), "ws", 1, 1, 1) == 2
    assert cycles(make_array(), "os", 1, 1, 1) == 2


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_latencies_are_paid_once_by_one_product(dataflow: str) -> None:
    array = make_array(multiplier_latency_cycles=3, adder_latency_cycles=5)
    assert cycles(array, dataflow, 1, 1, 1) == 2 + 3 + (5 - 1)


def test_dense_ws_costs_stream_and_skew_per_tile() -> None:
    # 2 x 2 PEs, 1-cycle adder: row 1 runs 1 cycle and column 1 one cycle later, so that the last
    # of m = 5 rows leaves 5 + 2 + 2 - 2 = 7 cycles after the tile's start. 3 x 2 tiles for k = 5,
    # n = 3; the first load takes R = 2 cycles, the others hide.
    assert cycles(make_array(rows=2, cols=2), "ws", 5, 5, 3) == 2 + 3 * 2 * (5 + 2 + 2 - 2)


def test_dense_os_costs_stream_skew_and_drain_per_tile() -> None:
    # One product per cycle for k = 7, then R + C - 2 cycles until PE (1, 2) is done, then R shifts.
    assert cycles(make_array(rows=2, cols=3), "os", 4, 7, 6) == 2 * 2 * (7 + 3 + 2)


@pytest.mark.parametrize(("k", "adder"), [(1, 6), (4, 6), (4, 1)])
def test_lone_partial_sum_waits_for_the_adder(k: int, adder: int) -> None:
    # OS with one entry: products enter the adder L apart, the last needs L, then one shift.
    array = make_array(adder_latency_cycles=adder)
    assert cycles(array, "os", 1, k, 1) == (k - 1) * adder + adder + 1


@pytest.mark.parametrize(("interleave", "expected"), [(1, 12), (3, 12), (6, 12), (8, 16)])
def test_one_more_group_costs_two_rounds_of_the_adder(interleave: int, expected: int) -> None:
    # 2:8 with L = 6: each of the N = 2 products of a group waits for max(I, L) cycles.
    array = make_array(adder_latency_cycles=6, interleave=interleave)
    runs = [cycles(array, "os", interleave, k, 1, "2:8") for k in (64, 72)]
    assert runs[1] - runs[0] == expected


def test_ws_tail_step_with_few_entries_waits_for_the_adder() -> None:
    # N = 2, I = 4, L = 4: a full step issues 8 products in 8 cycles; the tail of one entry issues
    # its two products 4 apart, i.e. in 5 cycles. Load 2, then U = 13, plus L - 1.
    array = make_array(adder_latency_cycles=4, interleave=4)
    assert cycles(array, "ws", 5, 2, 1, "2:2") == 2 + 13 + 3


def test_load_hides_under_the_skew_but_shows_when_tiles_overlap() -> None:
    # 4 x 1 PEs, m = 1: a tile takes 1 + 3 cycles, exactly the 4 cycles of the next load.
    assert cycles(make_array(rows=4), "ws", 1, 8, 1) == 4 + 4 + 4
    # With skew overlap the lanes are free after m cycles, but the last PE takes its weights over in
    # cycle 3, the next load ends in cycle 7 and a tile starts in cycle 8 at the earliest.
    overlap = make_array(rows=4, overlap_skew=True)
    assert cycles(overlap, "ws", 6, 8, 1) == 4 + 8 + (6 + 3)
    assert cycles(overlap, "ws", 8, 8, 1) == 4 + 8 + (8 + 3)
    assert cycles(overlap, "ws", 9, 8, 1) == 4 + 9 + (9 + 3)


def test_single_buffered_weights_load_for_every_tile() -> None:
    single = make_array(rows=2, cols=2, has_double_buffered_weights=False)
    assert cycles(single, "ws", 5, 5, 3) == 3 * 2 * (2 + 5 + 2 + 2 - 2)


def test_narrow_edge_stretches_every_group() -> None:
    # 1:4 over a lane of one element per cycle: a group needs 4 beats and one product, so that
    # m = 3 products issue in cycles 3, 7 and 11 of the tile, after one load cycle.
    array = make_array(edge_elems_per_cycle=1)
    assert cycles(array, "ws", 3, 4, 1, "1:4") == 1 + 12
    assert cycles(make_array(edge_elems_per_cycle=4), "ws", 3, 4, 1, "1:4") == 1 + 3


def test_skew_overlap_pays_the_skew_once() -> None:
    # 3 x 2 tiles as above, now 5 cycles apart: the weights of the next tile are in place
    # (R - 1) H + C + load = 1 + 2 + 2 = 5 = m cycles after a tile's start.
    array = make_array(rows=2, cols=2, overlap_skew=True)
    assert cycles(array, "ws", 5, 5, 3) == 2 + 6 * 5 + 2
    # OS: blocks are U + D = 7 + 2 apart, the skew of 3 comes once.
    array = make_array(rows=2, cols=3, overlap_skew=True)
    assert cycles(array, "os", 4, 7, 6) == 4 * (7 + 2) + 3


def test_drain_overlap_hides_the_drain_but_has_one_port() -> None:
    long = make_array(rows=2, cols=3, overlap_drain=True)
    assert cycles(long, "os", 4, 7, 6) == 4 * (7 + 3) + 2
    # k = 1 on a 4 x 1 array: 1 + 3 cycles per block, exactly the four shifts of the one before;
    # with skew overlap a block needs only 1 cycle of the lanes but 4 of the port.
    assert cycles(make_array(rows=4, overlap_drain=True), "os", 12, 1, 1) == 3 * 4 + 4
    both = make_array(rows=4, overlap_drain=True, overlap_skew=True)
    assert cycles(both, "os", 12, 1, 1) == 1 + 2 * 4 + 3 + 4


def test_bits_tell_orders_of_summation_apart() -> None:
    a, b = draw_operands(8, 48, 8, 1, 1, seed=3)
    run = step_gemm(make_array(rows=3, cols=3), "os", a, b, max_cycles=LIMIT)
    backwards = NMCompact(b.values[::-1], b.indices, b.k, 1)
    assert same_bits(run.output, sum_in_order(a, b))
    assert not same_bits(run.output, sum_in_order(a[:, ::-1], backwards))


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_all_kept_groups_give_the_dense_values(dataflow: Any) -> None:
    array = make_array(rows=2, cols=3, interleave=4, adder_latency_cycles=3)
    a, dense = draw_operands(7, 18, 5, 1, 1)
    b = decode_nm(dense)
    grouped = encode_nm(b, np.ones(b.shape, bool), 4, 4)
    runs = [
        step_gemm(array, dataflow, a, operand, max_cycles=LIMIT) for operand in (dense, grouped)
    ]
    assert same_bits(runs[0].output, runs[1].output)


def test_sums_start_at_plus_zero() -> None:
    a, b = np.full((1, 2), -1, np.float16), np.zeros((2, 1, 1), np.float16)
    for dataflow in ("ws", "os"):
        run = step_gemm(
            make_array(),
            dataflow,
            a,
            NMCompact(b, np.zeros(b.shape, np.uint8), 2, 1),
            max_cycles=99,
        )
        assert same_bits(run.output, np.zeros((1, 1), np.float32))


def test_too_few_cycles_and_wrong_inputs_are_named() -> None:
    a, b = draw_operands(2, 3, 2, 1, 1)
    needed = step_gemm(make_array(), "ws", a, b, max_cycles=LIMIT).cycles
    assert step_gemm(make_array(), "ws", a, b, max_cycles=needed).cycles == needed
    with pytest.raises(InputError, match="max_cycles"):
        step_gemm(make_array(), "ws", a, b, max_cycles=needed - 1)
    with pytest.raises(InputError, match="a: need"):
        step_gemm(make_array(), "ws", a[:, :2], b, max_cycles=LIMIT)
    with pytest.raises(InputError, match="dataflow"):
        step_gemm(make_array(), "is", a, b, max_cycles=LIMIT)


@st.composite
def arrays(draw: st.DrawFn) -> ArraySpec:
    return ArraySpec(
        rows=draw(st.integers(1, 5)),
        cols=draw(st.integers(1, 5)),
        multiplier_latency_cycles=draw(st.integers(0, 3)),
        adder_latency_cycles=draw(st.integers(1, 7)),
        interleave=draw(st.integers(1, 9)),
        edge_elems_per_cycle=draw(st.integers(1, 9)),
        has_double_buffered_weights=draw(st.booleans()),
        overlap_skew=draw(st.booleans()),
        overlap_drain=draw(st.booleans()),
    )


@st.composite
def products(draw: st.DrawFn) -> tuple[NDArray[np.float16], NMCompact]:
    nm_m = draw(st.integers(1, 8))
    nm_n = draw(st.integers(1, nm_m))
    m, k, n = draw(st.integers(1, 20)), draw(st.integers(1, 40)), draw(st.integers(1, 12))
    return draw_operands(m, k, n, nm_n, nm_m, draw(st.integers(0, 99)))


@settings(max_examples=300, deadline=None)
@given(arrays(), products())
def test_every_product_is_issued_once_and_summed_in_order(
    array: ArraySpec, operands: tuple[NDArray[np.float16], NMCompact]
) -> None:
    a, b = operands
    m, (groups, nm_n, n) = a.shape[0], b.values.shape
    columns = -(-n // array.cols)
    stationary = step_gemm(array, "ws", a, b, max_cycles=LIMIT)
    outputs = step_gemm(array, "os", a, b, max_cycles=LIMIT)
    expected = sum_in_order(a, b)
    assert same_bits(stationary.output, expected)
    assert same_bits(outputs.output, expected)
    # A PE issues N products per row of A and tile (WS), N per group and tile (OS).
    assert (stationary.issued == -(-groups // array.rows) * columns * m * nm_n).all()
    assert (outputs.issued == -(-m // array.rows) * columns * groups * nm_n).all()
    assert stationary.busy_slots <= stationary.cycles
    assert outputs.issued_slots == outputs.busy_slots * array.rows * array.cols
