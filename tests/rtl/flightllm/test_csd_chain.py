# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Is the chain exact where it must be, and does its bound break where it must?"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.flightllm.chain import chain_case, overflow_adjust_case, random_works
from hwsim.core.errors import InputError
from hwsim.flightllm.csd_chain import (
    ChainWork,
    chain_sums,
    chain_timing,
    dot_products,
    node_cycle,
    outputs_per_issue,
    split_lanes,
    split_segment,
)
from hwsim.flightllm.unit_spec import CsdChainSpec, DspSpec, LaneSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.emit import to_verilog
from rtl.flightllm.csd_chain import CsdChain
from rtl.flightllm.dsp48 import Dsp48Mac
from rtl.flightllm.lane_split import LaneSplit
from rtl.flightllm.overflow_adjust import OverflowAdjust
from rtl.formal.bench import proof_rtlil
from rtl.formal.dsp_chain import dsp48_mac_properties
from rtl.formal.lane_sum import (
    LaneSum,
    lane_bound_properties,
    lane_split_properties,
    lane_sum_properties,
)
from rtl.formal.pipeline import pipeline_properties
from rtl.formal.prove import prove_rtlil
from rtl.synth.platform import UltraScalePlus

SPEC = CsdChainSpec()
LANE = SPEC.lane


class NeverAdjusts(CsdChain):
    """Takes the whole P over into the next segment, and nothing at the end."""

    def _adjust(self):
        high, low = super()._adjust()
        self.wires[-1] = (self.adjusted, self.slices[self.spec.lane.segment_dsps - 1].o_p)
        return high & 0, low & 0


class NeverBreaks(CsdChain):
    """Goes on with the sum of the column before."""

    def _addend(self, dsp):
        return super()._addend(dsp) | (1 if dsp else 0)


