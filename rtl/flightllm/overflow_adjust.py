"""Keep the sums of a long chain within their lanes: the overflow adjust unit (OAU)."""

from __future__ import annotations

from amaranth.hdl import Cat, Value, signed, unsigned
from amaranth.lib import data

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import DSP_P_BITS, LaneSpec
from rtl.common.pipeline import Pipeline
from rtl.flightllm.lane_split import split_segment

__all__ = ["OverflowAdjust", "timing"]


def timing(spec: LaneSpec) -> UnitTiming:
    """Return the cycle contract: one register."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


class OverflowAdjust(Pipeline):
    """Split both lanes of P into a least and a most significant part (LSP, MSP).

    Parameters
    ----------
    spec : LaneSpec
        Position of lanes and cut.

    Attributes
    ----------
    i : In(stream.Signature(signed(48)))
        P behind a segment of the chain; both lanes fit ``lane_bits``.
    o : Out(stream.Signature(StructLayout({lsp: 48, msp_high: s, msp_low: s})))
        ``lsp``: what the cascade goes on with; the others are worth 2**lsp_bits each.

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 1. Inside a chain the same logic stands
    without the register, between P and the C port of the next slice.
    """

    def __init__(self, spec: LaneSpec) -> None:
        self.spec = spec
        layout = {
            **{"lsp": unsigned(DSP_P_BITS)},
            **{"msp_high": signed(spec.msp_bits), "msp_low": signed(spec.msp_bits)},
        }
        super().__init__(signed(DSP_P_BITS), data.StructLayout(layout), timing(spec).latency_cycles)

    def datapath(self) -> Value:
        kept, msp_high, msp_low = split_segment(self.spec, Value.cast(self.i.payload))
        padded = Cat(kept, Value.cast(0).replicate(DSP_P_BITS - len(kept)))
        return Cat(
            self.register("lsp", padded[:DSP_P_BITS]),
            self.register("msp_high", msp_high),
            self.register("msp_low", msp_low),
        )
