"""Read, write and modify words of one scratchpad bank, one request per cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import AtomicSpadSpec

__all__ = ["AtomicSpad", "SpadOperation", "answer_layout", "request_layout", "timing"]


class SpadOperation(enum.Enum, shape=3):
    """What a request does to its word; any other code loads."""

    LOAD = 0
    STORE = 1
    CAS = 2
    ADD = 3
    SWAP = 4


def timing(spec: AtomicSpadSpec) -> UnitTiming:
    """Return the cycle contract."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def request_layout(spec: AtomicSpadSpec, address_bits: int, tag_bits: int) -> data.StructLayout:
    """Return the layout of a request."""
    return data.StructLayout(
        {
            "compare": unsigned(spec.data_bits),
            "operand": unsigned(spec.data_bits),
            "address": unsigned(address_bits),
            "tag": unsigned(tag_bits),
            "operation": unsigned(3),
        }
    )


def answer_layout(spec: AtomicSpadSpec, tag_bits: int) -> data.StructLayout:
    """Return the layout of an answer."""
    return data.StructLayout({"old": unsigned(spec.data_bits), "tag": unsigned(tag_bits)})


class AtomicSpad(wiring.Component):
    """Answer every request with its word as it was, and change the word, one after the other.

    Parameters
    ----------
    spec : AtomicSpadSpec
        Addresses from ``words`` on are the caller's fault.

    Attributes
    ----------
    i : In(stream.Signature({compare, operand, address, tag, operation}))
        LOAD; STORE and SWAP: the operand; CAS: the operand if the word is ``compare``; ADD: the sum
        modulo two to the width.
    o : Out(stream.Signature({old, tag}))
        In the order of requests.

    Timing
    ------
    Latency 2, interval 1, also for requests to one word: the word being written is forwarded to
    the request behind. A waiting answer stops the request behind it; ``i.ready`` depends on
    ``o.ready`` combinationally.

    Reset
    -----
    Drops requests that were not yet written. Words keep their values (0 at power-up).
    """

    def __init__(self, spec: AtomicSpadSpec) -> None:
        self.spec = spec
        self.request = request_layout(spec, spec.address_bits, spec.tag_bits)
        super().__init__(
            {
                "i": In(stream.Signature(self.request)),
                "o": Out(stream.Signature(answer_layout(spec, spec.tag_bits))),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.memory = Memory(shape=unsigned(spec.data_bits), depth=spec.words, init=[])
        self.is_reading = Signal()
        self.reading = Signal(self.request)
        self.old = Signal(spec.data_bits)
        self.fires = Signal()
        # What was written in the cycle of the last read, which did not see it.
        self.was_written = Signal()
        self.written_address = Signal(spec.address_bits)
        self.written = Signal(spec.data_bits)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.memory = self.memory
        read = self.memory.read_port(transparent_for=())
        write = self.memory.write_port()
        request = self.reading
        is_stale = self._is_stale()
        is_held = self.is_reading & self.o.valid & ~self.o.ready
        accepted = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~is_held),
            read.addr.eq(self.i.payload.address),
            read.en.eq(~is_held),
            self.old.eq(Mux(is_stale, self.written, read.data)),
            self.fires.eq(self.is_reading & ~is_held),
            write.addr.eq(request.address),
        ]
        is_equal = self.old == request.compare
        is_add = request.operation == SpadOperation.ADD
        is_cas = request.operation == SpadOperation.CAS
        is_set = (request.operation == SpadOperation.STORE) | (
            request.operation == SpadOperation.SWAP
        )
        m.d.comb += [
            write.data.eq(Mux(is_add, self.old, 0) + request.operand),
            write.en.eq(self.fires & (is_add | is_set | (is_cas & is_equal))),
        ]
        with m.If(~is_held):
            m.d.sync += [self.is_reading.eq(accepted), request.eq(self.i.payload)]
            m.d.sync += [self.was_written.eq(write.en), self.written.eq(write.data)]
            m.d.sync += self.written_address.eq(write.addr)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.fires):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.tag.eq(request.tag)]
            m.d.sync += self.o.payload.old.eq(self.old)
        return m

    def _is_stale(self) -> Value:
        """Return whether the word was written in the cycle that read it."""
        return self.was_written & (self.written_address == self.reading.address)
