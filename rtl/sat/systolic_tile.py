"""Multiply matrices on R x C sparse PEs between streams: the array of the SAT accelerator."""

from __future__ import annotations

from amaranth.hdl import Cat, EnableInserter, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import TileSpec
from rtl.sat.tile_control import job_layout
from rtl.sat.tile_core import TileCore
from rtl.sat.tile_edges import sums_layout, weights_layout
from rtl.sat.uspe import timing as pe_timing
from rtl.sat.west_lane import beat_layout

__all__ = ["SystolicTile", "timing"]


def timing(spec: TileSpec) -> UnitTiming:
    """Return the contract of one dense row, weight-stationary: first beat to sums, row to row."""
    array = spec.array
    skew = (array.rows - 1) * array.adder_latency_cycles + array.cols - 1
    return UnitTiming(skew + pe_timing(spec).latency_cycles + 1, 1)


class SystolicTile(wiring.Component):
    """Emit the sums of a matrix product, one word per column at once, for every job accepted.

    docs/sat_microarchitecture.md states the order of operations and the cycles, with the default
    options (no ``overlap_skew``, no ``overlap_drain``), with or without double-buffered weights.

    Parameters
    ----------
    spec : TileSpec
        Else :class:`SpecError`: an option this unit lacks.

    Attributes
    ----------
    i : In(stream(job_layout))
        What to multiply. Accepted when the job before has left the array.
    i_west : In(stream(beat_layout)) per row
        Activation groups of the row's lane, ⌈M / f⌉ beats each, in the order of issue.
    i_weights : In(stream(weights_layout))
        Weight-stationary, per tile: R·N words, the last row's last value first.
        Output-stationary: one word per operation, in the order of issue.
    i_sums : In(stream(sums_layout))
        Stored sums. Weight-stationary: one word per row of Y, but for first reduction tiles, whose
        sums start from +0. Output-stationary (``is_continued`` only): as results leave, per block.
    o : Out(stream(sums_layout))
        Weight-stationary: the sums of each row of Y, tile after tile. Output-stationary, per block:
        last row first, within a row last entry first.

    Timing
    ------
    The array moves in lock-step, in every cycle in which each word that the schedule takes is
    there and ``o`` is empty or accepted; otherwise it stands still, as a whole. In cycles in which
    it moves: a job starts two cycles after it was accepted, and the last word of ``o`` is emitted
    as many cycles after that start as ``hwsim.sat.timing`` says. ``ready`` of every input depends
    combinationally on ``valid`` of the other inputs and on ``o.ready``; ``o.valid`` and
    ``o.payload`` are registers.

    Reset
    -----
    Drops the job under way; ``o.valid`` is 0.
    """

    def __init__(self, spec: TileSpec) -> None:
        array = spec.array
        for option in ("overlap_skew", "overlap_drain"):
            if getattr(array, option):
                raise SpecError(f"array.{option}", "false in RTL", "true")
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(job_layout(spec))),
                "i_west": In(stream.Signature(beat_layout(spec))).array(array.rows),
                "i_weights": In(stream.Signature(weights_layout(spec))),
                "i_sums": In(stream.Signature(sums_layout(spec))),
                "o": Out(stream.Signature(sums_layout(spec))),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.core = self._core()
        self.is_moving = Signal()

    def _core(self) -> TileCore:
        return TileCore(self.spec)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        core = self.core
        m.submodules.core = EnableInserter(self.is_moving)(core)
        needed = [
            *zip(self.i_west, core.i_west, strict=True),
            (self.i_weights, core.i_weights),
            (self.i_sums, core.i_sums),
        ]
        is_complete = Signal()
        missing = [inner.ready & ~outer.valid for outer, inner in needed]
        m.d.comb += [
            is_complete.eq(~Cat(missing).any()),
            self.is_moving.eq(is_complete & (~self.o.valid | self.o.ready)),
        ]
        for outer, inner in [(self.i, core.i), *needed]:
            m.d.comb += [
                inner.valid.eq(outer.valid),
                Value.cast(inner.payload).eq(Value.cast(outer.payload)),
                outer.ready.eq(inner.ready & self.is_moving),
            ]
        with m.If(self.is_moving):
            m.d.sync += self.o.valid.eq(core.o.valid)
            m.d.sync += self.o.payload.eq(core.o.payload)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
