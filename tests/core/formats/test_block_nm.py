"""Blocks of 16 x 16 keep their own N, take 16 N + 8 N + 1 bytes and come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.block_nm import (
    KEPT_CHOICES,
    block_nm_bytes,
    decode_block_nm,
    encode_block_nm,
    kept_per_block,
)


def drawn(seed: int, k: int, n: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, (k, n)).astype(np.int8), rng.random((k, n)) < density


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_masked_weights_come_back(seed: int, k: int, n: int, density: float) -> None:
    dense, mask = drawn(seed, k, n, density)
    compact = encode_block_nm(dense, mask)
    np.testing.assert_array_equal(decode_block_nm(compact), np.where(mask, dense, 0))
    size = block_nm_bytes(compact.fsb)
    assert (compact.values.size, compact.indices.size, compact.fsb.size) == tuple(size.values())


@pytest.mark.parametrize("kept", [2, 4, 8])
def test_a_block_takes_16_n_bytes_of_weights_and_8_n_of_indices(kept: int) -> None:
    mask = np.zeros((16, 16), dtype=bool)
    mask[:kept] = True
    compact = encode_block_nm(np.ones((16, 16), dtype=np.int8), mask)
    assert compact.fsb.tolist() == [[kept]]
    assert (compact.values.nbytes, compact.indices.nbytes) == (16 * kept, 8 * kept)


def test_each_block_takes_the_smallest_n_that_holds_it() -> None:
    for rows in range(17):
        mask = np.zeros((16, 32), dtype=bool)
        mask[:rows, 20] = True  # one full column decides for its block
        need = min(n for n in KEPT_CHOICES if n >= rows)
        assert kept_per_block(mask).tolist() == [[2], [need]]


def test_a_dense_block_needs_no_indices() -> None:
    dense, _ = drawn(0, 16, 16, 1.0)
    compact = encode_block_nm(dense, np.ones((16, 16), dtype=bool))
    assert compact.indices.size == 0
    np.testing.assert_array_equal(decode_block_nm(compact), dense)


def test_a_changed_index_shows() -> None:
    dense, mask = drawn(3, 16, 16, 0.1)
    mask[0, 0], dense[0, 0] = True, 1
    compact = encode_block_nm(dense, mask)
    changed = compact.indices.copy()
    changed[0] ^= 0x0F
    again = decode_block_nm(replace(compact, indices=changed))
    assert (again != np.where(mask, dense, 0)).any()


def test_damaged_streams_are_refused() -> None:
    dense, mask = drawn(1, 20, 20, 0.3)
    compact = encode_block_nm(dense, mask)
    with pytest.raises(InputError, match="values: need"):
        decode_block_nm(replace(compact, values=compact.values[1:]))
    with pytest.raises(InputError, match="fsb: need one of"):
        decode_block_nm(replace(compact, fsb=compact.fsb + np.uint8(1)))
    with pytest.raises(InputError, match="packed: need"):
        decode_block_nm(replace(compact, indices=compact.indices[:-1]))
    with pytest.raises(InputError, match="weights: need int8"):
        encode_block_nm(dense.astype(np.int16), mask)
