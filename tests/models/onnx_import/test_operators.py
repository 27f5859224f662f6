"""Every imported operator computes what onnxruntime computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwsim.core.graph import OpGraph, OpKind
from models.onnx_import import import_onnx
from models.reference import execute

SEED = 5


def save(path, nodes, inputs, constants=(), outputs=("y",), opset=17, infos=()):
    """Write a model with float inputs ``name: shape`` and return its path."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in dict(constants).items()],
        value_info=list(infos),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    # onnxruntime wants typed outputs.
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    onnx.save(model, path)
    return path


def feeds_of(path, shapes):
    rng = np.random.default_rng(SEED)
    session = onnxruntime.InferenceSession(path)
    kinds = {"tensor(float)": np.float32}
    return {
        i.name: rng.standard_normal(shapes[i.name]).astype(kinds[i.type])
        for i in session.get_inputs()
    }


def compare(path, shapes=None, bind=None, tolerance=1e-5):
    """Check all outputs against onnxruntime; return the graph."""
    graph = import_onnx(path, inputs=bind)
    feeds = feeds_of(path, shapes or {n: graph.tensors[n].shape for n in graph.inputs})
    session = onnxruntime.InferenceSession(path)
    expected = session.run(None, feeds)
    results = execute(graph, feeds)
    for info, values in zip(session.get_outputs(), expected, strict=True):
        found = results[info.name]
        assert found.shape == values.shape
        np.testing.assert_allclose(found, values, rtol=tolerance, atol=tolerance, err_msg=str(SEED))
    again = OpGraph.from_json(graph.to_json())
    assert list(again.ops()) == list(graph.ops())
    assert graph.totals()["unmodelled_ops"] == 0
    return graph


