"""Baselines: random masks, and densities that follow the shape of a layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import NM, Block, Pattern, Unstructured
from models.build import GraphBuilder, with_random_weights
from models.sparsify.baselines import erk_densities, prune_by_shape, prune_randomly
from models.sparsify.magnitude import mask_of


def network(*, has_weights: bool = True) -> OpGraph:
    g = GraphBuilder("net")
    x = g.conv("a", g.input("x", (1, 8, 4, 4)), 16, 3, pad=1)
    x = g.conv("b", x, 64, 1)
    graph = g.build([g.conv("c", x, 64, 3, pad=1)])
    return with_random_weights(graph, np.random.default_rng(1)) if has_weights else graph


@pytest.mark.parametrize(
    "pattern",
    [Unstructured(keep=0.25), Block(rows=1, cols=4, keep=0.25), NM(nm_n=2, nm_m=8)],
    ids=lambda pattern: pattern.kind,
)
def test_random_masks_obey_the_pattern_and_ignore_magnitude(pattern: Pattern) -> None:
    graph = network()
    pruned = prune_randomly(graph, pattern, np.random.default_rng(5))
    for op in pruned.ops():
        values = pruned.weights[op.weight.tensor]
        dense = np.abs(graph.weights[op.weight.tensor])
        # Whoever asks for the mask of the pruned weights finds the drawn one.
        mask = mask_of(op, values)
        assert pattern.check(mask)
        assert int(mask.sum()) == int((values != 0).sum())
        kept, best = np.abs(values).sum(), np.sort(dense.reshape(-1))[-int(mask.sum()) :].sum()
        assert kept < 0.75 * best
        np.testing.assert_allclose(kept / mask.sum(), dense.mean(), rtol=0.2)
    again = prune_randomly(graph, pattern, np.random.default_rng(5))
    np.testing.assert_array_equal(again.weights["b.weight"], pruned.weights["b.weight"])


def test_without_values_only_the_pattern_is_set() -> None:
    pruned = prune_randomly(
        network(has_weights=False), Unstructured(keep=0.5), np.random.default_rng(0)
    )
    assert pruned.weights == {}
    assert pruned.op("a").weight.pattern == Unstructured(keep=0.5)


@given(
    st.lists(st.tuples(*[st.integers(1, 64)] * 2, *[st.sampled_from([1, 3, 5])] * 2), min_size=1),
    st.floats(0.01, 1.0),
)
def test_densities_keep_the_total_and_follow_the_rule(
    shapes: list[tuple[int, ...]], keep: float
) -> None:
    extents = {f"l{i}": shape for i, shape in enumerate(shapes)}
    found = erk_densities(extents, keep)
    sizes = {name: math.prod(shape) for name, shape in extents.items()}
    kept = sum(found[name] * sizes[name] for name in extents)
    assert kept == pytest.approx(keep * sum(sizes.values()), rel=1e-6)
    ratios = [
        found[name] * sizes[name] / sum(shape)
        for name, shape in extents.items()
        if found[name] < 1 - 1e-9
    ]
    assert all(0 <= density <= 1 + 1e-9 for density in found.values())
    np.testing.assert_allclose(ratios, ratios[:1] * len(ratios), rtol=1e-6)


def test_a_small_layer_stays_dense_and_the_large_one_pays() -> None:
    pruned = prune_by_shape(network(), Unstructured(keep=0.2))
    keep = {op.name: op.weight.pattern.keep for op in pruned.ops()}
    assert keep["b"] > keep["c"]
    total = sum(op.weight.pattern.kept((op.gemm().k, op.gemm().n)) for op in pruned.ops())
    assert total == pytest.approx(0.2 * (8 * 16 * 9 + 16 * 64 + 64 * 64 * 9), abs=3)


def test_shape_densities_need_an_unstructured_pattern() -> None:
    with pytest.raises(InputError, match="--pruner erk: need an unstructured pattern, found nm"):
        prune_by_shape(network(), NM(nm_n=2, nm_m=8))
