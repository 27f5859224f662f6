"""Drop blocks of 64 x 64 from the causal attention of a prompt: ``--attention``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats.block_mask import MASK_BLOCK, BlockMask, mask_text, sample_mask
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.sparsity import Block, parse_pattern
from models.matrices import read_arrays

__all__ = ["mask_attention"]


def mask_attention(graph: OpGraph, asked: str, rng: np.random.Generator) -> OpGraph:
    """Return ``graph`` with blocks of its causal attention dropped, steps left whole.

    Parameters
    ----------
    asked : str
        ``dense``; ``block:64x64:S``, S the share of causal blocks to drop, places drawn from
        ``rng`` once for every head, alike in all layers, the diagonal kept; or an ``.npz`` with an
        array [heads, blocks, blocks] per layer, named after its scores (``l0.attn.scores``), what
        is not zero kept; layers without one stay whole.

    Raises
    ------
    InputError
        If nothing in ``graph`` is causal, the pattern or file is another, or a token sees nothing.
    """
    if asked == "dense":
        return graph
    scores = [op for op in graph.ops() if _is_masked_product(op) and op.attrs["grows"] == "n"]
    if not scores:
        raise InputError("--attention", "causal attention over a prompt", f"none in {graph.name}")
    if asked.endswith(".npz"):
        masks = _read(Path(asked), scores)
    else:
        keep = _kept(asked)
        drawn: dict[tuple[int, int], BlockMask] = {}
        for op in scores:
            shape = (op.attrs["heads"], op.dims["n"])
            drawn[shape] = drawn.get(shape) or sample_mask(*shape, keep, rng)
        masks = {op.name: drawn[op.attrs["heads"], op.dims["n"]] for op in scores}
    return _with_masks(graph, masks)


def _is_masked_product(op: Op) -> bool:
    return op.kind is OpKind.MATMUL and bool(op.attrs.get("is_causal"))


def _kept(asked: str) -> float:
    need = f"dense, block:{MASK_BLOCK}x{MASK_BLOCK}:S (S = fraction dropped, 0 to 1) or masks.npz"
    try:
        pattern = parse_pattern(asked)
    except InputError:
        raise InputError("--attention", need, repr(asked)) from None
    if not isinstance(pattern, Block) or (pattern.rows, pattern.cols) != (MASK_BLOCK, MASK_BLOCK):
        raise InputError("--attention", need, repr(asked))
    return pattern.keep


def _read(path: Path, scores: list[Op]) -> dict[str, BlockMask]:
    arrays: dict[str, NDArray[np.generic]] = read_arrays(path)
    masks = {}
    for op in scores:
        if op.name not in arrays:
            continue
        values = arrays.pop(op.name)
        heads = op.attrs["heads"]
        if values.ndim != 3 or len(values) != heads or values.dtype.kind not in "biuf":
            found = f"{values.dtype} {values.shape}"
            raise InputError(
                f"{path}: {op.name}", f"numbers [{heads} heads, blocks, blocks]", found
            )
        masks[op.name] = BlockMask(values != 0, op.dims["n"])
        blind = np.argwhere(~masks[op.name].kept.any(axis=2))
        if len(blind):
            head, row = blind[0].tolist()
            found = f"none in block row {row} of head {head}"
            raise InputError(f"{path}: {op.name}", "a block that every token sees", found)
    if arrays:
        need = f"arrays named after scores, as {scores[0].name}"
        raise InputError(str(path), need, repr(sorted(arrays)[0]))
    return masks


def _with_masks(graph: OpGraph, masks: Mapping[str, BlockMask]) -> OpGraph:
    """Note each mask at its scores, their softmax and the product with the values."""
    attrs = {}
    for name, mask in masks.items():
        softmax = graph.consumers(graph.op(name).output)[0]
        (mix,) = graph.consumers(softmax.output)
        for op in (name, softmax.name, mix.name):
            attrs[op] = {"kept_blocks": mask_text(mask)}
    ops = [op.model_copy(update={"attrs": op.attrs | attrs.get(op.name, {})}) for op in graph.ops()]
    kept = sum(mask.causal_density for mask in masks.values()) / max(1, len(masks))
    note = f"attention keeps {kept:.3f} of its causal blocks in {len(masks)} layers"
    return graph.replace(ops=ops, notes=[note])
