"""Does widening keep every FP16 number?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const

from hwsim.cli.rtl_cases.float_units import FLOAT_UNITS, float_case
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.sat.fp16_to_fp32 import Fp16ToFp32, WideningSteps

NAME = "sat/fp16_to_fp32"


class UnshiftedSteps(WideningSteps):
    """Forgets to normalise subnormals."""

    def _count(self, wire, fields):
        return {**super()._count(wire, fields), "zeros": Const(0, 4)}


class Unshifted(Fp16ToFp32):
    function = UnshiftedSteps


CORNERS = {
    0x0000: 0,
    0x8000: 0x8000_0000,
    0x0001: (127 - 24) << 23,  # 2**-24, the smallest subnormal, is normal in FP32
    # The largest subnormal, 2**-14 - 2**-24: leading bit 2**-15, all ten bits set.
    0x83FF: 0x8000_0000 | (127 - 15) << 23 | 0x1FF << 14,
    0x0400: (127 - 14) << 23,
    0x3C00: 0x3F80_0000,
    0xFBFF: 0xC77F_E000,  # -65504
    0x7C00: 0x7F80_0000,
    0xFC00: 0xFF80_0000,
    0x7E00: 0x7FC0_0000,
    0xFD55: 0x7FC0_0000,  # a signalling NaN with sign and payload
}


def test_corner_words_are_the_documented_ones():
    words = np.array([[word] for word in CORNERS], dtype=np.uint16)
    vectors, schedule = float_case(NAME, ArraySpec(), words)
    assert list(vectors.expected["o"]) == list(CORNERS.values())
    check(run_pysim(Fp16ToFp32(ArraySpec()), vectors), vectors, schedule)


def test_a_large_draw_holds_every_fp16_word():
    words = FLOAT_UNITS[NAME].draw(np.random.default_rng(0), 100_000)
    assert len(np.unique(words)) == 1 << 16


def test_subnormals_left_as_they_are_are_found():
    words = np.array([[0x3C00], [0x0001]], dtype=np.uint16)
    vectors, schedule = float_case(NAME, ArraySpec(), words)
    with pytest.raises(CosimError, match="outputs: .*transfer 1"):
        check(run_pysim(Unshifted(ArraySpec()), vectors), vectors, schedule)
