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
from numba.np import arrayobj

from hwsim.components.dram.arrival_kernels import arrival_access, arrival_finish
from hwsim.components.dram.layout import LENGTH

__all__ = ["arrival_place", "call_arrival", "finish_arrival", "no_arrival"]

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)
_FINISH = -1
"""In place of a kind of access: see ``arrival_finish``."""
_POINTER = types.CPointer(types.int64)


@intrinsic
def _words_at(typing_context: Any, pointer: Any) -> Any:
    """Return the array of words at ``pointer``, without reference counts."""
    kind = types.Array(types.int64, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = context.get_constant(types.intp, 8)
        length = builder.load(builder.gep(args[0], [ir.Constant(_INDEX, int(LENGTH))]))
        array = context.make_array(kind)(context, builder)
        arrayobj.populate_array(
            array, data=args[0], shape=[length], strides=[size], itemsize=size, meminfo=None
        )
        return array._getvalue()

    return kind(pointer), generate


def _serve(words: Any, address: int, size_bytes: int, kind: int, cycle: int) -> int:
    s = _words_at(words)
    done: int
    if kind == _FINISH:
        done = arrival_finish(s, cycle)
    else:
        done = arrival_access(s, address, size_bytes, kind, cycle)
    return done


@cache
def _entry() -> Any:
    """Return the compiled function, kept on disk as all others are."""
    options = {"cache": numba.config.OPT > 0, "_nrt": False, "error_model": "numpy"}
    return numba.cfunc(types.int64(_POINTER, *[types.int64] * 4), **options)(_serve)


def arrival_place(words: np.ndarray) -> np.ndarray:
    """Return where the compiled function is, and where ``words`` of ``arrival_state`` are.

    These have to stay where they are as long as the place, int64[2], is used.
    """
    return np.array([_entry().address, words.ctypes.data], np.int64)


def no_arrival() -> np.ndarray:
    """Return the place of a DRAM that is not there: one zero."""
    return np.zeros(1, np.int64)


def finish_arrival(place: np.ndarray, cycle: int) -> int:
    """Serve at ``cycle`` all writes that still wait; return the cycle at which all have moved."""
    words = ctypes.cast(int(place[1]), ctypes.POINTER(ctypes.c_int64))
    return int(_entry().ctypes(words, 0, 0, _FINISH, cycle))


@intrinsic
def call_arrival(
    typing_context: Any, place: Any, address: Any, size_bytes: Any, kind: Any, cycle: Any
) -> Any:
    """Return the cycle in which the DRAM at ``place`` answers; see ``arrival_access``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        two = context.make_array(signature.args[0])(context, builder, args[0]).data
        function = ir.FunctionType(_WORD, [_WORD.as_pointer(), *[_WORD] * 4]).as_pointer()
        entry = builder.inttoptr(builder.load(two), function)
        second = builder.load(builder.gep(two, [ir.Constant(_INDEX, 1)]))
        words = builder.inttoptr(second, _WORD.as_pointer())
        return builder.call(entry, [words, *args[1:]])

    return types.int64(place, *[types.int64] * 4), generate
