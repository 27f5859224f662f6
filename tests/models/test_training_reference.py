"""One training iteration gives the gradients that finite differences of its forward pass give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim.core.graph import Operand, OpGraph, OpKind, Stage
from models.build import GraphBuilder
from models.training import training_graph
from models.training_reference import execute_iteration
from tests.models.double_precision import PLAIN, double_precision, random_inputs

Array = NDArray[Any]
Draft = Callable[[GraphBuilder, str], str]


def loss(graph: OpGraph, weights: dict[str, Array], inputs: dict[str, Array]) -> float:
    """Return the sum over outputs of <y, y.grad>, whose gradient at y is y.grad."""
    changed = OpGraph(
        graph.name,
        [op for op in graph.ops() if op.stage is Stage.FF],
        list(graph.tensors.values()),
        graph.inputs,
        [name for name in graph.outputs if f"{name}.grad" in graph.inputs],
        weights,
    )
    values = execute_iteration(changed, inputs)
    return float(sum((values[y] * inputs[f"{y}.grad"]).sum() for y in changed.outputs))


def assert_gradients_are_slopes(
    graph: OpGraph, seed: int = 0, spoil: Callable[[dict[str, Array]], None] | None = None
) -> None:
    """Compare dW of every weight with the slope of the loss along a random direction."""
    rng = np.random.default_rng(seed)
    inputs = random_inputs(graph, rng)
    values = execute_iteration(graph, inputs, sgd=PLAIN)
    if spoil is not None:
        spoil(values)
    updates = [op for op in graph.ops() if op.kind is OpKind.WEIGHT_UPDATE]
    assert {op.attrs["of"] for op in updates} == set(graph.weights)
    for name, weight in graph.weights.items():
        direction = rng.standard_normal(weight.shape)
        step = 1e-6
        around = [
            loss(graph, {**graph.weights, name: weight + sign * step * direction}, inputs)
            for sign in (1, -1)
        ]
        slope = (around[0] - around[1]) / (2 * step)
        found = ((weight - values[f"{name}.next"]) * direction).sum()
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-6), name


def trained(draft: Draft, shape: tuple[int, ...], method: str = "dense", **options: Any) -> OpGraph:
    """Return the training graph of ``draft`` behind a trainable scale, so that x has a gradient."""
    b = GraphBuilder("net")
    x = b.input("x", shape)
    x = b.elementwise("front", "mul", x, b.weight("front.weight", shape[1:]))
    graph = double_precision(b.build([draft(b, x)]), np.random.default_rng(1))
    return training_graph(graph, method, **options)


def add_op(b: GraphBuilder, kind: OpKind, x: str, shape: tuple[int, ...], **attrs: Any) -> str:
    return b.add(kind, "op", [x], shape, attrs=attrs)


def attend(b: GraphBuilder, x: str) -> str:
    parts = [b.slice(f"part{i}", x, -1, 4 * i, 4) for i in range(3)]
    scores = b.matmul("qk", parts[0], b.transpose("kt", parts[1], (0, 2, 1)))
    scores = b.softmax("softmax", b.elementwise("scale", "mul", scores, scalar=0.5))
    return b.linear("proj", b.matmul("av", scores, parts[2]), 3)


def branch(b: GraphBuilder, x: str) -> str:
    y = b.relu("relu", b.conv("left", x, 4, 3, pad=1))
    z = b.conv("right", x, 4, 1)
    y = b.elementwise("add", "add", y, z)
    return b.concat("concat", [y, b.elementwise("sub", "sub", z, x), x], 1)


def conv_transpose(b: GraphBuilder, x: str, groups: int = 1) -> str:
    batch, ci, ih, iw = b.shape(x)
    co, oh, ow = 2 * groups, 2 * ih - 1, 2 * iw - 1
    weights = b.weight("up.weight", (ci, co // groups, 3, 3))
    dims = {"batch": batch, "ci": ci, "co": co, "ih": ih, "iw": iw, "oh": oh, "ow": ow}
    dims |= {"kh": 3, "kw": 3, "groups": groups}
    attrs = {"strides": [2, 2], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
    operands = [x, weights, b.weight("up.bias", (co,))]
    shape = (batch, co, oh, ow)
    return b.add(OpKind.CONV_TRANSPOSE, "up", operands, shape, dims=dims, attrs=attrs)


def overlapping_slices(b: GraphBuilder, x: str) -> str:
    y = b.elementwise("add", "add", b.slice("low", x, 1, 0, 3), b.slice("high", x, 1, 1, 3))
    reverse = {"starts": [0, 3], "steps": [1, -2]}
    z = b.add(OpKind.SLICE, "reverse", [x], (2, 2), attrs=reverse)
    return b.concat("concat", [y, z], 1)


def gather(b: GraphBuilder, x: str) -> str:
    rows = b.elementwise("rows", "cast", b.elementwise("abs", "abs", x), to="int64")
    b.tensors["rows"] = b.tensors["rows"].model_copy(update={"dtype": "int64"})
    table = b.weight("table", (3, 2))
    y = b.add(OpKind.GATHER, "gather", [table, rows], (2, 4, 2), attrs={"axis": 0})
    return b.elementwise("join", "mul", y, b.reshape("wide", x, (2, 4, 1)))


def tied(b: GraphBuilder, x: str) -> str:
    y = b.linear("first", x, 4)
    first = b.ops[-1]
    second = first.model_copy(update={"name": "second", "output": "second"})
    inputs = (Operand(tensor=y), *first.inputs[1:])
    b.ops.append(second.model_copy(update={"inputs": inputs}))
    b.tensors["second"] = b.tensors["first"].model_copy(update={"name": "second"})
    return "second"


IMAGE, ROW, TOKENS = (2, 4, 6, 5), (2, 4), (2, 5, 12)
WINDOW = {"dilations": [1, 1], "strides": [2, 2], "kernel": [3, 3], "count_include_pad": True}
RESIZE = {"coordinates": "half_pixel", "scales": [1.0, 1.0, 2.0, 2.0], "rounding": "floor"}
DRAFTS: dict[str, tuple[Draft, tuple[int, ...]]] = {
    "conv": (lambda b, x: b.conv("op", x, 3, 3, pad=1), IMAGE),
    "strided conv": (lambda b, x: b.conv("op", x, 3, 3, stride=2, pad=1), IMAGE),
    "strided 1x1 conv": (lambda b, x: b.conv("op", x, 3, 1, stride=2), IMAGE),
    "unpadded conv": (lambda b, x: b.conv("op", x, 3, 3), IMAGE),
    "grouped strided dilated conv": (
        lambda b, x: b.conv("op", x, 6, (3, 2), stride=(2, 3), pad=2, dilation=(2, 1), groups=2),
        IMAGE,
    ),
    "depthwise conv": (lambda b, x: b.conv("op", x, 4, 3, stride=2, pad=1, groups=4), IMAGE),
    "conv padded beyond its kernel": (lambda b, x: b.conv("op", x, 3, 1, stride=2, pad=3), IMAGE),
    "transposed conv": (conv_transpose, IMAGE),
    "grouped transposed conv": (lambda b, x: conv_transpose(b, x, 2), IMAGE),
    "linear": (lambda b, x: b.linear("op", x, 3), TOKENS),
    "attention": (attend, TOKENS),
    "residual branches": (branch, IMAGE),
    "batch norm": (lambda b, x: b.batch_norm("op", x), IMAGE),
    "layer norm": (lambda b, x: b.layer_norm("op", x), TOKENS),
    "rms norm": (
        lambda b, x: b.add(
            OpKind.NORMALIZATION,
            "op",
            [x, b.weight("scale", (12,))],
            TOKENS,
            attrs={"function": "rms", "axis": 2, "epsilon": 1e-5},
        ),
        TOKENS,
    ),
    "max pool": (lambda b, x: b.pool("op", x, "max", 3, stride=2, pad=1), IMAGE),
    "average pool": (lambda b, x: b.pool("op", x, "average", 3, stride=2, pad=1), IMAGE),
    "padded average pool": (
        lambda b, x: add_op(
            b, OpKind.POOL, x, (2, 4, 3, 3), function="average", pads=[1, 1, 1, 1], **WINDOW
        ),
        IMAGE,
    ),
    "global pool": (lambda b, x: b.global_pool("op", x, "average"), IMAGE),
    "mean": (
        lambda b, x: add_op(
            b, OpKind.REDUCE, x, (2, 4), function="mean", axes=[2, 3], keepdims=False
        ),
        IMAGE,
    ),
    "maximum": (
        lambda b, x: add_op(
            b, OpKind.REDUCE, x, (2, 4, 1, 1), function="max", axes=[2, 3], keepdims=True
        ),
        IMAGE,
    ),
    "nearest resize": (
        lambda b, x: add_op(b, OpKind.RESIZE, x, (2, 4, 12, 10), mode="nearest", **RESIZE),
        IMAGE,
    ),
    "linear resize": (
        lambda b, x: add_op(b, OpKind.RESIZE, x, (2, 4, 12, 10), mode="linear", **RESIZE),
        IMAGE,
    ),
    "pad": (lambda b, x: b.pad("op", x, (0, 1), (0, 2)), ROW),
    "slices": (overlapping_slices, ROW),
    "gather": (gather, ROW),
    "tied weights": (tied, ROW),
    "broadcast add": (
        lambda b, x: b.elementwise("op", "add", x, b.weight("w", (1, 12))),
        TOKENS,
    ),
    "division": (
        lambda b, x: b.elementwise("op", "div", x, b.weight("w", (5, 1))),
        TOKENS,
    ),
    "scalar minus x": (
        lambda b, x: b.elementwise("op", "sub", x, scalar=3.0, scalar_side="left"),
        ROW,
    ),
    "scalar over x": (
        lambda b, x: b.elementwise("op", "div", x, scalar=3.0, scalar_side="left"),
        ROW,
    ),
    "square": (lambda b, x: b.elementwise("op", "pow", x, scalar=2.0), ROW),
    "larger of two": (lambda b, x: b.elementwise("op", "max", x, b.weight("w", (4,))), ROW),
    "clip": (lambda b, x: b.elementwise("op", "clip", x, min=-0.3, max=0.4), TOKENS),
    "leaky relu": (lambda b, x: b.elementwise("op", "leaky_relu", x, alpha=0.1), TOKENS),
    "elu": (lambda b, x: b.elementwise("op", "elu", x, alpha=0.7), TOKENS),
    "hard sigmoid": (
        lambda b, x: b.elementwise("op", "hard_sigmoid", x, alpha=0.9, beta=0.5),
        TOKENS,
    ),
} | {
    name: (lambda b, x, name=name: b.elementwise("op", name, x), TOKENS)  # type: ignore[misc]
    for name in ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "exp", "erf", "softplus")
    + ("hard_swish", "abs", "sin", "cos", "neg", "reciprocal")
}


@pytest.mark.parametrize("strided_bp", ["phases", "zero-inserted"])
@pytest.mark.parametrize("name", [name for name in DRAFTS if "conv" in name])
def test_products_have_the_slope_of_the_loss(name: str, strided_bp: str) -> None:
    draft, shape = DRAFTS[name]
    assert_gradients_are_slopes(trained(draft, shape, strided_bp=strided_bp))


@pytest.mark.parametrize("name", [name for name in DRAFTS if "conv" not in name])
def test_every_other_operator_has_the_slope_of_the_loss(name: str) -> None:
    draft, shape = DRAFTS[name]
    assert_gradients_are_slopes(trained(draft, shape))


def test_a_wrong_gradient_is_not_a_slope() -> None:
    def spoil(values: dict[str, Array]) -> None:
        values["op.weight.next"] += 1e-3

    with pytest.raises(AssertionError):
        assert_gradients_are_slopes(trained(*DRAFTS["conv"]), spoil=spoil)
