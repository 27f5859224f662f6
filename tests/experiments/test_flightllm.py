"""Check that the claims about FlightLLM compare what they say, and can fail."""

from __future__ import annotations

from hwsim.experiments import flightllm_boards, flightllm_codecs, flightllm_profile
from hwsim.experiments.registry import EXPERIMENTS


def test_steps_follow_the_law_of_their_bytes() -> None:
    # 28 bytes per load, 8 - 1 loads missing per head and layer at context 16.
    assert flightllm_boards._step_bytes(128) - flightllm_boards._step_bytes(16) == 28 * 7 * 1024


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
