"""State that a PE multiplies the element its weight names, and adds to the newest sum."""

from __future__ import annotations

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Module, ResetSignal, Signal, Value

from rtl.sat.uspe import Uspe

__all__ = ["uspe_properties"]


def uspe_properties(m: Module, unit: Uspe) -> None:
    """Assert operand selection, that no operation is lost, and which sum each one is added to.

    Assumed: one mode; an operation that is not the first of a sum comes at least L cycles after
    any other one on its entry (west lanes are proved to do so); shifts only with no operation in
    flight. What multiplier and adder compute is not stated here.
    """
    m.d.comb += unit.i_is_os.eq(AnyConst(1))
    adder = unit.spec.array.adder_latency_cycles
    _assert_operand(m, unit)
    adds = unit.i_west.valid & ~unit.ops[0].is_first
    for age in range(1, adder):
        m.d.comb += Assume(~(adds & _is_same_entry(unit, 0, age)))
    m.d.comb += Assume(~(unit.i_shift & unit.is_used.any()))
    # The same, wherever the younger operation has got to.
    for stage in range(1, unit.latency_cycles):
        for age in range(1, min(adder, unit.latency_cycles - stage + 1)):
            is_close = ~unit.ops[stage].is_first & _is_same_entry(unit, stage, stage + age)
            m.d.comb += Assert(~is_close)
    _assert_passage(m, unit)
    _assert_sums(m, unit)


def _is_same_entry(unit: Uspe, younger: int, older: int) -> Value:
    are_used = unit.is_used[younger] & unit.is_used[older]
    return are_used & (unit.ops[younger].entry == unit.ops[older].entry)


def _assert_operand(m: Module, unit: Uspe) -> None:
    """Assert that exactly the element at the index of the weight is multiplied."""
    slots = [Value.cast(unit.weights[slot]) for slot in range(unit.spec.nm_n)]
    for slot, weight in enumerate([*slots, Value.cast(unit.i_weight.payload)]):
        is_in_use = unit.i_is_os if slot == len(slots) else unit.i_west.payload.slot == slot
        is_in_use = is_in_use if slot == len(slots) else is_in_use & ~unit.i_is_os
        for element in range(unit.spec.nm_m):
            with m.If(is_in_use & (weight[16:] == element)):
                m.d.comb += Assert(unit.operand == unit.i_west.payload.group[element])


def _assert_passage(m: Module, unit: Uspe) -> None:
    """Assert that a marked operation moves one stage per cycle and leaves one sum behind.

    The solver marks any one operation.
    """
    latency = unit.latency_cycles
    is_marked = Signal()
    place = Signal(range(latency + 1))
    op = Signal.like(unit.ops[0], name="marked_op")
    with m.If(~is_marked & unit.i_west.valid & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), place.eq(1), op.eq(unit.ops[0])]
    with m.Elif(is_marked):
        m.d.sync += [place.eq(place + 1), is_marked.eq(place != latency)]
    with m.If(is_marked):
        m.d.comb += Assert((place >= 1) & (place <= latency))
        for stage in range(1, latency + 1):
            with m.If(place == stage):
                m.d.comb += Assert(unit.is_used[stage])
                m.d.comb += Assert(Value.cast(unit.ops[stage]) == Value.cast(op))
        with m.If(place == latency):
            goes_south = op.is_last & ~unit.i_is_os
            m.d.comb += Assert(unit.is_stored == ~goes_south)
            m.d.comb += Assert(goes_south | (unit.stored.entry == op.entry))
            m.d.comb += Assert(unit.o_psum.valid == op.is_last)
            m.d.comb += Assert(unit.o_psum.payload.entry == op.entry)


def _assert_sums(m: Module, unit: Uspe) -> None:
    """Assert that an addition reads the newest sum of its entry, none of which is in flight.

    The watched entry is an arbitrary constant, so this holds for all entries.
    """
    entry = Signal.like(unit.i_place, name="watched_entry")
    m.d.comb += entry.eq(AnyConst(len(entry)))
    last_sum, last_north = Signal(32), Signal(32)
    is_known, is_north_known = Signal(), Signal()
    with m.If(unit.is_stored & (unit.stored.entry == entry)):
        m.d.sync += [last_sum.eq(unit.stored.value), is_known.eq(1)]
    came = unit.i_psum.valid & ~unit.i_is_os & (unit.i_psum.payload.entry == entry)
    with m.If(came):
        m.d.sync += [last_north.eq(unit.i_psum.payload.value), is_north_known.eq(1)]
    sums, north = unit.sums.read_port(domain="comb"), unit.north.read_port(domain="comb")
    m.d.comb += [sums.addr.eq(entry), north.addr.eq(entry)]
    m.d.comb += Assert(~is_known | (sums.data == last_sum))
    m.d.comb += Assert(~is_north_known | (north.data == last_north))

    stage = unit.spec.array.multiplier_latency_cycles
    adding = unit.ops[stage]
    with m.If(unit.is_used[stage] & (adding.entry == entry)):
        with m.If(adding.is_first):
            m.d.comb += Assert(~unit.i_is_os | ~unit.addend.any())
            is_from_north = ~unit.i_is_os & is_north_known
            m.d.comb += Assert(~is_from_north | (unit.addend == last_north))
        with m.Else():
            m.d.comb += Assert(~is_known | (unit.addend == last_sum))
            for older in range(stage + 1, unit.latency_cycles + 1):
                m.d.comb += Assert(~_is_same_entry(unit, stage, older))
    with m.If(ResetSignal()):
        # The memories outlive a reset, the bench's registers do not.
        m.d.sync += [is_known.eq(0), is_north_known.eq(0)]
