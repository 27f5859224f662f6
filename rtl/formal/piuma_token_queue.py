"""State that the n-th pop is answered with the n-th token, and that no port is passed over long."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Cat, Module, Mux, Signal, Value

from rtl.formal.turns import assert_turns
from rtl.piuma.token_queue import TokenQueue

__all__ = ["token_queue_properties"]


def token_queue_properties(m: Module, unit: TokenQueue) -> None:
    """Assert pairing, one answer per pair, and turns.

    Pushes and pops are numbered modulo twice the capacity, beyond what is inside at once; the
    watched number is an arbitrary constant, so what is asserted of it holds for all.
    """
    spec = unit.spec
    bits = (2 * max(spec.entries, spec.waiters)).bit_length()
    number = Signal(bits, name="watch_number")
    m.d.comb += number.eq(AnyConst(bits))
    operation = unit.taken_operation
    is_push = unit.taken & operation.is_push
    is_pop = unit.taken & ~operation.is_push
    pushes, pops = Signal(bits, name="pushes"), Signal(bits, name="pops")
    m.d.sync += [pushes.eq(pushes + is_push), pops.eq(pops + is_pop)]
    token, waiter = Signal(spec.token_bits), Signal(unit.waiter)
    with m.If(is_push & (pushes == number)):
        m.d.sync += token.eq(operation.token)
    with m.If(is_pop & (pops == number)):
        m.d.sync += [waiter.tag.eq(operation.tag), waiter.port.eq(unit.taken_port)]

    # What is taken is what a port offers.
    accepted = Cat(port.valid & port.ready for port in unit.i)
    m.d.comb += Assert(sum(accepted) == unit.taken)
    for place, port in enumerate(unit.i):
        with m.If(accepted[place]):
            m.d.comb += Assert(unit.taken_port == place)
            m.d.comb += Assert(Value.cast(operation) == Value.cast(port.payload))

    # Those answered: the same number of pushes and of pops.
    answered = (pushes - unit.token_count)[:bits]
    m.d.comb += Assert(answered == (pops - unit.waiter_count)[:bits])
    m.d.comb += Assert((unit.token_count == 0) | (unit.waiter_count == 0))
    m.d.comb += Assert(unit.token_count <= spec.entries)
    m.d.comb += Assert(unit.waiter_count <= spec.waiters)
    ahead = (number - answered)[:bits]
    for memory, at, count, word in (
        (unit.tokens, unit.token_at, unit.token_count, token),
        (unit.waiters, unit.waiter_at, unit.waiter_count, Value.cast(waiter)),
    ):
        peek = memory.read_port(domain="comb")
        m.d.comb += peek.addr.eq(at + ahead)
        m.d.comb += Assert((ahead >= count) | (Value.cast(peek.data) == word))

    is_held, last = Signal(), Signal(bits)
    with m.If(unit.o.valid & unit.o.ready):
        m.d.sync += is_held.eq(0)
    with m.If((is_push & (unit.waiter_count != 0)) | (is_pop & (unit.token_count != 0))):
        m.d.sync += [is_held.eq(1), last.eq(answered)]
    m.d.comb += Assert(unit.o.valid == is_held)
    with m.If(is_held):
        m.d.comb += Assert(last == (answered - 1)[:bits])
        answer = unit.o.payload
        with m.If(last == number):
            m.d.comb += Assert(answer.token == token)
            m.d.comb += Assert((answer.tag == waiter.tag) & (answer.port == waiter.port))
    is_full = unit.token_count == spec.entries
    is_crowded = unit.waiter_count == spec.waiters
    wanting = [port.valid & Mux(port.payload.is_push, ~is_full, ~is_crowded) for port in unit.i]
    assert_turns(m, wanting, unit.taken, unit.taken_port, unit.turn)
