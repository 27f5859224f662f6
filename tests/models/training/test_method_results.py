"""Every method computes what its definition says, with masks and gradients written as loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.gemm import activation_matrix, weight_matrix
from hwsim.core.graph import OpGraph, Role
from models.build import GraphBuilder, with_random_weights
from models.training import training_graph
from models.training_reference import Sgd, compact_weights, execute_iteration, keep_largest
from models.zoo import load_model
from tests.models.double_precision import PLAIN, double_precision, random_inputs

Array = NDArray[Any]

NM = (2, 4)


def masked(w: Array, axis: int) -> Array:
    """Return ``w`` with the 2 largest magnitudes of every 4 along ``axis``, group by group."""
    out = np.zeros_like(w)
    source, target = np.moveaxis(w, axis, 0), np.moveaxis(out, axis, 0)
    for start in range(0, len(source), NM[1]):
        for place in np.ndindex(source.shape[1:]):
            group = [(-abs(source[(start + i, *place)]), i) for i in range(NM[1])]
            for _, i in sorted(group)[: NM[0]]:
                target[(start + i, *place)] = source[(start + i, *place)]
    return out


def conv_by_definition(x: Array, w: Array, dy: Array, stride: int) -> tuple[Array, Array, Array]:
    """Return (y, dx, dw) of a 3x3 convolution with padding 1, tap by tap."""
    rows, cols = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dx, dw, y = np.zeros_like(padded), np.zeros_like(w), 0.0
    for r in range(3):
        for c in range(3):
            seen = (..., slice(r, r + rows, stride), slice(c, c + cols, stride))
            y = y + np.einsum("bihw,oi->bohw", padded[seen], w[:, :, r, c])
            dx[seen] += np.einsum("bohw,oi->bihw", dy, w[:, :, r, c])
            dw[:, :, r, c] = np.einsum("bohw,bihw->oi", dy, padded[seen])
    return np.asarray(y), dx[:, :, 1:-1, 1:-1], dw


def two_convs() -> OpGraph:
    b = GraphBuilder("two")
    h = b.conv("a", b.input("x", (2, 8, 6, 6)), 8, 3, pad=1, bias=False)
    out = b.conv("b", h, 8, 3, stride=2, pad=1, bias=False)
    return double_precision(b.build([out]), np.random.default_rng(2))


def expected(method: str, graph: OpGraph, inputs: dict[str, Array]) -> dict[str, Array]:
    """Return the outputs and weight gradients of :func:`two_convs` by the method's definition."""
    wa, wb = graph.weights["a.weight"], graph.weights["b.weight"]
    x, dy = inputs["x"], inputs["b.grad"]
    wb_ff = masked(wb, 1) if method in ("sr-ste", "bdwp") else wb
    wb_bp = {"sr-ste": wb_ff, "sdwp": masked(wb, 0), "bdwp": masked(wb, 0)}.get(method, wb)
    h = conv_by_definition(x, wa, np.zeros((2, 8, 6, 6)), 1)[0]
    y, _, dwb = conv_by_definition(h, wb_ff, dy, 2)
    dh = conv_by_definition(h, wb_bp, masked(dy, 1) if method == "sdgp" else dy, 2)[1]
    dwa = conv_by_definition(x, wa, dh, 1)[2]
    return {"b": y, "a.weight.next": wa - dwa, "b.weight.next": wb - dwb}


METHODS = ["dense", "sr-ste", "sdgp", "sdwp", "bdwp"]