class ForgetsTheBorrow(LaneSplit):
    """Reads the high lane without the borrow of a negative low one."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.high.eq(self.p[self.spec.lane_bits :])
        return m


def _dense(acts: tuple[int, int], weights: list[int]) -> ChainWork:
    rows = np.array(acts)[:, None].repeat(SPEC.choices, axis=1)
    return ChainWork(rows, np.array(weights), np.arange(SPEC.dsps), SPEC.dsps)


def test_the_cut_of_overflow_adjustment_follows_from_the_headroom():
    # 8 products of at most 128 * 127 leave 131071 - 130048 = 1023 of the lane: 10 bits.
    assert (LANE.bound, LANE.headroom, LANE.lsp_bits, LANE.msp_bits) == (130048, 1023, 10, 8)
    # One product less leaves room for 14 bits.
    assert LaneSpec(segment_dsps=7).lsp_bits == 14


def test_nine_products_are_refused():
    with pytest.raises(ValueError, match="segment_dsps: need 9 symmetric products"):
        LaneSpec(segment_dsps=9)


@pytest.mark.evidence("flightllm", "T0")
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_the_chain_computes_the_dot_products_of_symmetric_weights(seed):
    for work in random_works(np.random.default_rng(seed), SPEC, 4):
        for found, exact in zip(chain_sums(SPEC, work), dot_products(SPEC, work), strict=True):
            assert found.tolist() == exact.tolist()


@pytest.mark.evidence("flightllm", "T3")
def test_rtl_equals_numpy_at_every_corner_of_every_mode():
    ends = [(-128, -127), (-128, 127), (127, -127), (127, 127), (0, 127), (-1, 1)]
    works = []
    for (low, weight_a), (high, weight_b), nm_n in itertools.product(ends, ends, SPEC.modes):
        acts = np.array([[low] * SPEC.choices, [high] * SPEC.choices])
        half = SPEC.dsps // 2
        # The first segment at one end, the second at another.
        weights = np.array([weight_a] * half + [weight_b] * half)
        works.append(ChainWork(acts, weights, np.arange(SPEC.dsps), nm_n))
    vectors, schedule = chain_case(SPEC, works, dot_products)
    check(run_pysim(CsdChain(SPEC), vectors), vectors, schedule)


def test_full_range_weights_overflow_by_one_and_rtl_shows_the_same_wrong_sum():
    work = ChainWork(np.array([[-128] * 16, [5] * 16]), np.full(16, -128), np.arange(16), 8)
    high, low = chain_sums(SPEC, work)
    exact_high, exact_low = dot_products(SPEC, work)
    assert exact_low.tolist() == [131072, 131072]
    # One beyond the lane: the most negative number, and a borrow too many in the high lane.
    assert low.tolist() == [-131072, -131072]
    assert high.tolist() == (exact_high + 1).tolist()
    vectors, schedule = chain_case(SPEC, [work])
    check(run_pysim(CsdChain(SPEC), vectors), vectors, schedule)
    exact, _ = chain_case(SPEC, [work], dot_products)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(CsdChain(SPEC), exact), exact)


@pytest.mark.evidence("flightllm", "T3")
def test_which_corners_of_full_range_weights_are_wrong_and_that_rtl_agrees():
    works = []
    for low, high, first, second in itertools.product((-128, 127), repeat=4):
        rows = np.array([[low] * 16, [high] * 16])
        weights = np.array([first] * 8 + [second] * 8)
        for nm_n in SPEC.modes:
            works.append(ChainWork(rows, weights, np.arange(16), nm_n))
            # Eight products of -128 * -128 in the low lane; in the high one, which has room, only
            # if they are cut for a second segment.
            is_low_wrong = nm_n >= 8 and low == -128 and -128 in (first, second)
            is_high_cut = nm_n == 16 and high == -128 and first == -128
            found, exact = chain_sums(SPEC, works[-1]), dot_products(SPEC, works[-1])
            is_wrong = any((a != b).any() for a, b in zip(found, exact, strict=True))
            assert is_wrong == (is_low_wrong or is_high_cut)
    vectors, schedule = chain_case(SPEC, works)
    check(run_pysim(CsdChain(SPEC), vectors), vectors, schedule)


@pytest.mark.parametrize("mutant", [NeverAdjusts, NeverBreaks])
def test_a_chain_that_goes_on_wrongly_is_found(mutant):
    vectors, schedule = chain_case(SPEC, random_works(np.random.default_rng(0), SPEC, 20))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(mutant(SPEC), vectors), vectors, schedule)


def test_dense_sums_need_overflow_adjustment():
    """Without it the second segment leaves the lane: the mutant is wrong for this very issue."""
    vectors, schedule = chain_case(SPEC, [_dense((127, 127), [127] * 16)], dot_products)
    check(run_pysim(CsdChain(SPEC), vectors), vectors, schedule)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(NeverAdjusts(SPEC), vectors), vectors, schedule)


def test_outputs_per_issue_are_length_over_kept_weights():
    assert [outputs_per_issue(SPEC, n) for n in (2, 4, 8, 16)] == [8, 4, 2, 1]
    with pytest.raises(InputError, match="nm_n: need one of 2, 4, 8, 16, found 3"):
        outputs_per_issue(SPEC, 3)


def test_the_latency_is_that_of_the_last_reduction_node():
    assert chain_timing(SPEC).latency_cycles == node_cycle(SPEC, SPEC.groups - 1) == 3 + 16 + 1
    assert node_cycle(SPEC, 0) == 3 + 2 + 1


def test_every_pair_of_products_of_full_range_operands_packs_into_one():
    """All 2**24 operands: why the proof may write the packed product as two."""
    values = np.arange(-128, 128, dtype=np.int64)
    high, low = values[:, None], values[None, :]
    packed = (high << LANE.lane_bits) + low
    assert np.abs(packed).max() < 1 << 26
    for weight in values:
        products = (high * weight << LANE.lane_bits) + low * weight
        assert (packed * weight == products).all()


def test_overflow_adjustment_is_right_for_every_low_sum():
    """All 2**18 low lanes beside extreme high ones: LSP and MSP make up the sum again."""
    for high in (-131072, -1, 0, 131071):
        for low in range(-131072, 131072, 1 if high == -1 else 4099):
            kept, msp_high, msp_low = split_segment(LANE, (high << 18) + low)
            assert 0 <= kept & 0x3FFFF < 1024
            assert (msp_low << 10) + (kept & 0x3FFFF) == low
            assert (msp_high << 10) + (kept >> 18) == high


def test_overflow_adjustment_of_every_sum_of_small_lanes_in_rtl():
    spec = LaneSpec(operand_bits=2, lane_bits=6, segment_dsps=8)
    sums = range(-32, 32)
    words = [(high << 6) + low for high in sums for low in sums]
    vectors, schedule = overflow_adjust_case(spec, words)
    check(run_pysim(OverflowAdjust(spec), vectors), vectors, schedule)


@pytest.mark.parametrize(("high", "low"), [(0, -1), (-1, -131072), (7, 131071), (-8, 0)])
def test_lanes_are_read_with_the_borrow(high, low):
    assert split_lanes(LANE, (high << 18) + low) == (high, low)


def test_every_pair_of_lanes_is_read_out_of_the_word_it_was_packed_in():
    result = prove_rtlil(proof_rtlil(LaneSplit(LANE), lane_split_properties), 1)
    assert result.is_proved, result.log


def test_a_lane_read_without_the_borrow_is_refuted():
    text = proof_rtlil(ForgetsTheBorrow(LANE), lane_split_properties)
    assert prove_rtlil(text, 1).status == "refuted"


@pytest.mark.parametrize("is_first", [True, False])
def test_symmetric_weights_never_leave_their_lane(is_first):
    """Both segments: from zero, and from whatever overflow adjustment leaves."""
    unit = LaneSum(LANE, is_symmetric=True, is_first=is_first)
    result = prove_rtlil(proof_rtlil(unit, lane_sum_properties), 1)
    assert result.is_proved, result.log


def test_full_range_weights_leave_the_lane_and_the_trace_says_how():
    unit = LaneSum(LANE, is_symmetric=False, is_first=True)
    result = prove_rtlil(proof_rtlil(unit, lane_bound_properties), LANE.segment_dsps + 1)
    assert result.status == "refuted"
    counts = result.trace["unit.count"]
    assert counts == list(range(LANE.segment_dsps + 1))
    acts, weights = (
        np.array(result.trace[f"unit.{name}"][: LANE.segment_dsps], dtype=np.uint8).view(np.int8)
        for name in ("i_low", "i_weight")
    )
    # Only this sum of eight products is out of reach: -128 times -128 each.
    assert int(acts.astype(np.int64) @ weights.astype(np.int64)) == LANE.lane_max + 1
    high = np.array(result.trace["unit.i_high"][: LANE.segment_dsps], dtype=np.uint8).view(np.int8)
    rows = np.zeros((2, 16), dtype=np.int64)
    rows[0, :8], rows[1, :8] = acts, high
    work = ChainWork(rows, np.resize(weights, 16).astype(np.int64), np.arange(16), 8)
    assert chain_sums(SPEC, work)[1][0] != dot_products(SPEC, work)[1][0]


class AcceptsWhileRefused(OverflowAdjust):
    """Takes words in although nothing moves."""

    def extend(self, m):
        m.d.comb += self.i.ready.eq(1)


class MovesWhileRefused(Dsp48Mac):
    """Clocks the registers of the slice in every cycle."""

    def extend(self, m):
        super().extend(m)
        m.d.comb += self.slice.i_ce.eq(1)


def test_a_pipeline_that_takes_words_while_it_waits_is_refuted():
    text = proof_rtlil(AcceptsWhileRefused(LANE), pipeline_properties)
    assert prove_rtlil(text, 4).status == "refuted"


def test_a_slice_that_moves_while_it_waits_is_refuted():
    unit = MovesWhileRefused(DspSpec(has_preadder=False))
    assert prove_rtlil(proof_rtlil(unit, dsp48_mac_properties), 6).status == "refuted"


@pytest.mark.parametrize("dsps", [12, 32, 6])
def test_a_chain_of_another_length_is_refused(dsps):
    with pytest.raises(ValueError, match="dsps: need"):
        CsdChainSpec(dsps=dsps)


def test_synthesised_slices_are_cells_in_two_cascades_of_eight():
    """What leaves a PCOUT reaches one PCIN and nothing else; two cells begin a cascade."""
    text = to_verilog(CsdChain(SPEC), "chain", UltraScalePlus())
    assert text.count("DSP48E2") == SPEC.dsps
    starts = text.count(".PCIN(48'h000000000000)")
    assert (starts, text.count(".PCIN(i_pcin)")) == (2, 14)
    top = text[: text.index("module \\chain.dsp0 ")]
    leaving = re.findall(r"\.o_pcout\(([^)]*)\)", top)
    entering = re.findall(r"\.i_pcin\(([^)]*)\)", top)
    assert len(set(leaving)) == 14
    assert sorted(entering) == sorted(leaving)
    assert "DSP48E2" not in to_verilog(CsdChain(SPEC), "chain")