def values(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CONVOLUTIONS = {
    "plain": ((2, 4, 9, 8), (6, 4, 3, 3), {}),
    "padded": ((1, 4, 9, 8), (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
    "asymmetric": ((1, 4, 9, 8), (6, 4, 3, 2), {"pads": [0, 1, 2, 3]}),
    "strided": ((2, 4, 9, 8), (6, 4, 3, 3), {"strides": [2, 3], "pads": [1, 0, 1, 0]}),
    "dilated": ((1, 4, 12, 11), (6, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "grouped": ((2, 6, 9, 8), (9, 2, 3, 3), {"group": 3}),
    "depthwise": ((2, 6, 9, 8), (6, 1, 5, 5), {"group": 6, "pads": [2, 2, 2, 2]}),
    "multiplied": ((1, 3, 9, 8), (6, 1, 3, 3), {"group": 3, "strides": [2, 2]}),
    "same_upper": ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same_lower": ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "one_axis": ((2, 4, 11), (6, 2, 3), {"group": 2, "pads": [2, 1], "strides": [2]}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_convolution(tmp_path, case, bias):
    x, w, attrs = CONVOLUTIONS[case]
    constants = {"w": values(*w)} | ({"b": values(w[0])} if bias else {})
    node = helper.make_node("Conv", ["x", *constants], ["y"], **attrs)
    graph = compare(save(tmp_path / "m.onnx", [node], {"x": x}, constants), tolerance=1e-4)
    (op,) = graph.ops()
    out = graph.tensors["y"].shape
    assert op.kind is OpKind.CONV
    assert op.macs() == np.prod(out) * np.prod(w[1:])


TRANSPOSED = {
    "plain": ((2, 4, 5, 6), (4, 3, 3, 3), {}),
    "strided": ((1, 4, 5, 6), (4, 3, 2, 2), {"strides": [2, 2]}),
    "padded": ((1, 4, 5, 6), (4, 3, 3, 4), {"strides": [2, 3], "pads": [1, 0, 0, 2]}),
    "extra_rows": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
    "grouped": ((2, 6, 5, 6), (6, 2, 3, 3), {"strides": [2, 2], "group": 3}),
    "dilated": ((1, 4, 5, 6), (4, 3, 3, 3), {"dilations": [2, 2]}),
    "sized": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
    "same_upper": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolution(tmp_path, case):
    x, w, attrs = TRANSPOSED[case]
    constants = {"w": values(*w), "b": values(w[1] * attrs.get("group", 1))}
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attrs)
    graph = compare(save(tmp_path / "m.onnx", [node], {"x": x}, constants), tolerance=1e-4)
    (op,) = graph.ops()
    assert op.macs() == np.prod(x) * np.prod(w[1:])


def test_the_comparison_fails_for_a_wrong_weight(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = save(tmp_path / "m.onnx", [node], {"x": (1, 2, 5, 5)}, {"w": values(3, 2, 3, 3)})
    graph = import_onnx(path)
    feeds = feeds_of(path, {"x": (1, 2, 5, 5)})
    graph.weights["w"] = graph.weights["w"] + np.float32(1e-2)
    expected = onnxruntime.InferenceSession(path).run(None, feeds)[0]
    assert not np.allclose(execute(graph, feeds)["y"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", [None, (6,), (1, 6), (1,)])
def test_gemm(tmp_path, trans_a, trans_b, bias):
    constants = {"w": values(6, 5) if trans_b else values(5, 6)}
    if bias:
        constants["b"] = values(*bias)
    attrs = {"transA": trans_a, "transB": trans_b, "alpha": 0.5, "beta": 2.0}
    node = helper.make_node("Gemm", ["x", *constants], ["y"], **attrs)
    shape = (5, 3) if trans_a else (3, 5)
    graph = compare(save(tmp_path / "m.onnx", [node], {"x": shape}, constants))
    assert graph.totals()["macs"] == 3 * 5 * 6
    assert [op.kind for op in graph.ops()][-1] is OpKind.LINEAR


@pytest.mark.parametrize(
    ("a", "b", "is_const", "kind"),
    [
        ((3, 5), (5, 6), True, OpKind.LINEAR),
        ((2, 3, 5), (5, 6), True, OpKind.LINEAR),
        ((5,), (5, 6), True, OpKind.LINEAR),
        ((3, 5), (5,), True, OpKind.LINEAR),
        ((2, 3, 5), (2, 5, 6), True, OpKind.MATMUL),
        ((2, 4, 3, 5), (2, 4, 5, 6), False, OpKind.MATMUL),
        ((2, 3, 5), (5, 6), False, OpKind.MATMUL),
        ((2, 3, 5), (1, 5, 6), False, OpKind.MATMUL),
    ],
)
def test_matmul(tmp_path, a, b, is_const, kind):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    inputs = {"x": a} | ({} if is_const else {"w": b})
    constants = {"w": values(*b)} if is_const else {}
    graph = compare(save(tmp_path / "m.onnx", [node], inputs, constants))
    (op,) = graph.ops()
    assert op.kind is kind
    columns = b[-1] if len(b) > 1 else 1
    assert op.macs() == np.prod(a) * columns


def test_weights_on_the_left_become_a_linear_layer(tmp_path):
    node = helper.make_node("MatMul", ["w", "x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], {"x": (2, 5, 6)}, {"w": values(3, 5)})
    graph = compare(path)
    assert [op.kind.value for op in graph.ops()] == ["transpose", "linear", "transpose"]


@pytest.mark.parametrize(
    ("operator", "shape", "group"),
    [("Conv", (6, 2, 3, 3), 2), ("ConvTranspose", (4, 3, 3, 3), 2), ("Gemm", (4, 6), 1)],
)
@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_is_folded_into_the_product_before_it(tmp_path, operator, shape, group, bias):
    x = (3, 4) if operator == "Gemm" else (2, 4, 7, 7)
    constants = {"w": values(*shape)} | ({"b": values(6, seed=2)} if bias else {})
    attrs = {} if operator == "Gemm" else {"group": group}
    names = ["s", "t", "m", "v"]
    norm = {n: values(6, seed=10 + i) for i, n in enumerate(names)}
    norm["v"] = np.abs(norm["v"]) + np.float32(0.1)
    nodes = [
        helper.make_node(operator, ["x", *constants], ["h"], **attrs),
        helper.make_node("BatchNormalization", ["h", *names], ["y"], epsilon=1e-3),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": x}, constants | norm)
    graph = compare(path, tolerance=1e-4)
    assert [op.is_gemm for op in graph.ops()] == [True]


def test_batch_norm_stays_where_its_input_has_another_reader(tmp_path):
    norm = {n: np.abs(values(6, seed=i)) + np.float32(0.1) for i, n in enumerate("stmv")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("BatchNormalization", ["h", *"stmv"], ["n"]),
        helper.make_node("Add", ["h", "n"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 4, 5, 5)}, {"w": values(6, 4, 3, 3)} | norm)
    graph = compare(path, tolerance=1e-4)
    assert [op.kind for op in graph.ops()][1] is OpKind.NORMALIZATION


ONE_INPUT = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "Erf": {},
    "Exp": {},
    "Neg": {},
    "Abs": {},
    "Reciprocal": {},
    "Floor": {},
    "Ceil": {},
    "Sin": {},
    "Cos": {},
    "Softplus": {},
    "LeakyRelu": {"alpha": 0.3},
    "Elu": {"alpha": 0.7},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "HardSwish": {},
    "Identity": {},
    "Dropout": {},
    "Flatten": {"axis": 2},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
}


@pytest.mark.parametrize("operator", ONE_INPUT)
def test_unary_operator(tmp_path, operator):
    node = helper.make_node(operator, ["x"], ["y"], **ONE_INPUT[operator])
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 4, 5)}), tolerance=1e-4)


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_unary_operator_of_positive_values(tmp_path, operator):
    nodes = [
        helper.make_node("Abs", ["x"], ["h"]),
        helper.make_node(operator, ["h"], ["y"]),
    ]
    compare(save(tmp_path / "m.onnx", nodes, {"x": (2, 3)}))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(tmp_path, approximate):
    node = helper.make_node("Gelu", ["x"], ["y"], approximate=approximate)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 9)}, opset=20))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
@pytest.mark.parametrize("other", [(2, 3, 4), (3, 1), (1,), ()])
@pytest.mark.parametrize("order", ["xw", "wx"])
@pytest.mark.parametrize("is_const", [False, True])
def test_binary_operator(tmp_path, operator, other, order, is_const):
    node = helper.make_node(operator, list(order), ["y"])
    inputs = {"x": (2, 3, 4)} | ({} if is_const else {"w": other})
    constants = {"w": values(*other)} if is_const else {}
    compare(save(tmp_path / "m.onnx", [node], inputs, constants), tolerance=1e-4)


def test_power_sum_clip_and_where(tmp_path):
    constants = {"two": np.float32(2.0), "low": np.float32(-0.5), "high": np.float32(0.25)}
    nodes = [
        helper.make_node("Pow", ["x", "two"], ["a"]),
        helper.make_node("Clip", ["x", "low", "high"], ["b"]),
        helper.make_node("Clip", ["x", "", "high"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["d"]),
        helper.make_node("Greater", ["x", "low"], ["e"]),
        helper.make_node("Where", ["e", "d", "x"], ["y"]),
    ]
    compare(save(tmp_path / "m.onnx", nodes, {"x": (3, 7)}, constants))


def test_cast_and_expand(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.INT32),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Expand", ["b", "shape"], ["y"]),
    ]
    compare(save(tmp_path / "m.onnx", nodes, {"x": (3, 1)}, {"shape": np.array([2, 3, 4])}))


POOLS = {
    "plain": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "padded": {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "ceil_padded": {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "ceil_mode": 1,
    },
    "same": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
}


@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", [(7, 8), (8, 6)])
def test_pooling(tmp_path, case, operator, size):
    node = helper.make_node(operator, ["x"], ["y"], **POOLS[case])
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, *size)}))


