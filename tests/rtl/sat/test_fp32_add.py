"""Does the adder round as IEEE 754 says, in the cycles the simulator predicts?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.hdl import Const
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import FP32_SPECIALS, fp32_add_case, random_fp32_pairs
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import adder_timing
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.float_pipeline import float_pipeline_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import fp32_add
from rtl.sat.fp32_add import Fp32Add


def _spec(latency: int) -> ArraySpec:
    return ArraySpec(adder_latency_cycles=latency)


def _pairs(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.uint32)


class NoSticky(Fp32Add):
    """Forgets what the alignment shifts out."""

    def _sticky(self, below):
        return Const(0, 1)


class MovesWhileRefused(Fp32Add):
    """Overwrites a result that nobody has taken."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.stages[-1]["result"].eq(self.moves[-1][1])
        return m


class AcceptsWhileRefused(Fp32Add):
    """Takes pairs in although no stage moves."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


@pytest.mark.parametrize("latency", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(latency, stall_share):
    pairs = random_fp32_pairs(np.random.default_rng(latency), 200)
    vectors, schedule = fp32_add_case(_spec(latency), pairs, stall_share=stall_share, seed=latency)
    check(run_pysim(Fp32Add(_spec(latency)), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_sums_under_random_stalls_on_verilator():
    spec = ArraySpec()
    rng = np.random.default_rng(3)
    drawn = [
        fp32_add_case(spec, random_fp32_pairs(rng, 100_000), stall_share=0.3, seed=3),
        fp32_add_case(spec, random_fp32_pairs(rng, 2_000), seed=4),
    ]
    played = run_verilator(Fp32Add(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].emit_cycles["o"]) == 100_000


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(data):
    spec = _spec(data.draw(st.integers(1, 5)))
    word = st.one_of(st.sampled_from(FP32_SPECIALS.tolist()), st.integers(0, 0xFFFF_FFFF))
    pairs = data.draw(st.lists(st.tuples(word, word), min_size=1, max_size=12))
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    seed = data.draw(st.integers(0, 1000))
    vectors, schedule = fp32_add_case(spec, _pairs(*pairs), stall_share=share, seed=seed)
    check(run_pysim(Fp32Add(spec), vectors), vectors, schedule)


def test_every_pair_of_corner_words_is_added():
    pairs = _pairs(*itertools.product(FP32_SPECIALS.tolist(), repeat=2))
    vectors, schedule = fp32_add_case(ArraySpec(), pairs)
    check(run_pysim(Fp32Add(ArraySpec()), vectors), vectors, schedule)


CORNER_SUMS = {
    "zeros of both signs": (0x0000_0000, 0x8000_0000, 0x0000_0000),
    "negative zeros": (0x8000_0000, 0x8000_0000, 0x8000_0000),
    "cancellation to +0": (0xBF80_0000, 0x3F80_0000, 0x0000_0000),
    "cancellation to a subnormal": (0x0080_0000, 0x8080_0001, 0x8000_0001),
    "subnormals that add up to a normal": (0x007F_FFFF, 0x0000_0001, 0x0080_0000),
    "cancellation by 24 places": (0x3F80_0000, 0xBF7F_FFFF, 0x3380_0000),
    "tie to even, down": (0x3F80_0000, 0x3380_0000, 0x3F80_0000),
    "tie to even, up": (0x3F80_0001, 0x3380_0000, 0x3F80_0002),
    "above a tie by the sticky bit": (0x3F80_0000, 0x3380_0001, 0x3F80_0001),
    # 1 - (2**-25 + 2**-48): the nearest of 1 - 2**-24 and 1 is the former by the last bit only.
    "below a tie by the sticky bit": (0x3F80_0000, 0xB300_0001, 0x3F7F_FFFF),
    "largest distance": (0x7F7F_FFFF, 0x8000_0001, 0x7F7F_FFFF),
    "distance of 26, effective subtraction": (0x3F80_0000, 0xB280_0000, 0x3F80_0000),
    "carry to infinity": (0x7F7F_FFFF, 0x7F7F_FFFF, 0x7F80_0000),
    # The largest finite number and half a unit in its last place, 2**103.
    "rounding to infinity": (0x7F7F_FFFF, 0x7300_0000, 0x7F80_0000),
    "just not to infinity": (0x7F7F_FFFF, 0x72FF_FFFF, 0x7F7F_FFFF),
    "infinity wins": (0xFF80_0000, 0x7F7F_FFFF, 0xFF80_0000),
    "infinities of one sign": (0xFF80_0000, 0xFF80_0000, 0xFF80_0000),
    "infinities of both signs": (0xFF80_0000, 0x7F80_0000, 0x7FC0_0000),
    "quiet NaN": (0xFFC1_2345, 0x3F80_0000, 0x7FC0_0000),
    "signalling NaN and infinity": (0x7F80_0000, 0xFF80_0001, 0x7FC0_0000),
}


def test_corner_sums_are_the_documented_ones():
    pairs = [(a, b) for a, b, _ in CORNER_SUMS.values()]
    pairs += [(b, a) for a, b in pairs]
    vectors, schedule = fp32_add_case(ArraySpec(), _pairs(*pairs))
    assert list(vectors.expected["o"]) == 2 * [total for _, _, total in CORNER_SUMS.values()]
    check(run_pysim(Fp32Add(ArraySpec()), vectors), vectors, schedule)


def test_random_pairs_reach_every_kind_of_sum():
    pairs = random_fp32_pairs(np.random.default_rng(0), 4096)
    with np.errstate(all="ignore"):
        totals = pairs[:, 0].view(np.float32) + pairs[:, 1].view(np.float32)
    magnitude = totals.view(np.uint32) & 0x7FFF_FFFF
    operands = (pairs & 0x7FFF_FFFF).max(axis=1)
    assert ((magnitude > 0) & (magnitude < 1 << 23)).sum() > 50  # subnormal
    assert (np.isfinite(totals) & (magnitude == 0) & (operands > 0)).sum() > 20  # to zero
    cancels = (magnitude >> 23).astype(int) < (operands >> 23).astype(int) - 10
    assert (cancels & (magnitude > 0)).sum() > 20
    assert (np.isinf(totals) & (operands < 0x7F80_0000)).sum() > 3  # overflow


@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(fault, category):
    pairs = random_fp32_pairs(np.random.default_rng(1), 100)
    share = 0.4 if fault == "retract" else 0.0
    vectors, schedule = fp32_add_case(ArraySpec(), pairs, stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(Fp32Add(ArraySpec()), fault), vectors), vectors, schedule)
    assert found.value.category == category


def test_a_dropped_sticky_bit_is_found():
    pairs = random_fp32_pairs(np.random.default_rng(2), 100)
    vectors, schedule = fp32_add_case(ArraySpec(), pairs)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(NoSticky(ArraySpec()), vectors), vectors, schedule)


@pytest.mark.parametrize("latency", [1, 4, 6, 8])
def test_timing_is_the_same_in_rtl_simulator_and_measurement(latency):
    spec = _spec(latency)
    vectors, _ = fp32_add_case(spec, random_fp32_pairs(np.random.default_rng(0), 10))
    observed = run_pysim(Fp32Add(spec), vectors)
    [measured] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    assert fp32_add.timing(spec) == adder_timing(spec) == UnitTiming(measured, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + latency


@pytest.mark.parametrize("latency", [1, 4, 6, 8])
def test_pairs_leave_once_in_order_through_every_step(latency):
    text = proof_rtlil(Fp32Add(_spec(latency)), float_pipeline_properties)
    result = prove_rtlil(text)
    assert result.is_proved, result.log


def test_a_pipeline_that_overwrites_a_refused_result_is_refuted():
    text = proof_rtlil(MovesWhileRefused(_spec(2)), float_pipeline_properties)
    assert prove_rtlil(text, 6).status == "refuted"


def test_a_pipeline_that_loses_pairs_is_refuted():
    text = proof_rtlil(AcceptsWhileRefused(_spec(2)), float_pipeline_properties)
    assert prove_rtlil(text, 6).status == "refuted"
