"""Check that a graph counts its work and that every broken invariant is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import GraphError
from hwsim.core.graph import Op, Operand, OpGraph, OpKind, Role, TensorInfo
from hwsim.core.sparsity import NM


def linear_op(name: str, x: str, w: str, y: str, m: int, k: int, n: int) -> Op:
    operands = (Operand(tensor=x), Operand(tensor=w, role=Role.WEIGHT))
    dims = {"batch": 1, "m": m, "k": k, "n": n}
    return Op(name=name, kind=OpKind.LINEAR, dims=dims, inputs=operands, output=y)


def parts() -> dict[str, Any]:
    """Return the arguments of a two-layer graph: [4, 6] -> [4, 8] -> [4, 2]."""
    shapes = {"x": (4, 6), "w0": (6, 8), "h": (4, 8), "w1": (8, 2), "y": (4, 2)}
    ops = [linear_op("a", "x", "w0", "h", 4, 6, 8), linear_op("b", "h", "w1", "y", 4, 8, 2)]
    tensors = [TensorInfo(name=name, shape=shape) for name, shape in shapes.items()]
    return {"name": "two", "ops": ops, "tensors": tensors, "inputs": ["x"], "outputs": ["y"]}


def build(**changes: Any) -> OpGraph:
    graph = OpGraph(**{**parts(), **changes})
    graph.verify()
    return graph


def with_tensor(name: str, **changes: Any) -> list[TensorInfo]:
    tensors: list[TensorInfo] = parts()["tensors"]
    return [t.model_copy(update=changes) if t.name == name else t for t in tensors]


def with_op(index: int, **changes: Any) -> list[Op]:
    ops: list[Op] = parts()["ops"]
    ops[index] = ops[index].model_copy(update=changes)
    return ops


def test_totals_count_dense_and_kept_work() -> None:
    totals = build().totals()
    assert totals["macs"] == totals["useful_macs"] == 4 * 6 * 8 + 4 * 8 * 2
    assert totals["weight_elems"] == 6 * 8 + 8 * 2
    weight = Operand(tensor="w1", role=Role.WEIGHT, pattern=NM(nm_n=1, nm_m=4))
    sparse = build(ops=with_op(1, inputs=(Operand(tensor="h"), weight)))
    assert sparse.totals()["macs"] == totals["macs"]
    assert sparse.totals()["useful_macs"] == 4 * 6 * 8 + 4 * 2 * 2


def test_zeros_of_sparse_activations_are_not_useful() -> None:
    activation = Operand(tensor="h", pattern=NM(nm_n=1, nm_m=4, axis=1))
    weight = Operand(tensor="w1", role=Role.WEIGHT)
    op = build(ops=with_op(1, inputs=(activation, weight))).op("b")
    assert (op.macs(), op.useful_macs()) == (4 * 8 * 2, 4 * 2 * 2)
    # Both sparse: the expected count of independent zeros.
    half = weight.model_copy(update={"pattern": NM(nm_n=2, nm_m=4)})
    both = build(ops=with_op(1, inputs=(activation, half))).op("b")
    assert both.useful_macs() == 4 * 8 * 2 // 8


def test_consumers_come_in_order_and_once_each() -> None:
    double = Op(
        name="c",
        kind=OpKind.ELEMENTWISE,
        dims={"elems": 32},
        inputs=(Operand(tensor="h"), Operand(tensor="h")),
        output="z",
        attrs={"function": "mul"},
    )
    tensors = [*parts()["tensors"], TensorInfo(name="z", shape=(4, 8))]
    graph = build(ops=[*parts()["ops"], double], tensors=tensors, outputs=["y", "z"])
    assert [op.name for op in graph.consumers("h")] == ["b", "c"]


def test_producers_and_consumers_are_found() -> None:
    graph = build()
    assert graph.producer("h") is graph.op("a")
    assert graph.producer("x") is None
    assert [op.name for op in graph.consumers("h")] == ["b"]
    assert graph.consumers("y") == []
    assert list(graph.to_networkx().edges(data="tensor")) == [("a", "b", "h")]
    assert graph.input_bytes(graph.op("a"), Role.WEIGHT) == 6 * 8 * 4
    assert graph.input_bytes(graph.op("a"), Role.ACTIVATION) == 4 * 6 * 4


def test_json_gives_back_an_equal_graph() -> None:
    graph = build(notes=["a note"])
    again = OpGraph.from_json(graph.to_json())
    assert again.to_json() == graph.to_json()
    assert again.notes == ["a note"]


def test_replacing_ops_keeps_weights_and_adds_notes() -> None:
    weights = {"w0": np.zeros((6, 8), dtype=np.float32)}
    graph = build(weights=weights, notes=["old"])
    again = graph.replace(ops=list(graph.ops()), notes=["new"])
    assert again.notes == ["old", "new"]
    assert again.weight_values(again.op("a")) is weights["w0"]
    assert again.weight_values(again.op("b")) is None


BROKEN: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no ops": (lambda: {"ops": []}, "graph: need at least one operator"),
    "op names repeat": (lambda: {"ops": with_op(1, name="a")}, "unique names, found repeated a"),
    "ops out of order": (
        lambda: {"ops": parts()["ops"][::-1]},
        "op b: need inputs produced before use, found h",
    ),
    "unknown input tensor": (
        lambda: {"ops": with_op(0, inputs=(Operand(tensor="nowhere"),))},
        "op a: need known tensors, found nowhere",
    ),
    "unknown output tensor": (
        lambda: {"ops": with_op(1, output="nowhere")},
        "op b: need a known output tensor, found nowhere",
    ),
    "two producers": (
        lambda: {"ops": with_op(1, output="h")},
        "op b: need a tensor of its own, found h",
    ),
    "unknown graph output": (
        lambda: {"outputs": ["nowhere"]},
        "graph.outputs: need produced tensors, found nowhere",
    ),
    "unknown graph input": (
        lambda: {"inputs": ["x", "nowhere"]},
        "graph.inputs: need known tensors, found nowhere",
    ),
    "empty tensor": (
        lambda: {"tensors": with_tensor("y", shape=(4, 0))},
        "tensor y: need extents of at least 1",
    ),
    "unknown dtype": (
        lambda: {"tensors": with_tensor("y", dtype="float7")},
        "tensor y: need a known dtype, found float7",
    ),
    "zero extent": (
        lambda: {"ops": with_op(0, dims={"batch": 1, "m": 0, "k": 6, "n": 8})},
        "op a: need m of at least 1, found 0",
    ),
    "output of another size": (
        lambda: {"tensors": with_tensor("y", shape=(4, 3))},
        "op b: need 8 output elements, found 12 in y",
    ),
    "weights of another size": (
        lambda: {"tensors": with_tensor("w1", shape=(8, 3))},
        "op b: need 16 weights, found 24 in w1",
    ),
    "weight values of another shape": (
        lambda: {"weights": {"w1": np.zeros((2, 8), dtype=np.float32)}},
        r"weight w1: need \(8, 2\), found \(2, 8\)",
    ),
    "weight values not finite": (
        lambda: {"weights": {"w1": np.full((8, 2), np.nan, dtype=np.float32)}},
        "weight w1: need finite values, found 16 NaN or Inf",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_graph_is_refused_naming_what_breaks(what: str) -> None:
    changes, message = BROKEN[what]
    with pytest.raises(GraphError, match=message):
        build(**changes())


def test_depthwise_means_one_input_channel_per_group() -> None:
    dims = {"batch": 1, "ci": 4, "co": 8, "ih": 3, "iw": 3, "oh": 3, "ow": 3, "kh": 1, "kw": 1}
    for groups, expected in ((4, True), (2, False), (1, False)):
        op = Op(name="c", kind=OpKind.CONV, dims={**dims, "groups": groups}, inputs=(), output="y")
        assert op.is_depthwise is expected


def test_sub_byte_tensors_are_packed() -> None:
    assert TensorInfo(name="t", shape=(3,), dtype="int4").nbytes == 2
    assert TensorInfo(name="t", shape=(9,), dtype="bool").nbytes == 2
    assert TensorInfo(name="t", shape=(3,), dtype="float16").nbytes == 6
