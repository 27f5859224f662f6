"""Keep causal attention by blocks of 64 x 64: one bit per block, head and layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.bits import pack_bits, unpack_bits
from hwsim.core.units import ceil_div

__all__ = [
    "MASK_BLOCK",
    "BlockMask",
    "causal_blocks",
    "decode_mask",
    "encode_mask",
    "mask_text",
    "read_mask_text",
    "sample_mask",
]

MASK_BLOCK = 64
"""Tokens along each side of a block (Zeng et al. 2024, FlightLLM's artifact)."""


@dataclass(frozen=True)
class BlockMask:
    """Say which blocks of a causal attention matrix are kept.

    Attributes
    ----------
    kept : bool[heads, blocks, blocks]
        Rows are queries, columns keys; nothing above the diagonal.
    tokens : int
    """

    kept: NDArray[np.bool_]
    tokens: int

    def __post_init__(self) -> None:
        blocks = ceil_div(self.tokens, MASK_BLOCK)
        if self.kept.shape[1:] != (blocks, blocks):
            raise InputError("mask", f"{blocks} x {blocks} blocks", str(self.kept.shape[1:]))
        if np.triu(self.kept, 1).any():
            raise InputError("mask", "no block above the diagonal", "one that looks ahead")

    @property
    def block(self) -> int:
        """Return the tokens along a block's side."""
        return MASK_BLOCK

    @property
    def causal_density(self) -> float:
        """Return the kept share of the blocks on and below the diagonal."""
        return float(self.kept.sum() / (len(self.kept) * causal_blocks(self.tokens)))

    @property
    def seen(self) -> int:
        """Return the elements of all heads that are computed: kept, and not above the diagonal."""
        sides = np.minimum(self.tokens - MASK_BLOCK * np.arange(self.kept.shape[1]), MASK_BLOCK)
        sizes = np.outer(sides, sides)
        np.fill_diagonal(sizes, sides * (sides + 1) // 2)
        return int((self.kept * sizes).sum())

    def elements(self, head: int) -> NDArray[np.bool_]:
        """Return which elements bool[tokens, tokens] of ``head`` are computed, causally."""
        whole = np.kron(self.kept[head], np.ones((MASK_BLOCK, MASK_BLOCK), dtype=bool))
        return np.tril(whole[: self.tokens, : self.tokens])


def causal_blocks(tokens: int) -> int:
    """Return the blocks on and below the diagonal for ``tokens`` tokens."""
    blocks = ceil_div(tokens, MASK_BLOCK)
    return blocks * (blocks + 1) // 2


def sample_mask(heads: int, tokens: int, density: float, rng: np.random.Generator) -> BlockMask:
    """Return a random mask that keeps ``density`` of the causal blocks, the diagonal always.

    Every head keeps the same number of blocks, round(density * causal blocks), but no fewer than
    the diagonal has.

    Raises
    ------
    InputError
        If ``density`` lies outside 0 to 1.
    """
    if not 0.0 <= density <= 1.0:
        raise InputError("density", "0 to 1", str(density))
    blocks = ceil_div(tokens, MASK_BLOCK)
    rows, columns = np.tril_indices(blocks, -1)
    more = max(round(density * causal_blocks(tokens)) - blocks, 0)
    kept = np.zeros((heads, blocks, blocks), dtype=bool)
    kept[:, np.arange(blocks), np.arange(blocks)] = True
    for head in range(heads):
        chosen = rng.choice(rows.size, size=more, replace=False)
        kept[head, rows[chosen], columns[chosen]] = True
    return BlockMask(kept, tokens)


def encode_mask(mask: BlockMask) -> NDArray[np.uint8]:
    """Return one bit per causal block, rows of the lower triangle one after the other."""
    rows, columns = np.tril_indices(mask.kept.shape[1])
    return pack_bits(mask.kept[:, rows, columns], 1)


def mask_text(mask: BlockMask) -> str:
    """Return :func:`encode_mask` as hexadecimal digits."""
    return encode_mask(mask).tobytes().hex()


def read_mask_text(text: str, heads: int, tokens: int) -> BlockMask:
    """Return the mask that :func:`mask_text` wrote."""
    return decode_mask(np.frombuffer(bytes.fromhex(text), np.uint8), heads, tokens)


def decode_mask(packed: NDArray[np.uint8], heads: int, tokens: int) -> BlockMask:
    """Return the mask that :func:`encode_mask` wrote."""
    blocks = ceil_div(tokens, MASK_BLOCK)
    rows, columns = np.tril_indices(blocks)
    kept = np.zeros((heads, blocks, blocks), dtype=bool)
    bits = unpack_bits(packed, 1, heads * rows.size).reshape(heads, rows.size)
    kept[:, rows, columns] = bits.astype(bool)
    return BlockMask(kept, tokens)
