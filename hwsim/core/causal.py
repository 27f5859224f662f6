"""Count the products of attention that a causal mask, or one of blocks below it, lets through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwsim.core.formats.block_mask import read_mask_text
from hwsim.core.gemm import GemmDims

__all__ = ["causal_products"]


def causal_products(dims: GemmDims, attrs: Mapping[str, Any]) -> int:
    """Return the multiply-accumulates between queries and the keys that they see.

    Parameters
    ----------
    dims : GemmDims
        Of the scores [queries, k] x [k, keys], or of their product with the values,
        [queries, keys] x [keys, n]. Heads that share keys lie one below the other in m.
    attrs : mapping
        ``grows`` names the extent that counts keys: "k" that of the product with the values, else
        n. ``heads`` are those of one step, default one a group; ``joined_steps`` as many again.
        ``kept_blocks`` is the mask of a prompt (:func:`hwsim.core.formats.block_mask.mask_text`).

    Notes
    -----
    The queries are the last of the keys' tokens: of t queries over c keys, number i from 0 sees
    c - t + i + 1 keys, at least none. Their sum is c (c + 1) / 2 - (c - t) (c - t + 1) / 2.
    """
    keys, depth = (dims.k, dims.n) if attrs.get("grows") == "k" else (dims.n, dims.k)
    heads = int(attrs.get("heads", dims.groups)) * int(attrs.get("joined_steps", 1))
    queries = dims.groups * dims.m // heads
    if "kept_blocks" in attrs:
        return depth * read_mask_text(attrs["kept_blocks"], heads, queries).seen
    before = max(keys - queries, 0)
    return depth * heads * (keys * (keys + 1) - before * (before + 1)) // 2
