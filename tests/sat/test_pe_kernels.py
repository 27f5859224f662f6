"""Check that fast stepping (runs of cycles, PE by PE) is plain stepping (every register moved)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.formats import NMCompact
from hwsim.sat.pe import PeRun, hop_cycles, step_gemm
from hwsim.sat.pe_fast_kernels import RUN_ENTRIES
from hwsim.sat.pe_kernels import follow, new_marks
from hwsim.sat.pe_lane_kernels import Job
from hwsim.sat.spec import ArraySpec

LIMIT = 100_000


def draw_product(m: int, k: int, n: int, nm_n: int, nm_m: int, seed: int) -> tuple[Any, NMCompact]:
    """Return random A and a compact B whose indices ascend inside a group."""
    rng = np.random.default_rng(seed)
    groups = -(-k // nm_m)
    order = np.argsort(rng.random((groups, nm_m, n)), axis=1)[:, :nm_n]
    values = rng.standard_normal((groups, nm_n, n)).astype(np.float16)
    a = rng.standard_normal((m, k)).astype(np.float16)
    return a, NMCompact(values, np.sort(order, axis=1).astype(np.uint8), k, nm_m)


def is_same(left: PeRun, right: PeRun) -> bool:
    is_alike = left.output.tobytes() == right.output.tobytes()
    return is_alike and left.cycles == right.cycles and np.array_equal(left.issued, right.issued)


@st.composite
def cases(draw: st.DrawFn) -> tuple[ArraySpec, Any, Any, NMCompact]:
    array = ArraySpec(
        rows=draw(st.integers(1, 6)),
        cols=draw(st.integers(1, 9)),
        multiplier_latency_cycles=draw(st.integers(0, 4)),
        adder_latency_cycles=draw(st.integers(1, 7)),
        interleave=draw(st.integers(1, 9)),
        edge_elems_per_cycle=draw(st.integers(1, 9)),
        has_double_buffered_weights=draw(st.booleans()),
        overlap_skew=draw(st.booleans()),
        overlap_drain=draw(st.booleans()),
    )
    nm_m = draw(st.sampled_from([1, 1, 2, 4, 8]))
    nm_n = draw(st.integers(1, nm_m))
    m, k, n = draw(st.integers(1, 30)), draw(st.integers(1, 40)), draw(st.integers(1, 16))
    a, b = draw_product(m, k, n, nm_n, nm_m, draw(st.integers(0, 99)))
    return array, draw(st.sampled_from(["ws", "os"])), a, b


@settings(max_examples=300, deadline=None)
@given(cases())
def test_fast_stepping_equals_plain_stepping(case: tuple[ArraySpec, Any, Any, NMCompact]) -> None:
    array, dataflow, a, b = case
    fast = step_gemm(array, dataflow, a, b, max_cycles=LIMIT)
    plain = step_gemm(array, dataflow, a, b, max_cycles=LIMIT, is_plain=True)
    assert is_same(fast, plain)


@pytest.mark.parametrize("interleave", [1, 7, 2 * RUN_ENTRIES])
@pytest.mark.parametrize("is_skewed", [False, True])
def test_streams_of_several_runs_equal_plain_stepping(interleave: int, is_skewed: bool) -> None:
    # Runs end with the step that reaches RUN_ENTRIES; the last one is ragged. Two reduction tiles.
    m = 2 * RUN_ENTRIES + 5
    array = ArraySpec(rows=2, cols=3, interleave=interleave, overlap_skew=is_skewed)
    a, b = draw_product(m, 16, 4, 2, 4, 11)
    fast = step_gemm(array, "ws", a, b, max_cycles=LIMIT)
    assert is_same(fast, step_gemm(array, "ws", a, b, max_cycles=LIMIT, is_plain=True))


@pytest.mark.parametrize("cols", [1, 16])
def test_many_unfinished_blocks_equal_plain_stepping(cols: int) -> None:
    # One row, one product per result: a wide array holds results of many blocks on their way out.
    array = ArraySpec(rows=1, cols=cols, interleave=1, overlap_skew=True, overlap_drain=True)
    a, b = draw_product(40, 1, 3 * cols, 1, 1, 5)
    fast = step_gemm(array, "os", a, b, max_cycles=LIMIT)
    assert is_same(fast, step_gemm(array, "os", a, b, max_cycles=LIMIT, is_plain=True))


def test_comparison_sees_one_cycle_and_one_bit() -> None:
    a, b = draw_product(4, 6, 3, 1, 1, 0)
    array = ArraySpec(rows=2, cols=2)
    run = step_gemm(array, "ws", a, b, max_cycles=LIMIT)
    bit = run.output.copy()
    bit.view(np.uint32)[0, 0] ^= 1
    assert not is_same(run, PeRun(run.cycles + 1, run.output, run.issued))
    assert not is_same(run, PeRun(run.cycles, bit, run.issued))


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize(("nm_n", "nm_m"), [(1, 1), (2, 4)])
def test_rows_closer_than_the_hop_miss_their_sums(is_plain: bool, nm_n: int, nm_m: int) -> None:
    array = ArraySpec(rows=3, cols=2, adder_latency_cycles=4, interleave=3)
    a, b = draw_product(9, 12, 3, nm_n, nm_m, 0)
    late = hop_cycles(array, 9, nm_n) - 1
    with pytest.raises(RuntimeError, match="partial sum from the north"):
        step_gemm(array, "ws", a, b, max_cycles=LIMIT, is_plain=is_plain, row_delay_cycles=late)


@pytest.mark.parametrize("is_plain", [False, True])
def test_stored_sums_are_not_read_before_they_are_back(is_plain: bool) -> None:
    # One row: its sum is back L cycles after its product, when the next reduction tile may start.
    array = ArraySpec(rows=1, cols=1, adder_latency_cycles=4, overlap_skew=True)
    a, b = draw_product(1, 2, 1, 1, 1, 0)
    hop = hop_cycles(array, 1, 1)
    step_gemm(array, "ws", a, b, max_cycles=LIMIT, is_plain=is_plain, row_delay_cycles=hop)
    with pytest.raises(RuntimeError, match="stored partial sum"):
        step_gemm(array, "ws", a, b, max_cycles=99, is_plain=is_plain, row_delay_cycles=hop - 1)


def test_lane_may_add_to_a_sum_after_the_adder_latency_and_not_before() -> None:
    fields: dict[str, Any] = dict.fromkeys(Job._fields, 1)
    job = Job(**fields | {"is_stationary": False, "steps": 9, "adder": 4})
    marks, stored = new_marks.py_func(job)
    op = np.zeros((1, 1, 4), np.int64)
    assert follow.py_func(job, marks, stored, op, 0) == 0
    op[0, 0, 1] = 1
    assert follow.py_func(job, marks, stored, op, 4) == 0
    with pytest.raises(RuntimeError, match="not back from the adder"):
        follow.py_func(job, marks, stored, op, 7)
    op[0, 0, 1] = 8  # the last step, in time again: the sum is complete
    assert follow.py_func(job, marks, stored, op, 11) == 1


def test_a_few_short_blocks_pass_the_drain_port_in_order() -> None:
    # One product per result and four shifts per block: results of a block are still on their way
    # south when the block after the next one is finished in the top row.
    a, b = draw_product(20, 1, 5, 1, 1, 7)
    array = ArraySpec(
        rows=4, cols=2, multiplier_latency_cycles=3, adder_latency_cycles=2, interleave=1,
        overlap_skew=True, overlap_drain=True,
    )  # fmt: skip
    run = step_gemm(array, "os", a, b, max_cycles=LIMIT)
    assert np.array_equal(run.output, a.astype(np.float32) * b.values[0].astype(np.float32))


def test_default_array_steps_a_layer_in_both_dataflows() -> None:
    a, b = draw_product(64, 256, 64, 2, 8, 1)
    runs = [step_gemm(ArraySpec(), flow, a, b, max_cycles=LIMIT) for flow in ("ws", "os")]
    assert runs[0].output.tobytes() == runs[1].output.tobytes()
    # WS: one k-tile and two n-tiles of 64 rows x 2 slots; OS: 2 x 2 tiles of 32 groups x 2 slots.
    assert [run.busy_slots for run in runs] == [2 * 64 * 2, 2 * 2 * 32 * 2]
