"""Pack integers of a few bits into bytes, least significant bit first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = ["pack_bits", "unpack_bits"]


def pack_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return ``values`` (unsigned, or two's complement) side by side, ``bits`` each.

    The first value takes the lowest bits of the first byte; the last byte is padded with zeros.

    Raises
    ------
    InputError
        If a value does not fit ``bits``.
    """
    flat = np.asarray(values, dtype=np.int64).ravel()
    low, high = -(1 << (bits - 1)), (1 << bits) - 1
    if flat.size and (flat.min() < low or flat.max() > high):
        raise InputError("values", f"{low} to {high} in {bits} bits", f"{flat.min()}..{flat.max()}")
    planes = (flat[:, None] >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8).ravel(), bitorder="little")


def unpack_bits(
    packed: NDArray[np.uint8], bits: int, count: int, *, is_signed: bool = False
) -> NDArray[np.int64]:
    """Return the ``count`` integers that :func:`pack_bits` wrote : int64[count].

    Raises
    ------
    InputError
        If ``packed`` is too short.
    """
    if packed.size * 8 < count * bits:
        raise InputError("packed", f"{count} values of {bits} bits", f"{packed.size} bytes")
    planes = np.unpackbits(packed, bitorder="little", count=count * bits).reshape(count, bits)
    values: NDArray[np.int64] = (planes.astype(np.int64) << np.arange(bits)).sum(axis=1)
    if is_signed:
        values -= (values >> (bits - 1)) << bits
    return values