def test_pooling_counts_padding_if_asked(tmp_path):
    attrs = POOLS["padded"] | {"count_include_pad": 1}
    node = helper.make_node("AveragePool", ["x"], ["y"], **attrs)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 7, 8)}))


def test_dilated_max_pooling(tmp_path):
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], dilations=[2, 2])
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 7, 8)}))


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("attrs", [{"axes": [2, 3]}, {"axes": [-1], "keepdims": 0}, {}])
def test_reduction_with_axes_as_attribute(tmp_path, operator, attrs):
    node = helper.make_node(operator, ["x"], ["y"], **attrs)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 4, 5)}, opset=13))


def test_reduction_with_axes_as_input(tmp_path):
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 4)}, {"axes": np.array([1])}))


@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (13, 1), (13, -1)])
def test_softmax(tmp_path, opset, axis):
    node = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 4)}, opset=opset))


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization(tmp_path, axis):
    shape = (4,) if axis == -1 else (3, 4)
    constants = {"s": values(*shape), "b": values(*shape, seed=2)}
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis, epsilon=1e-3)
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 3, 4)}, constants))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.5, 0.75), (4.0, 1.0)])
def test_resize_by_scales(tmp_path, mode, coordinates, scales):
    attrs = {"mode": mode, "coordinate_transformation_mode": coordinates}
    constants = {"scales": np.array([1, 1, *scales], dtype=np.float32)}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **attrs)
    compare(save(tmp_path / "m.onnx", [node], {"x": (1, 2, 4, 8)}, constants))


