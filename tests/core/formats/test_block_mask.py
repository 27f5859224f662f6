"""Block masks are causal, keep the asked share, and take one bit per causal block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.formats.block_mask import (
    BlockMask,
    causal_blocks,
    decode_mask,
    encode_mask,
    sample_mask,
)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 700), st.floats(0, 1))
def test_masks_come_back_and_keep_their_share(
    seed: int, heads: int, tokens: int, density: float
) -> None:
    mask = sample_mask(heads, tokens, density, np.random.default_rng(seed))
    packed = encode_mask(mask)
    assert packed.size == -(-heads * causal_blocks(tokens) // 8)
    np.testing.assert_array_equal(decode_mask(packed, heads, tokens).kept, mask.kept)
    blocks = -(-tokens // 64)
    expected = max(round(density * causal_blocks(tokens)), blocks)
    assert (mask.kept.sum(axis=(1, 2)) == expected).all()
    assert mask.kept[:, np.arange(blocks), np.arange(blocks)].all()


def test_elements_never_look_ahead() -> None:
    mask = sample_mask(2, 130, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(mask.elements(1), np.tril(np.ones((130, 130), dtype=bool)))
    assert mask.causal_density == 1.0


def test_2048_tokens_have_528_causal_blocks() -> None:
    assert causal_blocks(2048) == 32 * 33 // 2


def test_masks_that_look_ahead_or_have_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="no block above the diagonal"):
        BlockMask(np.ones((1, 2, 2), dtype=bool), 128)
    with pytest.raises(InputError, match="2 x 2 blocks"):
        BlockMask(np.ones((1, 3, 3), dtype=bool), 128)
    with pytest.raises(InputError, match="density: need 0 to 1"):
        sample_mask(1, 64, 1.5, np.random.default_rng(0))
