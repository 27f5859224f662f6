"""Shapes are bound, constants folded, defects named, and nothing is dropped silently."""

import importlib.util

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwsim.core.errors import InputError
from hwsim.core.graph import OpKind
from models.onnx_import import import_onnx, unmodelled_report
from models.reference import execute
from models.zoo import load_model


def save(path, nodes, shape, constants=(), opset=17, opsets=(), outputs=("y",), name="x"):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in dict(constants).items()],
    )
    ids = [helper.make_opsetid("", opset), *opsets]
    onnx.save(helper.make_model(graph, opset_imports=ids, ir_version=8), path)
    return path


def conv_model(path, shape=(1, 3, 8, 8), weights=None, opset=17):
    w = np.ones((4, 3, 3, 3), dtype=np.float32) if weights is None else weights
    return save(path, [helper.make_node("Conv", ["x", "w"], ["y"])], shape, {"w": w}, opset)


def values(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def test_dynamic_axes_are_bound_by_batch_and_input(tmp_path):
    path = conv_model(tmp_path / "m.onnx", shape=("n", 3, "h", "w"))
    graph = load_model(str(path), inputs={"x": (2, 3, 10, 12)})
    assert graph.tensors["y"].shape == (2, 4, 8, 10)
    assert graph.totals()["macs"] == 2 * 4 * 8 * 10 * 27


def test_batch_alone_binds_the_first_axis(tmp_path):
    path = conv_model(tmp_path / "m.onnx", shape=("n", 3, 8, 8))
    assert load_model(str(path), batch=5).tensors["x"].shape == (5, 3, 8, 8)
    assert load_model(str(path)).tensors["x"].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("shape", "arguments", "words"),
    [
        (("n", 3, "h", "w"), {"batch": 1}, r"--input x: need a shape for \[n, 3, h, w\]"),
        (("n", 3, "h", "w"), {"inputs": {"x": (1, 4, 8, 8)}}, "--input x: need extents"),
        (("n", 3, "h", "w"), {"inputs": {"x": (3, 8, 8)}}, "--input x: need 4 extents"),
        ((1, 3, 8, 8), {"batch": 2}, "--batch: need 1, which the network fixes"),
        ((1, 3, 8, 8), {"inputs": {"z": (1, 3, 8, 8)}}, "--input: need one of x"),
        ((1, 3, "s", "s"), {"inputs": {"x": (1, 3, 8, 9)}}, "need s = 8 as in another"),
        ((1, 3, "h", "w"), {"inputs": {"x": (1, 3, 2, 2)}}, "large enough"),
    ],
)
def test_shapes_that_do_not_fit_are_named(tmp_path, shape, arguments, words):
    path = conv_model(tmp_path / "m.onnx", shape=shape)
    with pytest.raises(InputError, match=words) as caught:
        load_model(str(path), **arguments)
    assert "\n" not in str(caught.value)


def test_shape_computations_become_constants(tmp_path):
    # y = reshape(x, [shape(x)[0], product of the rest]) as exporters write it.
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["h"]),
        helper.make_node("Shape", ["h"], ["t"], start=1),
        helper.make_node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["h", "f"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, ("n", 3, "h"))
    graph = import_onnx(path, inputs={"x": (2, 3, 4)})
    assert [op.kind for op in graph.ops()] == [OpKind.RESHAPE, OpKind.ELEMENTWISE]
    x = values(2, 3, 4)
    expected = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    assert (execute(graph, {"x": x})["y"] == expected).all()


@pytest.mark.parametrize("condition", [True, False])
def test_if_with_a_known_condition_is_the_branch_it_takes(tmp_path, condition):
    def branch(name, operator):
        w = numpy_helper.from_array(np.float32(3.0), f"{name}_w")
        node = helper.make_node(operator, ["x", f"{name}_w"], [f"{name}_y"])
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [w])

    nodes = [
        helper.make_node(
            "If",
            ["c"],
            ["h"],
            then_branch=branch("then", "Add"),
            else_branch=branch("else", "Mul"),
        ),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, (2, 3), {"c": np.array(condition)})
    graph = import_onnx(path)
    assert [op.attrs["function"] for op in graph.ops()] == ["add" if condition else "mul", "relu"]
    x = values(2, 3)
    expected = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    assert (execute(graph, {"x": x})["y"] == expected).all()


def test_an_operator_without_model_is_kept_and_reported(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="conv"),
        helper.make_node("CumSum", ["h", "axis"], ["i"], name="cumsum"),
        helper.make_node("Relu", ["i"], ["y"], name="relu"),
    ]
    constants = {"w": values(4, 3, 3, 3), "axis": np.array(1)}
    graph = import_onnx(save(tmp_path / "m.onnx", nodes, (1, 3, 8, 8), constants))
    op = graph.op("cumsum")
    assert op.kind is OpKind.UNMODELLED
    assert op.attrs["operator"] == "CumSum"
    assert graph.tensors["i"].shape == (1, 4, 6, 6)
    assert any("cumsum" in note for note in graph.notes)
    (row,) = unmodelled_report(graph)
    # derived: float32 reads and writes of the three ops, and int64 for the axis.
    out = 4 * 4 * 6 * 6
    moved = {"conv": 4 * 3 * 64 + 4 * 108 + out, "cumsum": 2 * out + 8, "relu": 2 * out}
    assert row["bytes_share"] == pytest.approx(moved["cumsum"] / sum(moved.values()))
    assert (row["name"], row["operator"], row["macs_share"]) == ("cumsum", "CumSum", 0.0)
    with pytest.raises(InputError, match="cumsum"):
        execute(graph, {"x": values(1, 3, 8, 8)})


