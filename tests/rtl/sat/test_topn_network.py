# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the compare network keep what SORE's sorter keeps, one group per cycle?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import SPECIALS
from hwsim.cli.rtl_cases.reduction import topn_network_case
from hwsim.cli.rtl_cases.sorter import random_groups, topn_sorter_case
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat import sorter as model
from hwsim.sat.spec import SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.topn_network import topn_network_properties
from rtl.sat import topn_network
from rtl.sat.topn_network import TopNNetwork

PATTERNS = [(1, 2), (2, 2), (1, 4), (2, 4), (3, 5), (2, 8), (4, 8), (8, 8), (5, 7), (4, 16)]


def _spec(pattern: tuple[int, int]) -> SorterSpec:
    return SorterSpec(nm_n=pattern[0], nm_m=pattern[1])


class TieToLatest(TopNNetwork):
    """Ranks equal magnitudes by falling index."""

    def _beats(self, one, other):
        return (one.value[:-1] > other.value[:-1]) | (
            (one.value[:-1] == other.value[:-1]) & (one.index > other.index)
        )


class MovesWhileRefused(TopNNetwork):
    """Overwrites a group that nobody has taken."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.moves[-1][0].eq(self.moves[-1][1])
        return m


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(pattern, stall_share):
    spec = _spec(pattern)
    bits = random_groups(np.random.default_rng(11), 50, spec.nm_m)
    vectors, schedule = topn_network_case(spec, bits, stall_share=stall_share, seed=11)
    check(run_pysim(TopNNetwork(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_groups_under_random_stalls_on_verilator():
    spec = SorterSpec()
    drawn = [
        topn_network_case(
            spec,
            random_groups(np.random.default_rng(seed), groups, spec.nm_m, 0.1),
            stall_share=share,
            seed=seed,
        )
        for seed, (groups, share) in enumerate([(100_000, 0.3), (1_000, 0.0)])
    ]
    played = run_verilator(TopNNetwork(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].emit_cycles["o"]) == 100_000


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(data):
    spec = _spec(data.draw(st.sampled_from([(1, 2), (2, 4), (3, 5), (4, 8)])))
    word = st.one_of(st.sampled_from(SPECIALS.tolist()), st.integers(0, 0xFFFF))
    group = st.lists(word, min_size=spec.nm_m, max_size=spec.nm_m)
    bits = np.array(data.draw(st.lists(group, min_size=1, max_size=6)), dtype=np.uint16)
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    seed = data.draw(st.integers(0, 1000))
    vectors, schedule = topn_network_case(spec, bits, stall_share=share, seed=seed)
    check(run_pysim(TopNNetwork(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("nm_n", [1, 2, 3, 4])
def test_every_order_of_four_with_every_tie_is_sorted(nm_n):
    # Four magnitudes suffice for every weak order of four values; signs alternate with the index.
    magnitudes = np.array([0x0000, 0x0001, 0x7C00, 0x7FFF])
    places = np.array(list(itertools.product(range(4), repeat=4)))
    bits = (magnitudes[places] | [0, 0x8000, 0, 0x8000]).astype(np.uint16)
    spec = _spec((nm_n, 4))
    vectors, schedule = topn_network_case(spec, bits)
    check(run_pysim(TopNNetwork(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("pattern", [(2, 4), (2, 8), (3, 5)])
def test_golden_groups_are_those_of_the_sorter(pattern):
    spec = _spec(pattern)
    bits = random_groups(np.random.default_rng(0), 50, spec.nm_m)
    network, lane = topn_network_case(spec, bits)[0], topn_sorter_case(spec, bits)[0]
    assert list(network.expected["o"]) == list(lane.expected["o"])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_timing_is_the_same_in_rtl_simulator_and_measurement(pattern):
    spec = _spec(pattern)
    vectors, _ = topn_network_case(spec, random_groups(np.random.default_rng(1), 4, spec.nm_m))
    observed = run_pysim(TopNNetwork(spec), vectors)
    [latency] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    measured = UnitTiming(latency, interval)
    assert topn_network.timing(spec) == model.network_timing(spec) == measured
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + latency


def test_ranks_follow_batchers_depth():
    # Sorting all of 2^t takes t (t + 1) / 2 ranks by magnitude and as many by index.
    assert model.network_timing(_spec((8, 8))).latency_cycles == 2 * 6
    # A maximum is a tree of log2(M) ranks, with no order to restore.
    assert model.network_timing(_spec((1, 16))).latency_cycles == 4
    # 2:8: pairs; merge to two, twice (1 + 1 ranks each); one rank by index.
    assert model.network_timing(_spec((2, 8))).latency_cycles == 1 + 2 * 2 + 1


def test_another_tie_rule_is_found():
    spec = _spec((2, 8))
    vectors, schedule = topn_network_case(spec, random_groups(np.random.default_rng(0), 20, 8))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(TieToLatest(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("pattern", [(1, 2), (2, 4), (3, 5)])
def test_groups_leave_once_in_order_through_every_rank(pattern):
    result = prove_rtlil(proof_rtlil(TopNNetwork(_spec(pattern)), topn_network_properties))
    assert result.is_proved, result.log


def test_a_network_that_overwrites_a_refused_group_is_refuted():
    text = proof_rtlil(MovesWhileRefused(_spec((1, 2))), topn_network_properties)
    assert prove_rtlil(text, 6).status == "refuted"


@pytest.mark.parametrize("pattern", [(1, 1), (3, 2)])
def test_a_pattern_that_cannot_be_sorted_is_refused_by_rtl_and_simulator(pattern):
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        TopNNetwork(_spec(pattern))
    with pytest.raises(SpecError, match="need nm_m >= 2 and nm_n <= nm_m"):
        model.network_timing(_spec(pattern))
