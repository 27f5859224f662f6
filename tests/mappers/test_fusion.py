"""Check which pointwise operators run on their producer's results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hwsim.core.graph import OpGraph, OpKind
from mappers.fusion import fuse_elementwise
from models.build import GraphBuilder

Build = Callable[[GraphBuilder, str], list[str]]


def graph_of(build: Build) -> OpGraph:
    """Return a graph with one convolution called "conv", continued by ``build``."""
    b = GraphBuilder("fusion")
    x = b.conv("conv", b.input("x", (1, 4, 6, 6)), 4, 3, pad=1)
    return b.build(build(b, x))


def residual(b: GraphBuilder, x: str) -> list[str]:
    other = b.conv("other", x, 4, 1)
    return [b.relu("act", b.elementwise("join", "add", x, other))]


def hard_swish(b: GraphBuilder, x: str) -> list[str]:
    """x * clip(x + 3): two ways out of the convolution meet again."""
    gate = b.elementwise("clip", "clip", b.elementwise("shift", "add_constant", x))
    return [b.elementwise("swish", "mul", x, gate)]


CASES: list[tuple[Build, dict[str, str]]] = [
    (lambda b, x: [b.relu("act", x)], {"act": "conv"}),
    (
        lambda b, x: [b.relu("second", b.elementwise("first", "sigmoid", x))],
        {"first": "conv", "second": "conv"},
    ),
    (hard_swish, {"shift": "conv", "clip": "conv", "swish": "conv"}),
    # The sum waits for another product: it stays an op of its own, and leads what follows.
    (residual, {"act": "join"}),
    # Both the convolution's result and the activation are needed later: two tensors would leave.
    (lambda b, x: [x, b.relu("act", x)], {}),
    (lambda b, x: [b.relu("left", x), b.elementwise("right", "sigmoid", x)], {}),
    # Not pointwise.
    (lambda b, x: [b.softmax("softmax", x)], {}),
    (lambda b, x: [b.pool("pool", x, "max", 2)], {}),
    (lambda b, x: [b.layer_norm("norm", x)], {}),
    # The longest prefix with one way out: the activation, not what comes after its fork.
    (
        lambda b, x: [
            b.pool("pool", b.relu("act", x), "max", 2),
            b.elementwise("more", "sigmoid", "act"),
        ],
        {"act": "conv"},
    ),
]


@pytest.mark.parametrize(("build", "expected"), CASES)
def test_a_group_ends_where_more_than_one_tensor_leaves(
    build: Build, expected: dict[str, str]
) -> None:
    assert fuse_elementwise(graph_of(build)) == expected


def test_a_larger_result_by_broadcasting_is_not_fused() -> None:
    b = GraphBuilder("broadcast")
    x = b.linear("fc", b.input("x", (1, 8)), 8)
    wide = b.elementwise("wide", "add", x, b.weight("bias", (5, 8), np.zeros((5, 8), np.float32)))
    assert fuse_elementwise(b.build([wide])) == {}


def test_batch_normalisation_is_pointwise() -> None:
    b = GraphBuilder("batch_norm")
    x = b.conv("conv", b.input("x", (1, 4, 6, 6)), 4, 3, pad=1)
    scale = b.weight("scale", (4,))
    y = b.add(OpKind.NORMALIZATION, "norm", [x, scale], b.shape(x), attrs={"function": "batch"})
    assert fuse_elementwise(b.build([y])) == {"norm": "conv"}


def test_windows_of_a_transposed_convolution_are_summed_before_anything_follows() -> None:
    b = GraphBuilder("upsampling")
    x = b.input("x", (1, 2, 3, 3))
    dims = {"batch": 1, "ci": 2, "co": 2, "ih": 3, "iw": 3, "oh": 6, "ow": 6}
    dims |= {"kh": 2, "kw": 2, "groups": 1}
    attrs = {"strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    weight = b.weight("w", (2, 2, 2, 2))
    y = b.add(OpKind.CONV_TRANSPOSE, "up", [x, weight], (1, 2, 6, 6), dims=dims, attrs=attrs)
    assert fuse_elementwise(b.build([b.relu("act", y)])) == {}
