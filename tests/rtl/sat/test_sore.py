"""Does SORE select every lane's groups in lock step, at the rate the simulator counts?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import SPECIALS
from hwsim.cli.rtl_cases.reduction import sore_case
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.sat import sorter as model
from hwsim.sat.spec import SoreSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.sore import sore_properties
from rtl.sat import sore
from rtl.sat.sore import Sore
from rtl.sat.units import SORE_PROOF_SPEC, SORE_SPEC

SHAPES = [(1, 1, 2), (2, 2, 4), (3, 2, 8), (4, 3, 5)]


def _spec(lanes: int, nm_n: int, nm_m: int) -> SoreSpec:
    return SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=nm_n, nm_m=nm_m))


def _rows(spec: SoreSpec, sets: int, seed: int = 0) -> np.ndarray:
    return random_groups(np.random.default_rng(seed), sets * spec.sorter.nm_m, spec.lanes)


class SwappedLanes(Sore):
    """Emits the groups of lanes 0 and 1 in each other's place."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        for lane in (0, 1):
            m.d.comb += self.o.payload[lane].eq(self.sorters[1 - lane].o.payload)
        return m


class LooseLane(Sore):
    """Lets lane 1 emit on its own."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.sorters[1].o.ready.eq(1)
        return m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(shape, stall_share):
    spec = _spec(*shape)
    vectors, schedule = sore_case(spec, _rows(spec, 16), stall_share=stall_share, seed=7)
    check(run_pysim(Sore(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_rows_under_random_stalls_on_verilator():
    drawn = [
        sore_case(SORE_SPEC, _rows(SORE_SPEC, sets, seed), stall_share=share, seed=seed)
        for seed, (sets, share) in enumerate([(25_000, 0.3), (250, 0.8), (250, 0.0)])
    ]
    played = run_verilator(Sore(SORE_SPEC), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].accept_cycles["i"]) == 100_000


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(data):
    spec = _spec(*data.draw(st.sampled_from([(2, 1, 2), (3, 2, 4), (2, 3, 5)])))
    # Few distinct magnitudes, so that ties of both signs are common.
    word = st.one_of(st.sampled_from(SPECIALS.tolist()), st.integers(0, 0xFFFF))
    rows = data.draw(st.integers(1, 4)) * spec.sorter.nm_m
    size = rows * spec.lanes
    bits = np.array(data.draw(st.lists(word, min_size=size, max_size=size)), dtype=np.uint16)
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    seed = data.draw(st.integers(0, 1000))
    vectors, schedule = sore_case(
        spec, bits.reshape(rows, spec.lanes), stall_share=share, seed=seed
    )
    check(run_pysim(Sore(spec), vectors), vectors, schedule)


def test_each_lane_orders_corner_words_as_a_lone_sorter_does():
    zero, minus_zero, tiny, subnormal = 0x0000, 0x8000, 0x0001, 0x83FF
    largest, inf, minus_inf, nan = 0xFBFF, 0x7C00, 0xFC00, 0x7E00
    spec = _spec(3, 2, 4)
    columns = [
        [zero, minus_zero, zero, minus_zero],  # zeros tie: lowest indices
        [zero, tiny, minus_zero, subnormal],
        [largest, minus_inf, nan, inf],  # NaN above infinities, which tie
    ]
    kept = [[(zero, 0), (minus_zero, 1)], [(tiny, 1), (subnormal, 3)], [(minus_inf, 1), (nan, 2)]]
    rows = np.array(columns, dtype=np.uint16).T.copy()
    vectors, schedule = sore_case(spec, rows)
    slots = [index << 16 | value for lane in kept for value, index in lane]
    assert list(vectors.expected["o"]) == [sum(s << 18 * place for place, s in enumerate(slots))]
    check(run_pysim(Sore(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("nm_m", [4, 8])
def test_rate_is_lanes_values_per_cycle_whatever_n_is(nm_m):
    measured = set()
    for nm_n in (1, 2, 3):
        spec = _spec(4, nm_n, nm_m)
        vectors, schedule = sore_case(spec, _rows(spec, 6))
        observed = run_pysim(Sore(spec), vectors)
        check(observed, vectors, schedule)
        accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
        assert set(np.diff(emits).tolist()) == {nm_m}  # 4 lanes x M values in M cycles
        # What the simulator charges for these elements.
        elems = len(accepts) * spec.lanes
        assert int(accepts[-1]) + 1 == ceil_div(elems, spec.lanes)
        measured.add((tuple(accepts.tolist()), tuple(emits.tolist())))
    assert len(measured) == 1


def test_all_lanes_of_the_paper_take_m_cycles_per_set_of_groups():
    spec = SoreSpec()
    vectors, schedule = sore_case(spec, _rows(spec, 3))
    observed = run_pysim(Sore(spec), vectors)
    check(observed, vectors, schedule)
    # 32 values per cycle.
    assert observed.accept_cycles["i"].tolist() == list(range(3 * 8))
    assert observed.emit_cycles["o"].tolist() == [8, 16, 24]


def test_timing_is_the_same_in_rtl_simulator_and_measurement():
    spec = _spec(2, 2, 4)
    vectors, _ = sore_case(spec, _rows(spec, 5))
    observed = run_pysim(Sore(spec), vectors)
    lasts, emits = observed.accept_cycles["i"][3::4], observed.emit_cycles["o"]
    [latency] = set((emits - lasts).tolist())
    [interval] = set(np.diff(emits).tolist())
    assert sore.timing(spec) == model.engine_timing(spec) == UnitTiming(latency, interval)
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + int(lasts[0]) + latency


def test_swapped_lanes_are_found():
    vectors, schedule = sore_case(SORE_SPEC, _rows(SORE_SPEC, 4))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(SwappedLanes(SORE_SPEC), vectors), vectors, schedule)


def test_a_late_engine_is_found():
    spec = _spec(2, 1, 2)
    vectors, schedule = sore_case(spec, _rows(spec, 4))
    with pytest.raises(CosimError, match="schedule"):
        check(run_pysim(Faulty(Sore(spec), "late"), vectors), vectors, schedule)


@pytest.mark.parametrize("spec", [SORE_PROOF_SPEC, _spec(3, 2, 4)])
def test_lanes_run_in_lock_step_and_keep_the_largest(spec):
    result = prove_rtlil(proof_rtlil(Sore(spec), sore_properties))
    assert result.is_proved, result.log


def test_a_lane_that_emits_on_its_own_is_refuted():
    text = proof_rtlil(LooseLane(_spec(2, 1, 2)), sore_properties)
    assert prove_rtlil(text, 6).status == "refuted"
