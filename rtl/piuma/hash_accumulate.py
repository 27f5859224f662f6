"""Sum values by key in a hash table: probe, insert or add, drain, clear in one cycle."""

from __future__ import annotations

from amaranth.hdl import Array, C, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import HashSpec
from rtl.common.constant import is_number

__all__ = [
    "HashAccumulate",
    "HashOperation",
    "answer_layout",
    "entry_layout",
    "request_layout",
    "timing",
]

FACTOR = 0x9E3779B1
"""Prime next to 2^32 / golden ratio (Knuth, TAOCP vol. 3, 6.4: multiplicative hashing)."""


class HashOperation(enum.Enum, shape=2):
    """What a request asks for; 3 counts as CLEAR."""

    ACCUMULATE = 0
    DRAIN = 1
    CLEAR = 2


class State(enum.Enum, shape=2):
    """What the unit is at: marking all slots empty, probing, scanning, or ending an epoch."""

    CLEAR = 0
    SWEEP = 1
    PROBE = 2
    DRAIN = 3


def timing(spec: HashSpec) -> UnitTiming:
    """Return the cycle contract of an accumulation that the first compare cycle settles."""
    del spec
    return UnitTiming(latency_cycles=2, interval_cycles=1)


def request_layout(spec: HashSpec) -> data.StructLayout:
    """Return the layout of a request."""
    return data.StructLayout(
        {"value": unsigned(spec.data_bits), "key": unsigned(spec.key_bits), "operation": 2}
    )


def answer_layout(spec: HashSpec) -> data.StructLayout:
    """Return the layout of an answer."""
    return data.StructLayout({"is_overflow": 1, "is_new": 1, "probes": spec.slot_bits + 1})


def entry_layout(spec: HashSpec) -> data.StructLayout:
    """Return the layout of a drained entry."""
    return data.StructLayout({"value": unsigned(spec.data_bits), "key": unsigned(spec.key_bits)})


