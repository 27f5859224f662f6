"""Masks of a file: exact where masks are free, the tightest N:M pattern elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.sparsity import NM, Explicit
from models.build import GraphBuilder, with_random_weights
from models.sparsify.magnitude import dense_layers, layer_mask
from models.sparsify.mask_file import prune_by_masks, tightest_nm

FREE = ("dense", "nm", "unstructured")
GROUPED = ("dense", "nm")
RNG = np.random.default_rng(3)


def network() -> OpGraph:
    g = GraphBuilder("net")
    x = g.conv("a", g.input("x", (1, 8, 4, 4)), 16, 3, pad=1)
    return with_random_weights(g.build([g.conv("b", x, 4, 1)]), RNG)


@pytest.fixture
def save(tmp_path):
    """Return what writes an archive of masks."""

    def write(**masks):
        np.savez(tmp_path / "masks.npz", **masks)
        return tmp_path / "masks.npz"

    return write


def test_a_mask_in_the_layout_of_the_weights_keeps_exactly_these(save) -> None:
    graph = network()
    mask = RNG.random((16, 8, 3, 3)) < 0.3
    pruned = prune_by_masks(graph, save(a=mask), FREE)
    op = pruned.op("a")
    np.testing.assert_array_equal(
        pruned.weights["a.weight"], np.where(mask, graph.weights["a.weight"], 0)
    )
    # [kh, kw, ci] by co: the rows of the product's matrix.
    found = layer_mask(pruned, op, RNG).reshape(3, 3, 8, 16).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(found, mask)
    assert op.useful_macs() == 16 * int(mask.sum())
    assert pruned.op("b") == graph.op("b")


def test_a_matrix_named_after_the_weights_does_as_well(save) -> None:
    mask = RNG.random((16, 4)) < 0.5
    pruned = prune_by_masks(network(), save(**{"b.weight": mask.astype(np.float32)}), FREE)
    assert pruned.op("b").weight.pattern == Explicit.from_mask(mask)


def test_arrays_that_need_groups_get_the_tightest_ones(save) -> None:
    mask = np.zeros((16, 4), dtype=bool)
    mask[[0, 3, 8, 9], 2] = True
    pruned = prune_by_masks(network(), save(b=mask), GROUPED)
    assert pruned.op("b").weight.pattern == NM(nm_n=2, nm_m=8)
    np.testing.assert_array_equal(layer_mask(pruned, pruned.op("b"), RNG)[:, 2], mask[:, 2])


def test_a_full_mask_stays_dense_and_says_so(save) -> None:
    pruned = prune_by_masks(network(), save(b=np.ones((16, 4))), GROUPED)
    assert pruned.op("b").weight.pattern.is_dense
    assert list(dense_layers(pruned)) == ["b"]


@given(arrays.arrays(bool, (16, 4)))
def test_no_pattern_that_holds_the_mask_is_tighter(mask) -> None:
    op = network().op("b")
    found = tightest_nm(op, mask)
    densities = [
        mask.reshape(-1, m, 4).sum(axis=1).max() / m if mask.any() else 1 / m for m in (2, 4, 8, 16)
    ]
    if found is None:
        assert min(densities) == 1.0
    else:
        assert found.check(mask)
        assert math.isclose(found.density(), min(densities))


@pytest.mark.parametrize(
    ("masks", "named"),
    [
        ({"c": np.ones((16, 4))}, "found 'c', which net lacks"),
        ({"b": np.ones((4, 16))}, r"b: need numbers \(4, 16, 1, 1\) or \(16, 4\)"),
        ({"b": np.full((16, 4), "x")}, "b: need numbers"),
    ],
    ids=["no-layer", "shape", "text"],
)
def test_what_fits_no_layer_is_named(save, masks, named) -> None:
    with pytest.raises(InputError, match=named):
        prune_by_masks(network(), save(**masks), FREE)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="none.npz: need an npz archive"):
        prune_by_masks(network(), tmp_path / "none.npz", FREE)
