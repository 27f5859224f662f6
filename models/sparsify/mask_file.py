"""Give layers the masks of a file: ``--sparsity masks.npz``.

The archive (numpy, no pickled objects) holds one array per layer, named after the operator or its
weight tensor; what is not zero is kept. Its shape is that of the weights in the layout of the
operator's kind (:class:`hwsim.core.graph.OpKind`) or of their product's matrix [groups * k, n].
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.gemm import weight_matrix
from hwsim.core.graph import Op, OpGraph
from hwsim.core.sparsity import NM, Explicit, Pattern
from models.matrices import read_arrays
from models.sparsify.magnitude import STAYS_DENSE, apply_mask, why_dense, with_pattern

__all__ = ["prune_by_masks", "tightest_nm"]

_GROUP_LENGTHS = (2, 4, 8, 16, 32)

Mask = NDArray[np.bool_]


def prune_by_masks(graph: OpGraph, path: Path, kinds: Collection[str]) -> OpGraph:
    """Return ``graph`` with the masks of the archive at ``path``; other layers stay dense.

    Parameters
    ----------
    graph : OpGraph
        Weights that are attached lose the values that their mask drops.
    path : Path
        See the module's docstring.
    kinds : names of patterns
        What the machine executes. One that takes no unstructured masks gets the tightest N:M
        pattern that holds each mask: it stores and multiplies the zeros that are left.

    Raises
    ------
    InputError
        If the file cannot be read, an array belongs to no layer, or a mask has the wrong shape.
    """
    masks = read_arrays(path)
    ops: list[Op] = []
    notes: list[str] = []
    weights: dict[str, NDArray[np.generic]] = {}
    for op in graph.ops():
        names = (op.name, op.weight.tensor) if op.weight is not None and op.is_gemm else ()
        found = next((masks.pop(name) for name in names if name in masks), None)
        if found is None:
            ops.append(op)
            continue
        mask = _mask_matrix(graph, op, found, path)
        values = graph.weight_values(op)
        if op.weight is not None and values is not None:
            weights[op.weight.tensor] = apply_mask(op, values, mask)
        pattern = Explicit.from_mask(mask) if "unstructured" in kinds else tightest_nm(op, mask)
        if pattern is None:
            notes.append(f"{op.name} {STAYS_DENSE}no N:M pattern below 1 holds its mask")
        ops.append(op if pattern is None else with_pattern(op, pattern))
    if masks:
        need = "arrays named after layers or their weights"
        raise InputError(str(path), need, f"{sorted(masks)[0]!r}, which {graph.name} lacks")
    return graph.replace(ops=ops, notes=notes, weights=weights)


def tightest_nm(op: Op, mask: Mask) -> Pattern | None:
    """Return the N:M pattern with the least N / M that keeps all of ``mask`` bool[groups * k, n].

    M is a power of two up to 32 that divides the op's reduction; of equally tight patterns the
    shortest. None if only dense weights hold the mask.
    """
    best: NM | None = None
    for nm_m in _GROUP_LENGTHS:
        if mask.shape[0] % nm_m:
            continue
        kept = int(mask.reshape(-1, nm_m, mask.shape[1]).sum(axis=1).max())
        pattern = NM(nm_n=max(kept, 1), nm_m=nm_m)
        if why_dense(op, pattern) is None and pattern.density() < (best.density() if best else 1.0):
            best = pattern
    return best


def _mask_matrix(graph: OpGraph, op: Op, values: NDArray[np.generic], path: Path) -> Mask:
    """Return ``values`` != 0 as the mask bool[groups * k, n] of ``op``."""
    assert op.weight is not None
    dims = op.gemm()
    matrix = (dims.groups * dims.k, dims.n)
    layout = graph.tensors[op.weight.tensor].shape
    if values.shape not in (matrix, layout) or values.dtype.kind not in "biuf":
        found = f"{values.dtype} {values.shape}"
        raise InputError(f"{path}: {op.name}", f"numbers {layout} or {matrix}", found)
    kept = values != 0
    if values.shape == layout:
        kept = weight_matrix(op.kind.value, op.dims, kept).reshape(matrix)
    return np.asarray(kept)
