"""A maker's claims carry what they say themselves, else what the maker shares."""

from __future__ import annotations

from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker


def test_what_a_claim_says_itself_wins() -> None:
    make = ClaimMaker("m-", "text", "peer", 0.1, "x")
    assert make("a", "what", 2.0, 3.0) == Claim(
        "m-a", "what", 2.0, 3.0, "x", 0.1, "peer", True, "text"
    )
    own = make("b", "what", 2.0, 3.0, "", 0.0, "rtl", "", gated=False)
    assert own == Claim("m-b", "what", 2.0, 3.0, "", 0.0, "rtl", False, "")


def test_cases_pass_if_each_holds() -> None:
    make = ClaimMaker("m-", "text")
    assert make.cases("all", "what", (True, True)).passed
    some = make.cases("some", "what", (True, False), "law")
    assert some == Claim("m-some", "what", 1, 2, "cases", 0.0, "derived", True, "law")
    assert not some.passed
