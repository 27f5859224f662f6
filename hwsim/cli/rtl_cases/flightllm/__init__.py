"""Draw what is played against FlightLLM's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.flightllm.chain import (
    csd_chain_cases,
    dsp48_mac_cases,
    overflow_adjust_cases,
    sparse_mux_cases,
)
from hwsim.cli.rtl_cases.flightllm.dequant import dequant_cases
from hwsim.cli.rtl_cases.flightllm.tokens import token_scoreboard_cases

__all__ = ["FLIGHTLLM_CASES"]

FLIGHTLLM_CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    "flightllm/csd_chain": csd_chain_cases,
    "flightllm/dequant": dequant_cases,
    "flightllm/dsp48": dsp48_mac_cases,
    "flightllm/overflow_adjust": overflow_adjust_cases,
    "flightllm/sparse_mux": sparse_mux_cases,
    "flightllm/token_scoreboard": token_scoreboard_cases,
}
"""Unit -> (spec, seed) -> cases."""
