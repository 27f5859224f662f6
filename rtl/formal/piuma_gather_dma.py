"""State that the DMA engine writes every element once, at its place, with its value."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal, Value

from rtl.piuma.gather_dma import DmaOperation, GatherDma

__all__ = ["gather_dma_properties"]


@dataclass(frozen=True)
class _Stage:
    """Requests of one kind: ``pending`` slots are asked for and not answered yet."""

    pending: Signal
    answer: Signal


def gather_dma_properties(m: Module, unit: GatherDma) -> None:
    """Assert for any one element of every descriptor what is asked, written and reported.

    Assumed of memory: it answers requests that it has taken, each once, in any order, and it may
    answer anything. Then the watched element is fetched, read and written once, in its turn,
    at the addresses that its operation says, and its write carries the answer to its read; a
    descriptor is reported done when as many elements as it counts have been written.
    """
    element = Signal(unit.spec.count_bits, name="watch_element")
    m.d.comb += element.eq(AnyConst(len(element)))
    descriptor = _descriptor(m, unit)
    fetched = _stage(m, unit, unit.fetch, unit.fetched, element, "fetched")
    read = _stage(m, unit, unit.read, unit.data, element, "data")
    number = Signal(unit.spec.count_bits, name="watch_written")
    wrote = unit.write.valid & unit.write.ready
    with m.If(unit.i.valid & unit.i.ready):
        m.d.sync += number.eq(0)
    with m.Elif(wrote):
        m.d.sync += number.eq(number + 1)

    now, write = unit.now, unit.write.payload
    m.d.comb += Assert(~unit.is_busy | (now == descriptor))
    with m.If(unit.write.valid & (number == element)):
        place = Mux(unit.is_scatter, fetched.answer, element)
        address = (now.target + place)[: unit.spec.address_bits]
        m.d.comb += Assert(write.address == address)
        m.d.comb += Assert(write.is_add == (now.operation == DmaOperation.SCATTER_ADD))
        m.d.comb += Assert(unit.is_broadcast | (write.value == read.answer))
    with m.If(unit.done.valid):
        m.d.comb += Assert(number == now.count)
        m.d.comb += Assert(unit.done.payload == now.count)
    _assert_control(m, unit, number)
    _assert_slots(m, unit, fetched, read)
    _assert_watched(m, unit, element, fetched, read)
    _assert_broadcast(m, unit)


def _descriptor(m: Module, unit: GatherDma) -> Signal:
    taken = Signal.like(unit.now, name="watch_descriptor")
    with m.If(unit.i.valid & unit.i.ready):
        m.d.sync += taken.eq(unit.i.payload)
    return taken


def _stage(
    m: Module, unit: GatherDma, request: object, answer: object, element: Signal, name: str
) -> _Stage:
    """Follow the requests of one kind; hold memory to answering them."""
    places, bits = unit.spec.outstanding, unit.spec.slot_bits
    stage = _Stage(
        Signal(places, name=f"watch_{name}_pending"),
        Signal(len(answer.payload.value), name=f"watch_{name}"),
    )
    asks, answers = request.valid & request.ready, answer.valid
    slot = answer.payload.slot
    m.d.comb += Assert(answer.ready)
    m.d.comb += Assume(~answers | stage.pending.bit_select(slot, 1))
    with m.If(asks):
        m.d.sync += stage.pending.bit_select(request.payload.slot, 1).eq(1)
    with m.If(answers):
        m.d.sync += stage.pending.bit_select(slot, 1).eq(0)
    # The watched element's answer is the last one of its slot until its write.
    begun = unit.fetch_at if name == "fetched" else unit.read_at
    held = (begun - element)[: unit.spec.count_bits]
    with m.If(answers & (slot == element[:bits]) & (held != 0) & (held <= places)):
        m.d.sync += stage.answer.eq(answer.payload.value)
    return stage


def _assert_control(m: Module, unit: GatherDma, number: Signal) -> None:
    """Assert the order of the stages, and that at most so many elements are in flight."""
    places = unit.spec.outstanding
    is_indexed, is_broadcast = unit.is_indexed, unit.is_broadcast
    with m.If(unit.is_busy):
        m.d.comb += Assert(number + unit.write.valid == unit.write_at)
        m.d.comb += Assert(unit.write_at <= unit.now.count)
        m.d.comb += Assert(unit.read_at <= unit.now.count)
        m.d.comb += Assert(unit.fetch_at <= unit.now.count)
        m.d.comb += Assert(~unit.done.valid | (unit.write_at == unit.now.count))
        m.d.comb += Assert(~unit.done.valid | ~unit.write.valid)
        with m.If(is_broadcast):
            m.d.comb += Assert(unit.read_at <= 1)
        with m.Else():
            m.d.comb += Assert(unit.write_at <= unit.read_at)
            m.d.comb += Assert(unit.read_at - unit.write_at <= places)
        with m.If(is_indexed):
            m.d.comb += Assert(unit.read_at <= unit.fetch_at)
            m.d.comb += Assert(unit.fetch_at - unit.write_at <= places)
        with m.Else():
            m.d.comb += Assert(unit.fetch_at == 0)
            m.d.comb += Assert(~unit.fetch.valid)
    with m.Else():
        m.d.comb += Assert(~(unit.fetch.valid | unit.read.valid | unit.write.valid))
        m.d.comb += Assert(~unit.done.valid)


def _assert_slots(m: Module, unit: GatherDma, fetched: _Stage, read: _Stage) -> None:
    """Assert that a slot is asked for, answered or empty, as its element's stage says."""
    bits = unit.spec.slot_bits
    for slot in range(unit.spec.outstanding):
        # The element of this slot among those that are not written.
        behind = (slot - unit.write_at)[:bits]
        begun = unit.read_at - unit.write_at
        is_read = unit.is_busy & ~unit.is_broadcast & (behind < begun)
        is_fetched = unit.is_busy & unit.is_indexed & (behind < unit.fetch_at - unit.write_at)
        in_fetch = unit.fetch.valid & (unit.fetch.payload.slot == slot)
        in_read = unit.read.valid & (unit.read.payload.slot == slot)
        fetches = in_fetch + fetched.pending[slot] + unit.has_index[slot]
        m.d.comb += Assert(fetches == is_fetched)
        with m.If(is_read & unit.is_indexed):
            m.d.comb += Assert(unit.has_index[slot])
        reads = in_read + read.pending[slot] + unit.has_value[slot]
        with m.If(~unit.is_broadcast & unit.is_busy):
            m.d.comb += Assert(reads == is_read)
        with m.If(unit.is_broadcast & unit.is_busy):
            # Only element 0 is read, and its value stays.
            m.d.comb += Assert(reads == (unit.read_at if slot == 0 else 0))
        with m.If(~unit.is_busy):
            m.d.comb += Assert(~in_read & ~read.pending[slot])


