"""Multiply-accumulates of an iteration equal the totals derived from the layer shapes."""

from __future__ import annotations

import functools

import pytest

from hwsim.core.graph import OpGraph
from models.training import training_graph, training_macs
from models.zoo import load_model

# derived: per layer of m products, dense 3 m (first layer 2 m); sr-ste, sdgp and sdwp (2 + N/M) m;
# bdwp (1 + 2 N/M) m; attention products 3 m, first layer dense. Pruning the classifier or not
# moves the last digit by one at most.
# (model, FF GMAC, train GFLOP, one-sided at 2:4 and 2:8, bdwp at 2:4, 2:8, 2:16, 1:16)
TABLE = [
    ("resnet9", 1.162, 6.963, (0.834, 0.751), (0.667, 0.501, 0.418, 0.376)),
    ("resnet9-dawnbench", 0.379, 2.272, (0.834, 0.751), (0.668, 0.502, 0.418, 0.377)),
    ("vgg19", 0.398, 2.386, (0.834, 0.751), (0.668, 0.501, 0.418, 0.377)),
    ("vit-small", 0.641, 3.843, (0.840, 0.761), (0.681, 0.521, 0.441, 0.401)),
    ("resnet18-64", 0.148, 0.870, (0.841, 0.761), (0.681, 0.522, 0.443, 0.403)),
    ("resnet18-64-cifar", 2.222, 13.316, (0.834, 0.751), (0.667, 0.501, 0.418, 0.376)),
    ("resnet18", 1.814, 10.648, (0.841, 0.761), (0.681, 0.522, 0.443, 0.403)),
    ("resnet50", 4.089, 24.299, (0.837, 0.755), (0.673, 0.510, 0.428, 0.387)),
]
ONE_SIDED = ((2, 4), (2, 8))
TWO_SIDED = ((2, 4), (2, 8), (2, 16), (1, 16))


@functools.cache
def model(name: str) -> OpGraph:
    return load_model(name)


@functools.cache
def macs(name: str, method: str, nm: tuple[int, int] = (1, 1)) -> int:
    graph = training_graph(model(name), method, nm)
    return training_macs(graph, is_border_counted=False).total


@pytest.mark.parametrize(("name", "ff_gmacs", "gflop"), [row[:3] for row in TABLE])
def test_dense_training_flops_equal_the_derived_totals(name, ff_gmacs, gflop):
    counted = training_macs(training_graph(model(name), "dense"), is_border_counted=False)
    assert counted.ff / 1e9 == pytest.approx(ff_gmacs, rel=1e-3, abs=0.0005)
    # Attention products have no weights: their two gradients count as BP.
    layers = sum(op.macs() for op in model(name).ops() if op.weight is not None)
    assert counted.wu == layers
    assert 2 * counted.total / 1e9 == pytest.approx(gflop, rel=1e-4, abs=0.0005)


@pytest.mark.parametrize("method", ["sr-ste", "sdgp", "sdwp"])
@pytest.mark.parametrize(("name", "ratios"), [(row[0], row[3]) for row in TABLE])
def test_methods_sparse_in_one_pass_save_a_third_of_the_pruned_share(name, method, ratios):
    for nm, ratio in zip(ONE_SIDED, ratios, strict=True):
        assert macs(name, method, nm) / macs(name, "dense") == pytest.approx(ratio, abs=1e-3)


@pytest.mark.parametrize(("name", "ratios"), [(row[0], row[4]) for row in TABLE])
def test_bdwp_saves_two_thirds_of_the_pruned_share(name, ratios):
    for nm, ratio in zip(TWO_SIDED, ratios, strict=True):
        assert macs(name, "bdwp", nm) / macs(name, "dense") == pytest.approx(ratio, abs=1e-3)


def test_five_networks_save_48_9_percent_at_2_of_8_on_average():
    # derived: the mean of the five networks' savings, and the bound 1 / (1 - mean).
    names = ("resnet9", "vgg19", "vit-small", "resnet18-64", "resnet50")
    savings = [1 - macs(name, "bdwp", (2, 8)) / macs(name, "dense") for name in names]
    mean = sum(savings) / len(savings)
    assert mean == pytest.approx(0.489, abs=5e-4)
    assert 1 / (1 - mean) == pytest.approx(1.957, abs=2e-3)


def test_the_table_tells_methods_and_patterns_apart():
    dense = macs("resnet18", "dense")
    assert macs("resnet18", "bdwp", (2, 8)) / dense != pytest.approx(0.761, abs=1e-3)
    assert macs("resnet18", "bdwp", (4, 8)) == macs("resnet18", "bdwp", (2, 4))


@pytest.mark.parametrize("name", ["resnet9", "resnet18-64"])
def test_pruning_the_classifier_moves_the_last_digit_at_most(name):
    kept, pruned = (
        training_macs(training_graph(model(name), "bdwp", (2, 8), prune_classifier=flag)).total
        for flag in (False, True)
    )
    assert 0 <= kept - pruned < 1e-3 * macs(name, "dense")


def test_only_unpadded_layers_meet_more_border_in_bp_than_in_ff():
    # derived: c4 of ResNet-9 has 8 x 8 inputs and 6 x 6 outputs, 512 * 9 * 256 products each.
    graph = training_graph(model("resnet9"), "dense")
    with_border, without = training_macs(graph), training_macs(graph, is_border_counted=False)
    assert with_border.bp - without.bp == (64 - 36) * 512 * 9 * 256
    assert (with_border.ff, with_border.wu) == (without.ff, without.wu)


@pytest.mark.parametrize("method", ["dense", "sdgp", "bdwp"])
def test_inserted_zeros_cost_stride_squared_but_are_not_training_work(method):
    phases = training_graph(model("resnet18-64"), method, (2, 8))
    spread = training_graph(model("resnet18-64"), method, (2, 8), strided_bp="zero-inserted")
    by_convention = [training_macs(g, is_border_counted=False) for g in (phases, spread)]
    assert by_convention[0] == by_convention[1]
    assert training_macs(spread).bp > training_macs(phases).bp
