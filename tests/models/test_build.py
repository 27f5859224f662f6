"""The builder computes shapes and refuses layers that do not fit."""

import numpy as np
import pytest

from hwsim.core.errors import InputError
from models.build import GraphBuilder, window_extent, with_random_weights


@pytest.mark.parametrize("size", [5, 8, 11])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_window_extent_counts_the_windows(size, kernel, stride, padding, dilation):
    span = dilation * (kernel - 1)
    starts = [s for s in range(0, size + padding, stride) if s + span < size + padding]
    assert window_extent(size, kernel, stride, padding, dilation) == len(starts)


def test_windows_larger_than_the_input_are_refused():
    g = GraphBuilder("net")
    x = g.input("x", (1, 3, 4, 4))
    with pytest.raises(InputError, match="large enough"):
        g.conv("conv", x, 8, 7)


@pytest.mark.parametrize(
    "build",
    [
        lambda g, x: g.matmul("mm", x, x),
        lambda g, x: g.reshape("r", x, (5,)),
        lambda g, x: g.conv("c", x, 4, 3),
        lambda g, x: g.elementwise("e", "add", x, g.input("y", (2, 4))),
    ],
)
def test_operands_that_do_not_fit_are_refused(build):
    g = GraphBuilder("net")
    with pytest.raises(InputError):
        build(g, g.input("x", (2, 3)))


def test_random_weights_are_he_scaled_and_repeatable():
    g = GraphBuilder("net")
    x = g.conv("conv", g.input("x", (1, 64, 8, 8)), 64, 3)
    graph = g.build([g.layer_norm("norm", x)])
    first = with_random_weights(graph, np.random.default_rng(7))
    again = with_random_weights(graph, np.random.default_rng(7))
    weights = first.weights["conv.weight"]
    assert weights.dtype == np.float32
    # 36 864 samples: the deviation is known to 1/sqrt(2 * 36864) = 0.4 %.
    assert weights.std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)
    assert (first.weights["norm.weight"] == 1).all()
    assert all((first.weights[name] == again.weights[name]).all() for name in first.weights)
    other = with_random_weights(graph, np.random.default_rng(8))
    assert (other.weights["conv.weight"] != weights).any()
    assert not graph.weights
