"""Compute products by numpy in a fixed order of additions, for comparison bit by bit.

Shares nothing with the kernels: no packing, no pointers, whole columns at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program

__all__ = ["ordered_outputs"]


def ordered_outputs(
    program: Program, inputs: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.float32]]:
    """Return float32[groups, m, n] per product: along k, each multiply-add rounded once."""
    outputs = {}
    for fact in program.meta["ops"]:
        name = fact["name"]
        if f"{name}.a" not in inputs:
            continue
        a = np.asarray(inputs[f"{name}.a"]).astype(np.float32).astype(np.float64)
        b = np.asarray(program.tensors[f"{name}.b"]).astype(np.float32).astype(np.float64)
        mask = program.tensors.get(f"{name}.mask", np.ones(b.shape, dtype=bool))
        b = np.where(mask, b, 0.0)
        total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), dtype=np.float32)
        for k in range(a.shape[2]):
            product = a[:, :, k, None] * b[:, None, k, :]
            total = (total.astype(np.float64) + product).astype(np.float32)
        outputs[name] = total
    return outputs
