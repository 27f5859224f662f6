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
from hwsim.cli.rtl_cases.flightllm.gqsa import gqsa_engine_cases, gqsa_fixup_cases
from hwsim.cli.rtl_cases.flightllm.qmoe import qmoe_decoder_cases, qmoe_dot_cases
from hwsim.cli.rtl_cases.flightllm.sfu import vector_sfu_cases
from hwsim.cli.rtl_cases.flightllm.tokens import token_scoreboard_cases

__all__ = ["FLIGHTLLM_CASES"]

FLIGHTLLM_CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    "flightllm/csd_chain": csd_chain_cases,
    "flightllm/dequant": dequant_cases,
    "flightllm/dsp48": dsp48_mac_cases,
    "flightllm/gqsa_engine": gqsa_engine_cases,
    "flightllm/gqsa_fixup": gqsa_fixup_cases,
    "flightllm/overflow_adjust": overflow_adjust_cases,
    "flightllm/qmoe_decoder": qmoe_decoder_cases,
    "flightllm/qmoe_dot": qmoe_dot_cases,
    "flightllm/sparse_mux": sparse_mux_cases,
    "flightllm/token_scoreboard": token_scoreboard_cases,
    "flightllm/vector_sfu": vector_sfu_cases,
}
"""Unit -> (spec, seed) -> cases."""
