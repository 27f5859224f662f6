"""Append the instructions of matrix products: loads, array tiles and stores, double-buffered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwsim.core.units import ceil_div
from hwsim.sat.emit_lanes import LaneEmitter, Piece
from hwsim.sat.isa import InstructionBuffer
from hwsim.sat.lane_work import vector_passes
from hwsim.sat.plan import GemmPlan, Phase
from hwsim.sat.spec import SatSpec
from hwsim.sat.traffic import OpTraffic

__all__ = ["ArrayEmitter"]


class ArrayEmitter:
    """Append one product's instructions, with what runs beside its tiles, and count its traffic.

    ``before_inputs`` is called in front of the first load that may read another op's results; the
    first weights are loaded before that where the tiling allows.
    """

    def __init__(
        self,
        code: InstructionBuffer,
        spec: SatSpec,
        plan: GemmPlan,
        fused_ops: int,
        traffic: OpTraffic,
        *,
        before_inputs: Callable[[], None],
        lanes: LaneEmitter,
        beside: Sequence[Piece] = (),
    ) -> None:
        self.code = code
        self.spec = spec
        self.plan = plan
        self.traffic = traffic
        self.fused_passes = vector_passes(plan.op, fused_ops, spec.vector.stages)
        self.before_inputs = before_inputs
        self.lanes = lanes
        self.beside = list(beside)
        self.entered: Piece | None = None
        self.tile = 0
        self.times = 1
        self.issued = 0

    def emit(self) -> int:
        """Append the op; return the product slots issued."""
        self._enter_pieces()
        for pack in self.plan.pack_phases():
            self._each([pack], self.plan.tile_count(pack.size), self._pack_body)
        return self.issued

    def _each(self, phases: list[Phase], tiles: int, body: Callable[[Phase], None]) -> None:
        """Append ``body`` for every phase, in counted loops where the phase repeats.

        One repetition holds ``tiles`` array tiles. Loops are cut where another piece of lane work
        begins, so that what runs beside a loop is the same in all its rounds.
        """
        for phase in phases:
            left = phase.repeat
            while left:
                rounds = left
                if self.beside:
                    rounds = min(left, max(1, (self.beside[0].end - self.tile) // tiles))
                first = self.tile
                self.times *= rounds
                with self.code.loop(rounds):
                    body(phase)
                self.times //= rounds
                self.tile = first + rounds * tiles
                left -= rounds
                self._enter_pieces()

    def _enter_pieces(self) -> None:
        """Begin the lane op of the present piece, and leave pieces that end before this tile."""
        while self.beside:
            piece = self.beside[0]
            if piece.is_first and piece is not self.entered:
                self.lanes.begin(piece.op)
            self.entered = piece
            if piece.end > self.tile:
                return
            if any(piece.rest):
                self.lanes.beside(piece.op, piece.rest)
            del self.beside[0]

    def _pack_body(self, pack: Phase) -> None:
        plan = self.plan
        self.groups = pack.size
        rows, columns = plan.m_phases(), plan.n_phases(self.groups)
        depths = sum(phase.repeat for phase in plan.k_phases(self.groups))
        if plan.order == "nm":
            tiles = depths * sum(phase.repeat for phase in rows)
            self._each(columns, tiles, lambda column: self._columns_outer(column, rows))
        else:
            tiles = depths * sum(phase.repeat for phase in columns)
            outer = self._slices if plan.order == "sliced" else self._rows_outer
            self._each(rows, tiles, lambda row: outer(row, columns))

    def _columns_outer(self, column: Phase, rows: list[Phase]) -> None:
        (depth,) = self.plan.k_phases(self.groups)
        self._load_weights(column.size, depth.size)
        self.before_inputs()
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

        self._each(rows, 1, body)

    def _slices(self, row: Phase, columns: list[Phase]) -> None:
        """Load both operands of every slice of k; sums go on from slice to slice."""
        depths = self.plan.k_phases(self.groups)
        self.before_inputs()

        def column_body(column: Phase) -> None:
            self._each(depths, 1, lambda depth: depth_body(column, depth))

        def depth_body(column: Phase, depth: Phase) -> None:
            self._load_weights(column.size, depth.size)
            self._load_inputs(row.size, depth.size)
            self._compute(
                (row.size, column.size, depth.size),
                takes="a_full w_full ",
                frees="a_free w_free ",
                is_first=depth.is_first,
                is_last=depth.is_last,
            )

        self._each(columns, sum(phase.repeat for phase in depths), column_body)

    def _rows_outer(self, row: Phase, columns: list[Phase]) -> None:
        depths = self.plan.k_phases(self.groups)
        resident = self.plan.is_weight_resident
        if resident and row.is_first:
            self._load_weights(columns[0].size, depths[0].size)
        self.before_inputs()
        self._load_inputs(row.size)

        def column_body(column: Phase) -> None:
            self._each(depths, 1, lambda depth: depth_body(column, depth))

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

        self._each(columns, sum(phase.repeat for phase in depths), column_body)

    @property
    def _is_untimed_memory(self) -> bool:
        return self.spec.is_array_only

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
        if is_last:
            self._store(m, n, full)
        if self.beside and any(self.beside[0].each):
            self.lanes.beside(self.beside[0].op, self.beside[0].each, self.times)

    def _store(self, m: int, n: int, full: str) -> None:
        """Append fused pointwise passes over a finished tile and its store."""
        if self.fused_passes:
            cycles = ceil_div(m * n * self.fused_passes, self.spec.vector.lanes)
            self.code.lanes("vector", cycles, wait="sums_full", release="out_full")
            full = "out_full"
        size = self.plan.output_bytes(m, n)
        self.code.transfer("store", size, wait=full, release="o_free")
        self.traffic.store(size * self.times)
