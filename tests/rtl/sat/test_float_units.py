"""Does every floating-point unit equal its golden function, in the cycles that are predicted?

One body of checks for all of them; what is special about a unit is tested in its own file.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import FLOAT_UNITS, float_case
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.float_pipeline import float_pipeline_properties
from rtl.formal.prove import prove_rtlil
from rtl.registry import UNITS
from rtl.sat.fp32_add import Fp32Add

NAMES = list(FLOAT_UNITS)
CONVERTERS = ["sat/fp16_to_fp32", "sat/fp32_to_fp16"]
LATENCIES = [
    *(("sat/fp16_mul", latency) for latency in (1, 2, 3, 4, 7)),
    *(("sat/fp32_add", latency) for latency in (1, 2, 3, 6, 9)),
    *(("sat/fp32_mul", latency) for latency in (1, 2, 4, 6, 8)),
    *((name, 1) for name in CONVERTERS),
]
"""With fewer registers than steps, as many, and more; the converters have one."""


def _spec(latency: int) -> ArraySpec:
    return ArraySpec(multiplier_latency_cycles=latency, adder_latency_cycles=latency)


def _draw(name: str, seed: int, transfers: int) -> np.ndarray:
    return FLOAT_UNITS[name].draw(np.random.default_rng(seed), transfers)


def _tuples(name: str, operands: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(operands, dtype=FLOAT_UNITS[name].specials.dtype)


def _arity(name: str) -> int:
    return _draw(name, 0, 1).shape[1]


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


@pytest.mark.parametrize(("name", "latency"), LATENCIES)
@pytest.mark.parametrize("stall_share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(name, latency, stall_share):
    spec = _spec(latency)
    operands = _draw(name, latency, 200)
    vectors, schedule = float_case(name, spec, operands, stall_share=stall_share, seed=latency)
    check(run_pysim(UNITS[name].build(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_thousand_results_under_random_stalls_on_verilator(name):
    spec = ArraySpec()
    drawn = [
        float_case(name, spec, _draw(name, 3, 100_000), stall_share=0.1, seed=3),
        float_case(name, spec, _draw(name, 4, 2_000), seed=4),
    ]
    played = run_verilator(UNITS[name].build(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].emit_cycles["o"]) == 100_000


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_and_stalls(name, data):
    spec = _spec(data.draw(st.integers(1, 5)))
    specials = FLOAT_UNITS[name].specials
    highest = int(np.iinfo(specials.dtype).max)
    word = st.one_of(st.sampled_from(specials.tolist()), st.integers(0, highest))
    operands = st.tuples(*[word] * _arity(name))
    drawn = data.draw(st.lists(operands, min_size=1, max_size=12))
    share = data.draw(st.sampled_from([0.0, 0.4, 0.9]))
    seed = data.draw(st.integers(0, 1000))
    vectors, schedule = float_case(name, spec, _tuples(name, drawn), stall_share=share, seed=seed)
    check(run_pysim(UNITS[name].build(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_corner_words_gives_the_golden_result(name):
    specials = FLOAT_UNITS[name].specials.tolist()
    operands = _tuples(name, list(itertools.product(specials, repeat=_arity(name))))
    vectors, schedule = float_case(name, ArraySpec(), operands)
    check(run_pysim(UNITS[name].build(ArraySpec()), vectors), vectors, schedule)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(name, fault, category):
    share = 0.4 if fault == "retract" else 0.0
    operands = _draw(name, 1, 100)
    vectors, schedule = float_case(name, ArraySpec(), operands, stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(UNITS[name].build(), fault), vectors), vectors, schedule)
    assert found.value.category == category


@pytest.mark.parametrize(("name", "latency"), LATENCIES)
def test_timing_is_the_same_in_rtl_simulator_and_measurement(name, latency):
    spec = _spec(latency)
    vectors, _ = float_case(name, spec, _draw(name, 0, 10))
    observed = run_pysim(UNITS[name].build(spec), vectors)
    [measured] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
    [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
    timing = UnitTiming(measured, interval)
    assert UNITS[name].timing(spec) == FLOAT_UNITS[name].timing(spec) == timing
    # Not offered at t - 1 (three cycles of reset come first).
    assert int(observed.streams["o"].valid.argmax()) == 3 + latency


@pytest.mark.parametrize(
    ("name", "latency"),
    [
        *(("sat/fp16_mul", latency) for latency in (1, 2, 5)),
        *(("sat/fp32_add", latency) for latency in (1, 4, 6, 8)),
        *(("sat/fp32_mul", latency) for latency in (2, 6)),
        *((name, 1) for name in CONVERTERS),
    ],
)
def test_transfers_leave_once_in_order_through_every_step(name, latency):
    text = proof_rtlil(UNITS[name].build(_spec(latency)), float_pipeline_properties)
    result = prove_rtlil(text)
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [MovesWhileRefused, AcceptsWhileRefused])
def test_a_pipeline_that_overwrites_or_loses_a_result_is_refuted(mutant):
    text = proof_rtlil(mutant(_spec(2)), float_pipeline_properties)
    assert prove_rtlil(text, 6).status == "refuted"
