"""Check SAT: the array against its contract, and training against the abstract's number."""

from __future__ import annotations

from hwsim.core.result import Claim
from hwsim.experiments import sat_array, sat_training

__all__ = ["claims"]


def claims() -> list[Claim]:
    """Return the claims of both parts."""
    return [*sat_array.claims(), *sat_training.claims()]
