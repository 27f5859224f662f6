"""Golden's sums are the definitions of a convolution's products, on integers exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim.core.graph import OpGraph, OpKind
from hwsim.sat.training_golden import golden_state
from hwsim.sat.training_golden_layers import (
    Window,
    conv_forward,
    conv_input_gradient,
    conv_weight_gradient,
)
from models.build import GraphBuilder
from models.training import training_graph

Array = NDArray[np.float16]
GEOMETRY = [
    {"pad": 1},
    {"kernel": 1, "stride": 2},
    {"pad": (1, 2, 2, 1), "stride": (2, 3), "dilation": (2, 1)},
    {"pad": 3, "stride": 2, "kernel": 1},
    {"groups": 2, "pad": 1, "stride": 2},
    {"groups": 4},
]


def drawn(geometry: dict) -> tuple[Window, Array, Array, Array, NDArray[np.bool_]]:
    """Return a window, integer x, w and dY, and a mask of w."""
    b = GraphBuilder("net")
    options = {"kernel": 3, **geometry}
    y = b.conv("conv", b.input("x", (2, 4, 7, 6)), 8, options.pop("kernel"), bias=False, **options)
    op = b.build([y]).op("conv")
    rng = np.random.default_rng(5)
    shapes = ((2, 4, 7, 6), b.shape("conv.weight"), b.shape("conv"))
    x, w, dy = (rng.integers(-4, 5, shape).astype(np.float16) for shape in shapes)
    return Window.of(op), x, w, dy, rng.random(w.shape) < 0.6


def meetings(window: Window, x: Array, w: Array):
    """Yield (output, weight, input) index triples that meet in the convolution, one by one."""
    co, ci = w.shape[0] // window.groups, w.shape[1]
    spots = product(
        range(len(x)), range(window.groups), range(co), range(ci), *map(range, window.out)
    )
    for batch, group, out, into, row, col in spots:
        for i, j in window.taps():
            h = row * window.strides[0] + i * window.dilations[0] - window.pads[0]
            v = col * window.strides[1] + j * window.dilations[1] - window.pads[1]
            if 0 <= h < window.image[0] and 0 <= v < window.image[1]:
                channel = group * co + out
                yield (
                    (batch, channel, row, col),
                    (channel, into, i, j),
                    (batch, group * ci + into, h, v),
                )


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
def test_the_three_products_are_their_definitions(geometry: dict) -> None:
    window, x, w, dy, mask = drawn(geometry)
    y, dx, dw = (np.zeros(like.shape) for like in (dy, x, w))
    for at, weight, pixel in meetings(window, x, w):
        y[at] += float(x[pixel]) * float(w[weight]) * mask[weight]
        dx[pixel] += float(dy[at]) * float(w[weight]) * mask[weight]
        dw[weight] += float(dy[at]) * float(x[pixel])
    np.testing.assert_array_equal(conv_forward(x, w, mask, window), y)
    np.testing.assert_array_equal(conv_input_gradient(dy, w, mask, window), dx)
    np.testing.assert_array_equal(conv_weight_gradient(x, dy, window), dw)
    assert conv_forward(x, w, ~mask, window).tobytes() != y.astype(np.float32).tobytes()


def test_sums_are_in_the_order_that_is_promised() -> None:
    # 2^12 + 2^-13 is lost in FP32: the large product comes first in FF, last in BP.
    w = np.zeros((1, 1, 1, 5), dtype=np.float16)
    w[..., 0], w[..., 1:] = 2.0**12, 2.0**-13
    window = Window(1, (1, 5), (1, 1), (1, 5), (1, 1), (1, 1), (0, 0))
    ones, mask = np.ones((1, 1, 1, 5), dtype=np.float16), np.ones(w.shape, dtype=bool)
    assert conv_forward(ones, w, mask, window)[0, 0, 0, 0] == 2.0**12
    wide = Window(1, (1, 1), (1, 5), (1, 5), (1, 1), (1, 1), (0, 4))
    assert conv_input_gradient(ones, w, mask, wide)[0, 0, 0, 0] == np.float32(2.0**12 + 2.0**-11)
    pixel = Window(1, (1, 5), (1, 5), (1, 1), (1, 1), (1, 1), (0, 0))
    assert conv_weight_gradient(w, ones, pixel)[0, 0, 0, 0] == 2.0**12


def two_layers() -> OpGraph:
    b = GraphBuilder("net")
    x = b.conv("body", b.input("x", (1, 8, 4, 4)), 16, 3, pad=1, stride=2, bias=False)
    graph = b.build([x])
    rng = np.random.default_rng(0)
    graph.weights["body.weight"] = rng.standard_normal((16, 8, 3, 3)).astype(np.float32)
    return training_graph(graph, "bdwp", (2, 8), input_gradients=("x",))


def test_compact_copies_name_the_weights_of_each_result_channel() -> None:
    graph = two_layers()
    state = golden_state(graph)
    weights = state.half["body.weight"]
    forward = state.compact["body.ff.weight"]
    assert forward.values.shape == (1, 9, 2, 16)
    for tap, slot, co in product(range(9), range(2), range(16)):
        ci = forward.indices[0, tap, slot, co]
        assert forward.values[0, tap, slot, co] == weights[co, ci, tap // 3, tap % 3]
    phases = [op for op in graph.ops() if op.is_gemm and op.name.startswith("body.bp")]
    for op in phases:
        copy, view = state.compact[f"{op.name}.weight"], op.attrs["weight_view"]
        taps = list(product(view["rows"], view["cols"]))
        assert copy.values.shape == (1, 2 * len(taps), 2, 8)
        for line, slot, ci in product(range(2 * len(taps)), range(2), range(8)):
            (row, col), start = taps[line // 2], 8 * (line % 2)
            co = start + copy.indices[0, line, slot, ci]
            assert copy.values[0, line, slot, ci] == weights[co, ci, row, col]
    assert sum(op.kind is OpKind.NM_PRUNE for op in graph.ops()) == 1 + len(phases)
