"""Decode dictionary codewords to ternary weights, one codeword per cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import QMoeSpec
from rtl.common.pipeline import Pipeline

__all__ = ["QMoeDecoder", "decoded_layout", "entry_layout", "timing"]

DIGIT_BITS = 2


def timing(spec: QMoeSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a codeword."""
    del spec
    return UnitTiming(latency_cycles=3, interval_cycles=1)


def entry_layout(spec: QMoeSpec) -> data.StructLayout:
    """Return the layout of a table entry: pairs in use, then a digit per weight, zeros behind."""
    digits = data.ArrayLayout(unsigned(DIGIT_BITS), 2 * spec.max_pairs)
    return data.StructLayout({"pairs": unsigned(4), "digits": digits})


def decoded_layout(spec: QMoeSpec) -> data.StructLayout:
    """Return the layout of a decoded codeword; ``position`` is the column of its first weight."""
    position = unsigned(spec.index_bits)
    entry = entry_layout(spec)
    return data.StructLayout({"entry": entry, "position": position, "is_last": unsigned(1)})


class QMoeDecoder(Pipeline):
    """Emit the weights' digits of every codeword and the column of the first one.

    Parameters
    ----------
    spec : QMoeSpec
        Size of the table, longest sequence, width of a position.

    Attributes
    ----------
    table : In(stream.Signature(entry_layout(spec)))
        Entries from codeword 0 on; always accepted, starts over behind the last one. Not to be
        changed while codewords are in flight.
    i : In(stream.Signature(StructLayout({code, is_last})))
        Codewords; ``is_last`` ends a row.
    o : Out(stream.Signature(decoded_layout(spec)))
        Digits 0, 1, 2 stand for 0, the row's minimum, its maximum; ``position`` wraps.

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 3: the table is read in 2 cycles (its own
    register and one behind it), the position is added in the third.

    Reset
    -----
    Drops what is in flight; a row begins; loading starts at codeword 0. The table stays.
    """

    def __init__(self, spec: QMoeSpec) -> None:
        self.spec = spec
        entry = entry_layout(spec)
        self.storage = Memory(shape=unsigned(entry.size), depth=spec.entries, init=[])
        self.read = self.storage.read_port(domain="sync")
        self.write = self.storage.write_port()
        self.place = Signal(range(spec.entries))
        code = unsigned(max(1, (spec.entries - 1).bit_length()))
        super().__init__(
            data.StructLayout({"code": code, "is_last": unsigned(1)}),
            decoded_layout(spec),
            timing(spec).latency_cycles,
            {"table": In(stream.Signature(entry, always_ready=True))},
        )

    def datapath(self) -> Value:
        entry = self.register("entry_q2", self.read.data)
        is_last = self.delay("is_last", self.i.payload.is_last, 2)
        self.position = Signal(self.spec.index_bits)
        self.hold(1, self.position, Mux(is_last, 0, self._following(entry[:4])))
        return Cat(
            self.register("entry_q3", entry),
            self.register("position_q3", self.position),
            self.register("is_last_q3", is_last),
        )

    def _following(self, pairs: Value) -> Value:
        """Return the position behind ``pairs`` pairs of weights."""
        return (self.position + (pairs << 1))[: self.spec.index_bits]

    def extend(self, m: Module) -> None:
        m.submodules.storage = self.storage
        m.d.comb += [
            self.read.addr.eq(self.i.payload.code),
            self.read.en.eq(self.is_moving),
            self.write.addr.eq(self.place),
            self.write.data.eq(Value.cast(self.table.payload)),
            self.write.en.eq(self.table.valid),
        ]
        with m.If(self.table.valid):
            is_last = self.place == self.spec.entries - 1
            m.d.sync += self.place.eq(Mux(is_last, 0, self.place + 1))
