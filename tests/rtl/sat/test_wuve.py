# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the weight update engine equal numpy, bit by bit, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.float_units import FP32_SPECIALS, SPECIALS
from hwsim.cli.rtl_cases.update import RATES, random_update, wuve_case
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec, SatSpec, WuveSpec
from hwsim.sat.wuve import wuve_timing
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.wuve import wuve_properties
from rtl.registry import UNITS
from rtl.sat import fp32_add, fp32_mul, wuve
from rtl.sat.wuve import Wuve


def _spec(lanes: int, multiply: int = 1, add: int = 1) -> SatSpec:
    array = ArraySpec(multiplier_latency_cycles=multiply, adder_latency_cycles=add)
    return SatSpec(array=array, wuve=WuveSpec(lanes=lanes))


def _update(seed: int, transfers: int, lanes: int):
    return random_update(np.random.default_rng(seed), transfers, lanes)


def _one_lane(rows: list[tuple[float, float, float]]):
    """Return an update of one lane from {gradient, weight, momentum} in every row."""
    dw, w, v = np.array(rows, dtype=np.float64).T[:, :, None]
    return (
        dw.astype(np.float16).view(np.uint16),
        w.astype(np.float32).view(np.uint32),
        v.astype(np.float32).view(np.uint32),
    )


class Adds(Wuve):
    """Goes up the gradient."""

    def _negate(self, word):
        return word


class MomentumTooEarly(Wuve):
    """Lets the momentum overtake its gradient by a cycle."""

    def _delay(self, word, cycles):
        is_momentum = cycles == 2
        return super()._delay(word, cycles - is_momentum)


class Repeats(Wuve):
    """Offers a word again that was accepted before those of the other outputs.

    Passes words on without arithmetic, which takes a solver long to fill in.
    """

    def _multiply(self, a, b):
        return self._delay(a, fp32_mul.timing(self.spec.array).latency_cycles)

    def _add(self, a, b):
        return self._delay(a, fp32_add.timing(self.spec.array).latency_cycles)

    def _is_due(self, sink):
        return self.is_used[-1]


