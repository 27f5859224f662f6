"""Does a barrel issue by turns, one instruction per thread, in the cycles that are predicted?"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.barrel_issue import barrel_issue_case, barrel_loop_case
from hwsim.core.errors import InputError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import barrel_issue as model
from hwsim.piuma.barrel_issue import BarrelIssueModel, issued_in_steady_state, run_barrel
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import BarrelSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_barrel_issue import barrel_issue_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import barrel_issue
from rtl.piuma.barrel_issue import BarrelIssue


class StartsAtZero(BarrelIssue):
    """Looks for a thread from 0 on whenever it picks: the low numbers starve the high ones."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.turn.eq(0)
        return m


class IssuesTwice(BarrelIssue):
    """Forgets that thread 0 is in flight."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.may_issue[0].eq(1)
        return m


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    threads=st.integers(1, 9),
    instructions=st.integers(10, 60),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_rtl_issues_the_threads_of_the_model_in_its_cycles(
    threads, instructions, stall_share, seed
):
    spec = BarrelSpec(threads=threads, counter_bits=8)
    vectors, schedule = barrel_issue_case(spec, instructions, stall_share=stall_share, seed=seed)
    check(run_pysim(BarrelIssue(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("latency", [2, 8, 15, 16, 17, 32, 100])
def test_instructions_per_cycle_are_min_1_threads_over_latency(latency):
    spec = BarrelSpec(threads=16)
    vectors, schedule = barrel_loop_case(spec, latency, 16 * 8)
    observed = run_pysim(BarrelIssue(spec), vectors)
    check(observed, vectors, schedule)
    cycles = observed.emit_cycles["o"]
    turns = cycles[16:] - cycles[:-16]
    # Every 16 issues take max(16, L) cycles, from the first turn on: IPC = min(1, 16 / L).
    assert set(turns.tolist()) == {max(16, latency)}
    assert Fraction(16, max(16, latency)) == min(Fraction(1), Fraction(16, latency))


@pytest.mark.parametrize("threads", [1, 3, 16])
@pytest.mark.parametrize("latency", [2, 3, 16, 40])
def test_closed_form_counts_what_the_model_issues_in_any_window(threads, latency):
    spec = BarrelSpec(threads=threads)
    cycles = run_barrel(spec, lambda: latency, 12 * threads).cycles_of("o")
    first = int(cycles[2 * threads])  # thread 0, in steady state
    for window in range(1, 5 * max(threads, latency)):
        counted = int(np.sum((cycles >= first) & (cycles < first + window)))
        assert counted == issued_in_steady_state(spec, latency, window)


def test_a_thread_is_not_offered_before_its_response_and_is_offered_behind_it():
    spec = BarrelSpec(threads=1)
    vectors, _ = barrel_loop_case(spec, 5, 4)
    observed = run_pysim(BarrelIssue(spec), vectors)
    responds, issues = observed.accept_cycles["resp"], observed.emit_cycles["o"]
    assert (issues - responds).tolist() == [1] * 4
    assert np.diff(issues).tolist() == [5] * 3
    [latency] = set((issues - responds).tolist())
    cycles = run_barrel(BarrelSpec(threads=4), lambda: 2, 40).cycles_of("o")
    [interval] = set(np.diff(cycles).tolist())
    measured = UnitTiming(latency, interval)
    assert barrel_issue.timing(spec) == model.timing(spec) == measured


def test_counters_account_for_every_cycle():
    spec = BarrelSpec(threads=4, counter_bits=16)
    vectors, schedule = barrel_issue_case(spec, 60, stall_share=0.5, seed=4)
    observed = run_pysim(BarrelIssue(spec), vectors)
    check(observed, vectors, schedule)
    end = int(observed.emit_cycles["o"][-1])
    valid = observed.streams["o"].valid[3:]
    ready = observed.streams["o"].ready[3:]
    expected = {
        "issued": np.cumsum(valid & ready),
        "stalled": np.cumsum(valid & ~ready),
        "idle": np.cumsum(~valid),
    }
    for name, counts in expected.items():
        assert observed.probes[name][4:][:end] == counts[:end].tolist()
    assert sum(observed.probes[name][3 + end] for name in expected) == end


def test_the_models_counters_are_those_of_the_unit():
    spec = BarrelSpec(threads=4, counter_bits=16)
    vectors, _ = barrel_issue_case(spec, 60, stall_share=0.5, seed=4)
    played = BarrelIssueModel(spec)
    replay = play(
        played,
        {"resp": [(word,) for word in vectors.inputs["resp"]]},
        gaps=vectors.source_gaps,
        stalls=vectors.sink_stalls,
    )
    observed = run_pysim(BarrelIssue(spec), vectors)
    end = 3 + replay.end_cycle  # three cycles of reset
    found = {name: observed.probes[name][end] for name in played.counts._fields}
    assert found == played.counts._asdict()


def test_a_response_to_a_waiting_thread_is_refused_by_the_model():
    with pytest.raises(InputError, match="a thread in flight"):
        play(BarrelIssueModel(BarrelSpec(threads=4)), {"resp": [(2,), (4,), (4,), (4,)]})
    with pytest.raises(InputError, match="at least 2"):
        run_barrel(BarrelSpec(), lambda: 1, 100)


def test_an_unfair_barrel_is_found():
    spec = BarrelSpec(threads=4)
    # Stalls, so that several threads wait for their turn.
    vectors, schedule = barrel_issue_case(spec, 60, stall_share=0.8, seed=1)
    with pytest.raises(CosimError) as found:
        check(run_pysim(StartsAtZero(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


@pytest.mark.parametrize("threads", [3, 4, 16])
def test_one_instruction_in_flight_and_no_starvation_are_proved(threads):
    unit = BarrelIssue(BarrelSpec(threads=threads, counter_bits=4))
    result = prove_rtlil(proof_rtlil(unit, barrel_issue_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("mutant", [StartsAtZero, IssuesTwice])
def test_a_starving_or_doubling_barrel_is_refuted(mutant):
    text = proof_rtlil(mutant(BarrelSpec(threads=3, counter_bits=2)), barrel_issue_properties)
    assert prove_rtlil(text, 8).status == "refuted"