class HashAccumulate(wiring.Component):
    """Add every value accepted to the sum of its key, by linear probing from the key's hash.

    Parameters
    ----------
    spec : HashSpec
        ``comparators`` consecutive slots are read and compared per cycle, each from a memory of
        its own.

    Attributes
    ----------
    i : In(stream.Signature({value, key, operation}))
        ACCUMULATE; DRAIN: emit all entries by slot, then clear; CLEAR. Answered in order.
    o : Out(stream.Signature({is_overflow, is_new, probes}))
        ``probes``: slots compared up to and with the right one, or entries drained.
        ``is_overflow``: all slots hold other keys, so the value was not added.
    drained : Out(stream.Signature({value, key}))

    Timing
    ------
    An answer is offered 1 + n cycles after its request was accepted, n = ceil(probes /
    comparators), and the next request is accepted n cycles after it: the slots behind those being
    compared are read ahead, and the request behind is read in the cycle that settles the one
    before, the slot being written included. A drain takes ``slots + 3`` cycles to its answer (its
    first slot is offered after 3), a clear 2. Sums wrap. A full answer or entry register stops the
    unit; ``i.ready`` depends on ``o.ready`` combinationally.

    Reset
    -----
    Takes ``slots / comparators`` cycles to mark every slot empty, as does the clear that uses
    the last epoch; in between, a slot is empty if it carries another epoch than the current one.
    """

    def __init__(self, spec: HashSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(request_layout(spec))),
                "o": Out(stream.Signature(answer_layout(spec))),
                "drained": Out(stream.Signature(entry_layout(spec))),
            }
        )
        lanes = spec.comparators
        self.slot_layout = data.StructLayout(
            {
                "value": unsigned(spec.data_bits),
                "key": unsigned(spec.key_bits),
                "epoch": unsigned(spec.epoch_bits),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.tables = [
            Memory(shape=self.slot_layout, depth=spec.slots // lanes, init=[]) for _ in range(lanes)
        ]
        self.state = Signal(State, init=State.SWEEP)
        self.epoch = Signal(spec.epoch_bits, init=1)
        self.line = Signal(range(spec.slots // lanes))
        self.is_probing = Signal()
        self.key = Signal(spec.key_bits)
        self.value = Signal(spec.data_bits)
        self.slot = Signal(spec.slot_bits)
        self.probed = Signal(spec.slot_bits + 1)
        self.is_scanning = Signal()
        self.entries = Signal(spec.slot_bits + 1)
        # What was written in the cycle of the last read, which did not see it.
        self.was_written = Signal()
        self.written_slot = Signal(spec.slot_bits)
        self.written = Signal(self.slot_layout)
        self.is_writing = Signal()
        self.write_at = Signal(spec.slot_bits)
        self.write_word = Signal(self.slot_layout)
        self.is_settled = Signal()
        self.is_held = Signal()
        self.lanes = [Signal(self.slot_layout, name=f"lane{j}") for j in range(lanes)]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        read_at = Signal(self.spec.slot_bits)
        m.submodules += self.tables
        self._read(m, read_at)
        self._write(m)
        can_answer = ~self.o.valid | self.o.ready
        can_drain = ~self.drained.valid | self.drained.ready
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.drained.ready):
            m.d.sync += self.drained.valid.eq(0)
        with m.If(self.state == State.SWEEP):
            m.d.sync += self.line.eq(self.line + 1)
            with m.If(self.line.all()):
                m.d.sync += self.state.eq(State.PROBE)
        with m.Elif(self.state == State.PROBE):
            self._probe(m, read_at, can_answer)
        with m.Elif(self.state == State.DRAIN):
            self._scan(m, read_at, can_drain)
        with m.Elif(can_answer):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.probes.eq(self.entries)]
            m.d.sync += [self.o.payload.is_new.eq(0), self.o.payload.is_overflow.eq(0)]
            m.d.sync += self.epoch.eq(Mux(self.epoch.all(), 1, self.epoch + 1))
            m.d.sync += self.state.eq(Mux(self.epoch.all(), State.SWEEP, State.PROBE))
        return m

    def _read(self, m: Module, read_at: Signal) -> None:
        """Read the slots from ``read_at`` on; show those read last, from ``slot`` on."""
        lanes = self.spec.comparators
        lane_bits = lanes.bit_length() - 1
        line, first = read_at[lane_bits:], read_at[:lane_bits]
        reads = [table.read_port(transparent_for=()) for table in self.tables]
        shown = Array([port.data for port in reads])
        for j, port in enumerate(reads):
            # Tables before that of the first slot hold slots of the line that follows.
            is_behind = first > j if j < lanes - 1 else C(0)
            m.d.comb += [port.addr.eq(line + is_behind), port.en.eq(~self.is_held)]
            place = Signal(self.spec.slot_bits, name=f"place{j}")
            m.d.comb += place.eq(self.slot + j)
            current = shown[place[:lane_bits]] if lane_bits else reads[0].data
            m.d.comb += self.lanes[j].eq(Mux(self._is_stale(place), self.written, current))

    def _is_stale(self, place: Value) -> Value:
        """Return whether slot ``place`` was written in the cycle that read it."""
        return self.was_written & (self.written_slot == place)

    def _write(self, m: Module) -> None:
        """Write the slot of a settled probe, or in a sweep an empty line."""
        lane_bits = self.spec.comparators.bit_length() - 1
        is_sweeping = self.state == State.SWEEP
        for j, table in enumerate(self.tables):
            port = table.write_port()
            is_chosen = is_number(self.write_at[:lane_bits], j) if lane_bits else C(1)
            m.d.comb += [
                port.en.eq(is_sweeping | (self.is_writing & is_chosen)),
                port.addr.eq(Mux(is_sweeping, self.line, self.write_at[lane_bits:])),
                Value.cast(port.data).eq(Mux(is_sweeping, 0, self.write_word)),
            ]
        with m.If(~self.is_held):
            m.d.sync += [
                self.was_written.eq(self.is_writing),
                self.written_slot.eq(self.write_at),
                self.written.eq(self.write_word),
            ]

    def _probe(self, m: Module, read_at: Signal, can_answer: Value) -> None:
        """Compare the slots read last; settle the request or go on behind them."""
        lanes, request = self.spec.comparators, self.i.payload
        is_last = self.probed == self.spec.slots - lanes
        is_hit, is_new = Signal(), Signal()
        place, total = Signal(range(max(2, lanes))), Signal(self.spec.data_bits)
        for j in reversed(range(lanes)):
            slot = self.lanes[j]
            is_empty = slot.epoch != self.epoch
            with m.If(is_empty | (slot.key == self.key)):
                m.d.comb += [is_hit.eq(1), is_new.eq(is_empty), place.eq(j)]
                m.d.comb += total.eq(Mux(is_empty, 0, slot.value) + self.value)
        fires, accepted = Signal(), self.i.valid & self.i.ready
        m.d.comb += [
            self.is_settled.eq(self.is_probing & (is_hit | is_last)),
            self.is_held.eq(self.is_settled & ~can_answer),
            fires.eq(self.is_settled & can_answer),
            self.i.ready.eq(~self.is_probing | fires),
            read_at.eq(Mux(self.i.ready, self.first_slot(request.key), self.slot + lanes)),
            self.is_writing.eq(fires & is_hit),
            self.write_at.eq(self.slot + place),
            self.write_word.key.eq(self.key),
            self.write_word.value.eq(total),
            self.write_word.epoch.eq(self.epoch),
        ]
        with m.If(fires):
            probes = Mux(is_hit, self.probed + place + 1, self.spec.slots)
            m.d.sync += [self.o.valid.eq(1), self.o.payload.probes.eq(probes)]
            m.d.sync += [self.o.payload.is_new.eq(is_hit & is_new)]
            m.d.sync += [self.o.payload.is_overflow.eq(~is_hit), self.is_probing.eq(0)]
        with m.Elif(~self.is_held):
            m.d.sync += [self.slot.eq(self.slot + lanes), self.probed.eq(self.probed + lanes)]
        with m.If(accepted):
            is_sum = ~Value.cast(request.operation).any()
            is_drain = request.operation == HashOperation.DRAIN
            m.d.sync += [
                self.key.eq(request.key),
                self.value.eq(request.value),
                self.slot.eq(read_at),
                self.probed.eq(0),
                self.entries.eq(0),
                self.is_probing.eq(is_sum),
            ]
            with m.If(~is_sum):
                m.d.sync += self.state.eq(Mux(is_drain, State.DRAIN, State.CLEAR))

    def first_slot(self, key: Value) -> Value:
        """Return the slot at which the search for ``key`` begins."""
        bits = self.spec.slot_bits
        if self.spec.hash == "high":
            return key[self.spec.key_bits - bits :]
        if self.spec.hash == "low":
            return key[:bits]
        if self.spec.hash == "low_xor_row":
            row = key[self.spec.column_bits :][:bits]
            return (key ^ (row * C(FACTOR % self.spec.slots, bits)))[:bits]
        return (key * C(FACTOR, 32))[32 - bits : 32]

    def _scan(self, m: Module, read_at: Signal, can_drain: Value) -> None:
        """Show one slot per cycle, the lowest first, from the slot read in the last cycle."""
        entry = self.lanes[0]
        is_entry = self.is_scanning & (entry.epoch == self.epoch)
        following = Mux(self.is_scanning, self.slot + 1, 0)
        m.d.comb += read_at.eq(following)
        m.d.comb += self.is_held.eq(is_entry & ~can_drain)
        with m.If(~self.is_held):
            m.d.sync += [self.is_scanning.eq(1), self.slot.eq(following)]
            with m.If(is_entry):
                m.d.sync += self.entries.eq(self.entries + 1)
                m.d.sync += self.drained.valid.eq(1)
                m.d.sync += self.drained.payload.key.eq(entry.key)
                m.d.sync += self.drained.payload.value.eq(entry.value)
            with m.If(self.is_scanning & self.slot.all()):
                m.d.sync += [self.is_scanning.eq(0), self.state.eq(State.CLEAR)]
