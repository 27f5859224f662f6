"""Turn a graph of sparse products into thread programs, with places for all tensors."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, Role
from hwsim.core.mapping import Mapping
from hwsim.piuma.isa import THREAD_INSTRUCTION, Assembler
from hwsim.piuma.kernel_table import KERNELS, Writer
from hwsim.piuma.memory_map import MemoryMap
from hwsim.piuma.opcodes import OPCODES
from hwsim.piuma.program import OpCode, ThreadProgram
from hwsim.piuma.spec import PiumaSpec

__all__ = ["lower_graph"]


def lower_graph(
    graph: OpGraph,
    mappings: list[Mapping],
    tensors: MappingType[str, NDArray[Any]] | None,
    spec: PiumaSpec,
) -> ThreadProgram:
    """Return the program of ``graph``; ``tensors`` replace the graph's own values.

    Raises
    ------
    InputError
        If an op is no sparse product, or its data or windows do not fit.
    """
    values = dict(graph.weights if tensors is None else tensors)
    memory = MemoryMap()
    writer = Writer(spec, memory, values)
    codes: list[OpCode] = []
    rows: list[NDArray[np.void]] = []
    facts = []
    for index, (op, mapping) in enumerate(zip(graph.ops(), mappings, strict=True)):
        if op.kind.value not in KERNELS:
            raise InputError("--machine", f"one that runs {op.kind.value} ({op.name})", "piuma")
        mapping.check(spec)
        for operand in op.inputs:
            if operand.role is Role.WEIGHT and operand.tensor not in memory:
                memory.add(operand.tensor, graph.tensors[operand.tensor].nbytes)
        assembler = Assembler(op_id=index)
        launch = writer.write(assembler, op, mapping.placement["kernel"])
        code = assembler.array()
        first = sum(len(part) for part in rows)
        rows.append(code)
        codes.append(OpCode(op.name, first, first + len(code), launch))
        facts.append(_facts(op, mapping))
    return ThreadProgram(
        machine="piuma",
        units=[],
        opcodes=list(OPCODES),
        op_names=[op.name for op in graph.ops()],
        channels=[],
        instructions=np.concatenate(rows).astype(THREAD_INSTRUCTION),
        tensors=values | {k: v for k, v in writer.prepared.items() if v is not None},
        meta={
            "model": graph.name,
            "notes": list(graph.notes),
            "ops": facts,
            "prepared": list(writer.prepared),
        },
        memory=memory,
        codes=codes,
    )


def _facts(op: Op, mapping: Mapping) -> dict[str, Any]:
    return {
        "name": op.name,
        "kind": op.kind.value,
        "stage": op.stage.value,
        "dims": dict(op.dims),
        "mapping": mapping.model_dump(mode="json"),
        "kernel": mapping.placement["kernel"],
        "macs": op.macs(),
        "useful_macs": op.useful_macs(),
        "inputs": [operand.tensor for operand in op.inputs],
        "given": [o.tensor for o in op.inputs if o.role is Role.WEIGHT],
        "output": op.output,
        "attrs": dict(op.attrs),
    }
