"""One core as a machine: what it executes, what it costs, and how a program runs on it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import SPARSE_KINDS, Op, OpGraph, OpKind
from hwsim.core.machine import Bounds, Capabilities, Machine, OpEstimate
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Result
from hwsim.core.trace import TraceSink
from hwsim.core.units import ceil_div
from hwsim.cpu.limits import program_bounds
from hwsim.cpu.lower import lower_graph
from hwsim.cpu.plan import KERNELS, adapt_graph, plan_product
from hwsim.cpu.program import CpuProgram
from hwsim.cpu.spec import PRESETS, CpuSpec

__all__ = ["CpuMachine"]

_TRAINING = {OpKind.CONV_WGRAD, OpKind.WEIGHT_UPDATE, OpKind.NM_PRUNE, OpKind.UNMODELLED}


class CpuMachine(Machine):
    """One core of a phone, or of a host running WebAssembly, with XNNPACK-style kernels."""

    name = "cpu"
    compute_unit = "slot0"
    spec: CpuSpec
    spec_class = CpuSpec
    named_specs = PRESETS

    @property
    def clock_hz(self) -> int:
        return self.spec.clock_hz

    def capabilities(self) -> Capabilities:
        return Capabilities(
            op_kinds=frozenset(
                kind.value for kind in OpKind if kind not in _TRAINING | SPARSE_KINDS
            ),
            dataflows=("sparse", "dense"),
            patterns=("dense", "nm", "unstructured", "block"),
            presets=tuple(PRESETS),
            treatment={
                "sparse": (
                    "plane by plane (CHW): sparse 1x1 layers, depthwise and first convolution; if "
                    "more than two thirds of the 1x1 weights are zero"
                ),
                "dense": "channels last: 6x8 products; sparse weights are multiplied as zeros",
                "clamps": "relu and clip run inside the kernel before",
                "other": "streamed through vector registers",
            },
            kernels=KERNELS,
            needs_masks=True,
        )

    def adapt(self, graph: OpGraph, *, kernel: str = "auto", dataflow: str = "auto") -> OpGraph:
        return adapt_graph(graph, self.spec, kernel, dataflow)

    def idle_energy_pj(self, cycles: int) -> dict[str, float]:
        from hwsim.cpu.energy import run_energy
        from hwsim.cpu.kernel_run import COUNT_NAMES

        return run_energy(dict.fromkeys(COUNT_NAMES, 0), 0, 0, cycles, self.spec)

    def candidates(self, op: Op, dataflow: str) -> Iterable[Mapping]:
        yield plan_product(op, dataflow, self.spec)

    def estimate(self, op: Op, mapping: Mapping) -> OpEstimate:
        dims = op.gemm()
        macs = dims.macs if mapping.dataflow == "dense" else op.useful_macs()
        return self._estimate(macs, 4 * dims.groups * dims.k * dims.n)

    def estimate_other(self, graph: OpGraph, op: Op, fused_ops: int) -> OpEstimate:
        del fused_ops
        return self._estimate(graph.tensors[op.output].elems, 0)

    def _estimate(self, macs: int, weight_bytes: int) -> OpEstimate:
        compute = ceil_div(macs, 4)
        memory = ceil_div(weight_bytes, 64) * self.spec.memory_transfer_cycles(256) // 256
        cycles = max(compute, memory)
        return OpEstimate(cycles, compute, memory, weight_bytes, 0, macs)

    def lower(
        self,
        graph: OpGraph,
        mappings: list[Mapping],
        tensors: MappingType[str, NDArray[Any]] | None = None,
    ) -> Program:
        return lower_graph(graph, mappings, tensors, self.spec)

    def bounds(self, program: Program) -> Bounds:
        return program_bounds(_own(program), self.spec)

    def golden(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.cpu.ordered_golden import ordered_outputs

        return {**ordered_outputs(program, inputs)}

    def execute(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.cpu.functional import kernel_outputs

        return {**kernel_outputs(_own(program), inputs)}

    def run(
        self,
        program: Program,
        inputs: MappingType[str, NDArray[Any]] | None = None,
        *,
        trace: bool | TraceSink = False,
        detail: str = "fast",
    ) -> Result:
        from hwsim.cpu.sim import simulate  # numba is imported only when something runs

        return simulate(self, _own(program), inputs, trace=trace, detail=detail)


def _own(program: Program) -> CpuProgram:
    if not isinstance(program, CpuProgram):
        raise InputError("program", "a program lowered for cpu", program.machine)
    return program
