"""The cubic schedule, and what stays zero on its way."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import NM, Block, Unstructured
from models.build import GraphBuilder, with_random_weights
from models.sparsify.gradual import cubic_sparsity, prune_gradually, sparsity_steps
from models.sparsify.magnitude import apply_mask, mask_of, prune


def network() -> OpGraph:
    g = GraphBuilder("net")
    x = g.conv("conv", g.input("x", (1, 16, 4, 4)), 20, 1)
    return with_random_weights(g.build([x]), np.random.default_rng(1))


def test_the_schedule_is_the_cubic_of_the_paper() -> None:
    assert cubic_sparsity(0, 10, 0.9) == 0
    assert cubic_sparsity(5, 10, 0.9) == pytest.approx(0.9 - 0.9 / 8)
    assert cubic_sparsity(10, 10, 0.9) == cubic_sparsity(11, 10, 0.9) == 0.9
    assert cubic_sparsity(0, 10, 0.9, initial=0.5) == 0.5
    found = list(sparsity_steps(0.8, 7))
    assert found == sorted(found)
    assert np.diff(found, 2).max() < 0  # ever slower


@pytest.mark.parametrize("pattern", [Unstructured(keep=0.1), Block(rows=1, cols=4, keep=0.2)])
def test_without_training_the_last_step_alone_decides(pattern: Unstructured | Block) -> None:
    graph = network()
    gradual, at_once = prune_gradually(graph, pattern), prune(graph, pattern)
    op = at_once.op("conv")
    values = graph.weights["conv.weight"]
    expected = apply_mask(op, values, mask_of(op, values))
    np.testing.assert_array_equal(gradual.weights["conv.weight"], expected)
    assert gradual.op("conv").weight.pattern == pattern
    assert np.array_equal(graph.weights["conv.weight"], values)  # the given graph is left alone


def test_training_between_steps_moves_what_stays_and_not_what_is_gone() -> None:
    seen: list[int] = []

    def train(graph: OpGraph, step: int) -> OpGraph:
        zeros = int((graph.weights["conv.weight"] == 0).sum())
        seen.append(zeros)
        graph.weights["conv.weight"] = graph.weights["conv.weight"] + np.float32(0.25)
        return graph

    pruned = prune_gradually(network(), Unstructured(keep=0.1), steps=4, update=train)
    size = 16 * 20
    # Dropped weights come back to zero after each update: counts follow the schedule exactly.
    expected = [size - round((1 - cubic_sparsity(step, 4, 0.9)) * size) for step in (1, 2, 3, 4)]
    assert seen == expected
    assert int((pruned.weights["conv.weight"] != 0).sum()) == round(0.1 * size)


def test_patterns_without_a_fraction_are_refused() -> None:
    with pytest.raises(InputError, match="--pruner gradual: need an unstructured or block pattern"):
        prune_gradually(network(), NM(nm_n=2, nm_m=8))
    with pytest.raises(InputError, match="steps: need at least 1, found 0"):
        cubic_sparsity(1, 0, 0.5)
