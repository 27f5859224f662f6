"""Walk an ONNX graph in order: fold constants, infer shapes, emit operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hwsim.core.errors import GraphError, InputError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.units import DTYPE_BYTES
from models.build import GraphBuilder
from models.onnx_import import movement, pointwise, products  # register their handlers
from models.onnx_import.read import bind_inputs, initializers, read_model, tensor_values
from models.onnx_import.state import HANDLERS, ImportState, Node, UnsupportedError

__all__ = ["import_file"]

_REGISTERED = (movement, pointwise, products)
MAX_INFERENCE_ELEMS = 4096
"""Constants up to this size are shown to shape inference (shapes, axes, scales are tiny)."""

Shape = tuple[int, ...]
_RANDOM = ("Random", "Multinomial", "Bernoulli")


def import_file(path: Path, name: str, batch: int | None, shapes: Mapping[str, Shape]) -> OpGraph:
    """Return the verified graph of ``path``; the contract is ``import_onnx``'s."""
    model = read_model(path)
    graph = model.graph
    walker = _Walker(model, str(path), name)
    for tensor, (shape, element) in bind_inputs(graph, batch, shapes).items():
        walker.state.builder.input(tensor, shape, walker.dtype(tensor, element))
    walker.walk(graph)
    return walker.finish([value.name for value in graph.output])


