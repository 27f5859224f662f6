"""Run GQSA's kept groups of INT4 weights against 2-bit weights and INT4 2:4: steps on a U280.

The published ratios are those of GPU kernels, whose 2:4 weights are not said to be INT4; here all
three are machine runs of the same step.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

import numpy as np

from hwsim.core.formats.gqsa import GROUP
from hwsim.core.result import Claim
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.flightllm.gqsa_engine import row_split_cycles, task_split_cycles
from hwsim.flightllm.unit_spec import GqsaSpec

__all__ = ["STEPS", "claims", "step_cycles"]

ROWS = COLUMNS = 4096
"""A projection of LLaMA-7B."""
KEPT = 0.5
ENGINES = 192
"""As many products per cycle as MV on a U280."""
STEPS = {
    "gqsa": ("block:16x1:0.5", 40),
    # A scale of 16 bits and a zero of 2 for 16 weights: 3.125 bits.
    "w2": ("dense", 31),
    # INT4, a place of 2 bits, and for 16 kept weights a scale of 16 bits and a zero of 4: 7.25.
    "w4 2:4": ("nm:8:16", 73),
}
"""Pattern of all weights, and tenths of a bit per kept one (GQSA's are its format's)."""


@cache
def step_cycles(name: str) -> int:
    """Return the cycles of a LLaMA2-7B step at context 128 on a U280."""
    sparsity, tenths = STEPS[name]
    settings = (f"weight_bits_x10={tenths}", "query_key_percent=100")
    asked = {"phase": "decode", "kv_tokens": 128, "sparsity": sparsity, "settings": settings}
    return execute(RunRequest("llama2-7b", "flightllm", "u280", **asked)).cycles  # type: ignore[arg-type]


def claims() -> list[Claim]:
    """Return the published ratios beside ours, and the gain of splitting groups evenly."""
    source = "Zeng et al., GQSA (ACL 2025), abstract: GPU kernels"

    def claim(name: str, what: str, other: str, reference: float) -> Claim:
        ratio = step_cycles(other) / step_cycles("gqsa")
        return Claim(f"gqsa.{name}", what, ratio, reference, "x", 0.2, "published", False, source)

    return [
        claim("over_w2", "a step with half of the INT4 groups, over 2-bit weights", "w2", 1.26),
        claim("over_2:4_int4", "the same over INT4 2:4", "w4 2:4", 2.35),
        _split(),
    ]


def _split() -> Claim:
    """Set the gain of an even split beside what independent rows let expect.

    A row keeps binomial(256, p) groups, p uniform: variance 256 / 6 + 256**2 / 12. The engine with
    the most of ROWS / ENGINES rows has the largest of ENGINES nearly normal sums (Blom 1958).
    """
    spec, width = GqsaSpec(), COLUMNS // GROUP
    rng = np.random.default_rng(0)
    rows = rng.binomial(width, rng.uniform(0, 2 * KEPT, ROWS))
    even = task_split_cycles(spec, int(rows.sum()), ENGINES)
    own = ROWS / ENGINES
    deviation = (own * (width / 6 + width**2 / 12)) ** 0.5
    largest = NormalDist().inv_cdf((ENGINES - 0.375) / (ENGINES + 0.25))
    expected = 1 + largest * deviation / (own * width * KEPT)
    return Claim(
        "gqsa.split", "cycles of whole rows per engine over evenly split groups",
        row_split_cycles(spec, rows, ENGINES) / even, expected, "x", 0.1, "derived", True,
        "order statistics of rows that keep 0 to 100 % of their groups",
    )  # fmt: skip
