"""Compute what SAT must output, with plain numpy and none of the simulator's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program

__all__ = ["golden_gemm", "golden_outputs", "golden_selection", "golden_update"]

Array = NDArray[Any]


def golden_gemm(a: NDArray[Any], b: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a · (b where mask) as SAT must compute it.

    Parameters
    ----------
    a : float16[m, k]
    b : float16[k, n]
        Dense weights.
    mask : bool[k, n]
        Kept weights.

    Returns
    -------
    float32[m, n]
        Summed from +0 in the order of k, one FP32 rounding per addition; FP16 products are exact
        in FP32. Adding the +0 or −0 of a pruned product never changes a sum that starts at +0.
    """
    left = a.astype(np.float32)
    right = np.where(mask, b, np.float16(0)).astype(np.float32)
    total = np.zeros((a.shape[0], b.shape[1]), dtype=np.float32)
    for k in range(a.shape[1]):
        # Pruned positions are skipped, not multiplied: 0 · inf would be NaN.
        product = np.zeros_like(total)
        np.multiply(left[:, k : k + 1], right[k : k + 1], out=product, where=mask[k])
        total += product
    return total


def golden_selection(values: Array, axis: int, nm_n: int, nm_m: int) -> NDArray[np.bool_]:
    """Return the mask of the ``nm_n`` largest of every ``nm_m`` float16 along ``axis``.

    An element stays if fewer than ``nm_n`` of its group beat it: by magnitude (NaN above
    infinity, by payload), or by coming first.
    """
    lines = np.ascontiguousarray(np.moveaxis(values, axis, -1))
    size = (lines.view(np.uint16) & 0x7FFF).reshape(*lines.shape[:-1], -1, nm_m)
    beaten = np.zeros(size.shape, dtype=np.int64)
    for rival in range(nm_m):
        other = size[..., rival : rival + 1]
        comes_first = np.arange(nm_m) > rival
        beaten += (other > size) | ((other == size) & comes_first)
    return np.moveaxis((beaten < nm_n).reshape(lines.shape), -1, axis)


def golden_update(
    dw16: Array, w32: Array, v32: Array, *, lr: float, mu: float, wd: float, inv_scale: float
) -> tuple[Array, Array, Array]:
    """Return new weights, momentum and FP16 copy: each step in FP64, then rounded to FP32.

    FP64 holds a product of two FP32 numbers exactly, and a sum of two well enough for its second
    rounding to change nothing (53 >= 2 · 24 + 2 bits, Figueroa 1995).
    """

    def rounded(values: Array) -> Array:
        return values.astype(np.float32).astype(np.float64)

    lr64, mu64, wd64, inv64 = (float(np.float32(value)) for value in (lr, mu, wd, inv_scale))
    w, v, dw = (values.astype(np.float64) for values in (w32, v32, dw16))
    with np.errstate(all="ignore"):
        gradient = rounded(rounded(dw * inv64) + rounded(wd64 * w))
        velocity = rounded(rounded(mu64 * v) + gradient)
        weights = rounded(w - rounded(lr64 * velocity)).astype(np.float32)
        copy = weights.astype(np.float16)
    quiet32, quiet16 = np.uint32(0x7FC00000).view(np.float32), np.uint16(0x7E00).view(np.float16)
    found = ((weights, quiet32), (velocity.astype(np.float32), quiet32), (copy, quiet16))
    new_w, new_v, new_w16 = (np.where(np.isnan(x), quiet, x) for x, quiet in found)
    return new_w, new_v, new_w16


def golden_outputs(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return {op: output} for every op with operands in ``inputs``.

    ``inputs["<op>.a"]`` : float16[groups, m, k], of a product; weights come from
    ``program.tensors["<op>.b"]`` : float16[groups, k, n] and ``["<op>.mask"]`` : bool of the same
    shape (all kept if absent). Output: float32[groups, m, n].

    ``inputs["<op>.dw16"]`` : float16[elems], of a weight update; ``program.tensors`` has
    ``["<op>.w32"]`` and ``["<op>.v32"]`` : float32[elems] and ``["<op>.rule"]`` : float32[4], the
    learning rate, momentum, weight decay and 1 / loss scale. Output: float32[3, elems], the new
    weights, momentum and FP16 copy.

    ``inputs["<op>.words"]`` : uint16[groups, nm_m], FP16 words to select from, of which
    ``program.tensors["<op>.nm_n"]`` are kept. Output: uint16[groups, 2, nm_n], the words and their
    positions.
    """
    outputs: dict[str, Array] = {}
    for key, given in inputs.items():
        op, _, what = key.rpartition(".")
        tensors = program.tensors
        if what == "words":
            outputs[op] = _selected(given, int(tensors[f"{op}.nm_n"]))
        elif what == "dw16":
            rule = dict(zip(("lr", "mu", "wd", "inv_scale"), tensors[f"{op}.rule"], strict=True))
            new = golden_update(given, tensors[f"{op}.w32"], tensors[f"{op}.v32"], **rule)
            outputs[op] = np.stack([part.astype(np.float32) for part in new])
        else:
            b = tensors[f"{op}.b"]
            mask = tensors.get(f"{op}.mask", np.ones(b.shape, dtype=bool))
            products = [golden_gemm(*group) for group in zip(given, b, mask, strict=True)]
            outputs[op] = np.stack(products)
    return outputs


def _selected(words: Array, nm_n: int) -> Array:
    """Return uint16[groups, 2, nm_n]: kept words and their positions, one group at a time."""
    kept = golden_selection(words.view(np.float16), 1, nm_n, words.shape[1])
    positions = [np.flatnonzero(group) for group in kept]
    pairs = [np.stack([row[at], at]) for row, at in zip(words, positions, strict=True)]
    return np.stack(pairs).astype(np.uint16)
