"""Keep all state of :class:`Arrival` in one array, for kernels that carry it through many calls.

numba passes every array of a bundle by value, seven words each: a caller with many functions that
carried the bundle compiled several times longer. One array costs what any other does; the bundle
is made from it, without copying, where DRAM is accessed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

from hwsim.components.dram.arrival_state import Arrival

__all__ = ["DIMENSIONS", "arrival_of", "pack_arrival", "view_arrival"]

DIMENSIONS = (1, 1, 2, 1, 3, 2, 2, 2, 2, 3, 2, 1, 2, 2, 3, 2, 3, 2, 1, 2)
"""Of the fields of Arrival, in their order."""
_HEADER = 4
"""Words per field in front of all data: offset, then up to three extents."""


def pack_arrival(arrival: Arrival) -> np.ndarray:
    """Return an int64 array that holds a copy of ``arrival``."""
    header = np.zeros((len(arrival), _HEADER), np.int64)
    offset = header.size
    for row, field in zip(header, arrival, strict=True):
        row[0], row[1 : 1 + field.ndim] = offset, field.shape
        offset += field.size
    return np.concatenate([header.ravel(), *(field.ravel() for field in arrival)])


def view_arrival(buffer: np.ndarray) -> Arrival:
    """Return the bundle in ``buffer``, views of it."""
    fields = []
    for offset, *extents in buffer[: len(Arrival._fields) * _HEADER].reshape(-1, _HEADER).tolist():
        shape = [extent for extent in extents if extent]
        fields.append(buffer[offset : offset + int(np.prod(shape))].reshape(shape))
    return Arrival(*fields)


@intrinsic
def arrival_of(typing_context: Any, buffer: Any) -> Any:
    """Return the bundle in a buffer of :func:`pack_arrival`, for kernels."""
    arrays = [types.Array(types.int64, dimensions, "C") for dimensions in DIMENSIONS]
    bundle = types.NamedTuple(arrays, Arrival)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        size = context.get_constant(types.intp, 8)
        found = []
        for i, kind in enumerate(arrays):
            words = [builder.load(cgutils.gep(builder, data, _HEADER * i + k)) for k in range(4)]
            shape = words[1 : 1 + kind.ndim]
            strides = [size]
            for extent in reversed(shape[1:]):
                strides.insert(0, builder.mul(strides[0], extent))
            array = context.make_array(kind)(context, builder)
            first = cgutils.pointer_add(builder, data, builder.mul(words[0], size))
            first = builder.bitcast(first, array.data.type)
            arrayobj.populate_array(
                array, data=first, shape=shape, strides=strides, itemsize=size, meminfo=None
            )
            found.append(array._getvalue())
        return context.make_tuple(builder, signature.return_type, found)

    return bundle(buffer), generate
