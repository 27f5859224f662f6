"""Make the bundle of a machine's arrays from its table, in kernels that are called."""

from __future__ import annotations

from numba.core import types

from hwsim.components.array_table import bundle_reader
from hwsim.piuma.state import Chip

__all__ = ["chip_of"]

_KINDS = {
    "code": (types.int64, 2),
    "regs": (types.int64, 2),
    "fregs": (types.float64, 2),
    "mem": (types.int64, 1),
    "fmem": (types.float64, 1),
    "mem4": (types.int32, 1),
    "scalar": (types.int64, 1),
    "thread": (types.int64, 2),
    "ready": (types.int64, 1),
    "ahead": (types.int64, 1),
    "waiting": (types.int64, 1),
    "soon": (types.int64, 2),
    "stp": (types.int64, 2),
    "pipe": (types.int64, 2),
    "next_time": (types.int64, 1),
    "wheel": (types.int64, 2),
    "servers": (types.int64, 1),
    "cache": (types.int64, 2),
    "block": (types.int64, 2),
    "descriptors": (types.int64, 2),
    "queue": (types.int64, 2),
    "barrier": (types.int64, 2),
    "dram": (types.int64, 1),
    "dram_place": (types.int64, 1),
}

chip_of = bundle_reader("Chip", {name: _KINDS[name] for name in Chip._fields[:-1]})
"""Return the machine of a table, for kernels."""
