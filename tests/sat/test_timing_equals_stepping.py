"""Compare three ways to count a product's cycles, and its values with golden.

The closed form, stepping every interleave step of every tile, and stepping every processing
element share no mechanism: the second runs recurrences, the third only moves data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwsim.core.errors import HwsimError
from hwsim.sat import detail
from hwsim.sat.detail import step_pes, step_tiles
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing

DATAFLOWS = st.sampled_from(["ws", "os"])


@st.composite
def arrays(draw: st.DrawFn, most: int = 5) -> ArraySpec:
    return ArraySpec(
        rows=draw(st.integers(1, most)),
        cols=draw(st.integers(1, most)),
        multiplier_latency_cycles=draw(st.integers(0, 3)),
        adder_latency_cycles=draw(st.integers(1, 8)),
        interleave=draw(st.integers(1, 10)),
        edge_elems_per_cycle=draw(st.integers(1, 9)),
        has_double_buffered_weights=draw(st.booleans()),
        overlap_skew=draw(st.booleans()),
        overlap_drain=draw(st.booleans()),
    )


@st.composite
def gemms(draw: st.DrawFn, m: int = 24, k: int = 50, n: int = 14) -> ArrayGemm:
    nm_m = draw(st.integers(1, 16))
    nm_n = draw(st.integers(1, min(nm_m, 5)))
    extents = (draw(st.integers(1, most)) for most in (m, k, n))
    return ArrayGemm(*extents, nm_n, nm_m)


@pytest.mark.evidence("sat", "T2")
@settings(max_examples=1500)
@given(arrays(most=40), gemms(m=400, k=700, n=200), DATAFLOWS)
@example(ArraySpec(rows=4, cols=4, interleave=3), ArrayGemm(7, 33, 9, 2, 8), "ws")
@example(ArraySpec(rows=4, cols=4, interleave=3), ArrayGemm(37, 33, 9, 2, 8), "os")
def test_closed_form_equals_tile_stepping(array: ArraySpec, gemm: ArrayGemm, dataflow: str) -> None:
    assert gemm_timing(array, dataflow, gemm).cycles == step_tiles(array, dataflow, gemm)


@pytest.mark.evidence("sat", "T2")
@settings(max_examples=400)
@given(arrays(), gemms(), DATAFLOWS)
@example(ArraySpec(rows=2, cols=2, interleave=4), ArrayGemm(5, 17, 3, 1, 1), "ws")
@example(ArraySpec(rows=2, cols=3, interleave=4), ArrayGemm(11, 17, 7, 2, 8), "os")
def test_closed_form_equals_pe_stepping_and_outputs_equal_golden(
    array: ArraySpec, gemm: ArrayGemm, dataflow: str
) -> None:
    # step_pes compares the outputs with golden itself and raises if they differ.
    assert gemm_timing(array, dataflow, gemm).cycles == step_pes(array, dataflow, gemm)


@pytest.mark.evidence("sat", "T2")
@settings(max_examples=1000)
@given(arrays(most=40), gemms(m=400, k=700, n=200), DATAFLOWS)
def test_breakdown_adds_up_and_no_part_is_negative(
    array: ArraySpec, gemm: ArrayGemm, dataflow: str
) -> None:
    timing = gemm_timing(array, dataflow, gemm)
    parts = [getattr(timing, name) for name in ("hazard", "resource", "fill", "load", "drain")]
    assert timing.busy + sum(parts) == timing.cycles
    assert min(timing.busy, *parts) >= 0


@pytest.mark.evidence("sat", "T2")
@settings(max_examples=200)
@given(arrays(most=40), gemms(m=400, k=700, n=200), DATAFLOWS)
def test_closed_form_equals_tile_stepping_of_sums_that_go_on(
    array: ArraySpec, gemm: ArrayGemm, dataflow: str
) -> None:
    later = gemm._replace(is_continued=True)
    assert gemm_timing(array, dataflow, later).cycles == step_tiles(array, dataflow, later)


@pytest.mark.evidence("sat", "T2")
@settings(max_examples=40)
@given(arrays(), gemms(), DATAFLOWS)
def test_closed_form_equals_pe_stepping_of_sums_that_go_on(
    array: ArraySpec, gemm: ArrayGemm, dataflow: str
) -> None:
    later = gemm._replace(is_continued=True)
    assert gemm_timing(array, dataflow, later).cycles == step_pes(array, dataflow, later)


def test_stepping_tells_continued_os_tiles_from_first_ones() -> None:
    array, gemm = ArraySpec(rows=3, cols=2), ArrayGemm(7, 40, 3, 2, 8)
    later = gemm._replace(is_continued=True)
    tiles = 3 * 2
    for step in (step_tiles, step_pes):
        assert step(array, "os", later) - step(array, "os", gemm) == tiles * 3
        assert step(array, "ws", later) == step(array, "ws", gemm)


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_pe_stepping_ends_exactly_when_the_closed_form_says(
    dataflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One cycle less than the closed form is not enough; exactly as many are (t - 1 and t).
    array = ArraySpec(rows=3, cols=2, interleave=4)
    gemm = ArrayGemm(9, 40, 5, 2, 8)
    cycles = gemm_timing(array, dataflow, gemm).cycles
    limits: dict[str, int] = {}
    step = detail.step_gemm

    def limited(*args: Any, max_cycles: int) -> Any:
        del max_cycles
        return step(*args, max_cycles=limits["cycles"])

    monkeypatch.setattr(detail, "step_gemm", limited)
    limits["cycles"] = cycles
    assert step_pes(array, dataflow, gemm) == cycles
    limits["cycles"] = cycles - 1
    with pytest.raises(HwsimError, match="max_cycles"):
        step_pes(array, dataflow, gemm)


def test_the_comparison_notices_other_hardware() -> None:
    # A closed form for one more cycle of adder latency does not describe the stepped array.
    array = ArraySpec(rows=3, cols=2, interleave=2, adder_latency_cycles=4)
    slower = array.model_copy(update={"adder_latency_cycles": 5})
    gemm = ArrayGemm(9, 40, 5, 2, 8)
    for dataflow in ("ws", "os"):
        assert gemm_timing(slower, dataflow, gemm).cycles != step_tiles(array, dataflow, gemm)
        assert gemm_timing(slower, dataflow, gemm).cycles != step_pes(array, dataflow, gemm)


def test_pe_stepping_refuses_outputs_that_differ_from_golden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = detail.step_gemm

    def wrong(*args: Any, **options: Any) -> Any:
        run = step(*args, **options)
        output = run.output.copy()
        output[0, 0] = np.nextafter(output[0, 0], np.float32(np.inf))
        return replace(run, output=output)

    monkeypatch.setattr(detail, "step_gemm", wrong)
    with pytest.raises(HwsimError, match="golden outputs"):
        step_pes(ArraySpec(rows=2, cols=2), "ws", ArrayGemm(4, 9, 3))