def test_known_multiply_accumulates_of_an_unmodelled_operator_are_reported(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, (1, 3, 4, 4, 4), {"w": values(5, 3, 2, 2, 2)})
    (row,) = unmodelled_report(import_onnx(path))
    assert row["macs_share"] == 1.0
    (op,) = import_onnx(path).ops()
    assert op.attrs["macs"] == 27 * 5 * 3 * 8


def test_operators_of_other_domains_get_an_assumed_shape_and_a_note(tmp_path):
    nodes = [
        helper.make_node("Mystery", ["x"], ["h"], domain="custom"),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    opsets = [helper.make_opsetid("custom", 1)]
    graph = import_onnx(save(tmp_path / "m.onnx", nodes, (2, 3), opsets=opsets))
    assert graph.tensors["h"].shape == (2, 3)
    assert any("assumed [2, 3]" in note for note in graph.notes)
    assert [row["operator"] for row in unmodelled_report(graph)] == ["custom.Mystery"]


def test_each_used_output_of_an_unmodelled_operator_is_an_op(tmp_path):
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["y", "i"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, (2, 5), {"k": np.array([3])}, outputs=("y", "i"))
    graph = import_onnx(path)
    assert [op.output for op in graph.ops()] == ["y", "i"]
    assert graph.tensors["i"].shape == (2, 3)
    assert graph.tensors["i"].dtype == "int64"


def test_a_condition_computed_at_run_time_is_unmodelled(tmp_path):
    def branch(name):
        node = helper.make_node("Add", ["x", "x"], [name])
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], f"g_{name}", [], [out])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b")),
    ]
    graph = import_onnx(save(tmp_path / "m.onnx", nodes, (2, 3)))
    last = list(graph.ops())[-1]
    assert last.attrs["operator"] == "If"
    assert "x" in {operand.tensor for operand in last.inputs}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_weights_are_named(tmp_path, bad):
    weights = np.ones((4, 3, 3, 3), dtype=np.float32)
    weights[0, 0, 0, 0] = bad
    path = conv_model(tmp_path / "m.onnx", weights=weights)
    with pytest.raises(InputError, match=r"tensor w: need finite values, found 1 NaN or Inf"):
        import_onnx(path)


@pytest.mark.parametrize("content", [b"", b"not an onnx file at all", bytes(range(256)) * 4])
def test_files_that_are_not_onnx_are_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="ONNX") as caught:
        load_model(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path, kept):
    path = conv_model(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError) as caught:
        import_onnx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_external_data_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    model = onnx.load(conv_model(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert import_onnx(path).weights["w"].shape == (4, 3, 3, 3)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match="external weight data") as caught:
        import_onnx(path)
    assert "\n" not in str(caught.value)


def test_other_opsets_are_refused(tmp_path):
    with pytest.raises(InputError, match="opset 7 to"):
        import_onnx(conv_model(tmp_path / "m.onnx", opset=6))
    with pytest.raises(InputError, match="opset 999"):
        import_onnx(conv_model(tmp_path / "m.onnx", opset=999))


def test_a_tensor_nobody_produces_is_named(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["ghost"], ["y"])], (2, 3))
    with pytest.raises(InputError, match="'ghost'"):
        import_onnx(path)


def test_types_without_storage_size_are_refused(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], (2, 3))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    onnx.save(model, path)
    with pytest.raises(InputError, match="COMPLEX64"):
        import_onnx(path)


def test_a_missing_onnx_package_names_the_extra(tmp_path, monkeypatch):
    path = conv_model(tmp_path / "m.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"hwsim\[onnx\]"):
        import_onnx(path)


def test_repeated_node_names_become_unique(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="act"),
        helper.make_node("Sigmoid", ["h"], ["y"], name="act"),
    ]
    graph = import_onnx(save(tmp_path / "m.onnx", nodes, (2, 3)))
    assert [op.name for op in graph.ops()] == ["act", "act.2"]


def test_local_functions_are_inlined(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Twice", ["x"], ["y"], domain="f")], (2, 3))
    model = onnx.load(path)
    ids = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("f", "Twice", ["a"], ["b"], body, ids))
    model.opset_import.append(helper.make_opsetid("f", 1))
    onnx.save(model, path)
    graph = import_onnx(path)
    x = values(2, 3)
    assert (execute(graph, {"x": x})["y"] == 2 * x).all()


def test_batch_norm_is_not_folded_past_a_second_reader_of_an_identity(tmp_path):
    norm = {n: np.abs(values(4)) + np.float32(i) for i, n in enumerate("stmv", start=1)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Identity", ["h"], ["i"]),
        helper.make_node("BatchNormalization", ["i", *"stmv"], ["n"]),
        helper.make_node("Add", ["i", "n"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, (1, 3, 5, 5), {"w": values(4, 3, 3, 3)} | norm)
    x = values(1, 3, 5, 5)
    expected = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    found = execute(import_onnx(path), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
