"""Read requests from a text file, one per line: ``clock address bytes R|W``.

The clock is the device's and does not decrease; address and bytes are decimal or 0x numbers. Empty
lines and what follows ``#`` are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import REQUEST
from hwsim.core.errors import InputError

__all__ = ["read_requests"]

_NEED = "clock address bytes R|W"


def read_requests(path: Path) -> NDArray[np.void]:
    """Return the requests of a file : REQUEST[n], n at least 1, not checked against a device.

    Raises
    ------
    InputError
        If the file cannot be read, holds no request, or a line is none; names the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "other bytes"
        raise InputError(str(path), "a file of text", str(reason)) from None
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            rows.append(_parse(words, f"{path}:{number}"))
    if not rows:
        raise InputError(str(path), "at least one request", "none")
    return np.array(rows, REQUEST)


def _parse(words: list[str], where: str) -> tuple[int, int, int, int, int]:
    if len(words) != 4 or words[3].upper() not in ("R", "W"):
        raise InputError(where, _NEED, repr(" ".join(words)))
    try:
        clock, address, size = (int(word, 0) for word in words[:3])
    except ValueError:
        raise InputError(where, _NEED, repr(" ".join(words))) from None
    for name, value in (("clock", clock), ("address", address), ("bytes", size)):
        if not 0 <= value < 1 << 62:
            raise InputError(f"{where}.{name}", "0 to 2^62 - 1", str(value))
    return clock, address, size, int(words[3].upper() == "W"), 0
