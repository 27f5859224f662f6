"""Integers of a few bits come back from bytes, the first in the lowest bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import pack_bits, unpack_bits


def test_the_first_value_takes_the_lowest_bits() -> None:
    assert pack_bits(np.array([1, 2, 3]), 4).tolist() == [0x21, 0x03]
    assert pack_bits(np.array([5, 1]), 3).tolist() == [0b001_101]


@given(st.integers(1, 8), st.data())
def test_unsigned_and_signed_values_come_back(bits: int, data: st.DataObject) -> None:
    unsigned = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=20))
    packed = pack_bits(np.array(unsigned), bits)
    assert packed.size == -(-len(unsigned) * bits // 8)
    assert unpack_bits(packed, bits, len(unsigned)).tolist() == unsigned
    signed = data.draw(st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), max_size=20))
    packed = pack_bits(np.array(signed), bits)
    assert unpack_bits(packed, bits, len(signed), is_signed=True).tolist() == signed


def test_values_too_wide_and_streams_too_short_are_refused() -> None:
    with pytest.raises(InputError, match="values: need -4 to 7 in 3 bits"):
        pack_bits(np.array([8]), 3)
    with pytest.raises(InputError, match="packed: need 3 values of 4 bits, found 1 bytes"):
        unpack_bits(np.zeros(1, np.uint8), 4, 3)
