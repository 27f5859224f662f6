"""Say what the floating-point units compute and when: golden models and cycle model.

The precisions (FP16 products and FP32 sums in a PE, FP32 throughout the weight update) and the
latencies are assumptions of the array's spec; the special cases are this project's own where
IEEE 754 leaves them open: every NaN result is the one canonical quiet NaN of its format, and
subnormals count in full on both sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec

__all__ = [
    "CANONICAL_NAN",
    "CANONICAL_NAN_FP16",
    "add_fp32",
    "adder_timing",
    "converter_timing",
    "multiplier_timing",
    "multiply_fp16",
    "multiply_fp32",
    "narrow_fp32",
    "play_pipeline",
    "widen_fp16",
]

CANONICAL_NAN = 0x7FC0_0000
"""The one FP32 NaN emitted: quiet, positive, no payload (own choice)."""

CANONICAL_NAN_FP16 = 0x7E00
"""The one FP16 NaN emitted: quiet, positive, no payload (own choice)."""

CONVERTER_LATENCY_CYCLES = 1
"""Of either format conversion: its output register (own choice)."""


def multiplier_timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract of the multiplier, of FP16 or FP32, as a unit of its own.

    Raises :class:`SpecError` for a latency of 0, which a unit with registered outputs cannot have.
    """
    if spec.multiplier_latency_cycles < 1:
        found = str(spec.multiplier_latency_cycles)
        raise SpecError("array.multiplier_latency_cycles", ">= 1 as a unit of its own", found)
    return UnitTiming(spec.multiplier_latency_cycles, 1)


def adder_timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract of the adder."""
    return UnitTiming(spec.adder_latency_cycles, 1)


def converter_timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract of a conversion between FP16 and FP32: the same for any spec."""
    del spec
    return UnitTiming(CONVERTER_LATENCY_CYCLES, 1)


def multiply_fp16(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Return the exact products as FP32 words; NaNs are canonical.

    Parameters
    ----------
    a, b : uint16[*shape]
        FP16 words.

    Raises
    ------
    InputError
        If dtypes or shapes differ from that.
    """
    _check_pair(a, b, np.uint16)
    with np.errstate(all="ignore"):
        left = a.view(np.float16).astype(np.float32)
        return _canonical(left * b.view(np.float16).astype(np.float32))


def add_fp32(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the sums as FP32 words, rounded to nearest, ties to even; NaNs are canonical.

    Parameters
    ----------
    a, b : uint32[*shape]
        FP32 words.

    Raises
    ------
    InputError
        If dtypes or shapes differ from that.
    """
    _check_pair(a, b, np.uint32)
    with np.errstate(all="ignore"):
        return _canonical(a.view(np.float32) + b.view(np.float32))


def multiply_fp32(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the products as FP32 words, rounded to nearest, ties to even; NaNs are canonical.

    Parameters
    ----------
    a, b : uint32[*shape]
        FP32 words.

    Raises
    ------
    InputError
        If dtypes or shapes differ from that.
    """
    _check_pair(a, b, np.uint32)
    with np.errstate(all="ignore"):
        return _canonical(a.view(np.float32) * b.view(np.float32))


def widen_fp16(a: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Return the FP16 words ``a`` uint16[*shape] as FP32 words, exactly; NaNs are canonical.

    Raises :class:`InputError` for another dtype.
    """
    _check_words("a", a, np.uint16)
    return _canonical(a.view(np.float16).astype(np.float32))


def narrow_fp32(a: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """Return the FP32 words ``a`` uint32[*shape] as FP16 words, rounded to nearest even.

    From 65520 on, halfway beyond the largest FP16 number, the result is infinity; below
    2**-14 it is subnormal, and zero of the same sign up to 2**-25. NaNs are canonical.

    Raises :class:`InputError` for another dtype.
    """
    _check_words("a", a, np.uint32)
    values = a.view(np.float32)
    with np.errstate(all="ignore"):
        bits = values.astype(np.float16).view(np.uint16)
    return np.where(np.isnan(values), np.uint16(CANONICAL_NAN_FP16), bits)


def play_pipeline(
    timing: UnitTiming,
    transfers: int,
    source_gaps: NDArray[np.bool_],
    sink_stalls: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return accept and emit cycles of a pipeline that stalls as a whole, under any stalls.

    Every stage moves in the cycles in which the last one is empty or accepted, and the input is
    accepted in these; bubbles are not closed.

    Parameters
    ----------
    timing : UnitTiming
        Interval 1; the latency is the number of stages.
    transfers : int
        Words offered, in order.
    source_gaps, sink_stalls : bool[cycles]
        True where the producer begins no offer, the consumer refuses; never after their end.

    Returns
    -------
    accept_cycles, emit_cycles : int64[transfers]
    """
    last = 1 << (timing.latency_cycles - 1)
    stages, cycle, is_offered = 0, 0, False
    accepts: list[int] = []
    emits: list[int] = []
    gaps, stalls = source_gaps.tolist(), sink_stalls.tolist()
    while len(emits) < transfers:
        is_gap = cycle < len(gaps) and gaps[cycle]
        is_offered = is_offered or (len(accepts) < transfers and not is_gap)
        is_stalled = cycle < len(stalls) and stalls[cycle]
        if stages & last and not is_stalled:
            emits.append(cycle)
        if not stages & last or not is_stalled:
            if is_offered:
                accepts.append(cycle)
            stages = (stages & ~last) << 1 | is_offered
            is_offered = False
        cycle += 1
    return np.array(accepts, dtype=np.int64), np.array(emits, dtype=np.int64)


def _check_words(field: str, words: NDArray[np.generic], dtype: type[np.unsignedinteger]) -> None:
    if words.dtype != dtype:
        raise InputError(field, f"an array of {dtype.__name__}", str(words.dtype))


def _check_pair(
    a: NDArray[np.generic], b: NDArray[np.generic], dtype: type[np.unsignedinteger]
) -> None:
    if a.dtype != dtype or b.dtype != dtype or a.shape != b.shape:
        found = f"{a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
        raise InputError("a, b", f"two {dtype.__name__} arrays of one shape", found)


def _canonical(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    bits = values.view(np.uint32)
    return np.where(np.isnan(values), np.uint32(CANONICAL_NAN), bits)
