"""Give the mobile networks the sparsity of Fast Sparse ConvNets (Elsen et al. 2020).

Per network the overall sparsity and where blocks of output channels begin are those of the
released models (google-research/fastconvnets, file names 12b4 and 11-16b2). That every 1x1
convolution has the same sparsity is assumed; the first convolution, depthwise layers,
squeeze-and-excite layers and, but for EfficientNets, the classifier stay dense.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.sparsity import Block, Pattern, Unstructured

__all__ = ["PUBLISHED", "PublishedSparsity", "prune_as_published"]


@dataclass(frozen=True)
class PublishedSparsity:
    """``sparsity`` is the fraction of zeros; blocks of ``channels`` outputs from ``first`` on."""

    sparsity: float
    channels: int = 1
    first_block: int = 0
    has_sparse_classifier: bool = False


PUBLISHED = {
    "mobilenet-v1-1.0": PublishedSparsity(0.9, channels=4, first_block=13),
    "mobilenet-v2-1.4": PublishedSparsity(0.85, channels=2, first_block=11),
    "mobilenet-v2-cache-aware": PublishedSparsity(0.85),
    "efficientnet-b0": PublishedSparsity(0.8, has_sparse_classifier=True),
    "efficientnet-b1": PublishedSparsity(0.8, has_sparse_classifier=True),
}
"""Zoo name -> what its released sparse model has; B1's and the cache-aware v2's are assumed."""


def prune_as_published(graph: OpGraph) -> OpGraph:
    """Return ``graph`` with the patterns of its released sparse model.

    Raises
    ------
    InputError
        If no sparse model of this network was released.
    """
    found = PUBLISHED.get(graph.name)
    if found is None:
        need = f"a model whose paper publishes per-layer sparsity: {', '.join(PUBLISHED)}"
        raise InputError("--sparsity", need, f"none published for {graph.name}")
    return graph.replace(ops=[_pruned(op, found) for op in graph.ops()])


def _pruned(op: Op, found: PublishedSparsity) -> Op:
    pattern = _pattern(op, found)
    if pattern is None:
        return op
    first = op.weight
    inputs = tuple(
        operand.model_copy(update={"pattern": pattern}) if operand is first else operand
        for operand in op.inputs
    )
    return op.model_copy(update={"inputs": inputs})


def _pattern(op: Op, found: PublishedSparsity) -> Pattern | None:
    keep = round(1 - found.sparsity, 6)
    if op.kind is OpKind.LINEAR:
        return Unstructured(keep=keep) if found.has_sparse_classifier else None
    is_pointwise = op.kind is OpKind.CONV and op.dims["kh"] == op.dims["groups"] == 1
    if not is_pointwise or ".se." in op.name:
        return None
    if found.channels > 1 and _block_number(op.name) >= found.first_block:
        return Block(rows=1, cols=found.channels, keep=keep)
    return Unstructured(keep=keep)


def _block_number(name: str) -> int:
    """Return n of ``blockn.…``; what follows the last block counts as one more."""
    head = name.partition(".")[0].removeprefix("block")
    return int(head) if head.isdigit() else 1000
