"""Draw what is played against the floating-point units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import (
    add_fp32,
    adder_timing,
    multiplier_timing,
    multiply_fp16,
    play_pipeline,
)
from hwsim.sat.spec import ArraySpec
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = [
    "FP32_SPECIALS",
    "SPECIALS",
    "fp16_mul_case",
    "fp16_mul_cases",
    "fp32_add_case",
    "fp32_add_cases",
    "random_fp16_pairs",
    "random_fp32_pairs",
]

SPECIALS = np.array(
    # +0, -0, smallest and largest subnormal, one, max, infinities, quiet and signalling NaN.
    [0x0000, 0x8000, 0x0001, 0x03FF, 0x3C00, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFD55],
    dtype=np.uint16,
)
"""FP16 words at the corners of the format."""

FP32_SPECIALS = np.array(
    # +0, -0, subnormals, smallest normal, one, its successor, half a unit in its last place,
    # just above that, largest finite ones, infinities, quiet and signalling NaN.
    [0, 1 << 31, 1, 0x807F_FFFF, 0x0080_0000, 0x3F80_0000, 0x3F80_0001, 0x3380_0000, 0xB380_0001]
    + [0x7F7F_FFFF, 0xFF7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0xFF80_0001],
    dtype=np.uint32,
)
"""FP32 words at the corners of the format."""


def fp16_mul_case(
    spec: ArraySpec, pairs: NDArray[np.uint16], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the multiplier must do with ``pairs`` uint16[pairs, 2] of FP16 words."""
    products = multiply_fp16(pairs[:, 0], pairs[:, 1])
    return _pipeline_case(multiplier_timing(spec), pairs, 16, products, stall_share, seed)


def random_fp16_pairs(rng: np.random.Generator, pairs: int) -> NDArray[np.uint16]:
    """Return uint16[pairs, 2] of any FP16 words, one in eight special, one in eight subnormal."""
    bits = rng.integers(0, 1 << 16, (pairs, 2)).astype(np.uint16)
    kind = rng.integers(0, 8, bits.shape)
    bits = np.where(kind == 0, rng.choice(SPECIALS, bits.shape), bits)
    return np.where(kind == 1, bits & 0x83FF, bits).astype(np.uint16)


def fp32_add_case(
    spec: ArraySpec, pairs: NDArray[np.uint32], *, stall_share: float = 0.0, seed: int = 0
) -> Case:
    """Return what the adder must do with ``pairs`` uint32[pairs, 2] of FP32 words."""
    sums = add_fp32(pairs[:, 0], pairs[:, 1])
    return _pipeline_case(adder_timing(spec), pairs, 32, sums, stall_share, seed)


def random_fp32_pairs(rng: np.random.Generator, pairs: int) -> NDArray[np.uint32]:
    """Return uint32[pairs, 2] of FP32 words among which every path of an adder is common.

    A quarter is uniformly random. In half, the second word is the first one moved by at most 27
    exponents and 3 units in the last place, with any sign: alignment, ties and cancellation. In
    the rest both are small: subnormals and exponent field 1 to 3. One word in 32 is special.
    """
    bits = rng.integers(0, 1 << 32, (pairs, 2))
    kind = rng.integers(0, 4, pairs)
    exponents = rng.integers(-27, 28, pairs) * rng.integers(0, 2, pairs)
    near = bits[:, 0] + (exponents << 23) + rng.integers(-3, 4, pairs)
    near ^= rng.integers(0, 2, pairs) << 31
    bits[:, 1] = np.where(kind < 2, near & 0xFFFF_FFFF, bits[:, 1])
    bits = np.where((kind == 2)[:, None], bits & 0x81FF_FFFF, bits)
    # Trailing zeros, so that what is shifted out is exactly half a unit more often.
    bits[::8] &= 0xFFFF_F800
    is_special = rng.random(bits.shape) < 1 / 32
    return np.where(is_special, rng.choice(FP32_SPECIALS, bits.shape), bits).astype(np.uint32)


def _pipeline_case(
    timing: UnitTiming,
    pairs: NDArray[Any],
    operand_bits: int,
    results: NDArray[np.uint32],
    stall_share: float,
    seed: int,
) -> Case:
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(pairs), stall_share)
    stalls = random_stalls(rng, 2 * len(pairs), stall_share)
    vectors = Vectors(
        inputs={"i": pack_words([(pairs[:, 0], operand_bits), (pairs[:, 1], operand_bits)])},
        expected={"o": results.tolist()},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="pairs",
    )
    accepts, emits = play_pipeline(timing, len(pairs), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def fp16_mul_cases(spec: ArraySpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        fp16_mul_case(spec, random_fp16_pairs(rng, 4096), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]


def fp32_add_cases(spec: ArraySpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        fp32_add_case(spec, random_fp32_pairs(rng, 4096), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
