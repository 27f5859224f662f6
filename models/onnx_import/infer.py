"""Evaluate constant nodes and infer output shapes, one ONNX node at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hwsim.core.errors import InputError
from hwsim.core.graph import TensorInfo
from hwsim.core.units import DTYPE_BYTES

__all__ = ["NodeInference", "attribute_value", "element_dtype"]

MAX_INFERENCE_ELEMS = 4096
"""Constants up to this size are shown to shape inference (shapes, axes, scales are tiny)."""

Shape = tuple[int, ...]
Array = NDArray[Any]
_IMPURE = ("Random", "Multinomial", "Bernoulli", "If", "Loop", "Scan")


def attribute_value(attribute: onnx.AttributeProto) -> Any:
    """Return an attribute's value; texts as str."""
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def element_dtype(element: int) -> str | None:
    """Return our name of an ONNX element type, or None if it has no storage size."""
    label = onnx.TensorProto.DataType.Name(element).lower()
    label = {"float": "float32", "double": "float64"}.get(label, label)
    return label if label in DTYPE_BYTES else None


def _type_of(dtype: np.dtype[Any], shape: Shape) -> Any:
    element = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return onnx.helper.make_tensor_type_proto(element, shape)


class NodeInference:
    """What a model says about operators and tensors, applied to single nodes."""

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        self.source = source
        self._opsets = list(model.opset_import)
        self._versions = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        self._declared = {value.name: value.type for value in model.graph.value_info}
        self._declared |= {value.name: value.type for value in model.graph.output}

    def opset(self, domain: str) -> int:
        """Return the version of ``domain`` that the model uses."""
        return int(self._versions.get(domain, 1))

    def evaluate(
        self, proto: onnx.NodeProto, feeds: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """Return the outputs of ``proto`` for constant inputs, or None if that is impossible."""
        if proto.op_type.startswith(_IMPURE):
            return None
        names = [name for name in proto.output if name]
        graph = onnx.helper.make_graph(
            [proto],
            "constant",
            [onnx.helper.make_value_info(n, _type_of(v.dtype, v.shape)) for n, v in feeds.items()],
            [onnx.helper.make_empty_tensor_value_info(name) for name in names],
        )
        try:
            model = onnx.helper.make_model(graph, opset_imports=self._opsets)
            results = ReferenceEvaluator(model).run(None, dict(feeds))
        except Exception:  # any failure of the evaluator leaves the node to the ordinary path
            return None
        return {name: np.asarray(values) for name, values in zip(names, results, strict=True)}

    def outputs(
        self, proto: onnx.NodeProto, inputs: Mapping[str, TensorInfo | Array]
    ) -> list[tuple[Shape | None, str | None]]:
        """Return shape and dtype per output of ``proto``, None where unknown.

        Raises
        ------
        InputError
            If the inputs contradict the operator or leave no output element.
        """
        types: dict[str, Any] = {}
        data: dict[str, Any] = {}
        for name, value in inputs.items():
            if isinstance(value, TensorInfo):
                # Only the element type matters here; numpy has no bfloat16 and int4.
                stand_in = {"bfloat16": "float16", "int4": "int8"}.get(value.dtype, value.dtype)
                types[name] = _type_of(np.dtype(stand_in), value.shape)
            else:
                types[name] = _type_of(value.dtype, value.shape)
                if value.size <= MAX_INFERENCE_ELEMS:
                    data[name] = onnx.numpy_helper.from_array(value)
        found: dict[str, Any] = {}
        try:
            version = self.opset(proto.domain or "ai.onnx")
            schema = onnx.defs.get_schema(proto.op_type, version, proto.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=self._opsets
            )
        except onnx.defs.SchemaError:
            pass  # an operator of another domain: what the file declares must do
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            what = " ".join(str(error).split())
            raise InputError(self._where(proto), "inputs that fit the operator", what) from None
        return [self._known(proto, name, found.get(name)) for name in proto.output]

    def _where(self, proto: onnx.NodeProto) -> str:
        return f"{self.source}: node {proto.name or proto.op_type}"

    def _known(
        self, proto: onnx.NodeProto, name: str, inferred: Any
    ) -> tuple[Shape | None, str | None]:
        for candidate in (inferred, self._declared.get(name)):
            if candidate is None or not candidate.HasField("tensor_type"):
                continue
            tensor = candidate.tensor_type
            is_bound = all(d.HasField("dim_value") for d in tensor.shape.dim)
            shape = tuple(d.dim_value for d in tensor.shape.dim)
            if candidate is inferred and is_bound and min(shape, default=1) < 1:
                raise InputError(self._where(proto), "an input large enough", f"output {shape}")
            if tensor.HasField("shape") and min(shape, default=1) > 0:
                return shape, element_dtype(tensor.elem_type)
        return None, None
