"""Check the dictionary codec of QMoE: its table, its rate, what a whole model would take."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from hwsim.core.formats.qmoe import encode_rows
from hwsim.core.formats.qmoe_dictionary import dictionary_words
from hwsim.core.result import Claim
from models.llm.parameters import expert_parameters, total_parameters
from models.llm.source import llm_config

__all__ = ["claims"]

_SHA256 = "c09862c453fe122634070a475357ff81a679aff65829d84a56f806c02a54ed45"
_ZEROS = 0.885
"""Share of zeros that the dictionary is built for (QMoE's code)."""
_SHAPES = ((6144, 2080), (2080, 6144))
"""Expert matrices of Switch c2048, rows and columns."""
_ROWS = 256
"""Rows that are drawn; all rows have one distribution."""


def claims() -> list[Claim]:
    """Return the claims about the codec."""
    table = dictionary_words().astype("<u4")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    rates = [16 / _bits_per_weight(columns) for _, columns in _SHAPES]
    config = llm_config("switch-c2048")
    experts = expert_parameters(config)
    bits = sum(_bits_per_weight(columns) for _, columns in _SHAPES) / 2
    size = (experts * bits + (total_parameters(config) - experts) * 16) / 8
    return [
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
    ]  # fmt: skip


@cache
def _bits_per_weight(columns: int) -> float:
    """Return what rows of ``columns`` independent weights take, overhead included."""
    rng = np.random.default_rng(0)
    digits = rng.choice(3, (_ROWS, columns), p=(_ZEROS, (1 - _ZEROS) / 2, (1 - _ZEROS) / 2))
    rows = np.zeros((_ROWS, 2), np.uint16)
    compact = encode_rows(digits.astype(np.uint8), rows)
    return compact.size_bits / digits.size
