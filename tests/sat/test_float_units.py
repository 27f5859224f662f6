"""Are the golden multiplier and adder IEEE arithmetic, and is the cycle model consistent?"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import (
    CANONICAL_NAN,
    add_fp32,
    adder_timing,
    multiplier_timing,
    multiply_fp16,
    play_pipeline,
)
from hwsim.sat.spec import ArraySpec

NO_STALLS = np.zeros(0, dtype=np.bool_)


def test_every_finite_product_equals_the_exact_one():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 1 << 16, (2, 2000)).astype(np.uint16)
    a[::4] &= 0x83FF  # subnormal
    left, right = a.view(np.float16), b.view(np.float16)
    is_finite = np.isfinite(left) & np.isfinite(right)
    products = multiply_fp16(a, b).view(np.float32)
    for x, y, product in zip(left[is_finite], right[is_finite], products[is_finite], strict=True):
        assert Fraction(float(product)) == Fraction(float(x)) * Fraction(float(y))


def test_every_nan_is_the_canonical_one():
    inf, zero, nan = 0x7C00, 0x8000, 0xFD55
    a, b = np.array([[inf, nan, nan], [zero, inf, nan]], dtype=np.uint16)
    assert set(multiply_fp16(a, b).tolist()) == {CANONICAL_NAN}
    c, d = np.array([[0x7F800000, 0xFFC00001], [0xFF800000, 0]], dtype=np.uint32)
    assert set(add_fp32(c, d).tolist()) == {CANONICAL_NAN}


def test_sums_round_to_nearest_even_and_keep_subnormals():
    one, half_ulp, next_up = 0x3F800000, 0x33800000, 0x3F800001  # 1, 2**-24, 1 + 2**-23
    a, b = np.array(
        [[one, half_ulp], [next_up, half_ulp], [1, 0x80000003], [one, 0xBF800000]], dtype=np.uint32
    ).T
    assert add_fp32(a, b).tolist() == [one, 0x3F800002, 0x80000002, 0]


def test_wrong_arrays_are_refused():
    with pytest.raises(InputError, match="a, b: need two uint16 arrays of one shape"):
        multiply_fp16(np.zeros(2, dtype=np.uint16), np.zeros(3, dtype=np.uint16))
    with pytest.raises(InputError, match="a, b: need two uint32 arrays of one shape"):
        add_fp32(np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32))


def test_timings_are_the_latencies_of_the_spec():
    spec = ArraySpec(multiplier_latency_cycles=3, adder_latency_cycles=5)
    assert multiplier_timing(spec) == UnitTiming(3, 1)
    assert adder_timing(spec) == UnitTiming(5, 1)
    with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
        multiplier_timing(ArraySpec(multiplier_latency_cycles=0))


def test_a_refused_result_holds_every_stage():
    stalls = np.array([0, 0, 1, 1, 0], dtype=np.bool_)
    accepts, emits = play_pipeline(UnitTiming(2, 1), 4, NO_STALLS, stalls)
    # The first result waits in cycles 2 and 3; nothing is accepted meanwhile.
    assert accepts.tolist() == [0, 1, 4, 5]
    assert emits.tolist() == [4, 5, 6, 7]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(latency=st.integers(1, 6), transfers=st.integers(1, 12), data=st.data())
def test_a_transfer_takes_its_latency_and_at_most_the_stalls(latency, transfers, data):
    pattern = st.lists(st.booleans(), max_size=30).map(lambda bits: np.array(bits, dtype=np.bool_))
    gaps, stalls = data.draw(pattern), data.draw(pattern)
    accepts, emits = play_pipeline(UnitTiming(latency, 1), transfers, gaps, stalls)
    assert (np.diff(accepts) >= 1).all()
    assert (emits - accepts >= latency).all()
    waits = emits - accepts - latency
    assert (waits <= stalls.sum()).all()
    assert not stalls.any() or not stalls[emits[emits < len(stalls)]].any()
