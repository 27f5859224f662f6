"""Read two sums out of one 48-bit word: INT8 packing in a DSP48E2, and its overflow adjustment."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.flightllm.unit_spec import DSP_P_BITS, LaneSpec

__all__ = ["LaneSplit", "high_bits", "pack_pair", "split_lanes", "split_segment"]


def high_bits(spec: LaneSpec) -> int:
    """Return the width of the high lane."""
    return DSP_P_BITS - spec.lane_bits


def pack_pair(spec: LaneSpec, high: Value, low: Value) -> Value:
    """Return ``(high << lane_bits) + low``, signed: the operand that carries both."""
    return (high.as_signed() << spec.lane_bits) + low.as_signed()


def split_lanes(spec: LaneSpec, p: Value) -> tuple[Value, Value]:
    """Return the high and the low sum in ``p``, signed.

    Exact while the low sum fits ``lane_bits``; a negative one has borrowed 1 from the high lane.
    """
    low = p[: spec.lane_bits].as_signed()
    high = p[spec.lane_bits :].as_signed() + p[spec.lane_bits - 1]
    return high[: high_bits(spec)].as_signed(), low


def split_segment(spec: LaneSpec, p: Value) -> tuple[Value, Value, Value]:
    """Return what stays in the cascade, and what leaves the high and the low lane, signed.

    Of each lane the lowest ``lsp_bits`` stay, as a number of no sign; ``lsp + (msp << lsp_bits)``
    is the lane. The high lane leaves as ``msp_bits``, so it must fit ``lane_bits`` too.
    """
    high, low = split_lanes(spec, p)
    cut = spec.lsp_bits
    kept = Cat(low[:cut], high[:cut].shift_left(spec.lane_bits - cut))
    return kept, high[cut : spec.lane_bits].as_signed(), low[cut:].as_signed()


class LaneSplit(wiring.Component):
    """Show the two sums in ``p``.

    Parameters
    ----------
    spec : LaneSpec
        Position of the lanes.

    Attributes
    ----------
    p : In(signed(48))
    high, low : Out(signed(48 - lane_bits)), Out(signed(lane_bits))

    Timing
    ------
    Combinational.
    """

    def __init__(self, spec: LaneSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "p": In(signed(DSP_P_BITS)),
                "high": Out(signed(high_bits(spec))),
                "low": Out(signed(spec.lane_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        high, low = split_lanes(self.spec, self.p)
        m.d.comb += [self.high.eq(high), self.low.eq(low)]
        return m
