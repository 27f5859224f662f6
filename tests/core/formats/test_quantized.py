"""Group quantisation rounds to the nearest level, keeps its size and its budget of bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.quantized import (
    SCALE_BITS,
    assign_bits,
    dequantize,
    pack_groups,
    quantize,
    quantized_bits,
    unpack_groups,
)


def weights(seed: int, k: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((k, n))


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 5), st.integers(1, 17))
def test_groups_come_back_from_bytes_at_the_formula_s_size(
    seed: int, k: int, n: int, group_elems: int
) -> None:
    values = weights(seed, k, n)
    groups = -(-k // group_elems)
    rng = np.random.default_rng(seed)
    widths = rng.integers(2, 9, (groups, n)).astype(np.uint8)
    for bits in (np.uint8(4), widths):
        quantized = quantize(values, bits, group_elems)
        packed = pack_groups(quantized)
        again = unpack_groups(packed, quantized.scales, k, group_elems, int(quantized.bits.flat[0]))
        np.testing.assert_array_equal(again.values, quantized.values)
        np.testing.assert_array_equal(again.bits, quantized.bits)
        stored = 8 * (packed[0].size + packed[1].size) + quantized.scales.size * SCALE_BITS
        assert 0 <= stored - quantized_bits(quantized) < 16  # two streams, each filled to a byte


def test_four_bits_in_groups_of_128_take_4_125_bits_per_weight() -> None:
    quantized = quantize(weights(0, 512, 8), 4, 128)
    assert quantized_bits(quantized) / (512 * 8) == 4 + 16 / 128


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_errors_stay_within_half_a_step(bits: int) -> None:
    values = weights(1, 64, 6)
    quantized = quantize(values, bits, 16)
    limit = 2 ** (bits - 1) - 1
    assert np.abs(quantized.values).max() <= limit  # -2^(b-1) is never used
    scales = np.repeat(quantized.scales.astype(np.float64), 16, axis=0)
    # Half a step, and at the edge what rounding the scale to FP16 (2^-11) cuts off.
    bound = scales * (0.5 + limit * 2.0**-11)
    assert (np.abs(values - dequantize(quantized)) <= bound).all()


def test_zero_and_tiny_groups_become_zero() -> None:
    values = np.zeros((4, 2))
    values[0, 1] = 1e-12
    assert not dequantize(quantize(values, 4, 2)).any()


@given(st.integers(0, 99), st.floats(3.0, 5.0))
def test_mixed_widths_keep_the_budget_and_beat_equal_widths(seed: int, mean_bits: float) -> None:
    values = weights(seed, 64, 4) * np.exp(weights(seed + 1, 1, 4))
    widths = assign_bits(values, 16, (3, 4, 5), mean_bits)
    assert set(widths.flat) <= {3, 4, 5}
    assert widths.mean() <= mean_bits + 1e-9
    assert widths.mean() >= min(mean_bits - 1 / widths.size, 5) - 1e-9  # nothing is left unused
    error = ((values - dequantize(quantize(values, widths, 16))) ** 2).sum()
    narrow = ((values - dequantize(quantize(values, 3, 16))) ** 2).sum()
    assert error <= narrow


def test_the_widest_group_goes_where_it_saves_most() -> None:
    values = np.ones((16, 2)) * np.linspace(-1, 1, 16)[:, None]
    values[:, 1] *= 100
    assert assign_bits(values, 16, (3, 4), 3.5).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 1}, "bits: need 2 to 8"),
        ({"bits": 9}, "bits: need 2 to 8"),
        ({"group_elems": 0}, "group_elems: need at least 1"),
        ({"weights": np.full((2, 2), np.nan)}, "weights: need finite values"),
        ({"weights": np.full((2, 2), 1e9)}, "weights: need magnitudes whose scale fits FP16"),
    ],
)
def test_what_cannot_be_quantised_is_refused(change: dict, message: str) -> None:
    arguments = {"weights": weights(0, 4, 2), "bits": 4, "group_elems": 2} | change
    with pytest.raises(InputError, match=message):
        quantize(**arguments)


def test_a_mean_below_the_smallest_width_is_refused() -> None:
    with pytest.raises(InputError, match="mean_bits: need at least 3"):
        assign_bits(weights(0, 4, 2), 2, (3, 4), 2.5)
