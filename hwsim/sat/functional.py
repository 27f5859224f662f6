"""Compute outputs in the machine's own order of operations, packed and tiled as mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact, decode_nm, encode_nm
from hwsim.core.program import Program
from hwsim.core.units import ceil_div
from hwsim.sat.kernels import multiply_compact
from hwsim.sat.sorter import topn_group
from hwsim.sat.spec import ArraySpec
from hwsim.sat.timing import ArrayGemm, gemm_timing
from hwsim.sat.wuve import update_weights

__all__ = [
    "Multiply",
    "array_gemm",
    "array_outputs",
    "dense_compact",
    "mapped_product",
    "stepped_product",
    "tiled_product",
]

Array = NDArray[Any]
Placed = Mapping[str, Any]
"""A mapping as the program's facts hold it (JSON)."""

Multiply = Callable[[Array, NMCompact, Placed], NDArray[np.float32]]
"""(a float16[m, k], compact weights [k, n], mapping) -> float32[m, n]."""


def array_gemm(a: Array, b: Array, mask: Array, nm: tuple[int, int]) -> NDArray[np.float32]:
    """Return the array's output for a : float16[m, k] and b : float16[k, n] under ``mask``.

    The weights go through the compact N:M format that the machine stores; raises
    :class:`~hwsim.core.errors.InputError` if the mask breaks the pattern ``nm`` = (N, M).
    """
    return tiled_product(a, encode_nm(b, mask, *nm), {})


def dense_compact(b: Array) -> NMCompact:
    """Return float16[k, n] as the array is given dense weights: groups of one element."""
    return NMCompact(b[:, None, :], np.zeros((len(b), 1, b.shape[1]), np.uint8), len(b), 1)


def tiled_product(a: Array, b: NMCompact, mapping: Placed) -> NDArray[np.float32]:
    """Return A · B computed macro tile by macro tile; sums go on from one slice of k to the next.

    Parameters
    ----------
    a : float16[m, k]
        Activations.
    b : NMCompact
        Weights [k, n] as stored.
    mapping : mapping
        Its ``tiling`` (elements of m, n, k; an axis without an entry is not cut) is followed.

    Raises
    ------
    InputError
        If a slice of k would cut a group.
    """
    m, k, n = a.shape[0], b.k, b.values.shape[2]
    tiling = mapping.get("tiling", {})
    rows, columns, depth = (tiling.get(key, size) for key, size in (("m", m), ("n", n), ("k", k)))
    if depth < k and depth % b.nm_m:
        raise InputError("tiling.k", f"whole groups of {b.nm_m}", str(depth))
    padded = np.zeros((m, len(b.values) * b.nm_m), dtype=np.float32)
    padded[:, :k] = a
    values = b.values.astype(np.float32)
    groups = ceil_div(depth, b.nm_m)
    out = np.zeros((m, n), dtype=np.float32)
    for row in range(0, m, rows):
        for column in range(0, n, columns):
            across = slice(column, column + columns)
            sums = np.zeros(out[row : row + rows, across].shape, dtype=np.float32)
            for group in range(0, len(values), groups):
                deep = slice(group, group + groups)
                left = padded[row : row + rows, group * b.nm_m : (group + groups) * b.nm_m]
                tile = (values[deep, :, across], b.indices[deep, :, across])
                multiply_compact(
                    np.ascontiguousarray(left), *map(np.ascontiguousarray, tile), b.nm_m, sums
                )
            out[row : row + rows, across] = sums
    return out


def stepped_product(array: ArraySpec) -> Multiply:
    """Return what computes a product by stepping every PE of ``array``, tile of m x n by tile.

    Slices of k are not stepped one by one: a PE array starts its sums at 0, so every tile has its
    whole reduction. The mapping's dataflow is followed.
    """
    from hwsim.sat.pe import step_gemm  # compiles kernels that only stepping needs

    def multiply(a: Array, b: NMCompact, mapping: Placed) -> NDArray[np.float32]:
        m, n = len(a), b.values.shape[2]
        rows, columns = mapping["tiling"]["m"], mapping["tiling"]["n"]
        dataflow = mapping["dataflow"]
        out = np.zeros((m, n), dtype=np.float32)
        for row in range(0, m, rows):
            for column in range(0, n, columns):
                across = slice(column, column + columns)
                left = a[row : row + rows]
                tile = NMCompact(b.values[:, :, across], b.indices[:, :, across], b.k, b.nm_m)
                extents = (len(left), b.k, tile.values.shape[2])
                gemm = ArrayGemm(*extents, b.values.shape[1], b.nm_m)
                limit = 2 * gemm_timing(array, dataflow, gemm).cycles + 64  # stops a run that hangs
                run = step_gemm(array, dataflow, left, tile, max_cycles=limit)
                out[row : row + rows, across] = run.output
        return out

    return multiply


def mapped_product(
    a: Array, b: list[NMCompact], mapping: Placed, multiply: Multiply = tiled_product
) -> NDArray[np.float32]:
    """Return float32[groups, m, n] of a : float16[groups, m, k] and weights as they are stored.

    Stored N:M weights that the mapping runs ``1:1`` are expanded to dense first; groups are
    packed as the mapping says. For finite operands neither changes a bit of the result.
    """
    placement = mapping["placement"]
    is_expanded = placement["pattern"] == "1:1" and b[0].nm_m > 1
    if placement["packing"] == "single":
        parts = [dense_compact(decode_nm(part)) if is_expanded else part for part in b]
        return np.stack([multiply(x, w, mapping) for x, w in zip(a, parts, strict=True)])
    dense = np.stack([decode_nm(part) for part in b])
    mask = np.ones(dense.shape, dtype=bool)
    return np.concatenate(list(_packs(a, dense, mask, mapping, multiply)))


def array_outputs(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return {op: output} of products, weight updates and selections, as in ``golden_outputs``."""
    facts = {fact["name"]: fact for fact in program.meta["ops"]}
    outputs: dict[str, Array] = {}
    for key, given in inputs.items():
        op, _, what = key.rpartition(".")
        tensors = program.tensors
        if what == "words":
            words, positions = topn_group(given, int(tensors[f"{op}.nm_n"]))
            outputs[op] = np.stack([words, positions.astype(np.uint16)], axis=1)
        elif what == "dw16":
            lr, mu, wd, inv_scale = (float(value) for value in tensors[f"{op}.rule"])
            rule = {"lr": lr, "mu": mu, "wd": wd, "inv_scale": inv_scale}
            new = update_weights(given, tensors[f"{op}.w32"], tensors[f"{op}.v32"], **rule)
            outputs[op] = np.stack([part.astype(np.float32) for part in new])
        else:
            b = tensors[f"{op}.b"]
            mask = tensors.get(f"{op}.mask", np.ones(b.shape, dtype=bool))
            packs = _packs(given, b, mask, facts[op]["mapping"], tiled_product)
            outputs[op] = np.concatenate(list(packs))
    return outputs


def _packs(
    a: Array, b: Array, mask: Array, mapping: Placed, multiply: Multiply
) -> Iterator[NDArray[np.float32]]:
    """Yield the outputs [groups of the pack, m, n] pack by pack."""
    placement = mapping["placement"]
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
        left, weights, kept = packed
        product = multiply(left, encode_nm(weights, kept, *nm), mapping)
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
