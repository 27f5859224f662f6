"""Connect R x C PEs, their west lanes, skewed edges and control: an array in lock-step."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from hwsim.sat.spec import TileSpec
from rtl.sat.tile_control import TileControl, job_layout
from rtl.sat.tile_edges import NorthEdge, SouthEdge, sums_layout, weights_layout
from rtl.sat.uspe import Uspe
from rtl.sat.west_lane import WestLane, beat_layout

__all__ = ["TileCore"]


class TileCore(wiring.Component):
    """Do what :class:`rtl.sat.systolic_tile.SystolicTile` states, if nobody ever stalls.

    Parameters
    ----------
    spec : TileSpec

    Attributes
    ----------
    i : In(stream(job_layout))
    i_west : In(stream(beat_layout)) per row
    i_weights, i_sums : In(stream(weights_layout)), In(stream(sums_layout))
        Where ``ready``, the schedule takes a word, whether ``valid`` or not: whoever stalls the
        core stops every register at once (``EnableInserter``).
    o : Out(stream(sums_layout)), always ready
        Combinational, behind the last row's adders.

    Timing
    ------
    docs/sat_microarchitecture.md. No output depends combinationally on ``valid`` or payload of
    another stream, but ``o.payload`` on nothing but registers.
    """

    def __init__(self, spec: TileSpec) -> None:
        self.spec = spec
        array = spec.array
        super().__init__(
            {
                "i": In(stream.Signature(job_layout(spec))),
                "i_west": In(stream.Signature(beat_layout(spec))).array(array.rows),
                "i_weights": In(stream.Signature(weights_layout(spec))),
                "i_sums": In(stream.Signature(sums_layout(spec))),
                "o": Out(stream.Signature(sums_layout(spec), always_ready=True)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.control = TileControl(spec)
        self.lanes = [WestLane(spec) for _ in range(array.rows)]
        self.pes = [[self._pe() for _ in range(array.cols)] for _ in range(array.rows)]

    def _pe(self) -> Uspe:
        return Uspe(self.spec)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.control = control = self.control
        m.submodules.north = north = NorthEdge(self.spec)
        m.submodules.south = south = SouthEdge(self.spec)
        connect(m, wiring.flipped(self.i), control.i)
        self._connect_lanes(m)
        self._connect_pes(m, north)
        self._feed_north(m, north)
        drain = control.o_shift & ~control.o_is_preload
        m.d.comb += [
            control.i_leaves.eq(self.pes[-1][-1].o_psum.valid),
            south.i_shift.eq(control.o_lane.is_os),
            self.o.valid.eq(Mux(control.o_lane.is_os, drain, control.i_leaves)),
            self.o.payload.eq(south.o),
        ]
        for col, pe in enumerate(self.pes[-1]):
            m.d.comb += south.i[col].eq(pe.o_psum.payload.value)
        return m

    def _connect_lanes(self, m: Module) -> None:
        """Start every lane ``o_hop`` cycles after the lane above."""
        control = self.control
        start: Value = control.o_start
        for row, lane in enumerate(self.lanes):
            m.submodules[f"lane{row}"] = lane
            if row:
                wait = Signal.like(control.o_hop, name=f"wait{row}")
                with m.If(start):
                    m.d.sync += wait.eq(control.o_hop)
                with m.Elif(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                start = wait == 1
            connect(m, wiring.flipped(self.i_west[row]), lane.i)
            m.d.comb += [lane.i_config.eq(control.o_lane), lane.i_start.eq(start)]

    def _connect_pes(self, m: Module, north: NorthEdge) -> None:
        control = self.control
        lane = control.o_lane
        for row, pes in enumerate(self.pes):
            for col, pe in enumerate(pes):
                m.submodules[f"pe{row}_{col}"] = pe
                above = self.pes[row - 1][col] if row else None
                connect(m, pes[col - 1].o_east if col else self.lanes[row].o, pe.i_west)
                connect(m, above.o_weight if above else north.o_weight[col], pe.i_weight)
                connect(m, above.o_psum if above else north.o_psum[col], pe.i_psum)
                m.d.comb += [
                    pe.i_is_os.eq(lane.is_os),
                    pe.i_last_slot.eq(lane.last_slot),
                    pe.i_take_over.eq(control.o_start),
                    pe.i_shift.eq(control.o_shift),
                    pe.i_place.eq(control.o_place),
                ]

    def _feed_north(self, m: Module, north: NorthEdge) -> None:
        """Take weights and stored sums from the edge when the schedule asks for them."""
        control, first = self.control, self.lanes[0].o
        is_os = control.o_lane.is_os
        # A first product asks for its sum one cycle before it enters the adder: the sum is in
        # the memory of row 0 then.
        asks = first.valid & first.payload.is_first & ~is_os
        entry: Value = first.payload.entry
        for stage in range(self.spec.array.multiplier_latency_cycles - 1):
            asks_q = Signal(name=f"asks_q{stage + 1}")
            entry_q = Signal.like(first.payload.entry, name=f"asked_entry_q{stage + 1}")
            m.d.sync += [asks_q.eq(asks), entry_q.eq(entry)]
            asks, entry = asks_q, entry_q
        takes_sums = Signal()
        m.d.comb += [
            takes_sums.eq((asks & ~control.o_is_zero) | control.o_is_preload),
            self.i_sums.ready.eq(takes_sums),
            self.i_weights.ready.eq(Mux(is_os, first.valid, control.o_load)),
            north.i_is_os.eq(is_os),
            north.i_shift.eq(control.o_shift),
            north.i_weights.valid.eq(self.i_weights.ready),
            north.i_weights.payload.eq(self.i_weights.payload),
            north.i_sums.valid.eq(asks | control.o_is_preload),
            north.i_sums.payload.entry.eq(entry),
        ]
        for col in range(self.spec.array.cols):
            stored = self.i_sums.payload[col]
            m.d.comb += north.i_sums.payload.sums[col].eq(Mux(takes_sums, stored, Const(0, 32)))
