# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the FP32 multiplier round corner products as documented, also where they are subnormal?"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.cli.rtl_cases.float_units import float_case, random_fp32_factors
from hwsim.core.errors import SpecError
from hwsim.sat.spec import ArraySpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.sat.fp32_mul import Fp32Mul, ProductSteps

NAME = "sat/fp32_mul"


class TieUpSteps(ProductSteps):
    """Rounds ties away from zero."""

    def _is_up(self, last, guard, sticky):
        return guard


class TieUp(Fp32Mul):
    function = TieUpSteps


ONE, TINY, LEAST = 0x3F80_0000, 0x0000_0001, 0x0080_0000  # 1, 2**-149, 2**-126
HALF, LARGEST = 0x3F00_0000, 0x7F7F_FFFF
INF, NAN = 0x7F80_0000, 0x7FC0_0000
SIGN = 0x8000_0000

CORNER_PRODUCTS = {
    "zeros of both signs": (0, SIGN, SIGN),
    "negative zeros": (SIGN, SIGN, 0),
    "identity keeps a subnormal": (ONE, SIGN | TINY, SIGN | TINY),
    # (1 + 2**-12)**2 = 1 + 2**-11 + 2**-24.
    "tie to even, down": (0x3F80_0800, 0x3F80_0800, 0x3F80_1000),
    # 1.5 (1 + 2**-23) = 1.5 + 2**-23 + 2**-24.
    "tie to even, up": (0x3FC0_0000, 0x3F80_0001, 0x3FC0_0002),
    # (1 + 2**-23)**2 = 1 + 2**-22 + 2**-46.
    "below a tie by the sticky bit": (0x3F80_0001, 0x3F80_0001, 0x3F80_0002),
    "subnormal tie to even, down": (TINY, HALF, 0),
    "subnormal tie to even, up": (3, HALF, 2),
    "subnormal above a tie": (TINY, 0x3F00_0001, TINY),
    "far below the smallest": (TINY, TINY, 0),
    "two subnormals of both signs": (0x007F_FFFF, SIGN | 0x007F_FFFF, SIGN),
    # 2**-126 (1 - 2**-24) is halfway between the largest subnormal and the smallest normal.
    "rounding to the smallest normal": (LEAST, 0x3F7F_FFFF, LEAST),
    "subnormal times a large one": (TINY, 0x7F00_0000, 0x3480_0000),
    "just not to infinity": (LARGEST, ONE, LARGEST),
    "overflow": (LARGEST, 0x3F80_0001, INF),
    # (2 - 2**-23) (1 - 2**-24) = 2 - 2**-22 + 2**-47, below the largest by one place.
    "largest times just below one": (LARGEST, 0x3F7F_FFFF, 0x7F7F_FFFE),
    # 2**64 (1 + 2**-24 ..) by rounding: (2**12 + 1) (2**12 - 1) = 2**24 - 1, times 2**104.
    "to the largest finite": (0x4580_0800, 0x797F_F000, LARGEST),
    "rounding up to infinity": (0x5F80_0001, 0x5F7F_FFFF, INF),
    "infinity times a subnormal": (SIGN | INF, TINY, SIGN | INF),
    "infinities of both signs": (INF, SIGN | INF, SIGN | INF),
    "infinity times zero": (INF, SIGN, NAN),
    "quiet NaN": (0xFFC1_2345, 0, NAN),
    "signalling NaN and infinity": (INF, 0xFF80_0001, NAN),
}


def test_corner_products_are_the_documented_ones():
    pairs = [(a, b) for a, b, _ in CORNER_PRODUCTS.values()]
    pairs += [(b, a) for a, b in pairs]
    vectors, schedule = float_case(NAME, ArraySpec(), np.array(pairs, dtype=np.uint32))
    expected = 2 * [product for _, _, product in CORNER_PRODUCTS.values()]
    assert list(vectors.expected["o"]) == expected
    check(run_pysim(Fp32Mul(ArraySpec()), vectors), vectors, schedule)


def test_random_factors_reach_every_kind_of_product():
    pairs = random_fp32_factors(np.random.default_rng(0), 20_000)
    a, b = np.ascontiguousarray(pairs.T).view(np.float32)
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        exact = np.abs(a * b)  # exact but for NaN: 48 bits in 53
        products = exact.astype(np.float32)
    is_subnormal = (products > 0) & (products < 2.0**-126)
    assert is_subnormal.sum() > 200
    # Halfway between two FP32 numbers: the distance to the nearest is half a place.
    place = np.spacing(products[is_subnormal]).astype(np.float64)
    error = np.abs(exact[is_subnormal] - products[is_subnormal])
    assert (error == place / 2).sum() > 10
    assert ((exact > 0) & (products == 0)).sum() > 50  # underflow
    assert (np.isinf(products) & np.isfinite(exact)).sum() > 50  # overflow


def test_ties_rounded_up_are_found():
    even, odd = CORNER_PRODUCTS["tie to even, down"][:2], CORNER_PRODUCTS["tie to even, up"][:2]
    vectors, schedule = float_case(NAME, ArraySpec(), np.array([odd, even], dtype=np.uint32))
    with pytest.raises(CosimError, match="outputs: .*transfer 1"):
        check(run_pysim(TieUp(ArraySpec()), vectors), vectors, schedule)


def test_a_latency_of_zero_is_refused():
    with pytest.raises(SpecError, match="array.multiplier_latency_cycles: need >= 1"):
        Fp32Mul(ArraySpec(multiplier_latency_cycles=0))
