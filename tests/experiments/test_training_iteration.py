"""The vector path rounds to FP16 once and by value alone; the loss and its gradient agree."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.graph import Op, OpKind
from hwsim.core.machine import make_machine
from hwsim.experiments.training_iteration import (
    CrossEntropy,
    compare_with_golden,
    differing,
    undefined_tensors,
    vector_path,
)
from hwsim.sat.training_state import Iteration, TrainingState
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.training import training_graph


def vector_op(kind, **attrs):
    return Op(name="op", kind=kind, dims={"elems": 1}, inputs=(), output="y", attrs=attrs)


def test_an_op_rounds_to_fp16_once():
    # 2048 + 1 is a tie to even in FP16; summed in FP32 the two ones count.
    x = np.array([[2048.0, 1.0, 1.0]], dtype=np.float16)
    op = vector_op(OpKind.REDUCE, function="sum", axes=[1], keepdims=False)
    assert np.float16(2048) + np.float16(1) == 2048
    found = vector_path(op, [x], (1,))
    assert found.dtype == np.float16
    assert found[0] == 2050


def test_the_layout_in_memory_does_not_matter():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 16, 6, 6)).astype(np.float16)
    turned = np.ascontiguousarray(x.transpose(1, 3, 0, 2)).transpose(2, 0, 3, 1)
    assert turned.strides != x.strides
    op = vector_op(OpKind.REDUCE, function="sum", axes=[0, 2, 3], keepdims=False)
    rows, columns = vector_path(op, [x], (16,)), vector_path(op, [turned], (16,))
    assert rows.tobytes() == columns.tobytes()


def test_integers_pass_as_they_are():
    op = vector_op(OpKind.RESHAPE)
    found = vector_path(op, [np.arange(4)], (2, 2))
    assert found.dtype.kind == "i"


def test_the_loss_gradient_is_the_slope_of_the_loss():
    logits = np.random.default_rng(1).standard_normal((3, 5))
    loss = CrossEntropy("y", np.array([4, 0, 2]), loss_scale=64.0)
    (gradient,) = loss({"y": logits}).values()
    direction = np.random.default_rng(2).standard_normal(logits.shape)
    around = []
    for sign in (1, -1):
        loss({"y": logits + sign * 1e-6 * direction})
        around.append(loss.last)
    slope = (around[0] - around[1]) / 2e-6
    assert (gradient * direction).sum() / 64 == pytest.approx(slope, rel=1e-6)


def test_guessing_costs_the_logarithm_of_the_classes():
    loss = CrossEntropy("y", np.array([1]))
    assert loss({"y": np.zeros((1, 8))})["y.grad"].sum() == pytest.approx(0)
    assert loss.last == pytest.approx(np.log(8))


def with_tensor(values):
    return Iteration({"x": values}, TrainingState({}, {}, {}), 0)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (np.zeros(2, dtype=np.float16), True),
        (-np.zeros(2, dtype=np.float16), False),
        (np.zeros((2, 1), dtype=np.float16), False),
        (np.zeros(2, dtype=np.int16), False),
    ],
)
def test_tensors_differ_by_bits_extents_or_type(other, same):
    one = with_tensor(np.zeros(2, dtype=np.float16))
    assert differing(one, with_tensor(other)) == ([] if same else ["x"])
    assert differing(one, Iteration({}, one.state, 0)) == ["x"]
    assert differing(one, Iteration(one.tensors, one.state, 1)) == ["count of non-finite gradients"]


def lookup(method):
    """Return the training graph of rows from a table, by integer inputs, and its program."""
    b = GraphBuilder("net")
    rows = b.input("rows", (2, 3), dtype="int64")
    x = b.add(
        OpKind.GATHER, "gather", [b.weight("table", (10, 16)), rows], (2, 3, 16), attrs={"axis": 0}
    )
    x = b.relu("act", b.linear("body", x, 16))
    graph = training_graph(b.build([b.linear("out", x, 4)]), method, (2, 8))
    machine = make_machine("sat")
    return graph, machine.lower(graph, map_graph(graph, machine))


@pytest.mark.parametrize("method", ["dense", "bdwp", "sdgp"])
def test_a_network_without_values_gets_random_ones(method):
    graph, program = lookup(method)
    assert not graph.weights
    record = compare_with_golden(graph, program, seed=0)
    assert record["equal"]
    assert record["max_abs_error"] == record["nonfinite_gradients"] == 0
    tensors = int(record["elements"].split()[2])
    assert tensors > len(graph)
    assert not graph.weights


def overflowing():
    """Return an iteration whose second layer, packed with zeros, meets infinities."""
    b = GraphBuilder("net")
    x = b.conv("first", b.input("x", (1, 3, 4, 4)), 16, 1, bias=False)
    y = b.conv("depthwise", x, 16, 3, pad=1, groups=16, bias=False)
    b.weights["first.weight"] = np.full((16, 3, 1, 1), 60000.0, dtype=np.float32)
    graph = training_graph(b.build([y]), "bdwp", (2, 8))
    machine = make_machine("sat")
    return graph, machine.lower(graph, map_graph(graph, machine, dataflow="ws"))


def test_what_follows_from_infinities_is_left_out_of_the_comparison():
    graph, program = overflowing()
    packings = {f["name"]: f["mapping"]["placement"].get("packing") for f in program.meta["ops"]}
    assert packings["depthwise"] != "single"
    record = compare_with_golden(graph, program, seed=0)
    assert record["equal"]
    # Defined: x, y.grad, the first product, depthwise.bp (of dY), first.wu and its update.
    tensors = 5 + 3
    # Every tap of every channel's gradient has an infinity among what it sums.
    assert record["nonfinite_gradients"] == 16 * 3 * 3
    assert record["elements"].endswith(f" in {tensors} tensors")


def test_undefined_are_the_results_of_what_is_not_finite():
    graph, _ = overflowing()
    finite = {name: np.ones(1, dtype=np.float16) for name in graph.tensors}
    state = TrainingState({}, {}, {})
    assert undefined_tensors(graph, Iteration(finite, state, 0)) == set()
    finite["depthwise.wu"] = np.array([np.nan], dtype=np.float16)
    assert undefined_tensors(graph, Iteration(finite, state, 0)) == {
        "depthwise.weight.next",
        *(f"depthwise.weight ({part})" for part in ("master", "momentum", "half")),
        "count of non-finite gradients",
    }
