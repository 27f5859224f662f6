"""Read tensors of a ``.safetensors`` file, its header checked before anything is believed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = ["SafetensorsFile"]

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format (safetensors README, "Format")."""

_DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
_DTYPES |= {"U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """Tensors by name. The whole header is checked on opening; values are read when asked for.

    Raises :class:`InputError` naming the file, or the tensor, whose length, extents or place is
    not what the bytes can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                    need = f"a header within its {size} bytes"
                    raise InputError(str(path), need, f"a header of {length} bytes")
                values = json.loads(file.read(length))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(str(path), "a safetensors header", str(error)) from None
        if not isinstance(values, dict):
            raise InputError(str(path), "a JSON object as header", type(values).__name__)
        values.pop("__metadata__", None)
        self._base = 8 + length
        self._entries = {name: self._entry(name, value) for name, value in values.items()}
        self._check_places(size - self._base)

    def names(self) -> list[str]:
        """Return the tensors in the file."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the extents of ``name``."""
        return self._entries[name].shape

    def read(self, name: str) -> NDArray[Any]:
        """Return the values of ``name``; floats as float32."""
        entry = self._entries[name]
        with self.path.open("rb") as file:
            file.seek(self._base + entry.begin)
            data = file.read(entry.end - entry.begin)
        if entry.dtype == "BF16":
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(entry.shape)
        codes = {"F": "f", "I": "i", "U": "u", "B": "b"}
        code = "?" if entry.dtype == "BOOL" else f"{codes[entry.dtype[0]]}{_DTYPES[entry.dtype]}"
        values = np.frombuffer(data, f"<{code}" if code != "?" else "?").reshape(entry.shape)
        return values.astype(np.float32) if entry.dtype[0] == "F" else values

    def _entry(self, name: str, value: Any) -> _Entry:
        where = f"{self.path}: {name}"
        if not isinstance(value, dict) or value.get("dtype") not in _DTYPES:
            raise InputError(where, f"a dtype of {', '.join(_DTYPES)}", _short(value))
        shape, offsets = value.get("shape"), value.get("data_offsets")
        if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise InputError(where, "a shape and two data_offsets of integers", _short(value))
        begin, end = offsets
        need = math.prod(shape) * _DTYPES[value["dtype"]]
        if end - begin != need:
            raise InputError(where, f"{need} bytes for {shape}", f"{end - begin}")
        return _Entry(value["dtype"], tuple(shape), begin, end)

    def _check_places(self, size: int) -> None:
        """Raise :class:`InputError` unless the tensors fill the file without gap or overlap."""
        position = 0
        for name, entry in sorted(self._entries.items(), key=lambda item: item[1].begin):
            if entry.begin != position:
                kind = "an overlap" if entry.begin < position else "a gap"
                need = f"data from byte {position} on"
                raise InputError(f"{self.path}: {name}", need, f"{kind} at {entry.begin}")
            position = entry.end
        if position != size:
            raise InputError(str(self.path), f"{position} bytes of data", f"{size}")


def _are_counts(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 62 for v in values
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