@pytest.mark.parametrize(("multiply", "add"), [(1, 1), (2, 6)])
@pytest.mark.parametrize("stall_share", [0.0, 0.4])
def test_rtl_equals_golden_and_cycle_model_on_pysim(multiply, add, stall_share):
    spec = _spec(2, multiply, add)
    vectors, schedule = wuve_case(spec, _update(add, 50, 2), stall_share=stall_share, seed=add)
    check(run_pysim(Wuve(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_updates_under_random_stalls_on_verilator():
    unit = UNITS["sat/wuve"]
    spec, lanes = unit.spec, unit.spec.wuve.lanes
    transfers = 100_000 // lanes
    plain = {"lr": 1.0, "mu": 1.0, "wd": 0.0, "inv_scale": 1.0}
    drawn = [
        wuve_case(spec, _update(3, transfers, lanes), stall_share=0.1, seed=3),
        wuve_case(spec, _update(4, 1000, lanes), rates=plain, seed=4),
    ]
    played = run_verilator(unit.build(), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    assert len(played[0].emit_cycles["o_w"]) * lanes == 100_000


@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_words_rates_and_stalls(data):
    rows = data.draw(st.integers(1, 6))
    columns = []
    for specials in (SPECIALS, FP32_SPECIALS, FP32_SPECIALS):
        highest = int(np.iinfo(specials.dtype).max)
        word = st.one_of(st.sampled_from(specials.tolist()), st.integers(0, highest))
        words = data.draw(st.lists(word, min_size=rows, max_size=rows))
        columns.append(np.array(words, dtype=specials.dtype)[:, None])
    rate = st.floats(width=32)
    rates = {name: data.draw(rate) for name in RATES}
    vectors, schedule = wuve_case(
        _spec(1),
        tuple(columns),
        rates=rates,
        stall_share=data.draw(st.sampled_from([0.0, 0.4, 0.9])),
        seed=data.draw(st.integers(0, 1000)),
    )
    check(run_pysim(Wuve(_spec(1)), vectors), vectors, schedule)


INF, NAN = np.inf, np.nan
CORNERS = {
    # Rates 1, except mu = 1/2: g = dw, v' = v / 2 + dw, w' = w - v'.
    "plain": ((0.5, 2.0, 1.0), (1.0, 1.0, 1.0)),
    "cancellation to +0": ((1.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
    "negative zeros": ((-0.0, -0.0, -0.0), (0.0, -0.0, 0.0)),
    "gradient is subnormal": ((2.0**-24, 0.0, 0.0), (-(2.0**-24), 2.0**-24, -(2.0**-24))),
    "copy rounds to a tie": ((0.0, 1 + 2**-11, 0.0), (1 + 2**-11, 0.0, 1.0)),
    "copy overflows": ((-1024.0, 64512.0, 0.0), (65536.0, -1024.0, INF)),
    "copy underflows": ((0.0, -(2.0**-25), 0.0), (-(2.0**-25), 0.0, -0.0)),
    "momentum halves to a subnormal": ((0.0, 0.0, 2.0**-126), (-(2.0**-127), 2.0**-127, -0.0)),
    "gradient overflowed": ((INF, 1.0, 0.0), (-INF, INF, -INF)),
    "gradient is NaN": ((NAN, 1.0, 0.0), (NAN, NAN, NAN)),
    "momentum and gradient are opposite infinities": ((INF, 1.0, -INF), (NAN, NAN, NAN)),
    # The decay is computed although it is 0: 0 * infinity is NaN.
    "weight is infinite": ((1.0, INF, 0.0), (NAN, NAN, NAN)),
}


def test_corner_updates_are_the_documented_ones():
    rates = {"lr": 1.0, "mu": 0.5, "wd": 0.0, "inv_scale": 1.0}
    update = _one_lane([row for row, _ in CORNERS.values()])
    vectors, schedule = wuve_case(_spec(1), update, rates=rates)
    results = np.array([result for _, result in CORNERS.values()]).T
    formats = {
        "o_w": (np.float32, np.uint32, 0x7FC0_0000),
        "o_v": (np.float32, np.uint32, 0x7FC0_0000),
        "o_w16": (np.float16, np.uint16, 0x7E00),
    }
    for (name, (number, word, nan)), values in zip(formats.items(), results, strict=True):
        bits = values.astype(number).view(word)
        assert list(vectors.expected[name]) == np.where(np.isnan(values), nan, bits).tolist()
    check(run_pysim(Wuve(_spec(1)), vectors), vectors, schedule)


@pytest.mark.parametrize("mutant", [Adds, MomentumTooEarly])
def test_a_wrong_update_is_found(mutant):
    vectors, schedule = wuve_case(_spec(1), _update(0, 20, 1))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(mutant(_spec(1)), vectors), vectors, schedule)


@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(fault, category):
    share = 0.4 if fault == "retract" else 0.0
    vectors, schedule = wuve_case(_spec(1), _update(1, 40, 1), stall_share=share, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(Wuve(_spec(1)), fault), vectors), vectors, schedule)
    assert found.value.category == category


@pytest.mark.parametrize(("multiply", "add"), [(1, 1), (2, 6), (4, 3)])
def test_timing_is_the_same_in_rtl_simulator_and_measurement(multiply, add):
    spec = _spec(1, multiply, add)
    vectors, _ = wuve_case(spec, _update(0, 6, 1))
    observed = run_pysim(Wuve(spec), vectors)
    for name in ("o_w", "o_v", "o_w16"):
        emits = observed.emit_cycles[name]
        [latency] = set((emits - observed.accept_cycles["i_dw"]).tolist())
        [interval] = set(np.diff(emits).tolist())
        assert wuve.timing(spec) == wuve_timing(spec) == UnitTiming(latency, interval)
        # Not offered at t - 1 (three cycles of reset come first).
        assert int(observed.streams[name].valid.argmax()) == 3 + latency


def test_streams_stay_paired_through_every_stage():
    result = prove_rtlil(proof_rtlil(Wuve(_spec(1)), wuve_properties))
    assert result.is_proved, result.log


def test_an_engine_that_repeats_a_word_is_refuted():
    assert prove_rtlil(proof_rtlil(Repeats(_spec(1)), wuve_properties), 12).status == "refuted"


def test_a_multiplier_without_a_register_is_refused():
    with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
        Wuve(_spec(1, multiply=0))
