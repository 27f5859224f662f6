"""The packed arrays are what the kernels of Fast Sparse ConvNets and XNNPACK stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.cpu.packing import BLOCK_CHANNELS, pack, packed_elems


def sparse(seed: int, co: int, ci: int, density: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((co, ci)) < density, rng.integers(1, 9, (co, ci)), 0).astype(
        np.float32
    )


def test_the_arrays_of_a_hand_packed_layer() -> None:
    weights = np.array([[0, 2, 0], [0, 0, 0], [3, 0, 4]], dtype=np.float32)
    packed = pack(weights, np.array([7, 8, 9], np.float32), pixels=5)
    assert packed.first_channel == 1
    assert packed.nnzmap.tolist() == [1, 0, 2]
    # Channels 1, 0, 2 of 20 bytes each, back to 1; then one element of over-read.
    assert packed.dmap.tolist() == [-20, 40, -20, 0]
    assert packed.stream.tolist() == [7, 2, 8, 9, 3, 4, 0]
    assert packed.dmap.dtype == np.int32
    assert packed.nnzmap.dtype == np.uint32


def test_a_block_of_two_channels_stores_its_zeros_and_the_last_channel_stands_alone() -> None:
    weights = np.array([[1, 0, 0, 5], [0, 0, 2, 6], [0, 3, 0, 0]], dtype=np.float32)
    packed = pack(weights, pixels=1, nr=2)
    assert packed.nnzmap.tolist() == [3, 1]
    assert packed.stream.tolist() == [0, 0, 1, 0, 0, 2, 5, 6, 0, 3, 0]
    assert packed.dmap.tolist() == [8, 4, -8, -4, 0]


@given(
    st.integers(0, 2**31),
    st.integers(1, 19),
    st.integers(1, 12),
    st.integers(1, 50),
    st.sampled_from(BLOCK_CHANNELS),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_increments_close_counts_sum_and_the_size_is_the_formula(
    seed: int, co: int, ci: int, pixels: int, nr: int, density: float
) -> None:
    weights = sparse(seed, co, ci, density)
    bias = np.arange(co, dtype=np.float32)
    packed = pack(weights, bias, pixels=pixels, nr=nr)
    assert int(packed.dmap.sum()) == 0
    assert int(packed.nnzmap.sum()) == packed.blocks
    assert len(packed.nnzmap) == co // nr + co % nr
    whole = int(packed.nnzmap[: packed.whole_blocks].sum())
    elems = packed_elems(co, nr, whole, packed.blocks - whole)
    assert packed.strip_bytes == 4 * elems
    assert len(packed.nnzmap) + len(packed.dmap) + len(packed.stream) == elems + 2
    unpacked, unpacked_bias = packed.unpack()
    np.testing.assert_array_equal(unpacked, weights)
    np.testing.assert_array_equal(unpacked_bias, bias)


def test_a_strip_of_a_512_layer_at_90_percent_streams_its_nonzeros() -> None:
    # 26,214 nonzeros of 8 bytes are 205 KiB (sizes of Fast Sparse ConvNets' kernels); on top
    # come a count and a bias per channel.
    weights = np.zeros((512, 512), np.float32)
    weights.flat[np.random.default_rng(1).permutation(512 * 512)[:26214]] = 1
    packed = pack(weights, pixels=196)
    assert packed.strip_bytes == 8 * 26214 + 8 * 512


def test_a_wrong_increment_shows_when_unpacking() -> None:
    weights = np.array([[1, 2, 0, 3]], dtype=np.float32)
    packed = pack(weights, pixels=2)
    packed.dmap[:2] += np.array([8, -8], np.int32)  # the second weight lands one channel off
    assert packed.unpack()[0].tolist() == [[1, 0, 2, 3]]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"nr": 3}, "nr: need one of 1, 2, 4, 8, 16, found 3"),
        ({"pixels": 0}, "pixels: need at least 1, found 0"),
        ({"bias": np.zeros(3)}, "bias: need shape (2,), found (3,)"),
        ({"pixels": 2**30}, "pixels: need input increments within int32, found 4294967296 bytes"),
    ],
)
def test_what_cannot_be_packed_is_named(options: dict[str, object], line: str) -> None:
    weights = np.eye(2, dtype=np.float32)
    with pytest.raises(InputError) as caught:
        pack(weights, **{"pixels": 4, **options})  # type: ignore[arg-type]  # one bad value each
    assert str(caught.value) == line


def test_a_layer_without_channels_is_refused() -> None:
    with pytest.raises(InputError, match=r"weights: need a matrix \[co, ci\] of at least 1x1"):
        pack(np.zeros((0, 4), np.float32), pixels=4)
