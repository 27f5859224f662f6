"""Walk an ONNX graph in order: fold constants, infer shapes, emit operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hwsim.core.errors import GraphError, InputError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.units import DTYPE_BYTES
from models.build import GraphBuilder
from models.onnx_import import movement, pointwise, products  # register their handlers
from models.onnx_import.infer import NodeInference, attribute_value, element_dtype
from models.onnx_import.read import bind_inputs, initializers, read_model, tensor_values
from models.onnx_import.state import HANDLERS, ImportState, Node, UnsupportedError

__all__ = ["import_file"]

_REGISTERED = (movement, pointwise, products)
Shape = tuple[int, ...]


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
        self.inference = NodeInference(model, source)
        self.state = ImportState(GraphBuilder(name), source, Counter(_uses(model.graph)))

    def dtype(self, tensor: str, element: int) -> str:
        """Return the name of an ONNX element type; raise if it has no storage size here."""
        found = element_dtype(element)
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
        known = {
            name: state.constants[r] if state.is_const(r) else state.builder.tensors[r]
            for name, r in zip(proto.input, inputs, strict=True)
            if r
        }
        types = self.inference.outputs(proto, known)
        node = Node(
            operator=proto.op_type if domain == "ai.onnx" else f"{domain}.{proto.op_type}",
            name=state.unique(proto.name or f"{proto.op_type}_{position}"),
            inputs=inputs,
            outputs=tuple(proto.output),
            attrs={a.name: attribute_value(a) for a in proto.attribute},
            opset=self.inference.opset(domain),
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
                attrs = {a.name: attribute_value(a) for a in proto.attribute}
                values = list(shape)[attrs.get("start", 0) : attrs.get("end", len(shape))]
            state.constants[proto.output[0]] = np.array(values, dtype=np.int64)
            return True
        if proto.op_type == "Constant" and proto.attribute[0].name == "value":
            name = proto.output[0]
            state.constants[name] = tensor_values(state.source, name, proto.attribute[0].t)
            return True
        if not all(state.is_const(name) for name in inputs if name):
            return False
        named = zip(proto.input, inputs, strict=True)
        feeds = {name: state.constants[resolved] for name, resolved in named if name}
        results = self.inference.evaluate(proto, feeds)
        state.constants |= results or {}
        return results is not None

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
                self.state.alias(outer, inner)

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
