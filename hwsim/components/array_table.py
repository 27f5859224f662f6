"""Hand a bundle of arrays to compiled functions as one word: where the table of their places is.

numba passes every array of a NamedTuple by value, seven words each, so that functions that hand a
large bundle on take long to compile and to call. In compiled code a :class:`Bundle` looks like the
NamedTuple it stands for; an array's place is read where the array is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, register_model
from numba.np import arrayobj

__all__ = ["bundle_reader", "table_of"]

_ROW = 4
"""Words per array: where its data are, then up to three extents."""
_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)


def table_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the table of ``arrays``, which have to stay where they are as long as it is used."""
    table = np.zeros((len(arrays), _ROW), np.int64)
    for row, array in zip(table, arrays, strict=True):
        if not array.flags.c_contiguous:
            raise ValueError("only arrays without gaps have a place in a table")
        row[0], row[1 : 1 + array.ndim] = array.ctypes.data, array.shape
    return table


class Bundle(types.Type):  # type: ignore[misc]
    """Compiled code's view of a table: arrays by name, in the table's order."""

    def __init__(self, name: str, kinds: Mapping[str, tuple[Any, int]]) -> None:
        self.arrays = {
            field: (row, types.Array(item, dimensions, "C"))
            for row, (field, (item, dimensions)) in enumerate(kinds.items())
        }
        super().__init__(name=f"Bundle({name}: {', '.join(map(str, self.arrays.items()))})")


@register_model(Bundle)
class _BundleModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Bundle) -> None:
        super().__init__(manager, kind, _WORD.as_pointer())


@infer_getattr
class _BundleFields(AttributeTemplate):  # type: ignore[misc]
    key = Bundle

    def generic_resolve(self, bundle: Bundle, field: str) -> Any:
        return bundle.arrays[field][1] if field in bundle.arrays else None


@lower_getattr_generic(Bundle)
def _lower_field(context: Any, builder: Any, bundle: Bundle, places: Any, field: str) -> Any:
    row, kind = bundle.arrays[field]
    words = []
    for k in range(1 + kind.ndim):
        word = builder.load(builder.gep(places, [ir.Constant(_INDEX, _ROW * row + k)]))
        # Tables never change, so that LLVM may read once what is used often.
        word.set_metadata("invariant.load", builder.module.add_metadata([]))
        words.append(word)
    shape = words[1:]
    item_bytes = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [context.get_constant(types.intp, item_bytes)]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    array = context.make_array(kind)(context, builder)
    arrayobj.populate_array(
        array,
        data=builder.inttoptr(words[0], array.data.type),
        shape=shape,
        strides=strides,
        itemsize=strides[-1],
        meminfo=None,
    )
    return array._getvalue()


def bundle_reader(name: str, kinds: Mapping[str, tuple[Any, int]]) -> Any:
    """Return the compiled function that makes a bundle of a table, or of a pointer to one.

    Parameters
    ----------
    name : str
        What the bundle is called in numba's messages.
    kinds : dict[str, tuple[numba.types.Type, int]]
        Type of the items and dimensions of each array, in the table's order.
    """
    bundle = Bundle(name, kinds)

    @intrinsic
    def read(typing_context: Any, table: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if isinstance(table, types.CPointer):
                return args[0]
            return context.make_array(table)(context, builder, args[0]).data

        return bundle(table), generate

    return read
