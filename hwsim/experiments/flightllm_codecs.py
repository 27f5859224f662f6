"""Check the dictionary codec of QMoE: its table, its rate, what a whole model would take."""

from __future__ import annotations

import hashlib

from hwsim.core.formats.qmoe_dictionary import dictionary_words
from hwsim.core.result import Claim
from hwsim.experiments.flightllm_experts import SHAPES, independent_rows
from models.llm.parameters import expert_parameters, total_parameters
from models.llm.source import llm_config

__all__ = ["claims"]

_SHA256 = "c09862c453fe122634070a475357ff81a679aff65829d84a56f806c02a54ed45"


def claims() -> list[Claim]:
    """Return the claims about the codec."""
    table = dictionary_words().astype("<u4")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    bits_of = [independent_rows(columns)[0] for _, columns in SHAPES]
    rates = [16 / bits for bits in bits_of]
    config = llm_config("switch-c2048")
    experts = expert_parameters(config)
    bits = sum(bits_of) / 2
    rest = (total_parameters(config) - experts) * 16 / 8
    size = experts * bits / 8 + rest
    small = total_parameters(llm_config("switch-base-128"))
    return [
        Claim(
            "qmoe.c2048_bf16", "Switch c2048, all tensors in bfloat16",
            2 * total_parameters(config) / 1e9, 3142.0, "GB", 0.001, "third-party", True,
            "analysis of QMoE",
        ),
        Claim(
            "qmoe.base128_bf16", "Switch base-128, all tensors in bfloat16", 2 * small / 1e9, 14.9,
            "GB", 0.01, "third-party", True, "analysis of QMoE",
        ),
        Claim(
            "qmoe.table", "first 32 bits of the dictionary's SHA-256", int(digest[:8], 16),
            int(_SHA256[:8], 16), "1", 0.0, "artifact", True, "IST-DASLab/qmoe",
        ),
        Claim(
            "qmoe.rate", "compression of independent ternary weights, 88.5 % zeros",
            sum(rates) / 2, 21.11, "x", 0.01, "third-party", True, "analysis of QMoE",
        ),
        Claim(
            "qmoe.c2048", "Switch c2048, experts of independent weights", size / 1e9, 158.6, "GB",
            0.02, "third-party", False, "analysis of QMoE; real experts are not independent",
        ),
        Claim(
            "qmoe.c2048_experts", "Switch c2048's experts alone, compression", 16 / bits, 20.07,
            "x", 0.02, "third-party", False, "analysis of QMoE; real experts are not independent",
        ),
        Claim(
            "qmoe.c2048_rest", "everything but experts, bfloat16", rest / 1e9,
            158.6 - 3140.6 / 20.07, "GB", 0.15, "third-party", False,
            "what the analysis' totals leave, a difference of rounded numbers",
        ),
    ]  # fmt: skip
