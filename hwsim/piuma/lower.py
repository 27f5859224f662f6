"""Turn a graph of sparse products into thread programs, with places for all tensors."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.mapping import Mapping
from hwsim.piuma.dense_rows import DenseProduct, write_sddmm, write_spmm
from hwsim.piuma.isa import THREAD_INSTRUCTION, Assembler
from hwsim.piuma.memory_map import MemoryMap, SparseArrays
from hwsim.piuma.opcodes import OPCODES
from hwsim.piuma.program import OpCode, ThreadProgram
from hwsim.piuma.smash import write_smash
from hwsim.piuma.smash_role import add_product
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch

__all__ = ["KERNELS", "lower_graph"]

KERNELS: dict[str, tuple[str, ...]] = {
    "spgemm": ("smash-v3", "smash-v2", "smash-v1"),
    "spmv": ("spmv",),
    "spmm": ("spmm",),
    "sddmm": ("sddmm",),
}
"""Kind of product -> its kernels, the default first."""


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
    memory = MemoryMap()
    codes: list[OpCode] = []
    rows: list[NDArray[np.void]] = []
    facts = []
    for index, (op, mapping) in enumerate(zip(graph.ops(), mappings, strict=True)):
        if op.kind.value not in KERNELS:
            raise InputError("--machine", f"one that runs {op.kind.value} ({op.name})", "piuma")
        mapping.check(spec)
        for operand in op.inputs:
            if operand.tensor not in memory:
                memory.add(operand.tensor, graph.tensors[operand.tensor].nbytes)
        assembler = Assembler(op_id=index)
        launch = _write(assembler, spec, memory, op, mapping.placement["kernel"])
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
        tensors=dict(graph.weights if tensors is None else tensors),
        meta={"model": graph.name, "notes": list(graph.notes), "ops": facts},
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
        "output": op.output,
        "attrs": dict(op.attrs),
    }


def _sparse(memory: MemoryMap, op: Op, position: int) -> SparseArrays:
    """Return the addresses of the sparse operand whose three arrays begin at ``position``."""
    places = [memory.address(o.tensor) for o in op.inputs[position : position + 3]]
    return SparseArrays(*places)


def _write(a: Assembler, spec: PiumaSpec, memory: MemoryMap, op: Op, kernel: str) -> Launch:
    left = _sparse(memory, op, 0)
    m, k, n = op.dims["m"], op.dims["k"], op.dims["n"]
    if op.kind is OpKind.SPGEMM:
        result = memory.add_sparse(op.output, m, op.attrs["capacity"], spec.blocks)
        operands = (left, _sparse(memory, op, 3))
        product = add_product(
            memory, spec, (m, k, n), operands, result, name=op.output, is_integer=False
        )
        return write_smash(a, spec, product, int(kernel[-1]))
    dense = [memory.address(operand.tensor) for operand in op.inputs[3:]]
    if op.kind is OpKind.SDDMM:
        c = memory.add(op.output, 8 * max(1, op.attrs["nnz_a"]))
        return write_sddmm(a, spec, DenseProduct(m, k, left, dense[0], dense[1], c))
    c = memory.add(op.output, 8 * m * n)
    return write_spmm(a, spec, DenseProduct(m, n, left, 0, dense[0], c))
