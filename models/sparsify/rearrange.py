"""Group output channels so that blocks of them lose as little magnitude as possible.

A block of consecutive output channels shares the input channels it keeps (SparseByteNN: "kernel
(group) sparsity" with a "whole-network rearrangement"; assumed: groups of 4, 8 or 16 channels and
the search below, since neither is published). Which channels stand together is free: output
channels of a layer are reordered, and the network follows (:mod:`models.sparsify.channel_classes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.gemm import weight_matrix
from hwsim.core.graph import Op, OpGraph
from hwsim.core.sparsity import Block, Pattern
from hwsim.core.units import ceil_div
from models.sparsify.channel_classes import find_channel_classes, permute_channels
from models.sparsify.magnitude import prune

__all__ = ["group_channels", "rearrange", "retained_magnitude"]

Magnitudes = NDArray[np.float64]
Order = NDArray[np.int64]

_SWAPS_PER_CHANNEL = 8


def rearrange(graph: OpGraph, pattern: Pattern, rng: np.random.Generator) -> OpGraph:
    """Return ``graph`` pruned to ``pattern``, channels reordered to keep the most magnitude.

    Parameters
    ----------
    graph : OpGraph
        Layers without weight values keep their order.
    pattern : Block
        One input channel by a group of output channels: 1 x 4, 1 x 8 or 1 x 16, for example.
    rng : Generator
        Draws the swaps of the search.

    Raises
    ------
    InputError
        If the pattern is no block of output channels.
    """
    if not isinstance(pattern, Block) or pattern.rows != 1 or pattern.cols < 2:
        raise InputError(
            "--pruner rearrange", "a pattern block:1xN:S, N of 2 or more", _name(pattern)
        )
    pruned = prune(graph, pattern)
    classes = find_channel_classes(graph)
    layers: dict[str, list[Magnitudes]] = {}
    for op in pruned.ops():
        values = graph.weight_values(op)
        takes = op.weight is not None and op.weight.pattern == pattern and values is not None
        if takes and classes.is_free(op.output):
            layers.setdefault(classes.root(op.output), []).append(_magnitudes(op, values))
    orders = {
        root: group_channels(found, pattern.cols, pattern.keep, rng)
        for root, found in layers.items()
    }
    permuted = permute_channels(pruned, orders)
    moved = sum(bool((order != np.arange(len(order))).any()) for order in orders.values())
    permuted.notes.append(f"channels of {moved} tensors rearranged in groups of {pattern.cols}")
    return permuted


def _name(pattern: Pattern) -> str:
    size = f" of {pattern.rows}x{pattern.cols}" if isinstance(pattern, Block) else ""
    return f"{pattern.kind}{size}"


def _magnitudes(op: Op, values: NDArray[np.generic] | None) -> Magnitudes:
    """Return the magnitudes of a layer : float64[output channels, reduction]."""
    assert values is not None
    matrix = weight_matrix(op.kind.value, op.dims, np.asarray(values))
    magnitudes: Magnitudes = np.abs(matrix[0].T.astype(np.float64))
    return magnitudes


def retained_magnitude(layers: Sequence[Magnitudes], order: Order, size: int, keep: float) -> float:
    """Return the magnitude that blocks of ``size`` channels in ``order`` keep, over all layers."""
    total = 0.0
    for magnitudes in layers:
        norms = _group_norms(magnitudes, order, size).reshape(-1)
        kept = round(keep * norms.size)
        total += float(np.sort(norms)[norms.size - kept :].sum())
    return total


def _group_norms(magnitudes: Magnitudes, order: Order, size: int) -> Magnitudes:
    """Return the sum of each block : float64[groups, reduction]."""
    channels, depth = magnitudes.shape
    padded = np.zeros((ceil_div(channels, size) * size, depth))
    padded[:channels] = magnitudes[order]
    return np.asarray(padded.reshape(-1, size, depth).sum(axis=1))


def group_channels(
    layers: Sequence[Magnitudes], size: int, keep: float, rng: np.random.Generator
) -> Order:
    """Return an order of channels that retains no less magnitude than the given one.

    Parameters
    ----------
    layers : sequence of float64[channels, reduction]
        Layers whose output channels share the order.
    size, keep
        Channels per block, and the fraction of blocks that stays.
    rng : Generator
        Draws pairs of channels to swap.

    Notes
    -----
    Groups are first filled greedily with channels of similar rows; then pairs of channels change
    places if that raises the sum over blocks of what exceeds the present cut. Of the given, the
    greedy and the refined order the best is returned.
    """
    given = np.arange(len(layers[0]), dtype=np.int64)
    if len(given) <= size:
        return given
    joined = np.hstack([m / max(float(m.sum()), 1e-300) for m in layers])
    greedy = _fill_groups(joined, size)
    refined = _swap(layers, greedy, size, keep, rng)
    return max((given, greedy, refined), key=lambda o: retained_magnitude(layers, o, size, keep))


def _fill_groups(rows: Magnitudes, size: int) -> Order:
    """Return channels in groups: the strongest left, then those most like the group so far."""
    left = np.ones(len(rows), dtype=bool)
    strength = rows.sum(axis=1)
    order: list[int] = []
    while left.any():
        first = int(np.argmax(np.where(left, strength, -1.0)))
        profile = rows[first].copy()
        members = [first]
        left[first] = False
        while len(members) < size and left.any():
            likeness = np.where(left, rows @ profile, -1.0)
            following = int(np.argmax(likeness))
            members.append(following)
            profile += rows[following]
            left[following] = False
        order += members
    return np.array(order, dtype=np.int64)


def _swap(
    layers: Sequence[Magnitudes], order: Order, size: int, keep: float, rng: np.random.Generator
) -> Order:
    """Return ``order`` after swaps that raise what blocks hold above the cut of their layer."""
    order = order.copy()
    norms = [_group_norms(magnitudes, order, size) for magnitudes in layers]
    cuts = [_cut(found, keep) for found in norms]
    channels = len(order)
    for a, b in rng.integers(0, channels, (_SWAPS_PER_CHANNEL * channels, 2)).tolist():
        groups = [a // size, b // size]
        if groups[0] == groups[1]:
            continue
        gain, changed = 0.0, []
        for magnitudes, found, cut in zip(layers, norms, cuts, strict=True):
            step = magnitudes[order[b]] - magnitudes[order[a]]
            after = found[groups] + np.stack([step, -step])
            excess = np.maximum(after - cut, 0).sum() - np.maximum(found[groups] - cut, 0).sum()
            gain += float(excess)
            changed.append(after)
        if gain > 0:
            order[[a, b]] = order[[b, a]]
            for found, after in zip(norms, changed, strict=True):
                found[groups] = after
    return order


def _cut(norms: Magnitudes, keep: float) -> float:
    """Return the norm of the weakest block that stays."""
    kept = round(keep * norms.size)
    return float(np.sort(norms.reshape(-1))[norms.size - kept]) if kept else float("inf")
