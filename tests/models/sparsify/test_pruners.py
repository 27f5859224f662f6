"""Every pruner is reachable by name, and unknown ones are answered with the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import Block, Unstructured
from hwsim.cpu.packing import pack
from hwsim.cpu.selection import block_channels
from models.build import GraphBuilder, with_random_weights
from models.sparsify.magnitude import apply_mask, mask_of
from models.sparsify.pruners import METHODS, prune


def network() -> OpGraph:
    g = GraphBuilder("net")
    x = g.conv("pw", g.input("x", (1, 24, 4, 4)), 32, 1)
    return with_random_weights(g.build([g.conv("out", x, 8, 1)]), np.random.default_rng(1))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_pruner_gives_the_pattern_asked_for(method: str) -> None:
    pattern = Block(rows=1, cols=4, keep=0.25) if method == "rearrange" else Unstructured(keep=0.25)
    graph = prune(network(), pattern, method=method, rng=np.random.default_rng(3))
    kept = total = 0
    for op in graph.ops():
        mask = mask_of(op, graph.weights[op.weight.tensor])
        kept, total = kept + int(mask.sum()), total + mask.size
    assert kept == pytest.approx(0.25 * total, abs=2)


def test_an_unknown_pruner_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean magnitude"):
        prune(network(), Unstructured(keep=0.5), method="magnitud")


@pytest.mark.parametrize("size", [2, 4])
def test_blocks_of_output_channels_are_what_the_kernels_pack(size: int) -> None:
    graph = prune(network(), Block(rows=1, cols=size, keep=0.25))
    op = graph.op("pw")
    values = graph.weights["pw.weight"]
    weights = apply_mask(op, values, mask_of(op, values))[:, :, 0, 0]
    assert block_channels(weights) == size
    packed = pack(weights, pixels=16, nr=size)
    stored = len(packed.stream) - 1 - packed.co  # without over-read and biases
    assert stored == int((weights != 0).sum())  # no zero inside a block
