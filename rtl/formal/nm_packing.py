"""State that packing and unpacking lose, repeat, reorder and invent no bit of a block."""

from __future__ import annotations

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Module, Mux, Signal, Value

from rtl.sat.gearbox import Gearbox
from rtl.sat.nm_packer import NmPacker
from rtl.sat.nm_unpacker import NmUnpacker

__all__ = ["nm_packer_properties", "nm_unpacker_properties"]


def nm_packer_properties(m: Module, unit: NmPacker) -> None:
    """Assert where every bit of a group comes out, that blocks begin words, and the padding.

    Bits are counted here once more: ``level`` of the block have come and not left. Of any one
    group the solver marks any one bit, which must leave as the bit that as many came before.
    """
    word_bits = unit.spec.word_bits
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    is_last_group = _count_block(m, unit.i_groups, accepted, unit.accepted)
    level, is_ending = Signal.like(unit.gearbox.level), Signal()
    left, rest = Signal.like(level), Signal.like(level)
    m.d.comb += left.eq(Mux(level > word_bits, level - word_bits, 0))
    m.d.comb += rest.eq(Mux(emitted, left, level))
    m.d.sync += level.eq(rest + Mux(accepted, unit.gearbox.in_bits, 0))
    m.d.sync += is_ending.eq(Mux(accepted, is_last_group, is_ending & (rest != 0)))
    data, last = unit.o.payload.data, unit.o.payload.last
    m.d.comb += Assert(unit.o.valid == ((level >= word_bits) | is_ending))
    m.d.comb += Assert(~unit.o.valid | (last == (is_ending & (level <= word_bits))))
    is_free = (left < word_bits) & ~(is_ending & (left != 0))
    m.d.comb += Assert(unit.i.ready == (~unit.o.valid | (unit.o.ready & is_free)))
    m.d.comb += Assert(~(unit.o.valid & last) | ((data >> level) == 0))
    m.d.comb += Assert(unit.gearbox.is_ending == is_ending)
    m.d.comb += Assert(~is_ending | (level != 0))

    dropped = Signal()
    _follow_a_bit(m, unit.gearbox, level, rest, Value.cast(unit.i.payload), data, dropped)


def nm_unpacker_properties(m: Module, unit: NmUnpacker) -> None:
    """Assert where every bit of a word comes out, and that only padding never does.

    As for the packer; what is left after the last group of a block is less than a word, and the
    next block begins with the next word.
    """
    group_bits = unit.spec.group_bits
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    is_last_group = _count_block(m, unit.i_groups, emitted, unit.emitted)
    level = Signal.like(unit.gearbox.level)
    left, rest = Signal.like(level), Signal.like(level)
    m.d.comb += left.eq(Mux((level > group_bits) & ~is_last_group, level - group_bits, 0))
    m.d.comb += rest.eq(Mux(emitted, left, level))
    m.d.sync += level.eq(rest + Mux(accepted, unit.gearbox.in_bits, 0))
    m.d.comb += Assert(unit.o.valid == (level >= group_bits))
    m.d.comb += Assert(unit.i.ready == (~unit.o.valid | (unit.o.ready & (left < group_bits))))
    m.d.comb += Assert(~unit.o.valid | (level - group_bits < unit.spec.word_bits))
    m.d.comb += Assert(~unit.gearbox.is_ending)
    dropped = Signal()
    m.d.comb += dropped.eq(emitted & is_last_group)
    data = Value.cast(unit.o.payload)
    _follow_a_bit(m, unit.gearbox, level, rest, Value.cast(unit.i.payload), data, dropped)


def _count_block(m: Module, groups: Signal, moved: Value, counter: Signal) -> Signal:
    """Return whether the coming group is the last of its block, by a count of its own."""
    m.d.comb += groups.eq(AnyConst(len(groups)))
    left, is_last, is_begun = Signal(len(groups)), Signal(), Signal()
    # Counts down where the unit counts up.
    before = Mux(is_begun, left, groups)
    m.d.comb += is_last.eq(before == 1)
    with m.If(moved):
        m.d.sync += [left.eq(before - 1), is_begun.eq(~is_last)]
    m.d.comb += Assert(counter == Mux(is_begun, groups - left, 0)[: len(groups)])
    # From 1 to one less than a block; 0 groups stand for 2**32.
    size = len(groups)
    m.d.comb += Assert(~is_begun | ((left - 1)[:size] < (groups - 1)[:size]))
    return is_last


def _follow_a_bit(
    m: Module,
    gearbox: Gearbox,
    level: Signal,
    rest: Signal,
    entering: Value,
    leaving: Value,
    dropped: Value,
) -> None:
    """Assert that any marked bit leaves after as many bits as were before it, or is dropped."""
    accepted, emitted = gearbox.i.valid & gearbox.i.ready, gearbox.o.valid & gearbox.o.ready
    out_bits = gearbox.out_bits
    place = Signal(range(gearbox.in_bits), name="marked_place")
    m.d.comb += place.eq(AnyConst(len(place)))
    m.d.comb += Assume(place < gearbox.in_bits)
    is_marked, bit = Signal(name="is_marked"), Signal(name="marked_bit")
    ahead = Signal.like(level, name="marked_ahead")
    with m.If(is_marked & emitted):
        m.d.sync += ahead.eq(ahead - out_bits)
        with m.If((ahead < out_bits) | dropped):
            m.d.sync += is_marked.eq(0)
        with m.If(ahead < out_bits):
            m.d.comb += Assert(leaving.bit_select(ahead, 1) == bit)
    with m.If(~is_marked & accepted & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(rest + place)]
        m.d.sync += bit.eq(entering.bit_select(place, 1))
    # Where it lies: the induction starts from states that satisfy this.
    m.d.comb += Assert(gearbox.level == level)
    m.d.comb += Assert(level < gearbox.in_bits + out_bits)
    m.d.comb += Assert((gearbox.held >> level) == 0)
    with m.If(is_marked):
        m.d.comb += Assert(ahead < level)
        m.d.comb += Assert(gearbox.held.bit_select(ahead, 1) == bit)
