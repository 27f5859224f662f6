"""Move elements by descriptors: copy, gather, scatter, scatter-add, broadcast."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import GatherDmaSpec

__all__ = ["DmaOperation", "GatherDma", "timing"]


class DmaOperation(enum.Enum, shape=3):
    """What a descriptor asks for; any other code copies."""

    COPY = 0
    GATHER = 1
    SCATTER = 2
    SCATTER_ADD = 3
    BROADCAST = 4


def timing(spec: GatherDmaSpec) -> UnitTiming:
    """Return the cycle contract: from an element's data to its write, and between elements."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


class GatherDma(wiring.Component):
    """Carry out descriptors one after the other, with many elements in flight.

    Parameters
    ----------
    spec : GatherDmaSpec
        Widths and how many elements are in flight; addresses count elements and wrap.

    Attributes
    ----------
    i : In(stream.Signature({count, index, target, source, operation}))
        COPY: target[k] = source[k]; GATHER: target[k] = source[index[k]]; SCATTER:
        target[index[k]] = source[k]; SCATTER_ADD: the same by addition; BROADCAST: target[k] =
        source[0].
    fetch, read : Out(stream.Signature({address, slot}))
        Requests for an index, for an element.
    fetched, data : In(stream.Signature({value, slot}))
        Their answers, always taken, in any order; ``slot`` is that of the request.
    write : Out(stream.Signature({value, address, is_add}))
        In the order of elements.
    done : Out(stream.Signature(count))
        After a descriptor's last write has been accepted.

    Timing
    ------
    Each stage takes one element per cycle. A write is offered 2 cycles after its data came, a read
    2 after its index. An element holds its place from the cycle before its first request is
    offered to that before its write is. Outputs are registers; no path leads from one port's
    ``ready`` to another port.

    Reset
    -----
    Drops the descriptor. Answers that are still on their way must not come.
    """

    def __init__(self, spec: GatherDmaSpec) -> None:
        self.spec = spec
        address, count = unsigned(spec.address_bits), unsigned(spec.count_bits)
        self.descriptor_layout = data.StructLayout(
            {"count": count, "index": address, "target": address, "source": address, "operation": 3}
        )
        request = data.StructLayout({"address": address, "slot": spec.slot_bits})
        fetched = data.StructLayout({"value": address, "slot": spec.slot_bits})
        element = data.StructLayout({"value": spec.data_bits, "slot": spec.slot_bits})
        write = data.StructLayout({"value": spec.data_bits, "address": address, "is_add": 1})
        super().__init__(
            {
                "i": In(stream.Signature(self.descriptor_layout)),
                "fetched": In(stream.Signature(fetched)),
                "data": In(stream.Signature(element)),
                "fetch": Out(stream.Signature(request)),
                "read": Out(stream.Signature(request)),
                "write": Out(stream.Signature(write)),
                "done": Out(stream.Signature(count)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.is_busy = Signal()
        self.now = Signal(self.descriptor_layout)
        self.fetch_at = Signal(spec.count_bits)
        self.read_at = Signal(spec.count_bits)
        self.write_at = Signal(spec.count_bits)
        self.has_index = Signal(spec.outstanding)
        self.has_value = Signal(spec.outstanding)
        self.indices = Memory(shape=address, depth=spec.outstanding, init=[])
        self.values = Memory(shape=unsigned(spec.data_bits), depth=spec.outstanding, init=[])
        self.is_indexed = Signal()
        self.is_scatter = Signal()
        self.is_broadcast = Signal()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.indices, m.submodules.values = self.indices, self.values
        operation = self.now.operation
        is_scatter_add = operation == DmaOperation.SCATTER_ADD
        m.d.comb += [
            self.is_scatter.eq((operation == DmaOperation.SCATTER) | is_scatter_add),
            self.is_indexed.eq((operation == DmaOperation.GATHER) | self.is_scatter),
            self.is_broadcast.eq(operation == DmaOperation.BROADCAST),
            self.i.ready.eq(~self.is_busy),
        ]
        for port in (self.fetch, self.read, self.write, self.done):
            with m.If(port.ready):
                m.d.sync += port.valid.eq(0)
        with m.If(self.is_busy & ~self.done.valid):
            self._fetch(m)
            self._read(m)
            self._write(m)
        self._answers(m)
        with m.If(self.done.valid & self.done.ready):
            m.d.sync += self.is_busy.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.is_busy.eq(1), self.now.eq(self.i.payload), self.has_value.eq(0)]
            m.d.sync += [self.fetch_at.eq(0), self.read_at.eq(0), self.write_at.eq(0)]
        return m

    def _has_place(self, element: Signal) -> Value:
        """Return whether ``element`` may join those in flight."""
        held = (element - self.write_at)[: self.spec.count_bits]
        return held < self.spec.outstanding

    def _is_fetched(self, slot: Value) -> Value:
        """Return whether the index of the next element to read is in ``slot``.

        A slot keeps its index until its element is written; what it holds may be of an earlier one.
        """
        return (self.has_index >> slot)[0] & (self.read_at != self.fetch_at)

    def _fetch(self, m: Module) -> None:
        is_free = ~self.fetch.valid | self.fetch.ready
        is_left = self.is_indexed & (self.fetch_at != self.now.count)
        with m.If(is_free & is_left & self._has_place(self.fetch_at)):
            m.d.sync += self.fetch.valid.eq(1)
            m.d.sync += self.fetch.payload.slot.eq(self.fetch_at)
            m.d.sync += self.fetch.payload.address.eq(self.now.index + self.fetch_at)
            m.d.sync += self.fetch_at.eq(self.fetch_at + 1)

    def _read(self, m: Module) -> None:
        slot = self.read_at[: self.spec.slot_bits]
        index = self.indices.read_port(domain="comb")
        is_free = ~self.read.valid | self.read.ready
        is_first = ~self.read_at.any()
        is_left = (self.read_at != self.now.count) & (~self.is_broadcast | is_first)
        is_open = Mux(self.is_indexed, self._is_fetched(slot), self._has_place(self.read_at))
        offset = Mux(self.now.operation == DmaOperation.GATHER, index.data, self.read_at)
        m.d.comb += index.addr.eq(slot)
        with m.If(is_free & is_left & is_open):
            m.d.sync += self.read.valid.eq(1)
            m.d.sync += self.read.payload.slot.eq(slot)
            m.d.sync += self.read.payload.address.eq(self.now.source + offset)
            m.d.sync += self.read_at.eq(self.read_at + 1)

    def _write(self, m: Module) -> None:
        slot = Mux(self.is_broadcast, 0, self.write_at[: self.spec.slot_bits])
        index = self.indices.read_port(domain="comb")
        value = self.values.read_port(domain="comb")
        is_free = ~self.write.valid | self.write.ready
        is_left = self.write_at != self.now.count
        place = Mux(self.is_scatter, index.data, self.write_at)
        m.d.comb += [index.addr.eq(slot), value.addr.eq(slot)]
        with m.If(is_free & is_left & (self.has_value >> slot)[0]):
            m.d.sync += self.write.valid.eq(1)
            m.d.sync += self.write.payload.value.eq(value.data)
            m.d.sync += self.write.payload.address.eq(self.now.target + place)
            m.d.sync += self.write.payload.is_add.eq(self.now.operation == DmaOperation.SCATTER_ADD)
            m.d.sync += self.write_at.eq(self.write_at + 1)
            with m.If(~self.is_broadcast):
                m.d.sync += self.has_value.bit_select(slot, 1).eq(0)
                m.d.sync += self.has_index.bit_select(slot, 1).eq(0)
        with m.If(~is_left & ~self.write.valid):
            m.d.sync += [self.done.valid.eq(1), self.done.payload.eq(self.now.count)]

    def _answers(self, m: Module) -> None:
        for port, memory, flags in (
            (self.fetched, self.indices, self.has_index),
            (self.data, self.values, self.has_value),
        ):
            write = memory.write_port()
            m.d.comb += [
                port.ready.eq(1),
                write.en.eq(port.valid),
                write.addr.eq(port.payload.slot),
                write.data.eq(port.payload.value),
            ]
            with m.If(port.valid):
                m.d.sync += flags.bit_select(port.payload.slot, 1).eq(1)
