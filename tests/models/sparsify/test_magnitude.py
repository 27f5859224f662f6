"""Pruning keeps the largest magnitudes under the pattern, and says what stays dense."""

import numpy as np
import pytest

from hwsim.core.gemm import weight_matrix
from hwsim.core.sparsity import NM, Block, Dense, Unstructured, parse_pattern
from models.build import GraphBuilder, with_random_weights
from models.sparsify.magnitude import apply_mask, dense_layers, layer_mask, mask_of, prune
from models.zoo import load_model


def one_conv(ci=16, co=8, kernel=3, groups=1):
    g = GraphBuilder("net")
    x = g.conv("conv", g.input("x", (1, ci, 8, 8)), co, kernel, pad=kernel // 2, groups=groups)
    return with_random_weights(g.build([x]), np.random.default_rng(1))


def one_linear(values):
    g = GraphBuilder("net")
    y = g.linear("fc", g.input("x", (1, values.shape[0])), values.shape[1], bias=False)
    graph = g.build([y])
    graph.weights["fc.weight"] = values.astype(np.float32)
    return graph


def test_nm_keeps_the_largest_of_consecutive_input_channels():
    graph = prune(one_conv(), NM(nm_n=2, nm_m=8))
    op = graph.op("conv")
    weights = graph.weight_values(op)
    mask = apply_mask(op, np.ones_like(weights), mask_of(op, weights)) != 0
    for co, kh, kw, group in np.ndindex(8, 3, 3, 2):
        channels = slice(8 * group, 8 * group + 8)
        values = np.abs(weights[co, channels, kh, kw])
        kept = set(np.flatnonzero(mask[co, channels, kh, kw]))
        assert kept == set(np.argsort(values)[-2:])


def test_a_mask_that_ignores_magnitude_is_noticed():
    graph = prune(one_conv(), NM(nm_n=2, nm_m=8))
    op = graph.op("conv")
    weights = graph.weight_values(op)
    best, other = mask_of(op, weights), mask_of(op, -1 / weights)
    matrix = np.abs(weight_matrix("conv", op.dims, weights))[0]
    assert matrix[best].sum() > matrix[other].sum()


@pytest.mark.parametrize("nm", [(2, 8), (1, 4), (4, 4)])
def test_ties_go_to_the_lowest_index(nm):
    graph = prune(one_linear(np.ones((8, 3))), NM(nm_n=nm[0], nm_m=nm[1]))
    mask = mask_of(graph.op("fc"), graph.weights["fc.weight"])
    expected = np.arange(8) % nm[1] < nm[0]
    assert (mask == expected[:, None]).all()


def test_unstructured_keeps_the_largest_per_layer():
    values = np.arange(-10, 10).reshape(4, 5)
    graph = prune(one_linear(values), Unstructured(keep=0.25))
    mask = mask_of(graph.op("fc"), graph.weights["fc.weight"])
    assert mask.sum() == 5
    assert set(values[mask]) == {-10, -9, -8, 8, 9}


def test_block_keeps_the_largest_l1_norm():
    values = np.zeros((4, 6))
    values[2:4, 3:6] = 1.0
    values[0, 0] = 5.0  # one large element, L1 5 < 6
    graph = prune(one_linear(values), Block(rows=2, cols=3, keep=0.25))
    mask = mask_of(graph.op("fc"), graph.weights["fc.weight"])
    assert mask.sum() == 6
    assert mask[2:4, 3:6].all()


@pytest.mark.parametrize(
    "pattern",
    [NM(nm_n=2, nm_m=8), Unstructured(keep=0.3), Block(rows=5, cols=3, keep=0.4), Dense()],
)
def test_masks_obey_their_pattern(pattern):
    graph = prune(one_conv(), pattern)
    op = graph.op("conv")
    dims = op.gemm()
    mask = mask_of(op, graph.weight_values(op))
    assert mask.shape == (dims.groups * dims.k, dims.n)
    assert pattern.check(mask)
    assert (layer_mask(graph, op, np.random.default_rng(0)) == mask).all()


def test_a_mask_is_drawn_when_there_are_no_weights():
    graph = prune(load_model("resnet9"), NM(nm_n=2, nm_m=8))
    op = graph.op("c2")
    mask = layer_mask(graph, op, np.random.default_rng(3))
    assert op.weight.pattern.check(mask)
    assert mask.sum() * op.gemm().m == op.useful_macs()


def test_layers_that_stay_dense_say_why():
    g = GraphBuilder("net")
    x = g.conv("stem", g.input("x", (1, 3, 8, 8)), 16, 3, pad=1)
    x = g.conv("depthwise", x, 16, 3, pad=1, groups=16)
    x = g.conv("pointwise", x, 8, 1)
    graph = prune(g.build([x]), NM(nm_n=2, nm_m=8))
    assert dense_layers(graph) == {
        "stem": "input channels per group 3 not divisible by 8",
        "depthwise": "depthwise, one input channel per group",
    }
    assert graph.op("pointwise").useful_macs() == graph.op("pointwise").macs() // 4


def test_attention_products_stay_dense():
    graph = prune(load_model("vit-small"), NM(nm_n=2, nm_m=8))
    named = dense_layers(graph)
    assert sum(name.endswith((".qk", ".av")) for name in named) == 12
    assert "patch_embed" in named


# derived: every layer but the first costs 1/4 at 2:8; attention products and the stem stay dense.
@pytest.mark.parametrize("name", ["resnet9", "vgg19", "resnet18-64", "resnet50", "vit-small"])
def test_useful_macs_follow_the_density(name):
    graph = prune(load_model(name), parse_pattern("nm:2:8"))
    dense = sum(graph.op(layer).macs() for layer in dense_layers(graph))
    total = graph.totals()
    assert 4 * (total["useful_macs"] - dense) == total["macs"] - dense


def test_the_given_graph_is_left_alone():
    graph = one_conv()
    prune(graph, NM(nm_n=1, nm_m=8))
    assert graph.op("conv").weight.pattern == Dense()