@pytest.mark.parametrize("pregenerate", [True, False])
@pytest.mark.parametrize("strided_bp", ["phases", "zero-inserted"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_masks_what_its_definition_masks(
    method: str, strided_bp: str, pregenerate: bool
) -> None:
    graph = training_graph(two_convs(), method, NM, strided_bp=strided_bp, pregenerate=pregenerate)
    inputs = random_inputs(graph, np.random.default_rng(3))
    values = execute_iteration(graph, inputs, sgd=PLAIN)
    for name, wanted in expected(method, graph, inputs).items():
        np.testing.assert_allclose(values[name], wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("other", METHODS[1:])
def test_the_methods_differ_from_dense(other: str) -> None:
    graph = training_graph(two_convs(), "dense")
    inputs = random_inputs(graph, np.random.default_rng(3))
    values = execute_iteration(graph, inputs, sgd=PLAIN)
    wanted = expected(other, graph, inputs)
    assert not all(np.allclose(values[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("method", METHODS)
def test_fully_connected_layers_mask_inputs_in_ff_and_outputs_in_bp(method: str) -> None:
    b = GraphBuilder("two")
    h = b.linear("a", b.input("x", (6, 8)), 8, bias=False)
    forward = double_precision(b.build([b.linear("b", h, 4, bias=False)]), np.random.default_rng(4))
    graph = training_graph(forward, method, NM, prune_classifier=True)
    inputs = random_inputs(graph, np.random.default_rng(5))
    values = execute_iteration(graph, inputs, sgd=PLAIN)
    wa, wb, x, dy = *forward.weights.values(), inputs["x"], inputs["b.grad"]
    ff = masked(wb, 0) if method in ("sr-ste", "bdwp") else wb
    bp = {"sr-ste": ff, "sdwp": masked(wb, 1), "bdwp": masked(wb, 1)}.get(method, wb)
    dh = (masked(dy, 1) if method == "sdgp" else dy) @ bp.T
    np.testing.assert_allclose(values["b"], x @ wa @ ff)
    np.testing.assert_allclose(values["a.weight.next"], wa - x.T @ dh)
    np.testing.assert_allclose(values["b.weight.next"], wb - (x @ wa).T @ dy)


@pytest.mark.parametrize("method", ["sr-ste", "sdgp", "sdwp", "bdwp"])
def test_kept_values_obey_the_patterns_and_counts_of_the_ops(method: str) -> None:
    graph = training_graph(two_convs(), method, NM)
    values = execute_iteration(graph, random_inputs(graph, np.random.default_rng(6)))
    seen = 0
    for op in graph.ops():
        for operand in op.inputs if op.is_gemm else ():
            if operand.pattern.is_dense:
                continue
            seen += 1
            dims = op.gemm()
            if operand.role is Role.WEIGHT:
                matrix = weight_matrix(op.kind.value, op.dims, values[operand.tensor])
                view = matrix.reshape(-1, dims.n) != 0
                assert op.useful_macs() == dims.m * view.sum()
            else:
                matrix = activation_matrix(op.kind.value, op.dims, op.attrs, values[operand.tensor])
                view = matrix.reshape(-1, dims.k) != 0
                assert 2 * op.useful_macs() == op.macs()
            assert operand.pattern.check(view)
            shifted = np.roll(view, 1, axis=operand.pattern.axis)
            assert not operand.pattern.check(shifted | view)
    assert seen == {"sr-ste": 1, "sdgp": 4, "sdwp": 4, "bdwp": 5}[method]


def test_pregenerated_weights_are_those_of_the_next_iteration() -> None:
    graph = training_graph(two_convs(), "bdwp", NM)
    inputs = random_inputs(graph, np.random.default_rng(7))
    values = execute_iteration(graph, inputs)
    updated = {name: values[f"{name}.next"] for name in graph.weights}
    following = compact_weights(graph, updated)
    compact = [name for name in values if name.endswith(("ff.weight.next", "p0.weight.next"))]
    assert len(compact) == 2
    for name in compact:
        np.testing.assert_array_equal(values[name], following[name.removesuffix(".next")])
        assert not np.array_equal(values[name], values[name.removesuffix(".next")])


def test_the_update_decays_weights_and_keeps_momentum() -> None:
    forward = two_convs()
    graph = training_graph(forward, "sr-ste", NM)
    inputs = random_inputs(graph, np.random.default_rng(8))
    plain = execute_iteration(graph, inputs, sgd=PLAIN)
    w = forward.weights["b.weight"]
    gradient = w - plain["b.weight.next"]
    sgd = Sgd(learning_rate=0.5, momentum=0.9, weight_decay=0.1, mask_decay=0.2)
    v = np.ones_like(w)
    values = execute_iteration(
        OpGraph(
            graph.name,
            list(graph.ops()),
            list(graph.tensors.values()),
            graph.inputs,
            graph.outputs,
            {**graph.weights, "b.weight.momentum": v},
        ),
        inputs,
        sgd=sgd,
    )
    dropped = np.where(masked(w, 1) == 0, w, 0)
    velocity = 0.9 * v + gradient + 0.1 * w + 0.2 * dropped
    np.testing.assert_allclose(values["b.weight.momentum.next"], velocity)
    np.testing.assert_allclose(values["b.weight.next"], w - 0.5 * velocity)


def test_of_equal_magnitudes_the_first_is_kept() -> None:
    mask = keep_largest(np.array([[1.0, -1.0, 1.0, 1.0, 0.0, 2.0, 2.0, -2.0]]), 2, 4, 1)
    assert mask.astype(int).tolist() == [[1, 1, 0, 0, 0, 1, 1, 0]]


def test_missing_values_are_named() -> None:
    graph = training_graph(two_convs(), "dense")
    with pytest.raises(InputError, match=r"input b\.grad: need shape \(2, 8, 3, 3\), found none"):
        execute_iteration(graph, {"x": np.zeros((2, 8, 6, 6))})


def test_a_whole_network_trains_in_single_precision() -> None:
    forward = with_random_weights(
        load_model("resnet9", inputs={"image": (2, 3, 16, 16)}, has_batch_norm=True),
        np.random.default_rng(9),
    )
    graph = training_graph(forward, "bdwp", (2, 8))
    rng = np.random.default_rng(10)
    inputs = {
        name: rng.standard_normal(graph.tensors[name].shape, dtype=np.float32)
        for name in graph.inputs
    }
    values = execute_iteration(graph, inputs)
    assert {values[name].dtype for name in graph.outputs} == {np.dtype(np.float32)}
    for op in graph.ops():
        assert values[op.output].shape == graph.tensors[op.output].shape
        assert np.isfinite(values[op.output]).all(), op.name
    assert np.abs(values["c2.wu"]).max() > 0
