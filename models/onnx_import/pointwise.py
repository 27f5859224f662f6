"""Import element-by-element operators, normalisations, reductions, pooling and resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwsim.core.graph import Operand, OpKind
from models.onnx_import.products import two_axes, two_axes_pads, window
from models.onnx_import.state import ImportState, Node, UnsupportedError, handles

__all__: list[str] = []

UNARY: dict[str, tuple[str, dict[str, float]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Erf": ("erf", {}),
    "Sqrt": ("sqrt", {}),
    "Exp": ("exp", {}),
    "Log": ("log", {}),
    "Neg": ("neg", {}),
    "Abs": ("abs", {}),
    "Reciprocal": ("reciprocal", {}),
    "Floor": ("floor", {}),
    "Ceil": ("ceil", {}),
    "Sin": ("sin", {}),
    "Cos": ("cos", {}),
    "Not": ("not", {}),
    "Softplus": ("softplus", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_swish", {}),
}
"""ONNX operator -> function, and its attributes with ONNX's defaults."""

BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Pow": "pow",
    "Min": "min",
    "Max": "max",
    "Sum": "add",
    "Equal": "equal",
    "Greater": "greater",
    "Less": "less",
    "And": "and",
    "Or": "or",
    "PRelu": "prelu",
    "Where": "where",
}


@handles(*UNARY)
def unary(state: ImportState, node: Node) -> None:
    function, defaults = UNARY[node.operator]
    attrs: dict[str, Any] = {"function": function}
    attrs |= {key: float(node.attrs.get(key, value)) for key, value in defaults.items()}
    state.emit(node, OpKind.ELEMENTWISE, [node.inputs[0]], attrs=attrs)


@handles("Gelu")
def gelu(state: ImportState, node: Node) -> None:
    approximate = node.attrs.get("approximate", "none")
    attrs = {"function": "gelu_tanh" if approximate == "tanh" else "gelu"}
    state.emit(node, OpKind.ELEMENTWISE, [node.inputs[0]], attrs=attrs)


@handles("Cast")
def cast(state: ImportState, node: Node) -> None:
    attrs = {"function": "cast", "to": node.dtypes[0]}
    if node.dtypes[0] is None:
        raise UnsupportedError("a type without storage size")
    state.emit(node, OpKind.ELEMENTWISE, [node.inputs[0]], attrs=attrs)


@handles(*BINARY)
def binary(state: ImportState, node: Node) -> None:
    attrs: dict[str, Any] = {"function": BINARY[node.operator]}
    inputs: list[str | Operand] = list(node.inputs)
    if len(inputs) == 2:
        for side, name in enumerate(node.inputs):
            if state.is_const(name) and state.constants[name].size == 1:
                attrs["scalar"] = state.constants[name].item()
                attrs["scalar_side"] = ("left", "right")[side]
                del inputs[side]
                break
    state.emit(node, OpKind.ELEMENTWISE, inputs, attrs=attrs)


@handles("Clip")
def clip(state: ImportState, node: Node) -> None:
    attrs: dict[str, Any] = {"function": "clip"}
    for index, key in enumerate(("min", "max"), start=1):
        if key in node.attrs:
            attrs[key] = float(node.attrs[key])
        elif node.has(index):
            attrs[key] = state.const(node, index, "bounds").item()
    state.emit(node, OpKind.ELEMENTWISE, [node.inputs[0]], attrs=attrs)


@handles("Expand")
def expand(state: ImportState, node: Node) -> None:
    state.emit(node, OpKind.ELEMENTWISE, [node.inputs[0]], attrs={"function": "identity"})


@handles("LayerNormalization", "RMSNormalization")
def layer_norm(state: ImportState, node: Node) -> None:
    if any(node.outputs[1:]):
        raise UnsupportedError("its statistics are outputs")
    axis = int(node.attrs.get("axis", -1)) % len(node.shape)
    function = "layer" if node.operator.startswith("Layer") else "rms"
    attrs = {"function": function, "axis": axis}
    attrs["epsilon"] = float(node.attrs.get("epsilon", 1e-5))
    state.emit(node, OpKind.NORMALIZATION, [i for i in node.inputs if i], attrs=attrs)


