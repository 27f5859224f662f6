"""Round float32 to bfloat16 and back, as bits: numpy has no such type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bfloat16_bits", "bfloat16_values", "round_to_bfloat16"]


def bfloat16_bits(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the bfloat16 bits of ``values``, nearest, ties to even; every NaN is 0x7FC0."""
    single = np.ascontiguousarray(values, dtype=np.float32)
    bits = single.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(single), 0x7FC0, rounded).astype(np.uint16)


def bfloat16_values(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the float32 values of bfloat16 ``bits``, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_to_bfloat16(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return ``values`` rounded to bfloat16."""
    return bfloat16_values(bfloat16_bits(values))
