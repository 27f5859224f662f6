"""Name the units of FlightLLM."""

from __future__ import annotations

from hwsim.flightllm.unit_spec import (
    CsdChainSpec,
    DequantSpec,
    DspSpec,
    LaneSpec,
    TokenSpec,
)
from rtl.flightllm import (
    csd_chain,
    dequant,
    dsp48,
    overflow_adjust,
    sparse_mux,
    token_scoreboard,
)
from rtl.formal.dequant import dequant_properties
from rtl.formal.dsp_chain import csd_chain_properties, dsp48_mac_properties
from rtl.formal.pipeline import pipeline_properties
from rtl.formal.token_scoreboard import token_scoreboard_properties
from rtl.unit import Unit

__all__ = ["FLIGHTLLM_UNITS"]

CHAIN_PROOF_SPEC = CsdChainSpec(
    dsps=4, choices=4, lane=LaneSpec(operand_bits=4, lane_bits=10, segment_dsps=2)
)
"""Two segments of a group each: every kind of slice and node, and overflow adjustment."""

FLIGHTLLM_UNITS = (
    Unit(
        "flightllm/dsp48",
        "multiply and add in one DSP48E2, with pre-adder and cascade",
        DspSpec(),
        dsp48.Dsp48Mac,
        dsp48.timing,
        dsp48_mac_properties,
    ),
    Unit(
        "flightllm/sparse_mux",
        "pick the two activations that meet a kept weight",
        CsdChainSpec(),
        sparse_mux.SparseMux,
        sparse_mux.timing,
        pipeline_properties,
    ),
    Unit(
        "flightllm/overflow_adjust",
        "split packed sums, so that a chain goes on behind 8 DSPs",
        LaneSpec(),
        overflow_adjust.OverflowAdjust,
        overflow_adjust.timing,
        pipeline_properties,
    ),
    Unit(
        "flightllm/csd_chain",
        "configurable sparse DSP chain: sums of N kept weights, L / N columns per cycle",
        CsdChainSpec(),
        csd_chain.CsdChain,
        csd_chain.timing,
        csd_chain_properties,
        CHAIN_PROOF_SPEC,
    ),
    Unit(
        "flightllm/token_scoreboard",
        "start instructions when the tokens of other units have come",
        TokenSpec(),
        token_scoreboard.TokenScoreboard,
        token_scoreboard.timing,
        token_scoreboard_properties,
        TokenSpec(depth=3),
    ),
    Unit(
        "flightllm/dequant",
        "expand weights of 2, 3, 4, 5 or 8 bits to INT8",
        DequantSpec(),
        dequant.Dequant,
        dequant.timing,
        dequant_properties,
        DequantSpec(word_bits=8, lanes=2, widths=(2, 3, 5), count_bits=2),
    ),
)
"""Units in the order of the data's way."""
