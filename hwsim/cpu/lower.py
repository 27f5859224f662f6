"""Turn a mapped graph into calls of kernels.

Activations are float32 in an arena, channels last or, inside the sparse cluster, plane by plane;
where an op needs the other layout, a conversion comes before it and belongs to it. Clamping
activations run inside the kernel before them. Weights are read packed, in the order kernels use.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping as MappingType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind, Role
from hwsim.core.mapping import Mapping
from hwsim.cpu.codes.streams import convert_layout
from hwsim.cpu.memory_map import MemoryMap, place_tensors
from hwsim.cpu.microkernel.uops import BoundKernel
from hwsim.cpu.others import other_calls
from hwsim.cpu.plan import chosen_block
from hwsim.cpu.products import product_calls
from hwsim.cpu.program import Call, CpuProgram, make_program
from hwsim.cpu.spec import CpuSpec

__all__ = ["LowerContext", "lower_graph"]

_CLAMPS = ("relu", "clip")
_STACK_BYTES = 4096
_UNTIMED = ("none", "unmodelled")


class LowerContext:
    """What lowering one op needs to know: addresses, layouts, the call list."""

    def __init__(self, graph: OpGraph, spec: CpuSpec, memory: MemoryMap) -> None:
        self.graph = graph
        self.spec = spec
        self.memory = memory
        self.layouts: dict[str, str] = dict.fromkeys(graph.inputs, "nhwc")
        self.calls: list[Call] = []
        self.op_id = 0
        self.mapping: Mapping | None = None
        self.mask: NDArray[np.bool_] | None = None
        self._stack = memory.table(_STACK_BYTES) + _STACK_BYTES
        self._told = memory.total_bytes()

    def address(self, tensor: str) -> int:
        """Return the address of an activation."""
        return self.memory.tensors[tensor]

    def taken_weights(self) -> dict[str, int]:
        """Return the bytes of packed weights and indices placed since the last call."""
        total = self.memory.total_bytes()
        taken, self._told = total - self._told, total
        return {"weights": taken}

    def call(self, kernel: Any, addresses: dict[str, int], streams: Any = None) -> None:
        """Append a call for the present op."""
        self.calls.append(Call(self.op_id, kernel, addresses, dict(streams or {})))

    def generated(self, code: BoundKernel, places: MappingType[str, int]) -> None:
        """Append a call of generated code whose arrays lie at ``places``."""
        self.call(code.kernel, code.addresses({"stack": self._stack, **places}), code.streams)

    def read(self, tensor: str, layout: str) -> int:
        """Return the address of ``tensor`` in ``layout``, converted into room of its own."""
        shape = self.graph.tensors[tensor].shape
        have = self.layouts.get(tensor, layout)
        if have == layout or len(shape) != 4 or shape[2] * shape[3] == 1 or shape[1] == 1:
            return self.address(tensor)
        batch, channels, height, width = shape
        room = self.memory.copy(4 * self.graph.tensors[tensor].elems)
        kernel = convert_layout(channels, height * width, to_chw=layout == "chw")
        for image in range(batch):
            at = 4 * image * channels * height * width
            self.call(kernel, {"a": self.address(tensor) + at, "out": room + at})
        return room


def lower_graph(
    graph: OpGraph,
    mappings: list[Mapping],
    tensors: MappingType[str, NDArray[Any]] | None,
    spec: CpuSpec,
) -> CpuProgram:
    """Return the program of ``graph``; ``tensors`` may hold masks ``OP.mask`` [groups, k, n].

    Raises :class:`InputError` if a mapping is missing or out of order, and its subclass
    :class:`MappingError` if a kernel does not fit the registers.
    """
    if [m.op for m in mappings] != [op.name for op in graph.ops()]:
        raise InputError("mappings", "one per op in the graph's order", f"{len(mappings)}")
    values = dict(tensors or {})
    aliases = _aliases(graph)
    context = LowerContext(graph, spec, place_tensors(graph, aliases))
    facts = []
    for index, (op, mapping) in enumerate(zip(graph.ops(), mappings, strict=True)):
        mapping.check(spec)
        context.op_id = index
        if op.is_gemm and mapping.dataflow not in _UNTIMED:
            mapping = _lower_product(context, op, mapping, values)
        elif mapping.dataflow not in _UNTIMED and op.output not in aliases:
            other_calls(context, op)
        _note_layout(context, op, mapping)
        facts.append(_facts(op, mapping, is_inside=op.output in aliases))
        facts[-1]["touched_bytes"] = context.taken_weights()
    meta = {"model": graph.name, "ops": facts, "notes": graph.notes}
    names = [op.name for op in graph.ops()]
    return make_program(names, context.calls, values, meta)


def _lower_product(
    context: LowerContext, op: Op, mapping: Mapping, values: dict[str, NDArray[Any]]
) -> Mapping:
    context.mask = None
    if mapping.placement.get("kernel") == "spmm":
        context.mask = _mask(op, values)
        mapping = chosen_block(op, mapping, context.mask, context.spec)
    context.mapping = mapping
    product_calls(context, op)
    return mapping


def _mask(op: Op, values: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return the kept weights bool[k, n]: given ones, or drawn from the pattern."""
    dims = op.gemm()
    given = values.get(f"{op.name}.mask")
    if given is not None:
        return np.asarray(given, dtype=bool).reshape(dims.k, dims.n)
    assert op.weight is not None
    seed = zlib.crc32(op.name.encode())
    return op.weight.pattern.sample_mask((dims.k, dims.n), np.random.default_rng(seed))


def _note_layout(context: LowerContext, op: Op, mapping: Mapping) -> None:
    """Record the layout of the op's output."""
    if op.is_gemm:
        layout = mapping.placement.get("layout", "nhwc")
    else:
        found = [
            context.layouts.get(o.tensor, "nhwc") for o in op.inputs if o.role is Role.ACTIVATION
        ]
        layout = found[0] if found else "nhwc"
    context.layouts[op.output] = layout


def _aliases(graph: OpGraph) -> dict[str, str]:
    """Return outputs that are the memory of an input: views, and clamps inside a kernel."""
    aliases = {}
    for op in graph.ops():
        source = op.inputs[0].tensor
        producer = graph.producer(source)
        is_clamp = (
            op.kind is OpKind.ELEMENTWISE
            and op.attrs.get("function") in _CLAMPS
            and producer is not None
            and len(graph.consumers(source)) == 1
            and source not in graph.outputs
            and (producer.is_gemm or producer.attrs.get("function") in ("add", "mul", "sub"))
        )
        if op.kind is OpKind.RESHAPE or is_clamp:
            aliases[op.output] = source
    return aliases


def _facts(op: Op, mapping: Mapping, *, is_inside: bool) -> dict[str, Any]:
    text = mapping.model_dump(mode="json")
    if op.is_gemm:
        text["gemm"] = op.gemm().to_json()
    elif is_inside:
        text["note"] = "inside the kernel before"
    return {
        "name": op.name,
        "kind": op.kind.value,
        "stage": op.stage.value,
        "dims": dict(op.dims),
        "mapping": text,
        "macs": op.macs(),
        "useful_macs": op.useful_macs(),
    }
