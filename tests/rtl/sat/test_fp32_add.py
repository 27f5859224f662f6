"""Does the adder round corner sums as documented, and is a lost sticky bit noticed?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const

from hwsim.cli.rtl_cases.float_units import float_case, random_fp32_pairs
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.sat.fp32_add import AdderSteps, Fp32Add

NAME = "sat/fp32_add"


class NoStickySteps(AdderSteps):
    """Forgets what the alignment shifts out."""

    def _sticky(self, below):
        return Const(0, 1)


class NoSticky(Fp32Add):
    function = NoStickySteps


CORNER_SUMS = {
    "zeros of both signs": (0x0000_0000, 0x8000_0000, 0x0000_0000),
    "negative zeros": (0x8000_0000, 0x8000_0000, 0x8000_0000),
    "cancellation to +0": (0xBF80_0000, 0x3F80_0000, 0x0000_0000),
    "cancellation to a subnormal": (0x0080_0000, 0x8080_0001, 0x8000_0001),
    "subnormals that add up to a normal": (0x007F_FFFF, 0x0000_0001, 0x0080_0000),
    "cancellation by 24 places": (0x3F80_0000, 0xBF7F_FFFF, 0x3380_0000),
    "tie to even, down": (0x3F80_0000, 0x3380_0000, 0x3F80_0000),
    "tie to even, up": (0x3F80_0001, 0x3380_0000, 0x3F80_0002),
    "above a tie by the sticky bit": (0x3F80_0000, 0x3380_0001, 0x3F80_0001),
    # 1 - (2**-25 + 2**-48): the nearest of 1 - 2**-24 and 1 is the former by the last bit only.
    "below a tie by the sticky bit": (0x3F80_0000, 0xB300_0001, 0x3F7F_FFFF),
    "largest distance": (0x7F7F_FFFF, 0x8000_0001, 0x7F7F_FFFF),
    "distance of 26, effective subtraction": (0x3F80_0000, 0xB280_0000, 0x3F80_0000),
    "carry to infinity": (0x7F7F_FFFF, 0x7F7F_FFFF, 0x7F80_0000),
    # The largest finite number and half a unit in its last place, 2**103.
    "rounding to infinity": (0x7F7F_FFFF, 0x7300_0000, 0x7F80_0000),
    "just not to infinity": (0x7F7F_FFFF, 0x72FF_FFFF, 0x7F7F_FFFF),
    "infinity wins": (0xFF80_0000, 0x7F7F_FFFF, 0xFF80_0000),
    "infinities of one sign": (0xFF80_0000, 0xFF80_0000, 0xFF80_0000),
    "infinities of both signs": (0xFF80_0000, 0x7F80_0000, 0x7FC0_0000),
    "quiet NaN": (0xFFC1_2345, 0x3F80_0000, 0x7FC0_0000),
    "signalling NaN and infinity": (0x7F80_0000, 0xFF80_0001, 0x7FC0_0000),
}


def test_corner_sums_are_the_documented_ones():
    pairs = [(a, b) for a, b, _ in CORNER_SUMS.values()]
    pairs += [(b, a) for a, b in pairs]
    vectors, schedule = float_case(NAME, ArraySpec(), np.array(pairs, dtype=np.uint32))
    assert list(vectors.expected["o"]) == 2 * [total for _, _, total in CORNER_SUMS.values()]
    check(run_pysim(Fp32Add(ArraySpec()), vectors), vectors, schedule)


def test_random_pairs_reach_every_kind_of_sum():
    pairs = random_fp32_pairs(np.random.default_rng(0), 4096)
    with np.errstate(all="ignore"):
        totals = pairs[:, 0].view(np.float32) + pairs[:, 1].view(np.float32)
    magnitude = totals.view(np.uint32) & 0x7FFF_FFFF
    operands = (pairs & 0x7FFF_FFFF).max(axis=1)
    assert ((magnitude > 0) & (magnitude < 1 << 23)).sum() > 50  # subnormal
    assert (np.isfinite(totals) & (magnitude == 0) & (operands > 0)).sum() > 20  # to zero
    cancels = (magnitude >> 23).astype(int) < (operands >> 23).astype(int) - 10
    assert (cancels & (magnitude > 0)).sum() > 20
    assert (np.isinf(totals) & (operands < 0x7F80_0000)).sum() > 3  # overflow


def test_a_dropped_sticky_bit_is_found():
    pairs = random_fp32_pairs(np.random.default_rng(2), 100)
    vectors, schedule = float_case(NAME, ArraySpec(), pairs)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(NoSticky(ArraySpec()), vectors), vectors, schedule)
