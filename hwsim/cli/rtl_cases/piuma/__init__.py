"""Draw what is played against the units of PIUMA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.hash_accumulate import hash_accumulate_cases

__all__ = ["PIUMA_CASES"]

PIUMA_CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    "piuma/hash_accumulate": hash_accumulate_cases,
}
"""Unit -> (spec, seed) -> cases."""
