"""Turn a mapped graph into one SAT program.

Every op becomes loads, array or vector work and stores on double-buffered macro tiles. An op's
activations are loaded only after all stores of the op before; its first weights may be prefetched
earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import astuple
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import MappingError
from hwsim.core.graph import Op, OpGraph
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.units import ceil_div
from hwsim.sat.isa import CHANNELS, OPCODES, UNITS, InstructionBuffer
from hwsim.sat.lane_work import LaneWork, lane_unit, lane_work, vector_passes
from hwsim.sat.plan import ACTIVATION_BYTES, GemmPlan, Phase, plan_gemm
from hwsim.sat.spec import SatSpec
from hwsim.sat.traffic import OpTraffic

__all__ = ["lower_graph"]

_CHUNK_BYTES = 64 * 1024
"""Bytes a vector op moves per instruction, if its buffers allow (assumed)."""


def lower_graph(
    graph: OpGraph,
    mappings: list[Mapping],
    tensors: MappingType[str, NDArray[Any]] | None,
    spec: SatSpec,
) -> Program:
    """Return the program of ``graph``; ``mappings`` has one entry per op, in order.

    Raises :class:`MappingError` if a mapping does not fit the spec.
    """
    by_op = {mapping.op: mapping for mapping in mappings}
    code = InstructionBuffer()
    facts: list[dict[str, Any]] = []
    fused_ops = _fused_ops(by_op)
    previous = False
    for index, op in enumerate(graph.ops()):
        mapping = by_op[op.name]
        mapping.check(spec)
        code.op_id = index
        traffic = OpTraffic()
        emitter = _Emitter(code, spec, traffic, waits_for_op=previous)
        issued = 0
        if mapping.dataflow in ("fused", "none", "unmodelled"):
            pass
        elif op.is_gemm:
            plan = plan_gemm(op, mapping, spec)
            issued = emitter.gemm_op(plan, fused_ops.get(op.name, 0))
            previous = True
        else:
            emitter.lane_op(op.name, lane_work(graph, op, fused_ops.get(op.name, 0), spec))
            previous = True
        facts.append(_facts(op, mapping, issued, traffic))
    return Program(
        machine="sat",
        units=UNITS,
        opcodes=OPCODES,
        op_names=[op.name for op in graph.ops()],
        channels=CHANNELS,
        instructions=code.array(),
        tensors=dict(tensors or {}),
        meta={
            "model": graph.name,
            "ops": facts,
            "notes": graph.notes,
            "gemm_shapes": [(dataflow, *astuple(gemm)) for dataflow, gemm in code.shapes],
        },
    )


def _facts(op: Op, mapping: Mapping, issued: int, traffic: OpTraffic) -> dict[str, Any]:
    placed = mapping.model_dump(mode="json")
    if op.is_gemm:
        placed["gemm"] = op.gemm().to_json()
    return {
        "name": op.name,
        "kind": op.kind.value,
        "stage": op.stage.value,
        "dims": dict(op.dims),
        "mapping": placed,
        "unit": "stce" if op.is_gemm else lane_unit(op),
        "macs": op.macs(),
        "useful_macs": op.useful_macs(),
        "issued_macs": issued,
        "bytes": traffic.bytes,
    }


def _fused_ops(by_op: dict[str, Mapping]) -> dict[str, int]:
    """Return, per leading op, how many ops are fused into it."""
    leaders = [m.placement["into"] for m in by_op.values() if m.dataflow == "fused"]
    return {leader: leaders.count(leader) for leader in set(leaders)}


class _Emitter:
    """Append the instructions of one op and count its traffic."""

    def __init__(
        self, code: InstructionBuffer, spec: SatSpec, traffic: OpTraffic, *, waits_for_op: bool
    ) -> None:
        self.code = code
        self.spec = spec
        self.traffic = traffic
        self.waits_for_op = waits_for_op
        self.times = 1

    def gemm_op(self, plan: GemmPlan, fused_ops: int) -> int:
        """Append a GEMM-like op; return the product slots issued."""
        self.plan = plan
        self.issued = 0
        self.fused_passes = vector_passes(plan.op, fused_ops, self.spec.vector.stages)
        self._each(plan.pack_phases(), self._pack_body)
        if not self._is_untimed_memory:
            self.code.sync("dma_out", release="op_done")
        return self.issued

    def _each(self, phases: list[Phase], body: Callable[[Phase], None]) -> None:
        """Append ``body`` for every phase, in a counted loop where the phase repeats."""
        for phase in phases:
            self.times *= phase.repeat
            with self.code.loop(phase.repeat):
                body(phase)
            self.times //= phase.repeat

    def _wait_for_op(self) -> None:
        if self.waits_for_op and not self._is_untimed_memory:
            self.code.sync("dma_in", wait="op_done")
            self.waits_for_op = False

    def _pack_body(self, pack: Phase) -> None:
        plan = self.plan
        self.groups = pack.size
        rows, columns = plan.m_phases(), plan.n_phases(self.groups)
        if plan.order == "sliced":
            self._slices(rows, columns)
        elif plan.order == "nm":
            self._each(columns, lambda column: self._columns_outer(column, rows))
        else:
            self._each(rows, lambda row: self._rows_outer(row, columns))

    def _columns_outer(self, column: Phase, rows: list[Phase]) -> None:
        (depth,) = self.plan.k_phases(self.groups)
        self._load_weights(column.size, depth.size)
        self._wait_for_op()
        resident = self.plan.is_input_resident

        def body(row: Phase) -> None:
            if not resident or column.is_first:
                self._load_inputs(row.size)
            takes_input = not resident or column.is_first
            frees_input = not resident or column.is_last
            self._compute(
                (row.size, column.size, depth.size),
                takes=("a_full " * takes_input) + ("w_full " * row.is_first),
                frees=("a_free " * frees_input) + ("w_free " * row.is_last),
                is_first=True,
                is_last=True,
            )

        self._each(rows, body)

    def _slices(self, rows: list[Phase], columns: list[Phase]) -> None:
        """Load both operands of every slice of k; sums go on from slice to slice."""
        depths = self.plan.k_phases(self.groups)
        self._wait_for_op()
        self._each(rows, lambda row: self._each(columns, self._slice_column(row, depths)))

    def _slice_column(self, row: Phase, depths: list[Phase]) -> Callable[[Phase], None]:
        def column_body(column: Phase) -> None:
            def depth_body(depth: Phase) -> None:
                self._load_weights(column.size, depth.size)
                self._load_inputs(row.size, depth.size)
                self._compute(
                    (row.size, column.size, depth.size),
                    takes="a_full w_full ",
                    frees="a_free w_free ",
                    is_first=depth.is_first,
                    is_last=depth.is_last,
                )

            self._each(depths, depth_body)

        return column_body

    def _rows_outer(self, row: Phase, columns: list[Phase]) -> None:
        depths = self.plan.k_phases(self.groups)
        resident = self.plan.is_weight_resident
        if resident and row.is_first:
            self._load_weights(columns[0].size, depths[0].size)
        self._wait_for_op()
        self._load_inputs(row.size)

        def column_body(column: Phase) -> None:
            self._each(depths, lambda depth: depth_body(column, depth))

        def depth_body(column: Phase, depth: Phase) -> None:
            if not resident:
                self._load_weights(column.size, depth.size)
            takes_weights = not resident or row.is_first
            frees_weights = not resident or row.is_last
            first, last = column.is_first and depth.is_first, column.is_last and depth.is_last
            self._compute(
                (row.size, column.size, depth.size),
                takes=("a_full " * first) + ("w_full " * takes_weights),
                frees=("a_free " * last) + ("w_free " * frees_weights),
                is_first=depth.is_first,
                is_last=depth.is_last,
            )

        self._each(columns, column_body)

    @property
    def _is_untimed_memory(self) -> bool:
        """Return whether only the array is timed (SCALE-Sim's counts have no memory)."""
        return self.spec.array.timing == "scalesim"

    def _load_inputs(self, m: int, k: int | None = None) -> None:
        if self._is_untimed_memory:
            return
        size = self.plan.input_bytes(m, self.groups, k)
        self.code.transfer("load_a", size, wait="a_free", release="a_full")
        self.traffic.load("activation_buffer", size * self.times)

    def _load_weights(self, n: int, k: int) -> None:
        if self._is_untimed_memory:
            return
        size = self.plan.weight_bytes(n, k, self.groups)
        self.code.transfer("load_w", size, wait="w_free", release="w_full")
        self.traffic.load("weight_buffer", size * self.times)

    def _compute(
        self, tile: tuple[int, int, int], *, takes: str, frees: str, is_first: bool, is_last: bool
    ) -> None:
        m, n, k = tile
        is_continued = not is_first
        timing = self.plan.timing(m, n, k, is_continued)
        issued = timing.issued_macs(self.spec.array)
        self.issued += issued * self.times
        self.traffic.array_tile(self.plan, tile, self.times, is_first=is_first, is_last=is_last)
        if self._is_untimed_memory:
            takes, frees, is_first, is_last = "", "", False, False
        full = "sums_full" if self.fused_passes else "results_full"
        self.code.gemm(
            self.plan.dataflow,
            self.plan.tile_gemm(m, n, k, is_continued),
            timing,
            issued,
            wait=takes + ("o_free" if is_first else ""),
            release=frees + (full if is_last else ""),
        )
        if not is_last:
            return
        if self.fused_passes:
            cycles = ceil_div(m * n * self.fused_passes, self.spec.vector.lanes)
            self.code.lanes("vector", cycles, wait="sums_full", release="out_full")
            full = "out_full"
        size = self.plan.output_bytes(m, n)
        self.code.transfer("store", size, wait=full, release="o_free")
        self.traffic.store(size * self.times)

    def lane_op(self, name: str, work: LaneWork) -> None:
        """Append work of a lane-parallel unit, streamed through the buffers in chunks."""
        buffers = self.spec.buffers
        limit = min(_CHUNK_BYTES, buffers.activation_bytes // 2, buffers.output_bytes // 2)
        if limit < ACTIVATION_BYTES:
            raise MappingError(f"{name}: activation", 2 * ACTIVATION_BYTES, limit * 2)
        chunks = max(1, ceil_div(work.bytes_in + work.bytes_out, limit))
        self._wait_for_op()
        for start, repeat in ((0, chunks - 1), (chunks - 1, 1)):
            if repeat:
                totals = (work.bytes_in, work.elems, work.bytes_out)
                sizes = [_share(total, chunks, start) for total in totals]
                self.times = repeat
                with self.code.loop(repeat):
                    self._lane_chunk(work, *sizes)
        self.code.sync("dma_out", release="op_done")

    def _lane_chunk(self, work: LaneWork, size_in: int, elems: int, size_out: int) -> None:
        full = f"{work.unit}_full"
        self.code.transfer("load_a", size_in, wait="a_free", release=full)
        cycles = ceil_div(elems, work.lanes)
        self.code.lanes(work.unit, cycles, wait=f"{full} o_free", release="a_free out_full")
        self.code.transfer("store", size_out, wait="out_full", release="o_free")
        self.traffic.load("activation_buffer", size_in * self.times)
        self.traffic.drain("activation_buffer", size_in * self.times)
        self.traffic.fill("output_buffer", size_out * self.times)
        self.traffic.store(size_out * self.times)


def _share(total: int, chunks: int, index: int) -> int:
    """Return chunk ``index`` of an even split whose last chunk takes the remainder."""
    each = total // chunks
    return total - each * (chunks - 1) if index == chunks - 1 else each
