"""SAT as a machine: what it executes, what it costs, and how a program runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as MappingType
from typing import Any

from numpy.typing import NDArray

from hwsim.core.area import AreaDesign
from hwsim.core.errors import InputError
from hwsim.core.gemm import GEMM_KINDS
from hwsim.core.graph import SPARSE_KINDS, Op, OpGraph, OpKind
from hwsim.core.machine import Bounds, Capabilities, Machine, OpEstimate
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.result import Result, Stats
from hwsim.core.trace import TraceSink
from hwsim.sat.bounds import program_bounds
from hwsim.sat.lane_work import estimate_lanes, lane_work
from hwsim.sat.lower import lower_graph
from hwsim.sat.plan import GemmPlan, plan_gemm
from hwsim.sat.spec import PRESETS, SatSpec
from hwsim.sat.tiling import estimate_gemm, gemm_plans

__all__ = ["SatMachine"]

_GEMM_KINDS = frozenset(GEMM_KINDS)
_ALL_KINDS = frozenset(kind.value for kind in OpKind) - SPARSE_KINDS - {OpKind.UNMODELLED}

_PHASES = ("infer", "train", "prefill", "decode")


class SatMachine(Machine):
    """The N:M sparse training accelerator of Fang et al. (2023)."""

    name = "sat"
    compute_unit = "stce"
    spec: SatSpec
    spec_class = SatSpec
    named_specs = PRESETS

    @property
    def clock_hz(self) -> int:
        return self.spec.clock_hz

    @property
    def _is_scalesim(self) -> bool:
        return self.spec.array.timing == "scalesim"

    def capabilities(self) -> Capabilities:
        if self._is_scalesim:
            treatment = {
                "depthwise": "one GEMM per channel, as SCALE-Sim lowers it",
                "other": "operators that are not matrix products are listed, not timed",
            }
            return Capabilities(
                _GEMM_KINDS,
                ("ws", "os", "is"),
                ("dense", "nm"),
                tuple(PRESETS),
                treatment,
                phases=_PHASES,
            )
        treatment = {
            "depthwise": (
                "packed into one array tile: on the diagonal of a dense tile, or gathered as 1:M "
                "groups so that each column's operand multiplexer picks its own channel; the "
                "mapper takes the cheaper"
            ),
            "fused": "pointwise operators run on results before they are stored",
            "other": "elementwise, pooling, softmax and normalisation use the vector path",
            "training": "WUVE updates weights, SORE selects N:M groups",
        }
        patterns = ("dense", "nm")
        return Capabilities(
            _ALL_KINDS,
            ("ws", "os"),
            patterns,
            tuple(PRESETS),
            treatment,
            has_slots=True,
            phases=_PHASES,
        )

    def area(self) -> AreaDesign | None:
        if self._is_scalesim:
            return None
        from hwsim.sat.area import sat_area

        return sat_area(self.spec)

    def idle_energy_pj(self, cycles: int) -> dict[str, float]:
        from hwsim.sat.energy import run_energy

        nothing = dict.fromkeys(("vector", "wuve", "sore"), 0)
        return run_energy(Stats(cycles, {}, 0, 0, 0, {}), nothing, self.spec)

    def candidates(self, op: Op, dataflow: str) -> Iterable[Mapping]:
        for plan in self._plans(op, dataflow):
            yield plan.to_mapping()

    def costed_candidates(
        self, op: Op, dataflow: str
    ) -> Iterable[tuple[OpEstimate, Callable[[], Mapping]]]:
        for plan in self._plans(op, dataflow):
            yield estimate_gemm(plan, self.spec), plan.to_mapping

    def _plans(self, op: Op, dataflow: str) -> Iterator[GemmPlan]:
        is_pruned = op.weight is not None and not op.weight.pattern.is_dense
        if self._is_scalesim and dataflow != "ws" and is_pruned:
            raise InputError("--dataflow", "ws for N:M weights", repr(dataflow))
        yield from gemm_plans(op, dataflow, self.spec)

    def estimate(self, op: Op, mapping: Mapping) -> OpEstimate:
        return estimate_gemm(plan_gemm(op, mapping, self.spec), self.spec)

    def estimate_other(self, graph: OpGraph, op: Op, fused_ops: int) -> OpEstimate:
        return estimate_lanes(lane_work(graph, op, fused_ops, self.spec), self.spec)

    def lower(
        self,
        graph: OpGraph,
        mappings: list[Mapping],
        tensors: MappingType[str, NDArray[Any]] | None = None,
    ) -> Program:
        program = lower_graph(graph, mappings, tensors, self.spec)
        program.verify()
        return program

    def bounds(self, program: Program) -> Bounds:
        return program_bounds(program, self.spec)

    def golden(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.sat.golden import golden_outputs

        return {**golden_outputs(program, inputs)}

    def execute(
        self, program: Program, inputs: MappingType[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        from hwsim.sat.functional import array_outputs

        return {**array_outputs(program, inputs)}

    def run(
        self,
        program: Program,
        inputs: MappingType[str, NDArray[Any]] | None = None,
        *,
        trace: bool | TraceSink = False,
        detail: str = "fast",
    ) -> Result:
        from hwsim.sat.sim import simulate  # numba is imported only when something runs

        return simulate(self, program, inputs, trace=trace, detail=detail)
