"""Compute outputs in the array's own order of operations, packed as the array packs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats import encode_nm
from hwsim.core.program import Program
from hwsim.core.units import ceil_div
from hwsim.sat.kernels import multiply_compact

__all__ = ["array_gemm", "array_outputs"]

Array = NDArray[Any]


def array_gemm(a: Array, b: Array, mask: Array, nm: tuple[int, int]) -> NDArray[np.float32]:
    """Return the array's output for a : float16[m, k] and b : float16[k, n] under ``mask``.

    The weights go through the compact N:M format that the machine stores; raises
    :class:`~hwsim.core.errors.InputError` if the mask breaks the pattern ``nm`` = (N, M).
    """
    nm_n, nm_m = nm
    compact = encode_nm(b, mask, nm_n, nm_m)
    groups = compact.values.shape[0]
    padded = np.zeros((a.shape[0], groups * nm_m), dtype=np.float32)
    padded[:, : a.shape[1]] = a
    out = np.zeros((a.shape[0], b.shape[1]), dtype=np.float32)
    multiply_compact(padded, compact.values.astype(np.float32), compact.indices, nm_m, out)
    return out


def array_outputs(program: Program, inputs: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Return {op: float32[groups, m, n]}; arguments as in ``golden_outputs``."""
    facts = {fact["name"]: fact for fact in program.meta["ops"]}
    outputs: dict[str, NDArray[np.float32]] = {}
    for key, a in inputs.items():
        op = key.removesuffix(".a")
        b = program.tensors[f"{op}.b"]
        mask = program.tensors.get(f"{op}.mask", np.ones(b.shape, dtype=bool))
        placement = facts[op]["mapping"]["placement"]
        outputs[op] = np.concatenate(list(_packs(a, b, mask, placement)))
    return outputs


def _packs(
    a: Array, b: Array, mask: Array, placement: Mapping[str, str]
) -> Iterator[NDArray[np.float32]]:
    """Yield the outputs [groups of the pack, m, n] pack by pack."""
    kind, size = placement["packing"], int(placement["groups_per_tile"])
    nm_n, nm_m = (int(part) for part in placement["pattern"].split(":"))
    groups, _, n = b.shape
    for start in range(0, groups, size):
        part = slice(start, min(start + size, groups))
        if kind == "single":
            packed, nm = (a[start], b[start], mask[start]), (nm_n, nm_m)
        elif kind == "diagonal":
            packed, nm = _diagonal(a[part], b[part], mask[part]), (1, 1)
        else:
            lanes = int(placement["packing_nm_m"])
            packed, nm = _gather(a[part], b[part], mask[part], lanes), (1, lanes)
        product = array_gemm(*packed, nm)
        yield product.reshape(len(product), -1, n).transpose(1, 0, 2)


def _diagonal(a: Array, b: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Return one dense GEMM with the groups' weights on the diagonal (zeros elsewhere)."""
    groups, k, n = b.shape
    wide = np.zeros((groups, k, groups, n), dtype=b.dtype)
    for group in range(groups):
        wide[group, :, group] = np.where(mask[group], b[group], 0)
    left = a.transpose(1, 0, 2).reshape(a.shape[1], -1)
    right = wide.reshape(groups * k, groups * n)
    return left, right, np.ones(right.shape, dtype=bool)


def _gather(a: Array, b: Array, mask: Array, lanes: int) -> tuple[Array, Array, Array]:
    """Return one 1:lanes sparse GEMM: element i of a group is the same tap of channel group i."""
    groups, k, n = b.shape
    slots = ceil_div(groups, lanes)
    left = np.zeros((a.shape[1], slots, k, lanes), dtype=a.dtype)
    wide = np.zeros((slots, k, lanes, groups, n), dtype=b.dtype)
    kept = np.zeros(wide.shape, dtype=bool)
    for group in range(groups):
        slot, lane = divmod(group, lanes)
        left[:, slot, :, lane] = a[group]
        wide[slot, :, lane, group] = b[group]
        kept[slot, :, lane, group] = mask[group]
    shape = (slots * k * lanes, groups * n)
    return left.reshape(a.shape[1], -1), wide.reshape(shape), kept.reshape(shape)