def _uses(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for sub in [attribute.g, *attribute.graphs]:
                yield from _uses(sub)
    for value in graph.output:
        yield value.name


class _Walker:
    """One import: ``walk`` the main graph, then ``finish``."""

    def __init__(self, model: onnx.ModelProto, source: str, name: str) -> None:
        self.opsets = list(model.opset_import)
        self.versions = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        self.state = ImportState(GraphBuilder(name), source, Counter(_uses(model.graph)))
        self.graph_outputs = {value.name for value in model.graph.output}
        self.declared = {value.name: value.type for value in model.graph.value_info}
        self.declared |= {value.name: value.type for value in model.graph.output}

    def dtype(self, tensor: str, element: int) -> str:
        """Return the name of an ONNX element type; raise if it has no storage size here."""
        found = _dtype(element)
        if found is None:
            label = onnx.TensorProto.DataType.Name(element)
            known = ", ".join(DTYPE_BYTES)
            raise InputError(f"{self.state.source}: tensor {tensor}", f"one of {known}", label)
        return found

    def walk(self, graph: onnx.GraphProto) -> None:
        """Emit the operators of ``graph``, which may be a branch inside another."""
        self.state.constants |= initializers(self.state.source, graph)
        for position, proto in enumerate(graph.node):
            self._visit(proto, position)

    def finish(self, outputs: list[str]) -> OpGraph:
        """Return the verified graph."""
        state, kept = self.state, []
        for output in outputs:
            resolved = state.resolve(output)
            if state.is_const(resolved):
                state.builder.notes.append(f"output {output} is constant and left out")
                continue
            if resolved != output:
                shape = state.builder.shape(resolved)
                name = state.unique(f"output {output}")
                state.builder.add(OpKind.RESHAPE, name, [resolved], shape, output=output)
            kept.append(output)
        self._drop_unused_tensors(kept)
        try:
            return state.builder.build(kept)
        except GraphError as error:
            raise InputError(f"{state.source}: {error.field}", error.need, error.found) from None

    def _drop_unused_tensors(self, outputs: list[str]) -> None:
        builder = self.state.builder
        used = {*builder.inputs, *outputs}
        for op in builder.ops:
            used |= {op.output, *(operand.tensor for operand in op.inputs)}
        builder.tensors = {k: v for k, v in builder.tensors.items() if k in used}
        builder.weights = {k: v for k, v in builder.weights.items() if k in used}

    def _visit(self, proto: onnx.NodeProto, position: int) -> None:
        state = self.state
        inputs = tuple(state.resolve(name) for name in proto.input)
        for name in inputs:
            if name and name not in state.builder.tensors and not state.is_const(name):
                where = f"{state.source}: node {proto.name or proto.op_type}"
                raise InputError(where, "inputs produced before use", repr(name))
        domain = proto.domain or "ai.onnx"
        if domain == "ai.onnx" and self._fold(proto, inputs):
            return
        if domain == "ai.onnx" and proto.op_type == "If" and state.is_const(inputs[0]):
            self._inline(proto, bool(state.constants[inputs[0]].item()))
            return
        types = self._infer(proto, inputs, domain)
        node = Node(
            operator=proto.op_type if domain == "ai.onnx" else f"{domain}.{proto.op_type}",
            name=state.unique(proto.name or f"{proto.op_type}_{position}"),
            inputs=inputs,
            outputs=tuple(proto.output),
            attrs={a.name: _attribute(a) for a in proto.attribute},
            opset=self.versions.get(domain, 1),
            shapes=tuple(shape for shape, _ in types),
            dtypes=tuple(dtype for _, dtype in types),
        )
        self._emit(proto, node)

    def _emit(self, proto: onnx.NodeProto, node: Node) -> None:
        state = self.state
        handler = HANDLERS.get(node.operator)
        before = len(state.builder.ops)
        try:
            if handler is None:
                raise UnsupportedError("no model of this operator")
            handler(state, node)
        except UnsupportedError as reason:
            del state.builder.ops[before:]
            self._unmodelled(proto, node, str(reason), reason.macs)

    def _fold(self, proto: onnx.NodeProto, inputs: tuple[str, ...]) -> bool:
        """Evaluate ``proto`` if its result is known at import; return whether it was."""
        state = self.state
        if proto.op_type in ("Shape", "Size"):
            shape = state.shape(inputs[0])
            if proto.op_type == "Size":
                values: Any = np.int64(np.prod(shape))
            else:
                attrs = {a.name: _attribute(a) for a in proto.attribute}
                values = list(shape)[attrs.get("start", 0) : attrs.get("end", len(shape))]
            state.constants[proto.output[0]] = np.array(values, dtype=np.int64)
            return True
        if proto.op_type == "Constant" and proto.attribute[0].name == "value":
            name = proto.output[0]
            state.constants[name] = tensor_values(state.source, name, proto.attribute[0].t)
            return True
        is_pure = not proto.op_type.startswith(_RANDOM) and proto.op_type not in (
            "If",
            "Loop",
            "Scan",
        )
        if not is_pure or not all(state.is_const(name) for name in inputs if name):
            return False
        return self._evaluate(proto, inputs)

    def _evaluate(self, proto: onnx.NodeProto, inputs: tuple[str, ...]) -> bool:
        feeds = {n: self.state.constants[r] for n, r in zip(proto.input, inputs, strict=True) if n}
        graph = onnx.helper.make_graph(
            [proto],
            "fold",
            [onnx.helper.make_value_info(n, _type_of(v)) for n, v in feeds.items()],
            [onnx.helper.make_empty_tensor_value_info(n) for n in proto.output if n],
        )
        try:
            model = onnx.helper.make_model(graph, opset_imports=self.opsets)
            results = ReferenceEvaluator(model).run(None, feeds)
        except Exception:  # any failure of the evaluator leaves the node to the ordinary path
            return False
        for name, values in zip([n for n in proto.output if n], results, strict=True):
            self.state.constants[name] = np.asarray(values)
        return True

    def _inline(self, proto: onnx.NodeProto, condition: bool) -> None:
        """Replace an If whose condition is known by the branch it takes."""
        wanted = "then_branch" if condition else "else_branch"
        branch = next(a.g for a in proto.attribute if a.name == wanted)
        self.walk(branch)
        for outer, value in zip(proto.output, branch.output, strict=True):
            inner = self.state.resolve(value.name)
            if self.state.is_const(inner):
                self.state.constants[outer] = self.state.constants[inner]
            else:
                self.state.aliases[outer] = inner

    def _infer(
        self, proto: onnx.NodeProto, inputs: tuple[str, ...], domain: str
    ) -> list[tuple[Shape | None, str | None]]:
        """Return shape and dtype per output, None where unknown."""
        state = self.state
        types: dict[str, Any] = {}
        data: dict[str, Any] = {}
        for name, resolved in zip(proto.input, inputs, strict=True):
            if resolved and state.is_const(resolved):
                values = state.constants[resolved]
                types[name] = _type_of(values)
                if values.size <= MAX_INFERENCE_ELEMS:
                    data[name] = onnx.numpy_helper.from_array(values)
            elif resolved:
                info = state.builder.tensors[resolved]
                element = onnx.helper.np_dtype_to_tensor_dtype(_numpy_dtype(info.dtype))
                types[name] = onnx.helper.make_tensor_type_proto(element, info.shape)
        found: dict[str, Any] = {}
        try:
            version = self.versions.get(domain, 1)
            schema = onnx.defs.get_schema(proto.op_type, version, proto.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=self.opsets
            )
        except onnx.defs.SchemaError:
            pass  # an operator of another domain: what the file declares must do
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            what = " ".join(str(error).split())
            where = f"{state.source}: node {proto.name or proto.op_type}"
            raise InputError(where, "inputs that fit the operator", what) from None
        return [self._known(name, found.get(name)) for name in proto.output]

    def _known(self, name: str, inferred: Any) -> tuple[Shape | None, str | None]:
        for candidate in (inferred, self.declared.get(name)):
            if candidate is None or not candidate.HasField("tensor_type"):
                continue
            tensor = candidate.tensor_type
            shape = tuple(d.dim_value for d in tensor.shape.dim)
            if tensor.HasField("shape") and all(extent > 0 for extent in shape):
                return shape, _dtype(tensor.elem_type)
        return None, None

    def _unmodelled(self, proto: onnx.NodeProto, node: Node, reason: str, macs: int) -> None:
        state = self.state
        names = dict.fromkeys([*node.inputs, *self._captured(proto)])
        inputs = [n for n in names if n and not (state.is_const(n) and not self._storable(n))]
        attrs = {"operator": node.operator, "reason": reason, "macs": macs}
        used = [i for i, n in enumerate(node.outputs) if n and state.uses[n]] or [0]
        for index in used:
            shape = node.shapes[index]
            if shape is None or node.dtypes[index] is None:
                shape = state.shape(inputs[0]) if inputs else ()
                state.builder.notes.append(
                    f"{node.name}: output {node.outputs[index]} of unmodelled {node.operator} has "
                    f"no known shape; assumed {list(shape)}, that of its first input"
                )
            state.emit(
                node,
                OpKind.UNMODELLED,
                list(inputs),
                index=index,
                shape=shape,
                attrs=attrs | ({"output_index": index} if index else {}),
            )
            attrs["macs"] = 0  # counted once
        state.builder.notes.append(f"{node.name}: {node.operator} is unmodelled ({reason})")

    def _captured(self, proto: onnx.NodeProto) -> Iterator[str]:
        """Yield tensors of this graph that the branches and bodies of ``proto`` read."""
        for attribute in proto.attribute:
            for sub in [attribute.g, *attribute.graphs]:
                for name in _uses(sub):
                    resolved = self.state.resolve(name)
                    if resolved in self.state.builder.tensors:
                        yield resolved

    def _storable(self, name: str) -> bool:
        values = self.state.constants[name]
        return bool(values.size) and str(values.dtype) in DTYPE_BYTES


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _dtype(element: int) -> str | None:
    """Return our name of an ONNX element type, or None if it has no storage size."""
    label = onnx.TensorProto.DataType.Name(element).lower()
    label = {"float": "float32", "double": "float64"}.get(label, label)
    return label if label in DTYPE_BYTES else None


def _numpy_dtype(dtype: str) -> np.dtype[Any]:
    # Shape inference only needs an element type; numpy has no bfloat16 and int4.
    return np.dtype({"bfloat16": "float16", "int4": "int8"}.get(dtype, dtype))


def _type_of(values: NDArray[Any]) -> Any:
    element = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    return onnx.helper.make_tensor_type_proto(element, values.shape)
