"""Does the golden weight update round where it says, and is its latency the longest path?"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import add_fp32, multiply_fp32, narrow_fp32, widen_fp16
from hwsim.sat.spec import ArraySpec, SatSpec
from hwsim.sat.wuve import count_nonfinite, play_wuve, update_weights, wuve_timing

RATES = {"lr": 0.1, "mu": 0.9, "wd": 5e-4, "inv_scale": 1 / 1024}


def _fp32(value: float, count: int) -> np.ndarray:
    return np.full(count, np.float32(value)).view(np.uint32)


def _random_words(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, (3, count)).astype(np.uint32)
    return (words[0] >> 16).astype(np.uint16), words[1], words[2]


def test_the_update_is_the_chain_of_the_units_on_any_words():
    dw, w, v = _random_words(5000)
    lr, mu, wd, inv_scale = (_fp32(RATES[name], len(w)) for name in RATES)
    gradient = add_fp32(multiply_fp32(widen_fp16(dw), inv_scale), multiply_fp32(wd, w))
    velocity = add_fp32(multiply_fp32(mu, v), gradient)
    step = multiply_fp32(lr, velocity) ^ np.uint32(1 << 31)
    weights = add_fp32(w, step)
    found = update_weights(dw.view(np.float16), w.view(np.float32), v.view(np.float32), **RATES)
    assert [part.dtype for part in found] == [np.float32, np.float32, np.float16]
    np.testing.assert_array_equal(found[0].view(np.uint32), weights)
    np.testing.assert_array_equal(found[1].view(np.uint32), velocity)
    np.testing.assert_array_equal(found[2].view(np.uint16), narrow_fp32(weights))


def test_products_are_rounded_before_they_are_added():
    # (1 + 2**-12)**2 = 1 + 2**-11 + 2**-24: FP32 drops the last term, a tie, before 1 leaves.
    one_and = np.float32(1 + 2**-12)
    w, v = np.array([0], dtype=np.float32), np.array([one_and])
    _, velocity, _ = update_weights(
        np.array([-1], dtype=np.float16), w, v, lr=1.0, mu=float(one_and)
    )
    assert velocity.tolist() == [2**-11]
    fused = np.float64(one_and) ** 2 - 1
    assert fused != velocity[0]


def test_a_step_below_half_a_unit_of_fp16_reaches_the_master_alone():
    w, v = np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
    dw = np.array([2**-12], dtype=np.float16)
    weights, _, copy = update_weights(dw, w, v, lr=0.5, mu=0.9)
    assert weights.tolist() == [1 - 2**-13]
    assert copy.tolist() == [1.0]


def test_nonfinite_gradients_poison_their_own_weight_only_and_are_counted():
    dw = np.array([np.inf, np.nan, 1.0, -np.inf], dtype=np.float16)
    w, v = np.ones(4, dtype=np.float32), np.zeros(4, dtype=np.float32)
    weights, velocity, copy = update_weights(dw, w, v, lr=0.5, mu=0.9)
    np.testing.assert_array_equal(weights, np.array([-np.inf, np.nan, 0.5, np.inf]))
    np.testing.assert_array_equal(velocity, np.array([np.inf, np.nan, 1.0, -np.inf]))
    np.testing.assert_array_equal(copy, weights.astype(np.float16))
    assert (weights.view(np.uint32)[1], copy.view(np.uint16)[1]) == (0x7FC0_0000, 0x7E00)
    assert count_nonfinite(dw) == count_nonfinite(weights) == 3
    assert count_nonfinite(w) == 0


def test_wrong_arrays_are_refused():
    w, v = np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(InputError, match=r"dw16: need float16\[2, 3\].*found float32"):
        update_weights(v, w, v, lr=0.1, mu=0.9)
    with pytest.raises(InputError, match=r"v32: need float32\[2, 3\].*found float32\[3\]"):
        update_weights(w.astype(np.float16), w, v[0], lr=0.1, mu=0.9)


@pytest.mark.parametrize(("multiply", "add"), [(1, 1), (2, 6), (5, 3)])
def test_latency_is_that_of_the_longest_chain(multiply, add):
    array = ArraySpec(multiplier_latency_cycles=multiply, adder_latency_cycles=add)
    # Widen, scale, add the decay, add the momentum, scale, subtract, narrow.
    chain = 1 + multiply + add + add + multiply + add + 1
    assert wuve_timing(SatSpec(array=array)) == UnitTiming(chain, 1)


def test_a_multiplier_without_a_register_is_refused():
    with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
        wuve_timing(SatSpec(array=ArraySpec(multiplier_latency_cycles=0)))


def _bits(*cycles: int) -> np.ndarray:
    return np.array([cycle in cycles for cycle in range(20)], dtype=np.bool_)


def test_inputs_wait_for_the_last_one_and_outputs_leave_at_their_own_time():
    # The momentum comes in cycle 2; the second output takes its word two cycles late.
    gaps = [_bits(), _bits(), _bits(0, 1)]
    stalls = [_bits(), _bits(5, 6), _bits()]
    accepts, emits = play_wuve(UnitTiming(3, 1), 3, gaps, stalls)
    # The stages stand still in cycles 5 and 6, in which the first transfer is in the last one.
    assert accepts.tolist() == [2, 3, 4]
    assert emits.tolist() == [[5, 8, 9], [7, 8, 9], [5, 8, 9]]


def test_a_full_engine_accepts_nothing_until_all_outputs_have_left():
    accepts, emits = play_wuve(UnitTiming(1, 1), 2, [_bits()], [_bits(1, 2), _bits(3)])
    assert accepts.tolist() == [0, 3]
    assert emits.tolist() == [[3, 4], [1, 4]]
