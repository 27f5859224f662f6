"""Name the units of FlightLLM."""

from __future__ import annotations

from hwsim.flightllm.unit_spec import (
    CsdChainSpec,
    DequantSpec,
    DspSpec,
    GqsaSpec,
    LaneSpec,
    QMoeSpec,
    SfuSpec,
    TokenSpec,
)
from rtl.flightllm import (
    csd_chain,
    dequant,
    dsp48,
    gqsa_engine,
    overflow_adjust,
    qmoe_decoder,
    qmoe_dot,
    sparse_mux,
    token_scoreboard,
    vector_sfu,
)
from rtl.formal.dequant import dequant_properties
from rtl.formal.dsp_chain import csd_chain_properties, dsp48_mac_properties
from rtl.formal.gqsa_engine import gqsa_engine_properties, gqsa_fixup_properties
from rtl.formal.pipeline import pipeline_properties
from rtl.formal.qmoe_decoder import qmoe_decoder_properties, qmoe_dot_properties
from rtl.formal.token_scoreboard import token_scoreboard_properties
from rtl.formal.vector_sfu import vector_sfu_properties
from rtl.unit import Unit

__all__ = ["FLIGHTLLM_UNITS"]

CHAIN_PROOF_SPEC = CsdChainSpec(
    dsps=4, choices=4, lane=LaneSpec(operand_bits=4, lane_bits=10, segment_dsps=2)
)
"""Two segments of a group each: every kind of slice and node, and overflow adjustment."""

QMOE_PROOF_SPEC = QMoeSpec(entries=4, max_pairs=2, index_bits=5, columns=16, sum_bits=16)

GQSA_PROOF_SPEC = GqsaSpec(group=2, columns=4, scale_bits=2, sum_bits=24)

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
        TokenSpec(depth=3, in_flight=2),
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
    Unit(
        "flightllm/vector_sfu",
        "softmax, norms, SiLU, GELU, add and multiply on 16 lanes, in two passes or one",
        SfuSpec(),
        vector_sfu.VectorSfu,
        vector_sfu.timing,
        vector_sfu_properties,
        SfuSpec(lanes=1, max_beats=2, table_bits=2),
    ),
    Unit(
        "flightllm/qmoe_decoder",
        "decode dictionary codewords to up to 28 ternary weights each",
        QMoeSpec(),
        qmoe_decoder.QMoeDecoder,
        qmoe_decoder.timing,
        qmoe_decoder_properties,
        QMOE_PROOF_SPEC,
    ),
    Unit(
        "flightllm/qmoe_dot",
        "add activations by the ternary digit they meet",
        QMoeSpec(),
        qmoe_dot.QMoeDot,
        qmoe_dot.timing,
        qmoe_dot_properties,
        QMOE_PROOF_SPEC,
    ),
    Unit(
        "flightllm/gqsa_engine",
        "multiply a vector by rows of kept INT4 groups, a group per cycle",
        GqsaSpec(),
        gqsa_engine.GqsaEngine,
        gqsa_engine.timing,
        gqsa_engine_properties,
        GQSA_PROOF_SPEC,
    ),
    Unit(
        "flightllm/gqsa_fixup",
        "join the partial sums of rows that engines share",
        GqsaSpec(),
        gqsa_engine.GqsaFixup,
        gqsa_engine.fixup_timing,
        gqsa_fixup_properties,
        GQSA_PROOF_SPEC,
    ),
)
"""Units in the order of the data's way."""
