"""Walk the tiles of one product: when to load, start, shift out, and what the edges need."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.sat.spec import TileSpec
from rtl.sat.uspe import entry_bits
from rtl.sat.west_lane import lane_layout

__all__ = ["TileControl", "job_layout"]


def job_layout(spec: TileSpec) -> data.StructLayout:
    """Return the layout of a job, one matrix product of whole tiles.

    ``lane``: what every west lane is told (``entries``: partial sums interleaved, at most);
    ``tiles``: tiles (weight-stationary) or output tiles (output-stationary) in all; ``k_tiles``:
    reduction tiles per column tile (weight-stationary). All counts are at least 1.
    ``lane.is_continued``: sums go on from stored ones.
    """
    return data.StructLayout(
        {"lane": lane_layout(spec), "tiles": spec.count_bits, "k_tiles": spec.count_bits}
    )


class TileControl(wiring.Component):
    """Sequence load, stream and shift-out of every tile of a job by what the array reports.

    Parameters
    ----------
    spec : TileSpec

    Attributes
    ----------
    i : In(stream(job_layout))
        Ready while no job is under way.
    o_lane : Out(lane_layout)
        For the lanes, constant from ``o_start`` to the last issue.
    o_start : Out(1)
        The next cycle is the first of a tile; weights in the shadow registers are taken over.
    o_hop : Out
        Cycles between the starts of neighbouring lanes.
    o_load : Out(1)
        A value per column is shifted into the shadow registers (weight-stationary).
    o_is_zero : Out(1)
        Sums of this tile start from +0, not from stored ones (weight-stationary).
    o_shift, o_is_preload, o_place : Out
        All partial sums shift south by one place: drain, or load of stored sums.
    i_leaves : In(1)
        The last PE sends a sum south: the last of a row of Y, or of a block.

    Timing
    ------
    A job starts two cycles after it was accepted: the one between is spent on what follows from
    its sizes. ``o_start`` depends combinationally on ``i_leaves``, so that a tile starts in the
    cycle after the last sum of the one before was computed.

    Reset
    -----
    No job under way.
    """

    def __init__(self, spec: TileSpec) -> None:
        self.spec = spec
        array = spec.array
        slots, rows = spec.nm_n, array.rows
        adder = array.adder_latency_cycles
        most_hop = (slots - 1) * max(array.interleave, adder) + adder
        super().__init__(
            {
                "i": In(stream.Signature(job_layout(spec))),
                "o_lane": Out(lane_layout(spec)),
                "o_start": Out(1),
                "o_hop": Out(range(most_hop + 1)),
                "o_load": Out(1),
                "o_is_zero": Out(1),
                "o_shift": Out(1),
                "o_is_preload": Out(1),
                "o_place": Out(entry_bits(spec)),
                "i_leaves": In(1),
            }
        )
        self.job = Signal(job_layout(spec))
        self.is_busy, self.is_decoding = Signal(), Signal()
        self.tiles_left = Signal(spec.count_bits)  # not started yet
        self.is_running = Signal()  # a tile is in the array
        # Weight-stationary
        self.hop = Signal.like(self.o_hop)
        self.load_end = Signal(range(max(2, rows * slots)))
        self.loaded = Signal(range(max(2, rows * slots)))
        self.is_loaded = Signal()  # the shadow registers hold the next tile
        self.rows_left = Signal(spec.count_bits)  # of Y, to leave the array
        self.k_tile = Signal(spec.count_bits)
        # Output-stationary
        self.is_draining, self.is_preloading = Signal(), Signal()
        self.shift_row = Signal(range(max(2, rows)), init=rows - 1)
        self.entries = Signal(array.interleave.bit_length())

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        lane = self.job.lane
        m.d.comb += [
            self.i.ready.eq(~self.is_busy),
            self.o_lane.eq(lane),
            self.o_lane.entries.eq(self.entries),
            self.o_hop.eq(Mux(lane.is_os, 1, self.hop)),
            self.o_shift.eq(self.is_draining | self.is_preloading),
            self.o_is_preload.eq(self.is_preloading),
        ]
        m.d.sync += self.is_decoding.eq(self.i.valid & self.i.ready)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.job.eq(self.i.payload),
                self.tiles_left.eq(self.i.payload.tiles),
                self.is_busy.eq(1),
            ]
        with m.If(self.is_decoding):
            self._decode(m)
        with m.If(self.is_busy & ~lane.is_os & ~self.is_decoding):
            self._walk_stationary(m)
        with m.If(self.is_busy & lane.is_os):
            self._walk_output(m)
        return m

    def _decode(self, m: Module) -> None:
        """Keep what follows from the sizes of the job."""
        lane, adder = self.job.lane, self.spec.array.adder_latency_cycles
        entries = Signal.like(self.entries)
        rows = self.spec.array.rows
        spacing = Mux(entries < adder, adder, entries)
        m.d.comb += entries.eq(Mux(lane.count < lane.entries, lane.count, lane.entries))
        with m.If(~lane.is_os):
            m.d.sync += [
                self.entries.eq(lane.entries),
                self.hop.eq(lane.last_slot * spacing + adder),
                self.load_end.eq(rows * lane.last_slot + (rows - 1)),
                self.k_tile.eq(0),
            ]

    def _walk_stationary(self, m: Module) -> None:
        job = self.job
        is_empty = Signal()
        is_last_row = self.i_leaves & (self.rows_left == 1)
        m.d.comb += is_empty.eq(~self.is_running | is_last_row)
        has_shadow = self.spec.array.has_double_buffered_weights
        may_load = 1 if has_shadow else ~self.is_running
        is_load_over = self.o_load & (self.loaded == self.load_end)
        m.d.comb += [
            # What is loaded belongs to the next tile that starts.
            self.o_load.eq((self.tiles_left != 0) & ~self.is_loaded & may_load),
            self.o_start.eq((self.tiles_left != 0) & (self.is_loaded | is_load_over) & is_empty),
        ]
        with m.If(self.o_load):
            m.d.sync += self.loaded.eq(Mux(is_load_over, 0, self.loaded + 1))
        with m.If(self.i_leaves):
            m.d.sync += self.rows_left.eq(self.rows_left - 1)
        with m.If(self.o_start):
            m.d.sync += [
                self.is_loaded.eq(0),
                self.is_running.eq(1),
                self.rows_left.eq(job.lane.count),
                self.tiles_left.eq(self.tiles_left - 1),
                self.o_is_zero.eq(~self.k_tile.any() & ~job.lane.is_continued),
                self.k_tile.eq(Mux(self.k_tile == job.k_tiles - 1, 0, self.k_tile + 1)),
            ]
        with m.Else():
            with m.If(is_load_over):
                m.d.sync += self.is_loaded.eq(1)
            with m.If(is_last_row):
                m.d.sync += self.is_running.eq(0)
                m.d.sync += self.is_busy.eq(self.tiles_left != 0)

    def _walk_output(self, m: Module) -> None:
        lane = self.job.lane
        is_shift_over = self.o_shift & ~self.o_place.any() & ~self.shift_row.any()
        is_block_over = Signal()
        m.d.comb += is_block_over.eq(self.is_draining & is_shift_over)
        begins_block = (self.is_decoding | is_block_over) & (self.tiles_left != 0)
        m.d.comb += self.o_start.eq(
            Mux(lane.is_continued, self.is_preloading & is_shift_over, begins_block)
        )
        self._shift(m, is_shift_over)
        with m.If(is_block_over):
            m.d.sync += self.is_busy.eq(self.tiles_left != 0)
        with m.If(begins_block):
            entries = Signal.like(self.entries)
            is_ragged = self.tiles_left < lane.entries
            m.d.comb += entries.eq(Mux(is_ragged, self.tiles_left, lane.entries))
            m.d.sync += [
                self.entries.eq(entries),
                self.tiles_left.eq(self.tiles_left - entries),
                self.is_preloading.eq(lane.is_continued),
                self.o_place.eq(entries - 1),
            ]
        with m.If(self.i_leaves & ~self.o_shift):
            m.d.sync += [self.is_draining.eq(1), self.o_place.eq(self.entries - 1)]

    def _shift(self, m: Module, is_shift_over: Value) -> None:
        """Count the places of every row down; a row's places are the block's entries."""
        rows = self.spec.array.rows
        with m.If(self.o_shift):
            with m.If(~self.o_place.any()):
                m.d.sync += self.o_place.eq(self.entries - 1)
                m.d.sync += self.shift_row.eq(
                    Mux(self.shift_row.any(), self.shift_row - 1, rows - 1)
                )
            with m.Else():
                m.d.sync += self.o_place.eq(self.o_place - 1)
        with m.If(is_shift_over):
            m.d.sync += [self.is_draining.eq(0), self.is_preloading.eq(0)]
