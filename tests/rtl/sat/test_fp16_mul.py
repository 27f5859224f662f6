# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the multiplier treat corner words as documented, and is flushing noticed?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Mux

from hwsim.cli.rtl_cases.float_units import float_case, random_fp16_pairs
from hwsim.core.errors import SpecError
from hwsim.sat.float_units import multiplier_timing
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.sat import fp16_mul
from rtl.sat.fp16_mul import Fp16Mul, MultiplierSteps

NAME = "sat/fp16_mul"


class FlushingSteps(MultiplierSteps):
    """Takes every subnormal operand for zero."""

    def _unpack(self, wire, fields):
        flushed = {
            name: Mux(word[10:15].any(), word, word & 0x8000) for name, word in fields.items()
        }
        return super()._unpack(wire, flushed)


class FlushSubnormals(Fp16Mul):
    function = FlushingSteps


def test_corner_products_are_the_documented_ones():
    zero, minus_zero, tiny, one, inf, nan = 0x0000, 0x8000, 0x0001, 0x3C00, 0x7C00, 0xFD55
    products = {
        (zero, minus_zero): 0x8000_0000,
        (minus_zero, minus_zero): 0,
        (tiny, tiny): (127 - 48) << 23,  # 2**-24 squared is a normal FP32 number
        (tiny, one): (127 - 24) << 23,
        (0x7BFF, 0xFBFF): int(np.float32(-(65504.0**2)).view(np.uint32)),
        (inf, 0xBC00): 0xFF80_0000,
        (inf, zero): 0x7FC0_0000,
        (minus_zero, inf): 0x7FC0_0000,
        (nan, one): 0x7FC0_0000,
        (inf, nan): 0x7FC0_0000,
    }
    pairs = np.array(list(products), dtype=np.uint16)
    vectors, schedule = float_case(NAME, ArraySpec(), pairs)
    assert list(vectors.expected["o"]) == list(products.values())
    check(run_pysim(Fp16Mul(ArraySpec()), vectors), vectors, schedule)


def test_flushed_subnormals_are_found():
    pairs = random_fp16_pairs(np.random.default_rng(2), 100)
    vectors, schedule = float_case(NAME, ArraySpec(), pairs)
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(FlushSubnormals(ArraySpec()), vectors), vectors, schedule)


def test_a_latency_of_zero_is_refused():
    for refuse in (Fp16Mul, fp16_mul.timing, multiplier_timing):
        with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
            refuse(ArraySpec(multiplier_latency_cycles=0))
