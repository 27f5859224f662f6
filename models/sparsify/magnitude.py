"""Prune by magnitude: keep the weights with the largest absolute value.

N:M groups are consecutive along the reduction axis of the GEMM view, hence consecutive input
channels of a convolution, and the N largest \\|w\\| of every M are kept (SR-STE's code, repository
aojunzz/NM-sparsity). Of equal magnitudes the one at the lower index is kept, as the stable
group-wise sort of SDGP's code does (repository sdgp).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.gemm import weight_matrix, weight_tensor
from hwsim.core.graph import Op, Operand, OpGraph, OpKind
from hwsim.core.sparsity import (
    NM,
    Block,
    Dense,
    Explicit,
    Group,
    Pattern,
    PerBlockN,
    Unstructured,
)
from hwsim.core.units import ceil_div

__all__ = [
    "STAYS_DENSE",
    "apply_mask",
    "dense_layers",
    "layer_mask",
    "mask_of",
    "prune",
    "why_dense",
    "with_pattern",
]

STAYS_DENSE = "stays dense: "

Mask = NDArray[np.bool_]
Scores = NDArray[np.floating]


def prune(graph: OpGraph, pattern: Pattern) -> OpGraph:
    """Return ``graph`` with ``pattern`` on the weights of every layer that can take it.

    Parameters
    ----------
    graph : OpGraph
        Its weights may be absent; the pattern alone then decides counts.
    pattern : Pattern
        Refers to the GEMM view with the groups stacked, [groups * k, n].

    Notes
    -----
    Masks are computed on demand, by :func:`layer_mask` or :func:`mask_of`. A layer that stays
    dense says so in ``graph.notes``; :func:`dense_layers` lists them.
    """
    if isinstance(pattern, Explicit | PerBlockN):
        raise InputError("--sparsity", "a pattern that fits every layer", pattern.kind)
    ops: list[Op] = []
    notes: list[str] = []
    for op in graph.ops():
        reason = None if pattern.is_dense and isinstance(pattern, Dense) else why_dense(op, pattern)
        if reason is not None:
            notes.append(f"{op.name} {STAYS_DENSE}{reason}")
        ops.append(op if op.weight is None or reason else with_pattern(op, pattern))
    return graph.replace(ops=ops, notes=notes)


def dense_layers(graph: OpGraph) -> dict[str, str]:
    """Return the layers that :func:`prune` left dense, name to reason."""
    found: dict[str, str] = {}
    for note in graph.notes:
        name, separator, reason = note.partition(f" {STAYS_DENSE}")
        if separator:
            found[name] = reason
    return found


def with_pattern(op: Op, pattern: Pattern) -> Op:
    """Return ``op`` with ``pattern`` on its weights; as it is, if it is no matrix product."""
    if not op.is_gemm:
        return op
    first = op.weight
    inputs: list[Operand] = []
    for operand in op.inputs:
        if operand is first:
            operand = operand.model_copy(update={"pattern": pattern})
        inputs.append(operand)
    return op.model_copy(update={"inputs": tuple(inputs)})


def why_dense(op: Op, pattern: Pattern) -> str | None:
    """Return why a matrix product cannot take ``pattern``, or None (also for other ops)."""
    if not op.is_gemm:
        return None
    if op.weight is None:
        return "a product of two activations has no weights to prune"
    nm_m = _group_length(pattern)
    if op.is_depthwise and not isinstance(pattern, Unstructured):
        return "depthwise, one input channel per group"
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        run, what = op.dims["k"], "reduction length"
    else:
        run, what = op.dims["ci"] // op.dims["groups"], "input channels per group"
    if nm_m is not None and run % nm_m:
        return f"{what} {run} not divisible by {nm_m}"
    if isinstance(pattern, Block) and (op.gemm().k < pattern.rows or op.gemm().n < pattern.cols):
        return f"smaller than one {pattern.rows}x{pattern.cols} block"
    return None


def _group_length(pattern: Pattern) -> int | None:
    return pattern.nm_m if isinstance(pattern, NM | Group) else None


def mask_of(op: Op, weights: NDArray[np.generic], pattern: Pattern | None = None) -> Mask:
    """Return the mask bool[groups * k, n] of the largest magnitudes that obeys ``pattern``.

    Parameters
    ----------
    op : Op
        A conv, conv_transpose or linear.
    weights : real array in the layout of ``op``'s kind
        Its values decide which elements stay.
    pattern : Pattern, optional
        Default: the pattern of the op's weight operand.

    Raises
    ------
    InputError
        If the pattern has no magnitude rule (for example top-k routing).
    """
    if pattern is None:
        pattern = op.weight.pattern if op.weight is not None else Dense()
    matrix = weight_matrix(op.kind.value, op.dims, np.asarray(weights))
    scores = np.abs(matrix.reshape(-1, matrix.shape[-1]).astype(np.float64))
    if pattern.is_dense:
        return np.ones(scores.shape, dtype=bool)
    if isinstance(pattern, Explicit):
        return pattern.sample_mask(scores.shape, np.random.default_rng(0))
    if isinstance(pattern, NM):
        return _nm_mask(scores, pattern)
    if isinstance(pattern, Unstructured):
        return _largest(scores, pattern.kept(scores.shape))
    if isinstance(pattern, Block):
        return _block_mask(scores, pattern)
    raise InputError("--sparsity", "nm, unstructured or block for magnitude pruning", pattern.kind)


def layer_mask(graph: OpGraph, op: Op, rng: np.random.Generator) -> Mask:
    """Return the mask bool[groups * k, n] of ``op``: by magnitude, or drawn without weights."""
    if op.weight is None:
        raise InputError(f"op {op.name}", "a layer with weights", op.kind.value)
    values = graph.weight_values(op)
    if values is not None:
        return mask_of(op, values)
    dims = op.gemm()
    return op.weight.pattern.sample_mask((dims.groups * dims.k, dims.n), rng)


def _nm_mask(scores: Scores, pattern: NM) -> Mask:
    lines = np.moveaxis(scores, pattern.axis, -1)
    length, nm_m = lines.shape[-1], pattern.nm_m
    # Padding gets a negative score: every real element of a ragged last group comes before it.
    padded = np.pad(lines, ((0, 0), (0, -length % nm_m)), constant_values=-1.0)
    grouped = padded.reshape(lines.shape[0], -1, nm_m)
    order = np.argsort(-grouped, axis=-1, kind="stable")[..., : pattern.nm_n]
    mask = np.zeros(grouped.shape, dtype=bool)
    np.put_along_axis(mask, order, True, axis=-1)
    kept = mask.reshape(lines.shape[0], -1)[:, :length]
    return np.ascontiguousarray(np.moveaxis(kept, -1, pattern.axis))


def _largest(scores: Scores, count: int) -> Mask:
    """Keep the ``count`` largest scores; of equal ones the first in C order."""
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(-scores.reshape(-1), kind="stable")[:count]] = True
    return mask.reshape(scores.shape)


def _block_mask(scores: Scores, pattern: Block) -> Mask:
    """Keep the blocks with the largest L1 norm."""
    k, n = scores.shape
    rows, cols = pattern.rows, pattern.cols
    grid = (ceil_div(k, rows), ceil_div(n, cols))
    padded = np.pad(scores, ((0, grid[0] * rows - k), (0, grid[1] * cols - n)))
    norms = padded.reshape(grid[0], rows, grid[1], cols).sum(axis=(1, 3))
    chosen = _largest(norms, round(pattern.keep * norms.size))
    return np.repeat(np.repeat(chosen, rows, axis=0), cols, axis=1)[:k, :n]


def apply_mask(op: Op, weights: NDArray[np.generic], mask: Mask) -> NDArray[np.generic]:
    """Return ``weights`` with zeros where ``mask`` bool[groups * k, n] drops them."""
    dims = op.gemm()
    matrix = weight_matrix(op.kind.value, op.dims, weights)
    kept = np.where(mask.reshape(dims.groups, dims.k, dims.n), matrix, matrix.dtype.type(0))
    return weight_tensor(op.kind.value, op.dims, kept)
