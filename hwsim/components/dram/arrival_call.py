"""Let kernels of a machine call the DRAM of :mod:`arrival_kernels` by its address.

A machine whose loop contained this DRAM would be compiled twice, with it and without, and the DRAM
again for each such machine. Called by address it is compiled once, when it is first used.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hwsim.components.array_table import bundle_reader, table_of
from hwsim.components.dram.arrival_buffer import DIMENSIONS
from hwsim.components.dram.arrival_kernels import arrival_access, arrival_finish
from hwsim.components.dram.arrival_state import Arrival

__all__ = ["arrival_place", "call_arrival", "finish_arrival", "no_arrival"]

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)
_FINISH = -1
"""In place of a kind of access: see ``arrival_finish``."""
_POINTER = types.CPointer(types.int64)

_arrival_at = bundle_reader(
    "Arrival",
    {name: (types.int64, count) for name, count in zip(Arrival._fields, DIMENSIONS, strict=True)},
)


def _serve(table: Any, address: int, size_bytes: int, kind: int, cycle: int) -> int:
    if kind == _FINISH:
        done: int = arrival_finish(_arrival_at(table), cycle)
    else:
        done = arrival_access(_arrival_at(table), address, size_bytes, kind, cycle)
    return done


@cache
def _entry() -> Any:
    """Return the compiled function, kept on disk as all others are."""
    options = {"cache": numba.config.OPT > 0, "_nrt": False, "error_model": "numpy"}
    return numba.cfunc(types.int64(_POINTER, *[types.int64] * 4), **options)(_serve)


def arrival_place(arrival: Arrival) -> np.ndarray:
    """Return where the compiled function is, and where all arrays of ``arrival`` are: int64[:].

    These have to stay where they are as long as the place is used.
    """
    return np.concatenate([[_entry().address], table_of(arrival).ravel()])


def no_arrival() -> np.ndarray:
    """Return the place of a DRAM that is not there: one zero."""
    return np.zeros(1, np.int64)


def finish_arrival(place: np.ndarray, cycle: int) -> int:
    """Serve at ``cycle`` all writes that still wait; return the cycle at which all have moved."""
    table = place[1:].ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
    return int(_entry().ctypes(table, 0, 0, _FINISH, cycle))


@intrinsic
def call_arrival(
    typing_context: Any, place: Any, address: Any, size_bytes: Any, kind: Any, cycle: Any
) -> Any:
    """Return the cycle in which the DRAM at ``place`` answers; see ``arrival_access``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = context.make_array(signature.args[0])(context, builder, args[0]).data
        function = ir.FunctionType(_WORD, [_WORD.as_pointer(), *[_WORD] * 4]).as_pointer()
        entry = builder.inttoptr(builder.load(words), function)
        table = builder.gep(words, [ir.Constant(_INDEX, 1)])
        return builder.call(entry, [table, *args[1:]])

    return types.int64(place, *[types.int64] * 4), generate
