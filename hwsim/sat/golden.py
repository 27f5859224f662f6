"""Compute what SAT must output, with plain numpy and none of the simulator's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program

__all__ = ["golden_gemm", "golden_outputs"]


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


def golden_outputs(
    program: Program, inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Return {op: float32[groups, m, n]} for every op with activations in ``inputs``.

    ``inputs["<op>.a"]`` : float16[groups, m, k]; weights come from ``program.tensors["<op>.b"]``
    : float16[groups, k, n] and ``["<op>.mask"]`` : bool of the same shape (all kept if absent).
    """
    outputs: dict[str, NDArray[np.float32]] = {}
    for key, a in inputs.items():
        op = key.removesuffix(".a")
        b = program.tensors[f"{op}.b"]
        mask = program.tensors.get(f"{op}.mask", np.ones(b.shape, dtype=bool))
        products = [golden_gemm(*group) for group in zip(a, b, mask, strict=True)]
        outputs[op] = np.stack(products)
    return outputs
