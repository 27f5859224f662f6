"""Are the golden units IEEE arithmetic, and is the cycle model consistent?"""

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
    CANONICAL_NAN_FP16,
    add_fp32,
    adder_timing,
    converter_timing,
    multiplier_timing,
    multiply_fp16,
    multiply_fp32,
    narrow_fp32,
    play_pipeline,
    widen_fp16,
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
    zeros = np.array([0, 0x80000000], dtype=np.uint32)
    assert set(multiply_fp32(c, zeros).tolist()) == {CANONICAL_NAN}
    assert set(widen_fp16(a[1:]).tolist()) == {CANONICAL_NAN}
    assert set(narrow_fp32(c[1:]).tolist()) == {CANONICAL_NAN_FP16}


def test_fp32_to_fp16_takes_the_nearest_of_all_fp16_numbers():
    # Exact in FP64. Infinity stands where the next number would be.
    magnitudes = np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float64)
    magnitudes[-1] = 65536
    rng = np.random.default_rng(1)
    # From below half the smallest subnormal to above the overflow threshold.
    bits = rng.integers(np.float32(2**-26).view(np.uint32), 0x4781_0000, 1000).astype(np.uint32)
    ties = ((magnitudes[:-1] + magnitudes[1:]) / 2).astype(np.float32).view(np.uint32)
    words = np.concatenate([bits, ties, ties + np.uint32(1), ties - np.uint32(1)])
    exact = words.view(np.float32).astype(np.float64)
    above = np.searchsorted(magnitudes, exact).clip(1, 0x7C00)
    from_below, from_above = exact - magnitudes[above - 1], magnitudes[above] - exact
    is_up = (from_above < from_below) | ((from_above == from_below) & (above % 2 == 0))
    halves = narrow_fp32(words)
    np.testing.assert_array_equal(halves, above - 1 + is_up)
    np.testing.assert_array_equal(narrow_fp32(words | np.uint32(1 << 31)), halves | 0x8000)


def test_every_fp16_number_widens_to_itself():
    words = np.arange(1 << 16).astype(np.uint16)
    wide, halves = widen_fp16(words).view(np.float32), words.view(np.float16)
    is_number = ~np.isnan(halves)
    assert (wide[is_number] == halves[is_number]).all()
    assert (np.signbit(wide) == np.signbit(halves))[is_number].all()
    assert (narrow_fp32(widen_fp16(words))[is_number] == words[is_number]).all()


def test_fp32_products_are_the_exact_ones_rounded():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 1 << 31, (2, 300)).astype(np.uint32)
    a[::2], b[::2] = a[::2] & 0x1FFF_FFFF, b[::2] & 0x3FFF_FFFF  # subnormal products
    left, right = a.view(np.float32), b.view(np.float32)
    products = multiply_fp32(a, b)
    for x, y, word in zip(left, right, products, strict=True):
        if not (np.isfinite(x) and np.isfinite(y)) or word == 0x7F80_0000:
            continue
        near = (
            (word + np.arange(-1, 2)).astype(np.uint32) if word else np.arange(2, dtype=np.uint32)
        )
        exact = Fraction(float(x)) * Fraction(float(y))
        errors = [
            (abs(Fraction(float(v)) - exact), int(w) & 1, int(w))
            for v, w in zip(near.view(np.float32), near, strict=True)
            if np.isfinite(v)
        ]
        assert word == min(errors)[2]


def test_sums_round_to_nearest_even_and_keep_subnormals():
    one, half_ulp, next_up = 0x3F800000, 0x33800000, 0x3F800001  # 1, 2**-24, 1 + 2**-23
    a, b = np.array(
        [[one, half_ulp], [next_up, half_ulp], [1, 0x80000003], [one, 0xBF800000]], dtype=np.uint32
    ).T
    assert add_fp32(a, b).tolist() == [one, 0x3F800002, 0x80000002, 0]


def test_wrong_arrays_are_refused():
    with pytest.raises(InputError, match="a, b: need two uint16 arrays of one shape"):
        multiply_fp16(np.zeros(2, dtype=np.uint16), np.zeros(3, dtype=np.uint16))
    for function in (add_fp32, multiply_fp32):
        with pytest.raises(InputError, match="a, b: need two uint32 arrays of one shape"):
            function(np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32))
    with pytest.raises(InputError, match="a: need an array of uint16, found float16"):
        widen_fp16(np.zeros(2, dtype=np.float16))
    with pytest.raises(InputError, match="a: need an array of uint32, found uint16"):
        narrow_fp32(np.zeros(2, dtype=np.uint16))


def test_timings_are_the_latencies_of_the_spec():
    spec = ArraySpec(multiplier_latency_cycles=3, adder_latency_cycles=5)
    assert multiplier_timing(spec) == UnitTiming(3, 1)
    assert adder_timing(spec) == UnitTiming(5, 1)
    assert converter_timing(spec) == UnitTiming(1, 1)
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
