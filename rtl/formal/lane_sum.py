"""State that a segment of the chain keeps both lanes, and why: the overflow bound."""

from __future__ import annotations

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hwsim.flightllm.unit_spec import DSP_P_BITS, LaneSpec
from rtl.flightllm.lane_split import LaneSplit, split_lanes

__all__ = ["LaneSum", "lane_bound_properties", "lane_split_properties", "lane_sum_properties"]

EXACT_BITS = 28
"""Of the exact sums that lanes are compared with: more than any segment needs."""


class LaneSum(wiring.Component):
    """Sum one pair of products per cycle in P as a segment's slices do one after the other.

    Slice k of a segment adds its product to the P of slice k - 1 one cycle later, so the P of one
    transfer on its way through the chain is this register. The product of the packed operand is
    written as the sum of the two products that it is; tests compare them for all operands.

    Parameters
    ----------
    spec : LaneSpec
        Lanes, and how many products a segment sums.
    is_symmetric : bool
        Whether the weights leave the most negative number out.
    is_first : bool
        Whether P begins at 0, else at any word that overflow adjustment may leave in the cascade.

    Attributes
    ----------
    i_high, i_low, i_weight : In(signed(operand_bits))
        Operands of the next slice.
    i_start_high, i_start_low : In(lsp_bits)
        Where the lanes begin; constant.
    """

    def __init__(self, spec: LaneSpec, *, is_symmetric: bool, is_first: bool) -> None:
        self.spec = spec
        self.is_symmetric = is_symmetric
        self.is_first = is_first
        operand, start = In(signed(spec.operand_bits)), In(spec.lsp_bits)
        ports = {"i_high": operand, "i_low": operand, "i_weight": operand}
        super().__init__({**ports, "i_start_high": start, "i_start_low": start})
        self.count = Signal(range(spec.segment_dsps + 1))
        self.added = Signal(signed(DSP_P_BITS))
        self.products = tuple(
            Signal(signed(2 * spec.operand_bits), name=f"product_{name}")
            for name in ("high", "low")
        )

    @property
    def p(self) -> Value:
        """Return P: what the segment began with and what was added since."""
        start = (self.i_start_high << self.spec.lane_bits) + self.i_start_low
        return (start + self.added)[:DSP_P_BITS].as_signed()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        high, low = self.products
        m.d.comb += [high.eq(self.i_high * self.i_weight), low.eq(self.i_low * self.i_weight)]
        with m.If(self.count != self.spec.segment_dsps):
            m.d.sync += self.count.eq(self.count + 1)
            m.d.sync += self.added.eq(self.added + (high << self.spec.lane_bits) + low)
        return m


def lane_bound_properties(m: Module, unit: LaneSum) -> None:
    """Assert that the low lane's exact sum fits it after every product of a segment."""
    high, low = _bounded_sums(m, unit)
    del high
    m.d.comb += Assert(_fits(unit, low + unit.i_start_low))


def lane_sum_properties(m: Module, unit: LaneSum) -> None:
    """Assert that of both lanes; and that what is read out of P are the exact sums."""
    high, low = _bounded_sums(m, unit)
    m.d.comb += Assert(_fits(unit, low + unit.i_start_low))
    m.d.comb += Assert(_fits(unit, high + unit.i_start_high))
    lane_bits = unit.spec.lane_bits
    packed = ((high << lane_bits) + low)[:DSP_P_BITS].as_signed()
    m.d.comb += Assert(unit.added == packed)
    lane_high, lane_low = split_lanes(unit.spec, unit.p)
    m.d.comb += Assert(lane_high == high + unit.i_start_high)
    m.d.comb += Assert(lane_low == low + unit.i_start_low)


def _bounded_sums(m: Module, unit: LaneSum) -> tuple[Signal, Signal]:
    """Return what was exactly added to each lane, with the assertions that bound it.

    The induction is over the products: each is at most ``largest`` in magnitude, so after k of them
    a lane lies within k times that of where it began, and that fits it. If weights may be the most
    negative number, ``largest`` is one step larger, and the lane does not fit.
    """
    spec = unit.spec
    half = 1 << (spec.operand_bits - 1)
    largest = half * (half - 1 if unit.is_symmetric else half)
    if unit.is_symmetric:
        m.d.comb += Assume(unit.i_weight != -half)
    m.d.comb += Assert(unit.count <= spec.segment_dsps)
    reach = Const(0, 1)
    for k in range(spec.segment_dsps):
        reach = reach + Mux(unit.count > k, largest, 0)
    exact = []
    starts = {"high": unit.i_start_high, "low": unit.i_start_low}
    for (name, start), product in zip(starts.items(), unit.products, strict=True):
        fixed = Signal.like(start, name=f"start_{name}")
        m.d.comb += fixed.eq(0 if unit.is_first else AnyConst(len(start)))
        m.d.comb += Assume(start == fixed)
        total = Signal(signed(EXACT_BITS), name=f"exact_{name}")
        with m.If(unit.count != spec.segment_dsps):
            m.d.sync += total.eq(total + product)
        m.d.comb += Assert((product <= largest) & (product >= -largest))
        m.d.comb += Assert((total <= reach) & (total >= -reach))
        exact.append(total)
    return exact[0], exact[1]


def _fits(unit: LaneSum, total: Value) -> Value:
    return (total <= unit.spec.lane_max) & (total >= -unit.spec.lane_max - 1)


def lane_split_properties(m: Module, unit: LaneSplit) -> None:
    """Assert that any two sums packed in one word are read out of it again."""
    high, low = Signal.like(unit.high, name="packed_high"), Signal.like(unit.low, name="packed_low")
    m.d.comb += [high.eq(AnySeq(len(high))), low.eq(AnySeq(len(low)))]
    m.d.comb += Assume(unit.p == ((high << unit.spec.lane_bits) + low)[:DSP_P_BITS].as_signed())
    m.d.comb += Assert((unit.high == high) & (unit.low == low))
