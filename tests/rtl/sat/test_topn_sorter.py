# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does one SORE lane keep the right values, in the cycles the simulator predicts?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import SPECIALS
from hwsim.cli.rtl_cases.sorter import random_groups, topn_sorter_case
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat import sorter
from hwsim.sat.spec import SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.sat import topn_sorter
from rtl.sat.topn_sorter import TopNSorter

PATTERNS = [(1, 2), (1, 4), (2, 4), (2, 8), (4, 8), (4, 16), (4, 32)]
EXTREMES = [(1, 2), (4, 8), (4, 32)]
"""Least and most of values, and slots that are half of a group: what a second simulator builds."""


def _spec(pattern: tuple[int, int]) -> SorterSpec:
    return SorterSpec(nm_n=pattern[0], nm_m=pattern[1])


class TieToLatest(TopNSorter):
    """Lets an equal magnitude displace an earlier one."""

    def _beats(self, word, slot):
        return word[:-1] >= slot.value[:-1]


class SignedOrder(TopNSorter):
    """Compares the sign bit too."""

    def _beats(self, word, slot):
        return word > slot.value


@pytest.mark.parametrize("pattern", [*PATTERNS, (3, 5), (2, 2), (8, 8)])
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(pattern, stall_share):
    spec = _spec(pattern)
    bits = random_groups(np.random.default_rng(11), 24, spec.nm_m)
    vectors, schedule = topn_sorter_case(spec, bits, stall_share=stall_share, seed=11)
    check(run_pysim(TopNSorter(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
@pytest.mark.parametrize("pattern", EXTREMES)
def test_rtl_equals_golden_and_cycle_model_on_verilator(pattern):
    spec = _spec(pattern)
    drawn = [
        topn_sorter_case(
            spec, random_groups(np.random.default_rng(seed), 200, spec.nm_m), stall_share=share
        )
        for seed, share in enumerate((0.0, 0.3, 0.8))
    ]
    played = run_verilator(TopNSorter(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_values_under_random_stalls_on_verilator():
    spec = _spec((2, 8))
    bits = random_groups(np.random.default_rng(3), 100_000 // spec.nm_m, spec.nm_m, 0.05)
    vectors, schedule = topn_sorter_case(spec, bits, stall_share=0.3, seed=3)
    [observed] = run_verilator(TopNSorter(spec), [vectors])
    check(observed, vectors, schedule)
    assert len(observed.accept_cycles["i"]) == 100_000


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(data):
    spec = _spec(data.draw(st.sampled_from([(1, 2), (2, 4), (3, 5), (4, 8)])))
    # Few distinct magnitudes, so that ties of both signs are common.
    word = st.one_of(st.sampled_from(SPECIALS.tolist()), st.integers(0, 0xFFFF))
    groups = data.draw(st.integers(1, 6))
    size = groups * spec.nm_m
    bits = np.array(data.draw(st.lists(word, min_size=size, max_size=size)), dtype=np.uint16)
    vectors, schedule = topn_sorter_case(
        spec,
        bits.reshape(groups, spec.nm_m),
        stall_share=data.draw(st.sampled_from([0.0, 0.4, 0.9])),
        seed=data.draw(st.integers(0, 1000)),
    )
    check(run_pysim(TopNSorter(spec), vectors), vectors, schedule)


def test_corner_values_follow_the_documented_order():
    spec = _spec((2, 4))
    zero, minus_zero, tiny, subnormal = 0x0000, 0x8000, 0x0001, 0x83FF
    one, largest, inf, nan = 0x3C00, 0xFBFF, 0xFC00, 0x7E00
    groups_and_kept = [
        ([zero, minus_zero, zero, minus_zero], [(zero, 0), (minus_zero, 1)]),  # zeros tie
        ([zero, tiny, minus_zero, subnormal], [(tiny, 1), (subnormal, 3)]),
        ([one, one, one, one], [(one, 0), (one, 1)]),  # all equal: lowest indices
        ([largest, inf, one, largest], [(largest, 0), (inf, 1)]),
        ([inf, nan, largest, 0x7C00], [(inf, 0), (nan, 1)]),  # infinities tie, NaN above
        ([0xFFFF, nan, 0x7FFF, inf], [(0xFFFF, 0), (0x7FFF, 2)]),  # NaN by payload
    ]
    bits = np.array([group for group, _ in groups_and_kept], dtype=np.uint16)
    vectors, schedule = topn_sorter_case(spec, bits)
    assert list(vectors.expected["o"]) == [
        sum((index << 16 | value) << 18 * slot for slot, (value, index) in enumerate(kept))
        for _, kept in groups_and_kept
    ]
    check(run_pysim(TopNSorter(spec), vectors), vectors, schedule)


def test_every_ordering_of_a_group_of_four_is_sorted():
    words = [0x3C00, 0xBC00, 0x0000, 0x7C00]  # one, minus one (a tie), zero, infinity
    bits = np.array(list(itertools.permutations(words)), dtype=np.uint16)
    for nm_n in (1, 2, 3, 4):
        spec = _spec((nm_n, 4))
        vectors, schedule = topn_sorter_case(spec, bits)
        check(run_pysim(TopNSorter(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("mutant", [TieToLatest, SignedOrder])
def test_a_wrong_order_is_found(mutant):
    spec = _spec((2, 8))
    vectors, schedule = topn_sorter_case(spec, random_groups(np.random.default_rng(0), 20, 8))
    with pytest.raises(CosimError) as found:
        check(run_pysim(mutant(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_timing_is_the_same_in_rtl_simulator_and_measurement(pattern):
    spec = _spec(pattern)
    vectors, _ = topn_sorter_case(spec, random_groups(np.random.default_rng(1), 4, spec.nm_m))
    observed = run_pysim(TopNSorter(spec), vectors)
    lasts = observed.accept_cycles["i"][spec.nm_m - 1 :: spec.nm_m]
    emits = observed.emit_cycles["o"]
    [latency] = set((emits - lasts).tolist())
    [interval] = set(np.diff(emits).tolist())
    measured = UnitTiming(latency, interval)
    assert topn_sorter.timing(spec) == sorter.timing(spec) == measured


def test_result_is_not_offered_before_its_latency_and_is_offered_at_it():
    spec = _spec((1, 4))
    vectors, _ = topn_sorter_case(spec, np.array([[1, 2, 3, 4]], dtype=np.uint16))
    observed = run_pysim(TopNSorter(spec), vectors)
    first_offer = int(observed.streams["o"].valid.argmax())
    last_accept = int(observed.streams["i"].transfer_cycles[-1]) + 3  # three cycles of reset
    assert first_offer == last_accept + 1


@pytest.mark.parametrize("pattern", [(1, 1), (3, 2)])
def test_a_pattern_that_cannot_be_sorted_is_refused_by_rtl_and_simulator(pattern):
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        TopNSorter(_spec(pattern))
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        sorter.timing(_spec(pattern))
