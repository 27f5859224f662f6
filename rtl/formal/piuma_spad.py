"""State that scratchpad banks carry requests out one by one, and that the crossbar is fair."""

from __future__ import annotations

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from hwsim.piuma.unit_spec import SpadCrossbarSpec
from rtl.formal.turns import assert_turns
from rtl.piuma.atomic_spad import AtomicSpad, SpadOperation
from rtl.piuma.spad_crossbar import SpadCrossbar

__all__ = ["atomic_spad_properties", "spad_crossbar_properties"]


def atomic_spad_properties(m: Module, unit: AtomicSpad) -> None:
    """Assert one answer per request, in order, and the word of any one address.

    The watched address is an arbitrary constant. Each request to it, in turn, is answered by the
    word of before and leaves the word that its operation says; nothing else changes it.
    """
    _assert_order(m, unit)
    address = Signal(unit.spec.address_bits, name="watch_address")
    m.d.comb += address.eq(AnyConst(len(address)))
    m.d.comb += Assume(address < unit.spec.words)
    peek = unit.memory.read_port(domain="comb")
    m.d.comb += peek.addr.eq(address)
    word, request = peek.data, unit.reading
    is_watched = unit.fires & (request.address == address)
    # Forwarding shows what memory holds now.
    is_here = unit.is_reading & (request.address == address)
    m.d.comb += Assert(~is_here | (unit.old == word))

    result = Signal(unit.spec.data_bits, name="watch_result")
    m.d.comb += result.eq(word)
    with m.Switch(request.operation):
        with m.Case(SpadOperation.STORE, SpadOperation.SWAP):
            m.d.comb += result.eq(request.operand)
        with m.Case(SpadOperation.CAS):
            m.d.comb += result.eq(Mux(word == request.compare, request.operand, word))
        with m.Case(SpadOperation.ADD):
            m.d.comb += result.eq(word + request.operand)
    is_known, was_watched = Signal(reset_less=True), Signal()
    expected = Signal(unit.spec.data_bits, reset_less=True)
    before = Signal(unit.spec.data_bits)
    m.d.sync += [is_known.eq(1), expected.eq(Mux(is_watched, result, word)), before.eq(word)]
    m.d.sync += was_watched.eq(is_watched)
    m.d.comb += Assert(~is_known | (word == expected))
    m.d.comb += Assert(~was_watched | (unit.o.valid & (unit.o.payload.old == before)))


def _assert_order(m: Module, unit: AtomicSpad) -> None:
    """Assert that the k-th answer carries the k-th request's tag, by marking any one request."""
    accepted, emitted = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    held = Signal(2)
    m.d.sync += held.eq(held + accepted - emitted)
    m.d.comb += Assert(held == unit.is_reading + unit.o.valid)
    is_marked, ahead = Signal(), Signal(2)
    tag = Signal(unit.spec.tag_bits)
    with m.If(~is_marked & accepted & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(held - emitted), tag.eq(unit.i.payload.tag)]
    with m.If(is_marked & emitted):
        m.d.sync += ahead.eq(ahead - 1)
        with m.If(ahead == 0):
            m.d.comb += Assert(unit.o.payload.tag == tag)
            m.d.sync += is_marked.eq(0)
    with m.If(is_marked):
        m.d.comb += Assert(ahead < held)
        is_last = unit.o.valid & (ahead == 0)
        m.d.comb += Assert(Mux(is_last, unit.o.payload.tag, unit.reading.tag) == tag)


def spad_crossbar_properties(m: Module, unit: SpadCrossbar) -> None:
    """Assert that every request goes to its bank and its answer to its port, after fair waits.

    Watched are the requests of any one port under any one tag, and the waits of any one port for
    any one bank, and of any one bank for any one port. What banks do is stated for the bank.
    """
    spec = unit.spec
    port = Signal(unit.port_bits, name="watch_port")
    tag = Signal(spec.bank.tag_bits, name="watch_tag")
    m.d.comb += [port.eq(AnyConst(len(port))), tag.eq(AnyConst(len(tag)))]
    m.d.comb += Assume(port < spec.ports)
    accepted, emitted = Signal(), Signal()
    here = []
    for number in range(spec.ports):
        source, sink = unit.i[number], unit.o[number]
        with m.If(port == number):
            m.d.comb += accepted.eq(source.valid & source.ready & (source.payload.tag == tag))
            m.d.comb += emitted.eq(sink.valid & sink.ready & (sink.payload.tag == tag))
        here.append(sink.valid & (port == number) & (sink.payload.tag == tag))
    for bank in unit.banks:
        for is_used, place in ((bank.is_reading, bank.reading), (bank.o.valid, bank.o.payload)):
            here.append(is_used & (place.tag[: len(tag)] == tag) & (place.tag[len(tag) :] == port))
            # No answer is for a port that is not there.
            m.d.comb += Assert(~is_used | (place.tag[len(tag) :] < spec.ports))
    held = Signal(range(len(here) + 1))
    m.d.sync += held.eq(held + accepted - emitted)
    m.d.comb += Assert(held == sum(here))
    for number, bank in enumerate(unit.banks):
        wanting = [
            source.valid & (unit.bank_of(source.payload.address) == number) for source in unit.i
        ]
        taken = bank.i.valid & bank.i.ready
        winner = bank.i.payload.tag[len(tag) :]
        for place, source in enumerate(unit.i):
            with m.If(taken & (winner == place)):
                m.d.comb += Assert(source.ready & wanting[place])
                m.d.comb += Assert(_content(bank.i.payload, spec) == _content(source.payload, spec))
        assert_turns(m, wanting, taken, winner, unit.request_turns[number])
    for number, sink in enumerate(unit.o):
        wanting = [bank.o.valid & (bank.o.payload.tag[len(tag) :] == number) for bank in unit.banks]
        served = [w & bank.o.ready for w, bank in zip(wanting, unit.banks, strict=True)]
        place = Signal(len(unit.answer_turns[number]), name=f"served{number}")
        for k, is_served in enumerate(served):
            with m.If(is_served):
                m.d.comb += place.eq(k)
        m.d.comb += Assert(sum(served) <= 1)
        m.d.comb += Assert((sum(served) == 0) | ~sink.valid | sink.ready)
        assert_turns(m, wanting, sum(served) != 0, place, unit.answer_turns[number])
        old = Signal(spec.bank.data_bits, name=f"old{number}")
        for is_served, bank in zip(served, unit.banks, strict=True):
            with m.If(is_served):
                m.d.sync += old.eq(bank.o.payload.old)
        m.d.comb += Assert(~sink.valid | (sink.payload.old == old))


def _content(request: data.View, spec: SpadCrossbarSpec) -> Value:
    """Return what a request asks of its bank, its tag without the port."""
    place = request.address[-spec.bank.address_bits :]
    tag = request.tag[: spec.bank.tag_bits]
    return Cat(request.compare, request.operand, place, tag, request.operation)
