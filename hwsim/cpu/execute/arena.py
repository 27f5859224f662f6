"""Lay out the arrays of a call one behind another in one linear memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGN_BYTES", "Arena", "OVER_READ_BYTES"]

ALIGN_BYTES = 64
"""Arrays start on cache lines."""

OVER_READ_BYTES = 64
"""Behind every array: vector loads at the right edge reach past the last pixel."""


class Arena:
    """Addresses of named arrays.

    Parameters
    ----------
    arrays : mapping of name to array
        Copied in by :meth:`image`; outputs are arrays of the size that will be written.
    start : int
        First byte.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], start: int = ALIGN_BYTES) -> None:
        self.start = start
        self.arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self.address: dict[str, int] = {}
        at = start
        for name, array in self.arrays.items():
            self.address[name] = at
            at += array.nbytes + OVER_READ_BYTES
            at += -at % ALIGN_BYTES
        self.end = at

    def image(self) -> bytearray:
        """Return the bytes from ``start`` to ``end``; gaps hold NaN, so that a use of one shows."""
        image = bytearray(b"\xff" * (self.end - self.start))
        for name, array in self.arrays.items():
            at = self.address[name] - self.start
            image[at : at + array.nbytes] = array.tobytes()
        return image

    def array(self, name: str, memory: bytes | bytearray) -> NDArray[Any]:
        """Return array ``name`` out of ``memory``, the bytes from ``start`` on."""
        like = self.arrays[name]
        at = self.address[name] - self.start
        found = np.frombuffer(memory, like.dtype, like.size, at)
        return found.reshape(like.shape).copy()
