"""Weigh GQSA's kept groups of INT4 weights against 2-bit weights and 2:4: a matrix times a vector.

A product takes as long as its weights from HBM or as its engines, whichever is longer. The
published ratios are those of GPU kernels; here formats and engines alone decide.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from hwsim.core.formats.gqsa import GROUP, group_sparse_bits
from hwsim.core.result import Claim
from hwsim.flightllm.gqsa_engine import row_split_cycles, task_split_cycles
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.unit_spec import GqsaSpec

__all__ = ["Weights", "claims", "layouts", "seconds"]

ROWS = COLUMNS = 4096
"""A projection of LLaMA-7B."""
KEPT = 0.5
ENGINES = 192
"""As many products per cycle as MV on a U280."""
_SCALE_BITS, _INDEX_BITS = 16, 2


class Weights(NamedTuple):
    """Bits of a matrix in memory, and the groups of 16 products that its engines take."""

    bits: int
    groups: int


def layouts() -> dict[str, Weights]:
    """Return the matrix in each format, all by groups of 16 with an FP16 scale."""
    dense = ROWS * COLUMNS // GROUP
    kept = round(KEPT * dense)
    return {
        "gqsa": Weights(group_sparse_bits(ROWS, kept), kept),
        "w2": Weights(dense * (2 * GROUP + _SCALE_BITS + 2), dense),
        # Half the weights, two bits of place each; INT4 has a zero point too.
        "w4 2:4": Weights(dense * ((4 + _INDEX_BITS) * GROUP // 2 + _SCALE_BITS + 4), kept),
        "fp16 2:4": Weights(dense * (16 + _INDEX_BITS) * GROUP // 2, kept),
    }


def seconds(weights: Weights) -> float:
    """Return the time of one product on a U280."""
    spec = PRESETS["u280"]
    assert isinstance(spec, FlightSpec)
    hbm = spec.hbm
    rate = spec.cores * hbm.channels_per_core * float(hbm.channel_bytes_per_s)
    memory = weights.bits / 8 / (rate * hbm.same_channel_percent / 100)
    return max(memory, task_split_cycles(GqsaSpec(), weights.groups, ENGINES) / spec.clock_hz)


def claims() -> list[Claim]:
    """Return the published ratios beside ours, and the gain of splitting groups evenly."""
    found = {name: seconds(weights) for name, weights in layouts().items()}
    ratios = {name: found[name] / found["gqsa"] for name in found}
    source = "Zeng et al., GQSA (ACL 2025), abstract: GPU kernels"

    def claim(name: str, what: str, ratio: float, reference: float) -> Claim:
        return Claim(f"gqsa.{name}", what, ratio, reference, "x", 0.2, "published", False, source)

    return [
        claim("over_w2", "W4, half of the groups, over 2-bit weights", ratios["w2"], 1.26),
        claim("over_2:4_int4", "the same over INT4 2:4", ratios["w4 2:4"], 2.35),
        claim("over_2:4_fp16", "the same over FP16 2:4", ratios["fp16 2:4"], 2.35),
        _split(),
    ]  # fmt: skip


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
