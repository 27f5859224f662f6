"""Buffer a stream: first in, first out, with registered outputs."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from pydantic import BaseModel, ConfigDict, Field

from hwsim.core.machine import UnitTiming

__all__ = ["Fifo", "FifoSpec", "timing"]


class FifoSpec(BaseModel):
    """Width and capacity of a :class:`Fifo`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_bits: int = Field(16, ge=1)
    depth: int = Field(8, ge=1, description="transfers held, output register included")


def timing(spec: FifoSpec) -> UnitTiming:
    """Return the cycle contract: with one place only, accepting and emitting take turns."""
    return UnitTiming(latency_cycles=1, interval_cycles=1 if spec.depth > 1 else 2)


class Fifo(wiring.Component):
    """Pass every transfer on, once and in order, holding up to ``depth`` of them.

    Parameters
    ----------
    spec : FifoSpec
        Width in bits, capacity in transfers.

    Attributes
    ----------
    i : In(stream.Signature(width_bits))
    o : Out(stream.Signature(width_bits))

    Timing
    ------
    Latency 1 cycle when empty, interval 1 cycle (2 if ``depth`` is 1). ``o.valid`` and
    ``o.payload`` are registers; ``i.ready`` is decoded from registers only, so no path leads
    combinationally from one side to the other. A full buffer therefore accepts again in the cycle
    after it emits. The places before the output register are memory with asynchronous read
    (distributed RAM).

    Reset
    -----
    Empty; ``o.valid`` is 0. ``o.payload`` and the memory keep stale words.
    """

    def __init__(self, spec: FifoSpec) -> None:
        self.spec = spec
        width = unsigned(spec.width_bits)
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.level = Signal(range(spec.depth + 1))
        self.places = spec.depth - 1
        if self.places:
            # At least 1 address bit, because Verilog lacks width 0.
            size = max(2, self.places)
            self.storage = Memory(shape=width, depth=size, init=[])
            self.read_at = Signal(range(size))
            self.write_at = Signal(range(size))

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        accepted = self.i.valid & self.i.ready
        emitted = self.o.valid & self.o.ready
        is_register_free = ~self.o.valid | self.o.ready
        # Words behind the output register.
        is_storage_used = self.level > 1
        m.d.comb += self.i.ready.eq(self.level != self.spec.depth)
        m.d.sync += self.level.eq(self.level + accepted - emitted)
        with m.If(is_register_free):
            m.d.sync += self.o.valid.eq(accepted | is_storage_used)
        if not self.places:
            with m.If(accepted):
                m.d.sync += self.o.payload.eq(self.i.payload)
            return m

        m.submodules.storage = self.storage
        read = self.storage.read_port(domain="comb")
        write = self.storage.write_port()
        from_storage = is_register_free & is_storage_used
        # A word goes straight to the output register only if no older word waits in storage.
        to_storage = accepted & ~(is_register_free & ~is_storage_used)
        m.d.comb += [
            read.addr.eq(self.read_at),
            write.addr.eq(self.write_at),
            write.data.eq(self.i.payload),
            write.en.eq(to_storage),
        ]
        with m.If(from_storage):
            m.d.sync += [self.o.payload.eq(read.data), self.read_at.eq(self._next(self.read_at))]
        with m.Elif(accepted & is_register_free):
            m.d.sync += self.o.payload.eq(self.i.payload)
        with m.If(to_storage):
            m.d.sync += self.write_at.eq(self._next(self.write_at))
        return m

    def _next(self, place: Signal) -> Value:
        return Mux(place == self.places - 1, 0, place + 1)
