# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the multiplier give the exact product, in the cycles the simulator predicts?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.hdl import Mux
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import SPECIALS, fp16_mul_case, random_fp16_pairs
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import multiplier_timing
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.float_pipeline import float_pipeline_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import fp16_mul
from rtl.sat.fp16_mul import Fp16Mul


def _spec(latency: int) -> ArraySpec:
    return ArraySpec(multiplier_latency_cycles=latency)


def _pairs(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.uint16)


class FlushSubnormals(Fp16Mul):
    """Takes every subnormal operand for zero."""

    def _unpack(self, wire, fields):
        flushed = {
            name: Mux(word[10:15].any(), word, word & 0x8000) for name, word in fields.items()
        }
        return super()._unpack(wire, flushed)


class MovesWhileRefused(Fp16Mul):
    """Overwrites a result that nobody has taken."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.stages[-1]["result"].eq(self.moves[-1][1])
        return m


@pytest.mark.parametrize("latency", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(latency, stall_share):
    pairs = random_fp16_pairs(np.random.default_rng(latency), 200)
    vectors, schedule = fp16_mul_case(_spec(latency), pairs, stall_share=stall_share, seed=latency)
    check(run_pysim(Fp16Mul(_spec(latency)), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_products_under_random_stalls_on_verilator():
    spec = ArraySpec()
    rng = np.random.default_rng(3)
    drawn = [
        fp16_mul_case(spec, random_fp16_pairs(rng, 100_000), stall_share=0.3, seed=3),
        fp16_mul_case(spec, random_fp16_pairs(rng, 2_000), seed=4),
    ]
    played = run_verilator(Fp16Mul(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].emit_cycles["o"]) == 100_000


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(data):
    spec = _spec(data.draw(st.integers(1, 5)))
    word = st.one_of(st.sampled_from(SPECIALS.tolist()), st.integers(0, 0xFFFF))
    pairs = data.draw(st.lists(st.tuples(word, word), min_size=1, max_size=12))
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    seed = data.draw(st.integers(0, 1000))
    vectors, schedule = fp16_mul_case(spec, _pairs(*pairs), stall_share=share, seed=seed)
    check(run_pysim(Fp16Mul(spec), vectors), vectors, schedule)


def test_every_pair_of_corner_words_is_multiplied():
    pairs = _pairs(*itertools.product(SPECIALS.tolist(), repeat=2))
    vectors, schedule = fp16_mul_case(ArraySpec(), pairs)
    check(run_pysim(Fp16Mul(ArraySpec()), vectors), vectors, schedule)


def test_corner_products_are_the_documented_ones():
    zero, minus_zero, tiny, one, inf, nan = 0x0000, 0x8000, 0x0001, 0x3C00, 0x7C00, 0xFD55
    products = {
        (zero, minus_zero): 0x8000_0000,
        (minus_zero, minus_zero): 0,
        (tiny, tiny): (127 - 48) << 23,  # 2**-24 squared is a normal FP32 number
        (tiny, one): (127 - 24) << 23,
        (0x7BFF, 0xFBFF): int(np.float32(-(65504.0**2)).view(np.uint32)),
        (inf, 0xBC00): 0xFF80_0000,
        (inf, zero): 0x7FC0_0000,
        (minus_zero, inf): 0x7FC0_0000,
        (nan, one): 0x7FC0_0000,
        (inf, nan): 0x7FC0_0000,
    }
    vectors, schedule = fp16_mul_case(ArraySpec(), _pairs(*products))
    assert list(vectors.expected["o"]) == list(products.values())
    check(run_pysim(Fp16Mul(ArraySpec()), vectors), vectors, schedule)


@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(fault, category):
    pairs = random_fp16_pairs(np.random.default_rng(1), 100)
    share = 0.4 if fault == "retract" else 0.0
    vectors, schedule = fp16_mul_case(ArraySpec(), pairs, stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(Fp16Mul(ArraySpec()), fault), vectors), vectors, schedule)
    assert found.value.category == category


def test_flushed_subnormals_are_found():
    pairs = random_fp16_pairs(np.random.default_rng(2), 100)
    vectors, schedule = fp16_mul_case(ArraySpec(), pairs)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(FlushSubnormals(ArraySpec()), vectors), vectors, schedule)


@pytest.mark.parametrize("latency", [1, 2, 5])
def test_timing_is_the_same_in_rtl_simulator_and_measurement(latency):
    spec = _spec(latency)
    vectors, _ = fp16_mul_case(spec, random_fp16_pairs(np.random.default_rng(0), 10))
    observed = run_pysim(Fp16Mul(spec), vectors)
    [measured] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    assert fp16_mul.timing(spec) == multiplier_timing(spec) == UnitTiming(measured, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + latency


@pytest.mark.parametrize("latency", [1, 2, 5])
def test_pairs_leave_once_in_order_through_every_step(latency):
    text = proof_rtlil(Fp16Mul(_spec(latency)), float_pipeline_properties)
    result = prove_rtlil(text)
    assert result.is_proved, result.log


def test_a_pipeline_that_overwrites_a_refused_result_is_refuted():
    text = proof_rtlil(MovesWhileRefused(_spec(2)), float_pipeline_properties)
    assert prove_rtlil(text, 6).status == "refuted"


def test_a_latency_of_zero_is_refused():
    for refuse in (Fp16Mul, fp16_mul.timing, multiplier_timing):
        with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
            refuse(_spec(0))
