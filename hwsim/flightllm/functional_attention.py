"""Compute a prompt's attention as its program does: only blocks that its mask keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.attention_view import kept_of_group, mask_of
from hwsim.flightllm.isa import MM
from hwsim.flightllm.plan import Layer

__all__ = ["exact_attention", "masked_attention"]

Codes = NDArray[np.int64]
Product = Callable[[Codes, Codes], Codes]


def exact_attention(layer: Layer, a: Codes, b: Codes) -> Codes:
    """Return the product [groups, m, n] with zeros for scores, or shares, of dropped blocks."""
    mask = mask_of(layer.mask, layer.heads, layer.mask_tokens)
    whole = np.kron(mask.kept, np.ones((mask.block, mask.block), bool))
    whole = whole[:, : layer.mask_tokens, : layer.mask_tokens]
    columns = b.shape[2] if layer.kind == "scores" else a.shape[2]
    by_group = whole.reshape(-1, layer.group * layer.mask_tokens, layer.mask_tokens)
    kept = by_group[: len(a), : a.shape[1], :columns]
    if layer.kind == "scores":
        return np.where(kept, a @ b, 0)
    return np.where(kept, a, 0) @ b


def masked_attention(
    layer: Layer, a: Codes, b: Codes, code: NDArray[np.void], rows: int, product: Product
) -> Codes:
    """Return the same by groups of ``rows`` tokens, each over the keys that any of them sees.

    ``product`` multiplies what a group has left. Raises :class:`InputError` if the program has no
    instruction of the length that a group needs.
    """
    tokens, is_scores = layer.mask_tokens, layer.kind == "scores"
    block = mask_of(layer.mask, layer.heads, tokens).block
    lengths = set(code["k"][code["unit"] == MM].tolist())
    found = np.zeros((*a.shape[:2], b.shape[2]), np.int64)
    for row in (row for row in range(a.shape[1]) if row % tokens % rows == 0):
        token = row % tokens
        own = slice(row, min(row + min(rows, tokens - token), a.shape[1]))
        for group in range(len(a)):
            head = group * layer.group + row // tokens
            seen = kept_of_group(layer, head, token // rows, rows)
            width = b.shape[2] if is_scores else a.shape[2]
            keys = np.flatnonzero(np.repeat(seen.any(axis=0), block)[:width])
            sees = seen[np.arange(own.stop - own.start)[:, None] // block, keys // block]
            if is_scores:
                part = product(a[group, own], b[group][:, keys])
                found[group, own.start : own.stop][:, keys] = np.where(sees, part, 0)
                continue
            need = ceil_div(int(seen.any(axis=0).sum()) * block, 16)
            if need not in lengths:
                raise InputError("program", f"a product over {need} blocks of keys", str(lengths))
            found[group, own] = product(np.where(sees, a[group, own][:, keys], 0), b[group][keys])
    return found
