"""FlightLLM as a machine: what it executes, what it costs, and how a program runs on it."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingType
from typing import Any

from numpy.typing import NDArray

from hwsim.core.area import AreaDesign
from hwsim.core.errors import InputError, MappingError
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.machine import Bounds, Capabilities, Machine, OpEstimate
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Result, Stats
from hwsim.core.sparsity import NM, Block
from hwsim.core.trace import TraceSink
from hwsim.core.units import ceil_div
from hwsim.flightllm.bounds import program_bounds
from hwsim.flightllm.lower import FlightProgram, lower_graph
from hwsim.flightllm.plan import check_experts, is_grouped, prune_queries_and_keys
from hwsim.flightllm.spec import PRESETS, FlightSpec

__all__ = ["FlightMachine"]

_KINDS = frozenset(
    kind.value
    for kind in (
        OpKind.LINEAR,
        OpKind.MATMUL,
        OpKind.ELEMENTWISE,
        OpKind.NORMALIZATION,
        OpKind.SOFTMAX,
        OpKind.CONCAT,
        OpKind.TRANSPOSE,
        OpKind.RESHAPE,
        OpKind.SLICE,
        OpKind.GATHER,
    )
)
_DENSITIES = (2, 4, 8, 16)
"""N of 16 that the field of a sparse block can say."""


class FlightMachine(Machine):
    """The accelerator for language models of Zeng et al. (FPGA 2024)."""

    name = "flightllm"
    compute_unit = "mv"
    spec: FlightSpec
    spec_class = FlightSpec
    named_specs = PRESETS

    @property
    def clock_hz(self) -> int:
        return self.spec.clock_hz

    def capabilities(self) -> Capabilities:
        treatment = {
            "sparsity": "N of 16 kept weights, N of 2, 4, 8 or 16, as in the chain's multiplexers; "
            "block:16x1:S as GQSA's groups of INT4",
            "fusion": "softmax behind scores, element-wise ops behind projections",
            "moves": "reshapes, transposes, slices and gathers are addresses of loads and stores",
        }
        return Capabilities(
            _KINDS,
            ("stream",),
            ("dense", "nm", "block"),
            tuple(PRESETS),
            treatment,
            phases=("prefill", "decode", "request"),
            has_dense_baseline=False,
            operands="int8",
            has_attention_masks=True,
        )

    def adapt(self, graph: OpGraph, *, kernel: str = "auto", dataflow: str = "auto") -> OpGraph:
        del kernel, dataflow
        notes = check_experts(graph, self.spec)
        graph = prune_queries_and_keys(graph, self.spec)
        return graph.replace(ops=list(graph.ops()), notes=notes) if notes else graph

    def area(self) -> AreaDesign | None:
        if self.preset != "u280":  # other boards have another fabric
            return None
        from hwsim.flightllm.area import flight_area

        return flight_area(self.spec)

    def idle_energy_pj(self, cycles: int) -> dict[str, float]:
        from hwsim.flightllm.energy import run_energy

        return run_energy(Stats(cycles, {}, 0, 0, 0, {}), self.spec)

    def candidates(self, op: Op, dataflow: str) -> Iterable[Mapping]:
        pattern = op.weight.pattern if op.weight is not None else None
        if isinstance(pattern, NM) and (pattern.nm_m != 16 or pattern.nm_n not in _DENSITIES):
            found = f"nm:{pattern.nm_n}:{pattern.nm_m}"
            raise InputError("--sparsity", "nm:N:16 with N of 2, 4, 8 or 16", found)
        if isinstance(pattern, Block) and not is_grouped(pattern):
            found = f"block:{pattern.rows}x{pattern.cols}"
            raise InputError("--sparsity", "block:16x1:S, groups of 16 along k", found)
        if isinstance(pattern, Block) and not pattern.keep:
            raise InputError("--sparsity", "block:16x1:S with S below 1", "no group kept")
        if op.kind not in (OpKind.LINEAR, OpKind.MATMUL):
            raise InputError(f"op {op.name}", "a linear layer or attention", op.kind.value)
        dims = op.gemm()
        k = min(dims.k, 2048)
        is_step = dims.m == _steps(op)
        self._check_depth(op, is_step)
        tile = k * self.spec.mpe.mv_columns if is_step else self.spec.mpe.mm_rows * k
        yield Mapping(
            op=op.name,
            dataflow=dataflow,
            tiling={"m": dims.m, "k": k, "n": self.spec.mpe.mv_columns},
            buffer_bytes={"a_buffer": min(2 * tile, self.spec.buffers.a_bytes)},
        )

    def _check_depth(self, op: Op, is_step: bool) -> None:
        """Raise :class:`MappingError` for activations of which a buffer does not hold a row."""
        buffers, blocks = self.spec.buffers, ceil_div(op.gemm().k, self.spec.mpe.block)
        name, depth = ("b_depth", buffers.b_depth) if is_step else ("a_depth", buffers.a_depth)
        if op.kind is OpKind.LINEAR and blocks > depth:
            raise MappingError(f"op {op.name}: buffers.{name}", blocks, depth, "k blocks")

    def estimate(self, op: Op, mapping: Mapping) -> OpEstimate:
        dims = op.gemm()
        mpe, shares = self.spec.mpe, self.spec.shares
        macs, steps = dims.macs, _steps(op)
        rate = mpe.mv_macs_per_cycle if dims.m == steps else mpe.mm_macs_per_cycle
        compute = ceil_div(macs, rate * shares)
        moved = steps * dims.groups * dims.k * dims.n * self.spec.weight_bits_x10 // 80
        hbm = self.spec.hbm
        rate_bytes = hbm.channels_per_core * hbm.channel_bytes_per_s * shares
        memory = int(moved * self.spec.clock_hz / rate_bytes) + 1
        memory = 0 if self.spec.memory.model == "ideal" else memory
        cycles = int(max(compute, memory) / self.spec.speed) + 1
        return OpEstimate(cycles, compute, memory, moved, dims.groups * dims.m * dims.n, macs)

    def estimate_other(self, graph: OpGraph, op: Op, fused_ops: int) -> OpEstimate:
        elems = graph.tensors[op.output].elems
        cycles = ceil_div(elems, self.spec.sfu.lanes) + 1
        return OpEstimate(cycles, cycles, 0, 0, 0, 0)

    def lower(
        self,
        graph: OpGraph,
        mappings: list[Mapping],
        tensors: MappingType[str, NDArray[Any]] | None = None,
    ) -> FlightProgram:
        program = lower_graph(graph, mappings, tensors, self.spec)
        program.verify()
        return program

    def bounds(self, program: Program) -> Bounds:
        return program_bounds(_own(program), self.spec)

    def golden(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.flightllm.functional import exact_products
        from hwsim.flightllm.functional_sfu import vector_names, vector_operands
        from hwsim.flightllm.sfu_golden import exact_vectors

        function_of = {fact["name"]: fact["sfu"] for fact in program.meta["ops"]}
        vectors = {
            name: exact_vectors(self.spec.sfu, function_of[name], *vector_operands(name, inputs))
            for name in vector_names(inputs)
        }
        return {**exact_products(_own(program), inputs, self.spec), **vectors}

    def execute(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.flightllm.functional import core_products
        from hwsim.flightllm.functional_sfu import core_vectors

        own = _own(program)
        products = core_products(own, inputs, self.spec)
        return {**products, **core_vectors(own, inputs, self.spec)}

    def run(
        self,
        program: Program,
        inputs: MappingType[str, NDArray[Any]] | None = None,
        *,
        trace: bool | TraceSink = False,
        detail: str = "fast",
    ) -> Result:
        from hwsim.flightllm.sim import simulate  # numba is imported only when something runs

        return simulate(self, _own(program), inputs, trace=trace, detail=detail)


def _steps(op: Op) -> int:
    """Return the steps of a request that ``op`` stands for, each with weights of its own to load.

    A product of activations has them in its groups.
    """
    return int(op.attrs.get("joined_steps", 1)) if op.kind is OpKind.LINEAR else 1


def _own(program: Program) -> FlightProgram:
    if not isinstance(program, FlightProgram):
        raise InputError("program", "one that this machine lowered", program.machine)
    return program
