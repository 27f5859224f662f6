"""Give arrays addresses in the machine's memory, and fill a memory image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div

__all__ = ["MAX_BYTES", "MemoryMap", "SparseArrays", "transposed"]

MAX_BYTES = 4 << 30
"""Off-chip bytes that a run may use: the host holds them all (a block has 4 GB)."""
_FIRST = 64
"""First address that is given: 0 is no address."""


class SparseArrays:
    """Addresses of a sparse matrix by rows: ``ptr`` and ``col`` of 4 bytes, ``val`` of 8.

    Kept in ``pieces``, of one block each, ``ptr`` has one more word per piece, and ``starts`` is
    the address of 16 bytes per piece, its first row before its first entry.
    """

    def __init__(self, ptr: int, col: int, val: int, pieces: int = 1, starts: int = 0) -> None:
        self.ptr, self.col, self.val = ptr, col, val
        self.pieces, self.starts = pieces, starts


def transposed(
    ptr: NDArray[Any], col: NDArray[Any], val: NDArray[Any], columns: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return a matrix of so many ``columns`` by columns, rows in order; one element at least."""
    nonzeros = int(ptr[-1])
    order = np.argsort(col[:nonzeros], kind="stable")
    rows = np.repeat(np.arange(len(ptr) - 1, dtype=np.int32), np.diff(ptr))
    counts = np.bincount(col[:nonzeros], minlength=columns)
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    padding = (0, 0 if nonzeros else 1)
    return begins, np.pad(rows[order], padding), np.pad(val[:nonzeros][order], padding)


class MemoryMap:
    """Lay arrays one after the other, each from a new line of 64 bytes on."""

    def __init__(self) -> None:
        self._end = _FIRST
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, name: str, size_bytes: int) -> int:
        """Return the address of a new array of ``size_bytes``.

        Raises
        ------
        InputError
            If all arrays together exceed what a run may hold.
        """
        address = self._end
        self._end += 64 * ceil_div(max(size_bytes, 1), 64)
        if self._end > MAX_BYTES:
            raise InputError(f"memory for {name}", f"at most {MAX_BYTES} bytes", str(self._end))
        self._places[name] = (address, size_bytes)
        return address

    def add_sparse(self, name: str, rows: int, nonzeros: int, pieces: int = 1) -> SparseArrays:
        """Return the addresses of a new matrix with room for ``nonzeros``, kept in ``pieces``."""
        return SparseArrays(
            self.add(f"{name}.ptr", 4 * (rows + pieces)),
            self.add(f"{name}.col", 4 * nonzeros),
            self.add(f"{name}.val", 8 * nonzeros),
        )

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def address(self, name: str) -> int:
        """Return the address of an array."""
        return self._places[name][0]

    def size_bytes(self, name: str) -> int:
        """Return how large an array is."""
        return self._places[name][1]

    def image(self, values: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return int64[words] holding ``values`` at their places and zeros elsewhere."""
        memory = np.zeros(ceil_div(self._end, 8), np.int64)
        for name, array in values.items():
            place, size = self._places[name]
            if array.nbytes > size:
                raise InputError(f"array {name}", f"at most {size} bytes", str(array.nbytes))
            memory.view(np.uint8)[place : place + array.nbytes] = array.reshape(-1).view(np.uint8)
        return memory

    def read(self, memory: NDArray[np.int64], name: str, dtype: Any) -> NDArray[Any]:
        """Return a copy of array ``name`` in ``memory`` as ``dtype``."""
        place, size = self._places[name]
        return memory.view(np.uint8)[place : place + size].copy().view(dtype)
