"""Does narrowing round corner words as documented?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const

from hwsim.cli.rtl_cases.float_units import float_case, random_fp32_words
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.sat.fp32_to_fp16 import Fp32ToFp16, NarrowingSteps

NAME = "sat/fp32_to_fp16"


class TruncatingSteps(NarrowingSteps):
    """Rounds towards zero."""

    def _is_up(self, last, guard, sticky):
        return Const(0, 1)


class Truncates(Fp32ToFp16):
    function = TruncatingSteps


CORNERS = {
    "zero": (0.0, 0x0000),
    "negative zero": (-0.0, 0x8000),
    "one": (1.0, 0x3C00),
    "tie to even, down": (1 + 2**-11, 0x3C00),
    "tie to even, up": (1 + 3 * 2**-11, 0x3C02),
    "above a tie": (1 + 2**-11 + 2**-23, 0x3C01),
    "below a tie": (1 + 3 * 2**-11 - 2**-23, 0x3C01),
    "largest": (-65504.0, 0xFBFF),
    "just not to infinity": (65519.99609375, 0x7BFF),
    "tie to infinity": (65520.0, 0x7C00),
    "beyond": (-65536.0, 0xFC00),
    "far beyond": (2.0**127, 0x7C00),
    "infinity": (-np.inf, 0xFC00),
    "smallest normal": (2.0**-14, 0x0400),
    "rounding to the smallest normal": (2.0**-14 - 2.0**-26, 0x0400),
    "largest subnormal": (2.0**-14 - 2.0**-24, 0x03FF),
    "subnormal tie to even, down": (5 * 2.0**-25, 0x0002),
    "subnormal tie to even, up": (-7 * 2.0**-25, 0x8004),
    "smallest subnormal": (2.0**-24, 0x0001),
    "above half the smallest": (2.0**-25 * (1 + 2**-23), 0x0001),
    "half the smallest": (2.0**-25, 0x0000),
    "below half the smallest": (-(2.0**-25) * (1 - 2**-24), 0x8000),
    "smallest FP32 number": (-(2.0**-149), 0x8000),
}


def test_corner_words_are_the_documented_ones():
    values = np.array([value for value, _ in CORNERS.values()])
    words = values.astype(np.float32).view(np.uint32)
    assert (words.view(np.float32) == values).all()
    words = np.append(words, np.array([0x7FC0_0000, 0xFF80_0001], dtype=np.uint32))
    vectors, schedule = float_case(NAME, ArraySpec(), words[:, None])
    expected = [half for _, half in CORNERS.values()] + [0x7E00, 0x7E00]
    assert list(vectors.expected["o"]) == expected
    check(run_pysim(Fp32ToFp16(ArraySpec()), vectors), vectors, schedule)


def test_random_words_reach_every_kind_of_result():
    words = random_fp32_words(np.random.default_rng(0), 4096)[:, 0].view(np.float32)
    values = np.abs(words[np.isfinite(words)]).astype(np.float64)
    assert ((values > 2.0**-25) & (values < 2.0**-14)).sum() > 300  # subnormal
    assert ((values > 65504) & (values < 65536)).sum() > 100
    places = np.exp2(np.floor(np.log2(values[values > 2.0**-24])).clip(-14) - 10)
    parts = values[values > 2.0**-24] / places % 1
    assert (parts == 0.5).sum() > 100  # ties


def test_truncation_is_found():
    words = random_fp32_words(np.random.default_rng(2), 100)
    vectors, schedule = float_case(NAME, ArraySpec(), words)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(Truncates(ArraySpec()), vectors), vectors, schedule)
