"""Check that the claims about FlightLLM compare what they say, and can fail."""

from __future__ import annotations

from hwsim.experiments import (
    flightllm_codecs,
    flightllm_experts,
    flightllm_profile,
)
from hwsim.experiments.flightllm_runs import run
from hwsim.experiments.registry import EXPERIMENTS
from hwsim.flightllm.expert_stream import decoders_for


def test_steps_follow_the_law_of_their_bytes() -> None:
    # 28 bytes per load, 8 - 1 loads missing per head and layer at context 16.
    long, short = (
        run("vhk158", "decode", context).extra["storage"]["program_bytes"] for context in (128, 16)
    )
    assert long - short == 28 * 7 * 1024


def test_a_claim_fails_beyond_its_tolerance() -> None:
    claim = flightllm_profile._claim("x", "a time", 1.002, 1.0, "ms", 0.001)
    assert not claim.passed
    assert claim.basis == "artifact"
    assert claim.gated


def test_the_codec_is_the_authors() -> None:
    claims = {claim.id: claim for claim in flightllm_codecs.claims()}
    assert claims["qmoe.table"].passed
    assert claims["qmoe.rate"].passed
    assert EXPERIMENTS["flightllm"] == "hwsim.experiments.flightllm"


def test_the_stream_is_its_slowest_stage() -> None:
    rates = flightllm_experts.rates()
    passed = [one.weights_per_s for one in rates]
    assert passed == sorted(passed)
    assert passed[0] == rates[0].decoders < rates[0].memory
    assert passed[-1] == rates[-1].engines < rates[-1].decoders
    # 24 channels of 14.375 GB/s at 70 %, 16 bits per codeword: what HBM could feed, by hand.
    bits, weights = flightllm_experts.independent_rows(2080)
    codewords = 24 * 14.375e9 * 0.7 / 2
    assert 0.95 < rates[0].memory / (codewords * weights) < 1.05
    assert 16 / weights < bits  # the rows' overhead is counted


def test_as_many_decoders_as_the_rate_needs() -> None:
    spec = flightllm_experts._u280()
    each = 20.0 * spec.clock_hz
    assert decoders_for(spec, 3 * each, 20.0) == 3
    assert decoders_for(spec, 3 * each + 1, 20.0) == 4
