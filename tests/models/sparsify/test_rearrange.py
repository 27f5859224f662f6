"""Rearranged channels: the network computes what it did, and blocks keep more magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import NM, Block, Unstructured
from models.build import GraphBuilder
from models.reference import execute
from models.sparsify.channel_classes import find_channel_classes, permute_channels
from models.sparsify.magnitude import apply_mask, mask_of
from models.sparsify.rearrange import group_channels, rearrange, retained_magnitude


def network(seed: int = 0) -> OpGraph:
    """Return a network with residuals, depthwise, squeeze-excite and normalisation; integers."""
    g = GraphBuilder("net", has_batch_norm=True)
    x = g.relu("stem.relu", g.conv_norm("stem", g.input("image", (1, 3, 8, 8)), 12, 3, pad=1))
    y = g.relu("expand.relu", g.conv("expand", x, 20, 1))
    y = g.relu("dw.relu", g.conv("dw", y, 20, 3, pad=1, groups=20))
    s = g.conv("squeeze", g.global_pool("mean", y, "max"), 6, 1)
    s = g.relu("excite.relu", g.conv("excite", g.relu("squeeze.relu", s), 20, 1))
    y = g.elementwise("scale", "mul", y, s)
    y = g.conv_norm("project", y, 12, 1)
    x = g.elementwise("add", "add", x, y)
    x = g.relu("head.relu", g.conv("head", x, 24, 1))
    x = g.flatten("flat", g.global_pool("pool", x, "max"))
    graph = g.build([g.linear("fc", g.relu("hidden.relu", g.linear("hidden", x, 16)), 5)])
    rng = np.random.default_rng(seed)
    for op in graph.ops():
        for operand in op.inputs:
            if operand.role == "weight":
                shape = graph.tensors[operand.tensor].shape
                graph.weights[operand.tensor] = rng.integers(-2, 3, shape).astype(np.float64)
    return graph


def run(graph: OpGraph, seed: int = 0) -> dict[str, np.ndarray]:
    image = np.random.default_rng(seed).integers(-3, 4, (1, 3, 8, 8)).astype(np.float64)
    for tensor in graph.tensors.values():  # float64 holds every sum of these integers exactly
        graph.tensors[tensor.name] = tensor.model_copy(update={"dtype": "float64"})
    return execute(graph, {"image": image})


def test_residuals_depthwise_and_excitation_share_an_order() -> None:
    classes = find_channel_classes(network())
    groups: dict[str, set[str]] = {}
    for op in network().ops():
        groups.setdefault(classes.root(op.output), set()).add(op.name)
    found = {frozenset(names) for names in groups.values()}
    assert frozenset({"expand", "expand.relu", "dw", "dw.relu", "mean", "excite", "excite.relu",
                      "scale"}) in found  # fmt: skip
    assert frozenset({"stem", "stem.bn", "stem.relu", "project", "project.bn", "add"}) in found
    assert frozenset({"head", "head.relu", "pool", "flat"}) in found
    assert classes.is_free("head")
    assert not classes.is_free("fc")
    assert not classes.is_free("image")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_a_permuted_network_gives_identical_outputs(seed: int) -> None:
    graph, rng = network(seed), np.random.default_rng(seed)
    classes = find_channel_classes(graph)
    roots = {classes.root(op.output) for op in graph.ops() if classes.is_free(op.output)}
    orders = {root: rng.permutation(graph.tensors[root].shape[1]) for root in roots}
    permuted = permute_channels(graph, orders)
    before, after = run(graph, seed), run(permuted, seed)
    np.testing.assert_array_equal(after["fc"], before["fc"])
    for op in graph.ops():
        order = orders.get(classes.root(op.output)) if classes.is_free(op.output) else None
        expected = before[op.output] if order is None else before[op.output][:, order]
        np.testing.assert_array_equal(after[op.output], expected)


def test_a_permutation_that_does_not_propagate_changes_the_outputs() -> None:
    graph = network()
    before = run(graph)["fc"]
    graph.weights["expand.weight"] = graph.weights["expand.weight"][::-1]
    assert not np.array_equal(run(graph)["fc"], before)


def test_what_an_operator_mixes_stays_in_place() -> None:
    g = GraphBuilder("net")
    x = g.conv("a", g.input("image", (1, 4, 4, 4)), 8, 1)
    y = g.conv("grouped", x, 8, 1, groups=2)
    x = g.conv("b", g.concat("cat", [x, y], axis=1), 8, 1)
    graph = g.build([g.linear("fc", g.flatten("flat", x), 3)])  # flattens 4x4 pixels
    classes = find_channel_classes(graph)
    assert not any(classes.is_free(name) for name in ("a", "grouped", "cat", "b", "fc"))


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 30),
    depth=st.integers(1, 12),
    size=st.sampled_from([2, 4, 8]),
    keep=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_grouping_is_a_permutation_and_never_loses_magnitude(
    channels: int, depth: int, size: int, keep: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layers = [rng.random((channels, depth)), rng.random((channels, depth + 1))]
    order = group_channels(layers, size, keep, rng)
    assert sorted(order.tolist()) == list(range(channels))
    given_order = np.arange(channels)
    before = retained_magnitude(layers, given_order, size, keep)
    assert retained_magnitude(layers, order, size, keep) >= before


def test_channels_with_equal_inputs_are_brought_together() -> None:
    # Channels 0, 2, 4, 6 use inputs 0 and 1, the others 2 and 3: at half the blocks the right
    # grouping loses nothing, the given one half.
    rows = np.zeros((8, 4))
    rows[::2, :2], rows[1::2, 2:] = 1, 1
    order = group_channels([rows], 4, 0.5, np.random.default_rng(0))
    assert retained_magnitude([rows], np.arange(8), 4, 0.5) == 8
    assert retained_magnitude([rows], order, 4, 0.5) == 16


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_rearranged_network_keeps_more_magnitude_and_its_outputs(size: int) -> None:
    graph = network(3)
    pattern = Block(rows=1, cols=size, keep=0.5)
    pruned = rearrange(graph, pattern, np.random.default_rng(1))
    assert any("rearranged in groups" in note for note in pruned.notes)
    np.testing.assert_array_equal(run(pruned)["fc"], run(graph)["fc"])  # masks are not applied yet
    for name in ("expand", "project", "head"):
        op = pruned.op(name)
        if op.weight.pattern.is_dense:  # fewer channels than a block has
            assert op.dims["co"] < size
            continue
        weights = pruned.weight_values(op)
        mask = mask_of(op, weights)
        assert pattern.check(mask)
        kept = float(np.abs(apply_mask(op, weights, mask)).sum())
        plain = graph.op(name)
        values = graph.weight_values(plain)
        in_place = apply_mask(plain, values, mask_of(plain, values, pattern))
        if name != "project":  # the only layer of its class
            assert kept >= float(np.abs(in_place).sum())


@pytest.mark.parametrize("pattern", [NM(nm_n=2, nm_m=8), Unstructured(keep=0.5)])
def test_only_blocks_of_output_channels_are_rearranged(pattern: NM | Unstructured) -> None:
    with pytest.raises(InputError, match="--pruner rearrange: need a pattern block:1xN:S"):
        rearrange(network(), pattern, np.random.default_rng(0))
    with pytest.raises(InputError, match="found block of 2x4"):
        rearrange(network(), Block(rows=2, cols=4, keep=0.5), np.random.default_rng(0))