def _assert_watched(
    m: Module, unit: GatherDma, element: Signal, fetched: _Stage, read: _Stage
) -> None:
    """Assert what lies in the watched element's slot, and what is asked for it."""
    bits, now = unit.spec.slot_bits, unit.now
    slot = element[:bits]
    index, value = (memory.read_port(domain="comb") for memory in (unit.indices, unit.values))
    m.d.comb += [index.addr.eq(slot), value.addr.eq(slot)]
    is_here = unit.is_busy & (element >= unit.write_at)
    is_fetched = is_here & unit.is_indexed & (element < unit.fetch_at)
    is_read = is_here & ~unit.is_broadcast & (element < unit.read_at)
    with m.If(is_fetched & unit.has_index.bit_select(slot, 1)):
        m.d.comb += Assert(index.data == fetched.answer)
    with m.If(is_read & unit.has_value.bit_select(slot, 1)):
        m.d.comb += Assert(value.data == read.answer)
    with m.If(is_fetched & unit.fetch.valid & (unit.fetch.payload.slot == slot)):
        m.d.comb += Assert(unit.fetch.payload.address == (now.index + element)[: len(now.index)])
    with m.If(is_read & unit.read.valid & (unit.read.payload.slot == slot)):
        is_gather = now.operation == DmaOperation.GATHER
        offset = Mux(is_gather, fetched.answer, element)
        m.d.comb += Assert(unit.read.payload.address == (now.source + offset)[: len(now.source)])


def _assert_broadcast(m: Module, unit: GatherDma) -> None:
    """Assert that a broadcast reads its source once and writes that everywhere."""
    first = Signal(unit.spec.data_bits, name="watch_first")
    with m.If(unit.data.valid & unit.data.ready):
        m.d.sync += first.eq(unit.data.payload.value)
    value = unit.values.read_port(domain="comb")
    m.d.comb += value.addr.eq(0)
    is_on: Value = unit.is_busy & unit.is_broadcast
    with m.If(is_on):
        with m.If(unit.has_value[0]):
            m.d.comb += Assert(value.data == first)
            m.d.comb += Assert(unit.read_at == 1)
        m.d.comb += Assert((unit.write_at == 0) | unit.has_value[0])
        with m.If(unit.write.valid):
            m.d.comb += Assert(unit.write.payload.value == first)
        with m.If(unit.read.valid):
            m.d.comb += Assert(unit.read.payload.slot == 0)
            m.d.comb += Assert(unit.read.payload.address == unit.now.source)
            m.d.comb += Assert(unit.read_at == 1)
