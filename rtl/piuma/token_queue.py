"""Hand tokens to whoever pops, in order: pops wait inside until there is one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import TokenQueueSpec
from rtl.common.constant import is_number
from rtl.piuma.rotating_pick import at_place, pick_by_turn

__all__ = ["TokenQueue", "timing"]


def timing(spec: TokenQueueSpec) -> UnitTiming:
    """Return the cycle contract of an operation that causes an answer."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


class TokenQueue(wiring.Component):
    """Answer the n-th pop with the n-th token pushed.

    Parameters
    ----------
    spec : TokenQueueSpec
        Capacities and widths.

    Attributes
    ----------
    i : Array(In(stream.Signature({token, tag, is_push})), ports)
        A push of ``token``, or a pop under ``tag``.
    o : Out(stream.Signature({token, tag, port}))
        Answers, in the order of pops. A push has none.

    Timing
    ------
    One operation per cycle, by turns among ports whose operation there is room for: a push needs a
    free entry, a pop a free place to wait. An answer is offered in the cycle after the later one of
    pop and push was accepted. A waiting answer stops the engine; ``i.ready`` depends on ``o.ready``
    and on every ``i`` combinationally.

    Reset
    -----
    Drops tokens, waiting pops and the answer on offer.
    """

    def __init__(self, spec: TokenQueueSpec) -> None:
        self.spec = spec
        self.operation = data.StructLayout(
            {"token": unsigned(spec.token_bits), "tag": unsigned(spec.tag_bits), "is_push": 1}
        )
        self.waiter = data.StructLayout({"tag": unsigned(spec.tag_bits), "port": spec.port_bits})
        answer = data.StructLayout(
            {"token": spec.token_bits, "tag": spec.tag_bits, "port": spec.port_bits}
        )
        super().__init__(
            {
                "i": In(stream.Signature(self.operation)).array(spec.ports),
                "o": Out(stream.Signature(answer)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.tokens = Memory(shape=unsigned(spec.token_bits), depth=spec.entries, init=[])
        self.waiters = Memory(shape=self.waiter, depth=spec.waiters, init=[])
        self.token_at, self.waiter_at = (Signal(range(n)) for n in (spec.entries, spec.waiters))
        self.token_count = Signal(range(spec.entries + 1))
        self.waiter_count = Signal(range(spec.waiters + 1))
        self.turn = Signal(spec.port_bits)
        self.taken = Signal()
        self.taken_port = Signal(spec.port_bits)
        self.taken_operation = Signal(self.operation)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        is_full = self.token_count == self.spec.entries
        is_crowded = self.waiter_count == self.spec.waiters
        wanting = Cat(
            port.valid & Mux(port.payload.is_push, ~is_full, ~is_crowded) for port in self.i
        )
        place, following = pick_by_turn(m, wanting, self.turn, "port")
        operation = self.taken_operation
        m.d.comb += [
            self.taken.eq(wanting.any() & (~self.o.valid | self.o.ready)),
            self.taken_port.eq(place),
            Value.cast(operation).eq(
                at_place([Value.cast(port.payload) for port in self.i], place)
            ),
        ]
        for number, port in enumerate(self.i):
            m.d.comb += port.ready.eq(self.taken & is_number(place, number))
        with m.If(self.taken):
            m.d.sync += self.turn.eq(following)

        has_token, has_waiter = self.token_count.any(), self.waiter_count.any()
        is_pushed, is_popped = self.taken & operation.is_push, self.taken & ~operation.is_push
        arrived = Signal(self.waiter)
        m.d.comb += [arrived.tag.eq(operation.tag), arrived.port.eq(place)]
        token, put_token, take_token = self._ring(
            m, self.tokens, self.token_at, self.token_count, operation.token
        )
        waiter, put_waiter, take_waiter = self._ring(
            m, self.waiters, self.waiter_at, self.waiter_count, arrived
        )
        m.d.comb += [
            put_token.eq(is_pushed & ~has_waiter),
            take_token.eq(is_popped & has_token),
            put_waiter.eq(is_popped & ~has_token),
            take_waiter.eq(is_pushed & has_waiter),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take_token | take_waiter):
            answered = data.View(
                self.waiter, Mux(is_pushed, Value.cast(waiter), Value.cast(arrived))
            )
            m.d.sync += self.o.valid.eq(1)
            m.d.sync += self.o.payload.token.eq(Mux(is_pushed, operation.token, token))
            m.d.sync += [self.o.payload.tag.eq(answered.tag), self.o.payload.port.eq(answered.port)]
        return m

    def _ring(
        self, m: Module, memory: Memory, at: Signal, count: Signal, word: Value
    ) -> tuple[Value, Signal, Signal]:
        """Return the oldest word of a ring, and what puts ``word`` into it and takes that out."""
        puts, takes = Signal(), Signal()
        read, write = memory.read_port(domain="comb"), memory.write_port()
        m.submodules += memory
        m.d.comb += [
            read.addr.eq(self._first(at, count)),
            write.addr.eq(at + count),
            write.en.eq(puts),
        ]
        m.d.comb += write.data.eq(word)
        m.d.sync += [count.eq(count + puts - takes), at.eq(at + takes)]
        return read.data, puts, takes

    def _first(self, at: Signal, count: Signal) -> Value:
        """Return where the word to take next lies in a ring of ``count`` words from ``at`` on."""
        del count
        return at
