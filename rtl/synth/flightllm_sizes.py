"""Name the sizes at which FlightLLM's units are synthesised for the area model."""

from __future__ import annotations

from hwsim.flightllm.unit_spec import (
    CsdChainSpec,
    DequantSpec,
    LaneSpec,
    QMoeSpec,
    SfuSpec,
    TokenSpec,
)
from rtl.flightllm.csd_chain import CsdChain
from rtl.flightllm.dequant import Dequant
from rtl.flightllm.qmoe_decoder import QMoeDecoder
from rtl.flightllm.qmoe_dot import QMoeDot
from rtl.flightllm.token_scoreboard import TokenScoreboard
from rtl.flightllm.vector_sfu import VectorSfu
from rtl.synth.sweep import Sweep

__all__ = ["FLIGHTLLM_SWEEPS"]

FLIGHTLLM_SWEEPS = (
    Sweep(
        "flightllm/csd_chain",
        CsdChain,
        tuple(
            CsdChainSpec(dsps=dsps, choices=choices, lane=LaneSpec(segment_dsps=segment))
            for dsps, choices, segment in (
                (16, 16, 8),
                (16, 8, 8),
                (16, 4, 8),
                (8, 16, 8),
                (8, 8, 8),
                (4, 16, 4),
            )
        ),
        ("dsps", "choices", "sum_bits", "lane.operand_bits", "lane.lane_bits"),
        ("1", "dsps", "dsps*dsps", "dsps*clog2(choices)"),
        wide_mux_inputs=9,
    ),
    Sweep(
        "flightllm/dequant",
        Dequant,
        tuple(
            DequantSpec(word_bits=word, lanes=lanes)
            for word, lanes in ((64, 16), (64, 8), (64, 4), (32, 8), (128, 8), (128, 16))
        ),
        ("word_bits", "lanes", "count_bits"),
        ("1", "lanes", "lanes*clog2(lanes)", "word_bits"),
    ),
    Sweep(
        "flightllm/token_scoreboard",
        TokenScoreboard,
        tuple(
            TokenSpec(units=units, depth=depth)
            for units, depth in ((6, 15), (6, 7), (6, 31), (4, 15), (3, 7), (8, 15))
        ),
        ("units", "depth"),
        ("1", "units*units", "units*units*clog2(depth)"),
    ),
    Sweep(
        "flightllm/vector_sfu",
        VectorSfu,
        tuple(
            SfuSpec(lanes=lanes, max_beats=beats)
            for lanes, beats in ((16, 256), (4, 256), (2, 256), (4, 64), (4, 16383))
        ),
        (
            "lanes",
            "max_beats",
            "scale_fraction_bits",
            "table_bits",
            "reciprocal_bits",
            "norm_fraction_bits",
        ),
        ("1", "lanes", "clog2(max_beats)"),
    ),
    Sweep(
        "flightllm/qmoe_decoder",
        QMoeDecoder,
        tuple(
            QMoeSpec(entries=entries, max_pairs=pairs)
            for entries, pairs in ((4096, 14), (8192, 14), (16384, 14), (4096, 7), (8192, 10))
        ),
        ("entries", "max_pairs", "index_bits"),
        ("1", "max_pairs", "clog2(entries)", "entries/4096"),
    ),
    Sweep(
        "flightllm/qmoe_dot",
        QMoeDot,
        tuple(
            QMoeSpec(max_pairs=pairs, columns=columns)
            for pairs, columns in ((14, 4096), (14, 2048), (14, 8192), (7, 4096), (7, 2048))
        ),
        ("max_pairs", "columns", "index_bits", "sum_bits"),
        ("1", "max_pairs", "columns/1024"),
    ),
)
"""Units in the order of the data's way."""
