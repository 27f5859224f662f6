"""Draw what is played against the floating-point units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import (
    add_fp32,
    adder_timing,
    converter_timing,
    multiplier_timing,
    multiply_fp16,
    multiply_fp32,
    narrow_fp32,
    play_pipeline,
    widen_fp16,
)
from hwsim.sat.spec import ArraySpec
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = [
    "FLOAT_CASES",
    "FLOAT_UNITS",
    "FP32_SPECIALS",
    "SPECIALS",
    "FloatUnit",
    "float_case",
    "random_fp16_pairs",
    "random_fp32_factors",
    "random_fp32_pairs",
    "random_fp32_words",
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


def random_fp16_pairs(rng: np.random.Generator, pairs: int) -> NDArray[np.uint16]:
    """Return uint16[pairs, 2] of any FP16 words, one in eight special, one in eight subnormal."""
    bits = rng.integers(0, 1 << 16, (pairs, 2)).astype(np.uint16)
    kind = rng.integers(0, 8, bits.shape)
    bits = np.where(kind == 0, rng.choice(SPECIALS, bits.shape), bits)
    return np.where(kind == 1, bits & 0x83FF, bits).astype(np.uint16)


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


def random_fp32_factors(rng: np.random.Generator, pairs: int) -> NDArray[np.uint32]:
    """Return uint32[pairs, 2] of FP32 words among which every path of a multiplier is common.

    A quarter is uniformly random. In the rest the second exponent puts the product near 1, near
    the smallest normal number (within 30 places of it) or near the largest. One pair in 4 has short
    significands, so that ties are common; one word in 32 is special.
    """
    bits = rng.integers(0, 1 << 32, (pairs, 2))
    kind = rng.integers(0, 4, pairs)
    wanted = np.choose(kind, [0, 127, 0, 254]) + rng.integers(-30, 31, pairs) * (kind != 3)
    wanted += rng.integers(-2, 3, pairs)
    exponents = (wanted + 127 - (bits[:, 0] >> 23 & 0xFF)).clip(0, 254)
    placed = (bits[:, 1] & 0x807F_FFFF) | exponents << 23
    bits[:, 1] = np.where(kind == 0, bits[:, 1], placed)
    bits[::4] &= -1 << rng.integers(12, 24, bits[::4].shape)
    bits[1::8, 0] &= 0x807F_FFFF
    is_special = rng.random(bits.shape) < 1 / 32
    return np.where(is_special, rng.choice(FP32_SPECIALS, bits.shape), bits).astype(np.uint32)


def random_fp32_words(rng: np.random.Generator, words: int) -> NDArray[np.uint32]:
    """Return uint32[words, 1] of FP32 words, most of them in the range of FP16 and just beyond.

    One in four is halfway between two FP16 numbers or next to it; one in 32 is special.
    """
    bits = rng.integers(0, 1 << 32, (words, 1))
    exponents = rng.integers(127 - 28, 127 + 18, bits.shape)
    bits = np.where(rng.random(bits.shape) < 7 / 8, bits & 0x807F_FFFF | exponents << 23, bits)
    middle = (bits & 0xFFFF_E000 | 0x1000) + rng.integers(-1, 2, bits.shape)
    bits = np.where(rng.random(bits.shape) < 1 / 4, middle, bits)
    # The same for subnormals, whose last place lies higher, and at the largest finite number.
    bits[::8] &= 0xFFFE_0000
    bits[1::16] = bits[1::16] & 0x8000_1FFF | 0x477F_E000
    is_special = rng.random(bits.shape) < 1 / 32
    return np.where(is_special, rng.choice(FP32_SPECIALS, bits.shape), bits).astype(np.uint32)


def _random_fp16_words(rng: np.random.Generator, words: int) -> NDArray[np.uint16]:
    """Return uint16[words, 1]; if there is room for it, every FP16 word is among them."""
    bits = random_fp16_pairs(rng, words)[:, :1]
    if words >= 1 << 16:
        bits[: 1 << 16, 0] = rng.permutation(1 << 16)
    return bits


@dataclass(frozen=True)
class FloatUnit:
    """What a floating-point unit is compared with.

    Attributes
    ----------
    golden : (words, ...) -> words
        Its function, one argument per operand.
    timing : (spec) -> UnitTiming
        The simulator's cycle contract.
    draw : (rng, transfers) -> uint[transfers, operands]
        Operands that reach all its paths.
    specials : uint[*]
        Operands at the corners of the format.
    """

    golden: Callable[..., NDArray[Any]]
    timing: Callable[[ArraySpec], UnitTiming]
    draw: Callable[[np.random.Generator, int], NDArray[Any]]
    specials: NDArray[Any]


FLOAT_UNITS: dict[str, FloatUnit] = {
    "sat/fp16_mul": FloatUnit(multiply_fp16, multiplier_timing, random_fp16_pairs, SPECIALS),
    "sat/fp32_add": FloatUnit(add_fp32, adder_timing, random_fp32_pairs, FP32_SPECIALS),
    "sat/fp32_mul": FloatUnit(multiply_fp32, multiplier_timing, random_fp32_factors, FP32_SPECIALS),
    "sat/fp16_to_fp32": FloatUnit(widen_fp16, converter_timing, _random_fp16_words, SPECIALS),
    "sat/fp32_to_fp16": FloatUnit(narrow_fp32, converter_timing, random_fp32_words, FP32_SPECIALS),
}
"""Every floating-point unit by name."""


def float_case(
    name: str,
    spec: ArraySpec,
    operands: NDArray[Any],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what unit ``name`` must do with ``operands`` uint[transfers, operands], and when."""
    unit = FLOAT_UNITS[name]
    columns = list(np.ascontiguousarray(operands.T))
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(operands), stall_share)
    stalls = random_stalls(rng, 2 * len(operands), stall_share)
    vectors = Vectors(
        inputs={"i": pack_words([(column, 8 * column.itemsize) for column in columns])},
        expected={"o": unit.golden(*columns).tolist()},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name="operands",
    )
    accepts, emits = play_pipeline(unit.timing(spec), len(operands), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def _float_cases(name: str, spec: ArraySpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    draw = FLOAT_UNITS[name].draw
    return [
        float_case(name, spec, draw(rng, 4096), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]


FLOAT_CASES: dict[str, Callable[[Any, int], list[Case]]] = {
    name: partial(_float_cases, name) for name in FLOAT_UNITS
}
"""Unit -> (spec, seed) -> cases."""