@handles("Softmax")
def softmax(state: ImportState, node: Node) -> None:
    rank = len(node.shape)
    if node.opset >= 13:
        axes = [int(node.attrs.get("axis", -1)) % rank]
    else:
        # Before opset 13 everything from the axis on is one row.
        axes = list(range(int(node.attrs.get("axis", 1)) % rank, rank))
    state.emit(node, OpKind.SOFTMAX, [node.inputs[0]], attrs={"axes": axes})


@handles("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def reduce(state: ImportState, node: Node) -> None:
    rank = len(state.shape(node.inputs[0]))
    if node.has(1):
        axes = [int(a) for a in state.const(node, 1, "axes").reshape(-1)]
    else:
        axes = [int(a) for a in node.attrs.get("axes", [])]
    if not axes:
        axes = [] if node.attrs.get("noop_with_empty_axes") else list(range(rank))
    attrs = {"function": node.operator.removeprefix("Reduce").lower()}
    values = {
        "axes": sorted(a % rank for a in axes),
        "keepdims": bool(node.attrs.get("keepdims", 1)),
    }
    state.emit(node, OpKind.REDUCE, [node.inputs[0]], attrs=attrs | values)


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(state: ImportState, node: Node) -> None:
    spatial = list(state.shape(node.inputs[0])[2:])
    if len(spatial) not in (1, 2):
        raise UnsupportedError(f"{len(spatial)} spatial axes")
    kernel = two_axes(spatial, 1)
    attrs: dict[str, Any] = {"function": "max" if "Max" in node.operator else "average"}
    attrs |= {"kernel": kernel, "strides": kernel, "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    state.emit(node, OpKind.POOL, [node.inputs[0]], attrs=attrs | {"count_include_pad": False})


@handles("MaxPool", "AveragePool")
def pool(state: ImportState, node: Node) -> None:
    kernel = tuple(node.attrs["kernel_shape"])
    if len(kernel) not in (1, 2):
        raise UnsupportedError(f"{len(kernel)} spatial axes")
    if any(node.outputs[1:]):
        raise UnsupportedError("its indices are an output")
    values = window(node, state.shape(node.inputs[0])[2:], kernel)
    attrs: dict[str, Any] = {"function": "max" if node.operator == "MaxPool" else "average"}
    attrs |= {"kernel": two_axes(list(kernel), 1), "pads": two_axes_pads(values["pads"])}
    attrs |= {key: two_axes(values[key], 1) for key in ("strides", "dilations")}
    attrs["count_include_pad"] = bool(node.attrs.get("count_include_pad", 0))
    state.emit(node, OpKind.POOL, [node.inputs[0]], attrs=attrs)


@handles("Resize", "Upsample")
def resize(state: ImportState, node: Node) -> None:
    x = state.shape(node.inputs[0])
    mode = node.attrs.get("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    refused = {"antialias": 1, "exclude_outside": 1}
    if mode not in ("nearest", "linear") or any(node.attrs.get(k) == v for k, v in refused.items()):
        raise UnsupportedError(f"mode {mode} with its options")
    if node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("keep_aspect_ratio_policy")
    out = node.shape
    scales = [o / i for o, i in zip(out, x, strict=True)]
    given = _scales(state, node)
    axes = [int(a) % len(x) for a in node.attrs.get("axes", range(len(x)))]
    if given is not None:
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = float(scale)
    attrs: dict[str, Any] = {"mode": mode, "scales": scales}
    if node.operator == "Upsample" or node.opset < 11:
        shrinks = any(scale < 1.0 for scale in scales)
        attrs |= {"coordinates": "asymmetric", "rounding": "ceil" if shrinks else "floor"}
    else:
        coordinates = node.attrs.get("coordinate_transformation_mode", "half_pixel")
        if coordinates == "tf_crop_and_resize":
            raise UnsupportedError("coordinates tf_crop_and_resize")
        attrs["coordinates"] = coordinates
        attrs["rounding"] = node.attrs.get("nearest_mode", "round_prefer_floor")
    state.emit(node, OpKind.RESIZE, [node.inputs[0]], attrs=attrs)


def _scales(state: ImportState, node: Node) -> list[float] | None:
    """Return the stated scales, or None if the node states sizes."""
    if "scales" in node.attrs:
        return list(node.attrs["scales"])
    index = 1 if node.operator == "Upsample" or node.opset < 11 else 2
    if not node.has(index):
        return None
    values = state.const(node, index, "scales")
    return None if values.size == 0 else [float(v) for v in np.asarray(values, dtype=np.float64)]
