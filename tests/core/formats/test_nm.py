"""Check that the compact N:M form holds exactly the kept elements."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import decode_nm, encode_nm, nm_compact_bits
from hwsim.core.sparsity import NM


def draw(k: int, n: int, nm_n: int, nm_m: int, seed: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    mask = NM(nm_n=nm_n, nm_m=nm_m).sample_mask((k, n), rng)
    mask &= rng.random(mask.shape) < 0.9  # some groups keep fewer than they may
    return rng.standard_normal((k, n)).astype(np.float16), mask


@given(
    k=st.integers(1, 40),
    n=st.integers(1, 6),
    nm_m=st.integers(1, 32),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_decoding_gives_back_the_kept_elements(
    k: int, n: int, nm_m: int, seed: int, data: st.DataObject
) -> None:
    nm_n = data.draw(st.integers(1, nm_m))
    dense, mask = draw(k, n, nm_n, nm_m, seed)
    compact = encode_nm(dense, mask, nm_n, nm_m)
    assert compact.values.shape == compact.indices.shape == (-(-k // nm_m), nm_n, n)
    assert (decode_nm(compact) == np.where(mask, dense, 0)).all()
    assert decode_nm(compact).dtype == np.float16


@given(
    k=st.integers(1, 40), n=st.integers(1, 6), nm_m=st.integers(2, 16), seed=st.integers(0, 1000)
)
def test_slots_ascend_and_never_name_an_element_twice(k: int, n: int, nm_m: int, seed: int) -> None:
    compact = encode_nm(*draw(k, n, nm_m // 2, nm_m, seed), nm_m // 2, nm_m)
    assert (np.diff(compact.indices.astype(int), axis=1) > 0).all()
    assert (compact.indices < nm_m).all()


def test_a_group_over_its_limit_is_refused() -> None:
    dense = np.ones((8, 2), dtype=np.float16)
    mask = np.zeros((8, 2), dtype=bool)
    mask[:2] = True
    encode_nm(dense, mask, 2, 4)
    mask[3, 1] = True
    with pytest.raises(InputError, match="at most 2 of 4 elements per group, found 3"):
        encode_nm(dense, mask, 2, 4)


def test_an_empty_and_a_full_matrix_survive() -> None:
    dense = np.arange(1, 13, dtype=np.float16).reshape(6, 2)
    for mask in (np.zeros((6, 2), dtype=bool), np.ones((6, 2), dtype=bool)):
        assert (decode_nm(encode_nm(dense, mask, 4, 4)) == np.where(mask, dense, 0)).all()


@pytest.mark.parametrize(
    ("nm_n", "nm_m", "share"),
    [
        (1, 1, Fraction(1)),
        (2, 4, Fraction(2 * 18, 64)),
        (2, 8, Fraction(2 * 19, 128)),
        (1, 16, Fraction(20, 256)),
    ],
)
def test_compact_size_against_dense(nm_n: int, nm_m: int, share: Fraction) -> None:
    # N (16 + log2 M) bits for every M elements of 16 bits.
    assert Fraction(nm_compact_bits(64, 10, nm_n, nm_m), 64 * 10 * 16) == share


def test_a_ragged_group_is_stored_whole() -> None:
    assert nm_compact_bits(9, 1, 2, 8) == nm_compact_bits(16, 1, 2, 8) == 2 * 2 * 19