@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_resize_to_sizes(tmp_path, nearest):
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], nearest_mode=nearest)
    constants = {"sizes": np.array([1, 2, 7, 5])}
    compare(save(tmp_path / "m.onnx", [node], {"x": (1, 2, 4, 8)}, constants))


def test_upsample_of_old_files(tmp_path):
    constants = {"scales": np.array([1, 1, 2, 3], dtype=np.float32)}
    node = helper.make_node("Upsample", ["x", "scales"], ["y"], mode="nearest")
    compare(save(tmp_path / "m.onnx", [node], {"x": (1, 2, 3, 4)}, constants, opset=9))


def test_movement_operators(tmp_path):
    constants = {
        "shape": np.array([0, -1, 6]),
        "axes": np.array([0]),
        "starts": np.array([1, -1]),
        "ends": np.array([3, -(2**63) + 1]),
        "along": np.array([1, 3]),
        "steps": np.array([1, -2]),
        "pads": np.array([0, 1, 0, 2]),
        "fill": np.float32(3.0),
        "rows": np.array([[0, -1], [2, 1]]),
        "more": values(1, 2, 2, 6),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Concat", ["a", "more"], ["b"], axis=1),
        helper.make_node("Slice", ["b", "starts", "ends", "along", "steps"], ["c"]),
        helper.make_node("Reshape", ["b", "shape"], ["d"]),
        helper.make_node("Squeeze", ["d", "axes"], ["e"]),
        helper.make_node("Pad", ["e", "pads", "fill"], ["f"]),
        helper.make_node("Gather", ["f", "rows"], ["g"], axis=0),
        helper.make_node("Unsqueeze", ["c", "axes"], ["h"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 2, 6, 5)}, constants, outputs=("g", "h"))
    compare(path)


@pytest.mark.parametrize("mode", ["edge", "reflect"])
def test_padding_modes(tmp_path, mode):
    node = helper.make_node("Pad", ["x", "pads"], ["y"], mode=mode)
    constants = {"pads": np.array([0, 1, 0, 2])}
    compare(save(tmp_path / "m.onnx", [node], {"x": (2, 5)}, constants))


def test_split_becomes_several_slices(tmp_path):
    node = helper.make_node("Split", ["x", "sizes"], ["y", "z"], axis=1)
    constants = {"sizes": np.array([2, 5])}
    path = save(tmp_path / "m.onnx", [node], {"x": (2, 7)}, constants, outputs=("y", "z"))
    assert [op.kind for op in compare(path).ops()] == [OpKind.SLICE, OpKind.SLICE]
