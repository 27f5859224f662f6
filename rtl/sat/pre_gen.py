"""Select the N:M groups of both directions of freshly updated weights: pre-generation."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import PreGenSpec
from rtl.sat.data_provider import DataProvider, row_layout
from rtl.sat.sore import Sore, groups_layout

__all__ = ["PreGen", "timing"]


def timing(spec: PreGenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a block of ``nm_m`` rows, its latency that of BP."""
    nm_m = spec.sore.sorter.nm_m
    return UnitTiming(latency_cycles=nm_m + 1, interval_cycles=2 * nm_m // spec.engines)


class PreGen(wiring.Component):
    """Emit, for every block of ``nm_m`` rows of weights, its groups along rows and across them.

    Every row goes both ways: straight into SORE, whose lanes then hold groups along the input
    channels (FF), and into the transposer, from which SORE gets groups along the output channels
    (BP).

    Parameters
    ----------
    spec : PreGenSpec
        ``engines`` = 2: one SORE per direction. 1: one takes both in turn, block by block.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout(16, lanes)))
        FP16 weights as WUVE emits them: consecutive output channels of one input channel per
        transfer, ``nm_m`` consecutive input channels per block.
    o_ff : Out(stream.Signature(ArrayLayout(ArrayLayout({value, index}, nm_n), lanes)))
        One transfer per block: lane l holds the group along the input channels of column l.
    o_bp : Out(stream.Signature(ArrayLayout(ArrayLayout({value, index}, nm_n), lanes)))
        One transfer per block: lane ``g * nm_m + r`` holds group g along the output channels
        of row r.

    Timing
    ------
    With two engines one row per cycle; with one, ``nm_m`` rows in every ``2 * nm_m`` cycles. FF
    groups are offered 1 cycle after the last row of their block, BP groups ``nm_m`` + 1 cycles
    after it. ``i.ready`` depends on nothing that happens in the same cycle at the outputs. Outputs
    are SORE's registers; an output nobody reads blocks the other one after at most one block.

    Reset
    -----
    Drops every block; neither output is valid.
    """

    def __init__(self, spec: PreGenSpec) -> None:
        self.spec = spec
        groups = stream.Signature(groups_layout(spec.sore))
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(spec.sore))),
                "o_ff": Out(groups),
                "o_bp": Out(groups),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.provider = DataProvider(spec.sore)
        self.engines = [Sore(spec.sore) for _ in range(spec.engines)]
        self.is_sent_ff, self.is_sent_bp = Signal(), Signal()
        if spec.engines == 1:
            self.turn = Signal(range(2 * spec.sore.sorter.nm_m))
            self.is_next_bp = Signal()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.provider = self.provider
        for number, engine in enumerate(self.engines):
            m.submodules[f"engine{number}"] = engine
        m.d.comb += self.provider.i_dir.eq(1)
        if self.spec.engines == 2:
            ff, bp = self.engines
            self._fork(m, ff.i, 1)
            wiring.connect(m, self.provider.o, bp.i)
            wiring.connect(m, ff.o, wiring.flipped(self.o_ff))
            wiring.connect(m, bp.o, wiring.flipped(self.o_bp))
        else:
            self._share(m, self.engines[0])
        return m

    def _fork(self, m: Module, direct: stream.Interface, is_open: Value | int) -> None:
        """Send every row once to ``direct`` (while it is open) and once to the provider.

        Neither waits for the other: what has been sent is remembered until both have it.
        """
        turned = self.provider.i
        sent_ff, sent_bp = Signal(), Signal()
        m.d.comb += [
            direct.payload.eq(self.i.payload),
            direct.valid.eq(self.i.valid & ~self.is_sent_ff & is_open),
            turned.payload.eq(self.i.payload),
            turned.valid.eq(self.i.valid & ~self.is_sent_bp),
            sent_ff.eq(self.is_sent_ff | (direct.ready & is_open)),
            sent_bp.eq(self.is_sent_bp | turned.ready),
            self.i.ready.eq(sent_ff & sent_bp),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                self.is_sent_ff.eq(sent_ff & ~self.i.ready),
                self.is_sent_bp.eq(sent_bp & ~self.i.ready),
            ]

    def _share(self, m: Module, engine: Sore) -> None:
        """Give the one engine the rows of a block, then its transposed rows, in turn."""
        nm_m = self.spec.sore.sorter.nm_m
        is_bp = Signal()
        m.d.comb += is_bp.eq(self.turn >= nm_m)
        direct = stream.Signature(row_layout(self.spec.sore)).create(path=("direct",))
        self._fork(m, direct, ~is_bp)
        turned = self.provider.o
        m.d.comb += [
            engine.i.payload.eq(Mux(is_bp, turned.payload.as_value(), direct.payload.as_value())),
            engine.i.valid.eq(Mux(is_bp, turned.valid, direct.valid)),
            direct.ready.eq(engine.i.ready),
            turned.ready.eq(engine.i.ready & is_bp),
        ]
        with m.If(engine.i.valid & engine.i.ready):
            m.d.sync += self.turn.eq(Mux(self.turn == 2 * nm_m - 1, 0, self.turn + 1))
        m.d.comb += [
            self.o_ff.payload.eq(engine.o.payload),
            self.o_bp.payload.eq(engine.o.payload),
            self.o_ff.valid.eq(engine.o.valid & ~self.is_next_bp),
            self.o_bp.valid.eq(engine.o.valid & self.is_next_bp),
            engine.o.ready.eq(Mux(self.is_next_bp, self.o_bp.ready, self.o_ff.ready)),
        ]
        with m.If(engine.o.valid & engine.o.ready):
            m.d.sync += self.is_next_bp.eq(~self.is_next_bp)
