"""State that a west lane never lets an addition overtake the sum it adds to."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from rtl.sat.west_lane import WestLane

__all__ = ["west_lane_properties"]


def west_lane_properties(m: Module, unit: WestLane) -> None:
    """Assert that operations on one sum are at least L cycles apart, and their entries in range.

    Assumed: a beat is there whenever the lane is ready; the configuration fits the array and is
    constant from a start to the last issue; a start comes when all sums of the tile before are
    back (at least L - 1 cycles after its last issue).
    """
    config, adder = unit.i_config, unit.spec.array.adder_latency_cycles
    is_recent = [Signal(name=f"is_recent{age}") for age in range(1, adder)]
    recent = [Signal.like(unit.o.payload.entry, name=f"recent{age}") for age in range(1, adder)]
    if adder > 1:
        m.d.sync += [is_recent[0].eq(unit.o.valid), recent[0].eq(unit.o.payload.entry)]
    for age in range(1, adder - 1):
        m.d.sync += [is_recent[age].eq(is_recent[age - 1]), recent[age].eq(recent[age - 1])]
    is_idle = ~unit.left.any()
    any_recent = sum(is_recent, Signal()).any()
    m.d.comb += Assume(~unit.i_start | (is_idle & ~any_recent))
    _assume_config(m, unit)

    is_first_slot = ~unit.slot.any() & ~config.is_os
    for age, (is_used, entry) in enumerate(zip(is_recent, recent, strict=True), 1):
        is_apart = unit.turn + adder <= entry + age
        with m.If(is_used & ~is_idle):
            # This slot issued its entries one per cycle; the slot before was at least L long.
            # First products of weight-stationary steps add to other sums than those before.
            with m.If(unit.turn >= age):
                m.d.comb += Assert(entry + age == unit.turn)
            with m.Elif(~is_first_slot):
                m.d.comb += Assert(is_apart)
        with m.If(unit.o.valid & ~unit.o.payload.is_first):
            m.d.comb += Assert(~(is_used & (entry == unit.o.payload.entry)))
    with m.If(unit.o.valid):
        m.d.comb += Assert(unit.o.payload.entry < unit.spec.array.interleave)
        m.d.comb += Assert(unit.o.payload.slot <= config.last_slot)
    _assert_state(m, unit)


def _assume_config(m: Module, unit: WestLane) -> None:
    """Assume that the configuration is one the array has, and does not change under way."""
    config, spec = unit.i_config, unit.spec
    m.d.comb += Assume((config.entries >= 1) & (config.entries <= spec.array.interleave))
    m.d.comb += Assume(config.last_slot < spec.nm_n)
    m.d.comb += Assume(config.count >= 1)
    last = Signal.like(config, name="last_config")
    was_started = Signal()
    m.d.sync += [last.eq(config), was_started.eq(unit.i_start)]
    is_under_way = unit.left.any() | was_started
    m.d.comb += Assume(~is_under_way | (config.as_value() == last.as_value()))


def _assert_state(m: Module, unit: WestLane) -> None:
    """Assert what the counters can be; the induction starts from states that satisfy this."""
    adder = unit.spec.array.adder_latency_cycles
    config = unit.i_config
    is_ragged = ~config.is_os & (unit.left < config.entries)
    entries = Mux(is_ragged, unit.left, config.entries)
    # Weight-stationary, a step ends with its last product.
    is_ending = ~config.is_os & (unit.slot == config.last_slot)
    with m.If(unit.left.any()):
        m.d.comb += Assert(unit.slot <= config.last_slot)
        is_waiting = (unit.turn < adder) & ~is_ending
        m.d.comb += Assert((unit.turn < entries) | is_waiting)
    with m.Else():
        m.d.comb += Assert(~unit.turn.any() & ~unit.slot.any() & ~unit.is_issuing)
    m.d.comb += Assert(unit.is_issuing | (~unit.turn.any() & ~unit.slot.any()))
