"""Does the merger add sorted lists up, one element per cycle?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.merge_unit import merge_unit_case, random_lists
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import merge_unit as model
from hwsim.piuma.merge_unit import END, Element, merge_lists
from hwsim.piuma.unit_spec import MergeSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_merge_unit import merge_unit_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import merge_unit
from rtl.piuma.merge_unit import MergeCell, MergeUnit
from rtl.piuma.units import MERGE_PROOF_SPEC


def _spec(ways: int) -> MergeSpec:
    return MergeSpec(ways=ways, coordinate_bits=8, value_bits=8)


class KeepsEqualHeadsApart(MergeCell):
    """Takes the left one of equal heads alone, as a sort would."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.i[0].ready & ~self.i[0].payload.is_end):
            m.d.comb += self.i[1].ready.eq(0)
        return m


def _with_cells(spec: MergeSpec, cell: type[MergeCell]) -> MergeUnit:
    """Return a tree of other cells."""
    kept, merge_unit.MergeCell = merge_unit.MergeCell, cell
    try:
        return MergeUnit(spec)
    finally:
        merge_unit.MergeCell = kept


def test_golden_adds_equal_coordinates_and_keeps_zeros():
    lists = [{3: 200, 1: 5}, {}, {3: 100, 2: 0}, {}]
    merged = [Element(False, 1, 5), Element(False, 2, 0), Element(False, 3, 44), END]
    assert merge_lists(_spec(4), lists) == merged  # 300 modulo 256


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    ways=st.sampled_from([2, 4, 8]),
    most=st.integers(0, 8),
    width=st.sampled_from([1, 8, 256]),
    batches=st.integers(1, 3),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_and_cycle_model(ways, most, width, batches, stall_share, seed):
    spec = _spec(ways)
    rng = np.random.default_rng(seed)
    lists = [random_lists(spec, rng, most, width) for _ in range(batches)]
    vectors, schedule = merge_unit_case(spec, lists, stall_share=stall_share, seed=seed)
    check(run_pysim(MergeUnit(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("ways", [2, 4, 8])
def test_one_element_leaves_per_cycle_after_log2_ways(ways):
    spec = _spec(ways)
    lists = [{ways * k + way: 1 for k in range(8)} for way in range(ways)]
    vectors, schedule = merge_unit_case(spec, [lists])
    observed = run_pysim(MergeUnit(spec), vectors)
    check(observed, vectors, schedule)
    cycles = observed.emit_cycles["o"]
    assert len(cycles) == 8 * ways + 1
    [interval] = set(np.diff(cycles).tolist())
    measured = UnitTiming(int(cycles[0] - observed.accept_cycles["i__0"][0]), interval)
    assert merge_unit.timing(spec) == model.timing(spec) == measured


def test_equal_heads_of_all_ways_leave_together():
    spec = _spec(8)
    vectors, schedule = merge_unit_case(spec, [[{5: 1}] * 8])
    observed = run_pysim(MergeUnit(spec), vectors)
    check(observed, vectors, schedule)
    assert vectors.expected["o"] == [5 << 8 | 8, 1 << 16]
    assert observed.emit_cycles["o"].tolist() == [3, 4]


def test_values_that_are_not_added_are_found():
    spec = _spec(4)
    vectors, schedule = merge_unit_case(spec, [[{5: 1}, {5: 2}, {6: 1}, {5: 3}]])
    unit = _with_cells(spec, KeepsEqualHeadsApart)
    with pytest.raises(CosimError) as found:
        check(run_pysim(unit, vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_order_and_sums_are_proved():
    result = prove_rtlil(proof_rtlil(MergeUnit(MERGE_PROOF_SPEC), merge_unit_properties))
    assert result.is_proved, result.log


def test_values_that_are_not_added_are_refuted():
    unit = _with_cells(MERGE_PROOF_SPEC, KeepsEqualHeadsApart)
    assert prove_rtlil(proof_rtlil(unit, merge_unit_properties), 4).status == "refuted"


def test_a_tree_that_is_not_full_is_refused():
    with pytest.raises(SpecError, match="a power of two"):
        MergeSpec(ways=6)
