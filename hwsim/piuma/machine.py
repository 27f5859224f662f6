"""PIUMA as a machine: which sparse products it runs, by which kernels, at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.machine import Bounds, Capabilities, Machine, OpEstimate
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Result, Stats
from hwsim.core.trace import TraceSink
from hwsim.piuma.estimate import bound_cycles, estimate_cycles, estimate_traffic
from hwsim.piuma.golden import golden_outputs
from hwsim.piuma.kernel_table import KERNELS
from hwsim.piuma.lower import lower_graph
from hwsim.piuma.program import ThreadProgram
from hwsim.piuma.smash_layout import smash_layout
from hwsim.piuma.spec import PRESETS, PiumaSpec
from hwsim.piuma.workload_spec import WORKLOADS

__all__ = ["PiumaMachine"]


class PiumaMachine(Machine):
    """Blocks of multi-threaded pipelines with scratchpads, running sparse products."""

    name = "piuma"
    compute_unit = "b0.mtp0"
    spec: PiumaSpec
    spec_class = PiumaSpec
    named_specs = PRESETS

    @property
    def clock_hz(self) -> int:
        return self.spec.clock_hz

    def capabilities(self) -> Capabilities:
        return Capabilities(
            op_kinds=frozenset(KERNELS),
            dataflows=("threads",),
            patterns=("dense",),
            presets=tuple(PRESETS),
            treatment={
                "sparse": "thread programs run on the real matrix; results are read from memory",
                "other": "operators that are no sparse product are refused",
            },
            kernels=(
                *(k for kind, names in KERNELS.items() if kind != "sparse_step" for k in names),
                *WORKLOADS,
            ),
            has_dense_baseline=False,
        )

    def workload_parameters(self, kernel: str) -> MappingType[str, Any]:
        if kernel not in WORKLOADS:
            return {}
        parameters: dict[str, Any] = getattr(self.spec, kernel).model_dump()
        return parameters

    def idle_energy_pj(self, cycles: int) -> dict[str, float]:
        from hwsim.piuma.energy import run_energy
        from hwsim.piuma.statistics import empty_counts

        counts = empty_counts(self.spec)
        return run_energy(Stats(cycles, {}, 0, 0, 0, counts.bytes), [counts], self.spec)

    def candidates(self, op: Op, dataflow: str) -> Iterable[Mapping]:
        if op.kind.value not in KERNELS:
            raise InputError("--machine", f"one that runs {op.kind.value} ({op.name})", self.name)
        asked = op.attrs["kernel"]
        # What kernel is best depends on the data: without a choice it is the newest.
        kernel = KERNELS[op.kind.value][0] if asked == "auto" else asked
        buffers = {}
        if kernel.startswith("smash"):
            layout = smash_layout(self.spec, int(kernel[-1]), op.dims["n"])
            halves = 2 if layout.half_bytes else 1
            buffers["spad"] = halves * (layout.half_bytes or 16 * layout.slots)
        yield Mapping(
            op=op.name, dataflow=dataflow, placement={"kernel": kernel}, buffer_bytes=buffers
        )

    def estimate(self, op: Op, mapping: Mapping) -> OpEstimate:
        fact = {"kind": op.kind.value, "kernel": mapping.placement["kernel"]}
        fact |= {"attrs": op.attrs, "dims": op.dims}
        compute, memory = estimate_cycles(fact, self.spec)
        read, written = estimate_traffic(fact)
        return OpEstimate(max(compute, memory), compute, memory, read, written, op.useful_macs())

    def estimate_other(self, graph: OpGraph, op: Op, fused_ops: int) -> OpEstimate:
        raise InputError("--machine", f"one that runs {op.kind.value} ({op.name})", self.name)

    def lower(
        self,
        graph: OpGraph,
        mappings: list[Mapping],
        tensors: MappingType[str, NDArray[Any]] | None = None,
    ) -> ThreadProgram:
        return lower_graph(graph, mappings, tensors, self.spec)

    def bounds(self, program: Program) -> Bounds:
        parts = [bound_cycles(fact, self.spec) for fact in program.meta["ops"]]
        return Bounds(sum(b.min_cycles for b in parts), sum(b.max_cycles for b in parts))

    def golden(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        # Operands are the program's tensors; inputs can be results that later ops are to work on.
        return golden_outputs(_threads(program), inputs)

    def execute(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        return self.run(program, inputs).outputs

    def run(
        self,
        program: Program,
        inputs: MappingType[str, NDArray[Any]] | None = None,
        *,
        trace: bool | TraceSink = False,
        detail: str = "fast",
    ) -> Result:
        from hwsim.piuma.sim import simulate  # numba is imported only when something runs

        has_outputs = inputs is not None
        return simulate(
            self, _threads(program), has_outputs=has_outputs, detail=detail, trace=trace
        )


def _threads(program: Program) -> ThreadProgram:
    if not isinstance(program, ThreadProgram):
        raise InputError("program", "one lowered for piuma", f"one for {program.machine}")
    return program
