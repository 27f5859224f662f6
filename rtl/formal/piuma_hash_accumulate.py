"""State that the hash accumulator holds each key once, with the sum of what was added to it."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.piuma.hash_accumulate import HashAccumulate, HashOperation, State

__all__ = ["hash_accumulate_properties"]


@dataclass(frozen=True)
class _Watch:
    """Any one key, and what was done with it.

    ``total``: of its values since the last clear, if it ``is_present``. ``is_owed``: a drain has
    yet to reach it; ``register``: the sum that a drain has put on offer.
    """

    key: Signal
    is_present: Signal
    total: Signal
    is_owed: Signal
    register: Signal


def hash_accumulate_properties(m: Module, unit: HashAccumulate) -> None:
    """Assert one answer per request, and that a drain shows each key once with its sum.

    The watched key is an arbitrary constant, so what is asserted of it holds for all keys: nothing
    added is lost, counted twice, or credited to another key; only an overflow refuses, and only
    if every slot holds another key.
    """
    slots = _peek(m, unit)
    _assert_answers(m, unit)
    watch = _watch(m, unit)
    _assert_control(m, unit, slots)
    _assert_table(m, unit, slots, watch)
    _assert_drain(m, unit, slots, watch)


def _peek(m: Module, unit: HashAccumulate) -> list[data.View]:
    """Return the content of every slot."""
    lanes = unit.spec.comparators
    slots = []
    for place in range(unit.spec.slots):
        port = unit.tables[place % lanes].read_port(domain="comb")
        m.d.comb += port.addr.eq(place // lanes)
        slot = Signal(unit.slot_layout, name=f"peek{place}")
        m.d.comb += slot.eq(port.data)
        slots.append(slot)
    return slots


def _assert_answers(m: Module, unit: HashAccumulate) -> None:
    held = Signal(2)
    m.d.sync += held.eq(held + (unit.i.valid & unit.i.ready) - (unit.o.valid & unit.o.ready))
    is_ending = (unit.state == State.DRAIN) | (unit.state == State.CLEAR)
    m.d.comb += Assert(held == unit.is_probing + is_ending + unit.o.valid)


def _watch(m: Module, unit: HashAccumulate) -> _Watch:
    width = unit.spec.data_bits
    watch = _Watch(
        key=Signal(unit.spec.key_bits, name="watch_key"),
        is_present=Signal(name="watch_is_present"),
        total=Signal(width, name="watch_total"),
        is_owed=Signal(name="watch_is_owed"),
        register=Signal(width, name="watch_register"),
    )
    m.d.comb += watch.key.eq(AnyConst(len(watch.key)))
    request, answer = unit.i.payload, unit.o.payload
    accepted = unit.i.valid & unit.i.ready
    # An accumulation counts in the cycle that settles it, seen one cycle later in its answer.
    settles = unit.is_settled & ~unit.is_held
    with m.If(settles & unit.is_writing & (unit.key == watch.key)):
        m.d.sync += watch.is_present.eq(1)
        m.d.sync += watch.total.eq(Mux(watch.is_present, watch.total, 0) + unit.value)
    was_watched, was_present = Signal(), Signal()
    m.d.sync += was_watched.eq(settles & (unit.key == watch.key))
    m.d.sync += was_present.eq(watch.is_present)
    with m.If(was_watched):
        m.d.comb += Assert(answer.is_new == ~(was_present | answer.is_overflow))
        m.d.comb += Assert(~(was_present & answer.is_overflow))
    with m.If(accepted & (request.operation == HashOperation.DRAIN)):
        is_added = unit.is_writing & (unit.key == watch.key)
        m.d.sync += watch.is_owed.eq(watch.is_present | is_added)
    with m.If((unit.state == State.CLEAR) & (~unit.o.valid | unit.o.ready)):
        m.d.sync += watch.is_present.eq(0)
    return watch


def _assert_control(m: Module, unit: HashAccumulate, slots: list[data.View]) -> None:
    """Assert which registers agree with which; the induction starts from such states."""
    lanes, number = unit.spec.comparators, unit.spec.slots
    is_sweeping = unit.state == State.SWEEP
    m.d.comb += Assert(~unit.is_probing | (unit.state == State.PROBE))
    m.d.comb += Assert(~unit.is_scanning | (unit.state == State.DRAIN))
    m.d.comb += Assert(is_sweeping | (unit.line == 0))
    m.d.comb += Assert(unit.epoch != 0)
    for place, slot in enumerate(slots):
        with m.If(is_sweeping):
            m.d.comb += Assert(unit.epoch == 1)
            is_marked = C(place // lanes, unit.spec.slot_bits) < unit.line
            m.d.comb += Assert(~is_marked | (slot.epoch == 0))
        with m.Else():
            # So that the next epoch finds every slot empty.
            m.d.comb += Assert(slot.epoch <= unit.epoch)
    content = [Value.cast(slot) for slot in slots]
    for j, lane in enumerate(unit.lanes):
        place = (unit.slot + j)[: unit.spec.slot_bits]
        here = Mux(place[0], content[1], content[0])
        for k in range(2, number):
            here = Mux(place == k, content[k], here)
        is_shown = unit.is_probing | (unit.is_scanning if j == 0 else C(0))
        m.d.comb += Assert(~is_shown | (Value.cast(lane) == here))
    with m.If(unit.is_probing):
        m.d.comb += Assert(unit.probed <= number - lanes)
        m.d.comb += Assert(unit.probed % lanes == 0)
        start = unit.slot - unit.probed
        m.d.comb += Assert(start[: unit.spec.slot_bits] == unit.first_slot(unit.key))


def _assert_table(m: Module, unit: HashAccumulate, slots: list[data.View], watch: _Watch) -> None:
    """Assert where the watched key lies, and that no search for it can end before it."""
    bits = unit.spec.slot_bits
    home = Signal(bits, name="watch_home")
    m.d.comb += home.eq(unit.first_slot(watch.key))
    is_live = Cat(slot.epoch == unit.epoch for slot in slots)
    is_here = Cat((slot.epoch == unit.epoch) & (slot.key == watch.key) for slot in slots)
    distance = [(C(place, bits) - home)[:bits] for place in range(len(slots))]
    with m.If(unit.state != State.SWEEP):
        m.d.comb += Assert(sum(is_here) == watch.is_present)
        for place, slot in enumerate(slots):
            with m.If(is_here[place]):
                m.d.comb += Assert(slot.value == watch.total)
                for other in range(len(slots)):
                    is_before = distance[other] < distance[place]
                    m.d.comb += Assert(~is_before | is_live[other])
    with m.Else():
        m.d.comb += Assert(~watch.is_present)
    for place in range(len(slots)):
        is_passed = unit.is_probing & (unit.key == watch.key) & (distance[place] < unit.probed)
        m.d.comb += Assert(~is_passed | (is_live[place] & ~is_here[place]))


def _assert_drain(m: Module, unit: HashAccumulate, slots: list[data.View], watch: _Watch) -> None:
    """Assert that a drain offers the watched key once if it is present, with its sum."""
    entry, offer = unit.lanes[0], unit.drained
    is_loaded = (
        unit.is_scanning & (entry.epoch == unit.epoch) & (entry.key == watch.key) & ~unit.is_held
    )
    is_pending = Signal(name="watch_is_pending")
    with m.If(offer.valid & offer.ready):
        m.d.sync += is_pending.eq(0)
    with m.If(is_loaded):
        m.d.comb += Assert(watch.is_owed)
        m.d.sync += [watch.is_owed.eq(0), is_pending.eq(1), watch.register.eq(watch.total)]
    is_offered = offer.valid & (offer.payload.key == watch.key)
    m.d.comb += Assert(is_offered == is_pending)
    m.d.comb += Assert(~is_offered | (offer.payload.value == watch.register))

    is_ahead = Cat(
        (slot.epoch == unit.epoch)
        & (slot.key == watch.key)
        & (~unit.is_scanning | (unit.slot <= place))
        for place, slot in enumerate(slots)
    )
    is_draining = unit.state == State.DRAIN
    m.d.comb += Assert(watch.is_owed == (is_draining & is_ahead.any()))
    shown = sum(
        (slot.epoch == unit.epoch) & unit.is_scanning & (C(place, 8) < unit.slot)
        for place, slot in enumerate(slots)
    )
    m.d.comb += Assert(~is_draining | (unit.entries == shown))
