"""Buffer the activation groups of one row of PEs and issue its operations: a west lane."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.units import ceil_div
from hwsim.sat.spec import TileSpec
from rtl.sat.uspe import entry_bits, op_layout, slot_bits

__all__ = ["WestLane", "beat_layout", "lane_layout"]


def beat_layout(spec: TileSpec) -> data.ArrayLayout:
    """Return the layout of what a lane receives per cycle: neighbouring FP16 words of a group."""
    return data.ArrayLayout(unsigned(16), spec.array.edge_elems_per_cycle)


def lane_layout(spec: TileSpec) -> data.StructLayout:
    """Return the layout of what a lane is told, constant from start to last issue.

    ``count``: rows of A (weight-stationary) or groups of k (output-stationary);
    ``entries``: partial sums interleaved, at most; ``last_slot``, ``last_beat``: values and beats
    per group - 1.
    """
    return data.StructLayout(
        {
            "is_os": 1,
            "is_continued": 1,
            "last_slot": slot_bits(spec),
            "last_beat": max(1, (_most_beats(spec) - 1).bit_length()),
            "entries": spec.array.interleave.bit_length(),
            "count": spec.count_bits,
        }
    )


def _most_beats(spec: TileSpec) -> int:
    return ceil_div(spec.nm_m, spec.array.edge_elems_per_cycle)


class WestLane(wiring.Component):
    """Issue N operations per entry and step, each once its group can be there in time.

    Step b is issued as slot after slot, entry after entry, slots max(I_b, L) cycles apart; two
    banks hold the groups of one step each. docs/sat_microarchitecture.md, "One lane", states the
    order and the cycles.

    Parameters
    ----------
    spec : TileSpec

    Attributes
    ----------
    i : In(stream(beat_layout))
        Ready in the cycles in which the schedule takes a beat. The lane takes it for granted that
        one is there: who stalls it stops every register at once (``EnableInserter``).
    o : Out(stream(op_layout)), always ready
    i_config : In(lane_layout)
    i_start : In(1)
        The next cycle is the first of a tile. Only while the lane has issued everything.

    Timing
    ------
    A group can be issued in the cycle of its last beat: from ``i.payload`` to ``o.payload`` there
    is a combinational path; ``i.ready`` and ``o.valid`` depend on registers only.

    Reset
    -----
    Idle; ``i.ready`` and ``o.valid`` are 0. Banks keep stale words.
    """

    def __init__(self, spec: TileSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(spec))),
                "o": Out(stream.Signature(op_layout(spec), always_ready=True)),
                "i_config": In(lane_layout(spec)),
                "i_start": In(1),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        interleave, adder = spec.array.interleave, spec.array.adder_latency_cycles
        self.left = Signal(spec.count_bits)  # rows (WS) or groups (OS) not issued yet
        self.fill_left = Signal(spec.count_bits)  # ... not received yet
        self.lead = Signal(range(3))  # steps received but not issued
        self.is_issuing = Signal()
        self.is_fresh = Signal()  # sums start from +0 (OS): no step is issued yet
        self.slot = Signal(slot_bits(spec))
        self.turn = Signal(range(max(2, interleave, adder)))  # cycles since the slot began
        self.entry = Signal(entry_bits(spec))  # entry being received
        self.beat = Signal(lane_layout(spec)["last_beat"].width)
        self.received = Signal(range(interleave * _most_beats(spec) + 1))  # of the step
        self.fill_bank, self.bank = Signal(), Signal()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        config = self.i_config
        entries = self._entries(m, self.left, "entries")
        is_step_done = self._issue(m, entries)
        is_filled = self._fill(m)
        m.d.sync += self.lead.eq(self.lead + is_filled - is_step_done)
        m.d.comb += self.o.payload.group.eq(self._group(m))
        with m.If(self.i_start):
            m.d.sync += [
                self.left.eq(config.count),
                self.fill_left.eq(config.count),
                self.is_fresh.eq(~config.is_continued),
                self.bank.eq(0),
                self.fill_bank.eq(0),
            ]
        return m

    def _entries(self, m: Module, left: Signal, name: str) -> Signal:
        """Return how many entries the step has that ``left`` stands before."""
        entries = Signal(self.i_config.entries.shape(), name=name)
        is_ragged = ~self.i_config.is_os & (left < self.i_config.entries)
        m.d.comb += entries.eq(Mux(is_ragged, left, self.i_config.entries))
        return entries

    def _taken(self, entries: Signal) -> Value:
        """Return what a step takes off the count."""
        return Mux(self.i_config.is_os, 1, entries)

    def _issue(self, m: Module, entries: Signal) -> Signal:
        """Offer operations east; return whether this cycle is the last one of a step."""
        config, adder = self.i_config, self.spec.array.adder_latency_cycles
        # The feeder delivers one beat per cycle: beats still missing come in time if there are
        # fewer than entries are issued until then.
        comes_in_time = self.received >= (entries * config.last_beat)
        is_active = Signal()
        m.d.comb += is_active.eq(
            self.is_issuing | ((self.left != 0) & ((self.lead != 0) | comes_in_time))
        )
        is_last_entry = self.turn == entries - 1
        is_slot_over = (self.turn >= entries - 1) & (self.turn >= adder - 1)
        is_last_slot = self.slot == config.last_slot
        is_step_done = Signal()
        m.d.comb += is_step_done.eq(
            is_active & is_last_slot & Mux(config.is_os, is_slot_over, is_last_entry)
        )
        m.d.comb += [
            self.o.valid.eq(is_active & (self.turn < entries)),
            self.o.payload.entry.eq(self.turn),
            self.o.payload.slot.eq(self.slot),
            self.o.payload.is_first.eq(~self.slot.any() & (~config.is_os | self.is_fresh)),
            self.o.payload.is_last.eq(
                is_last_slot & (~config.is_os | ((self.left == 1) & is_last_entry))
            ),
        ]
        with m.If(is_step_done):
            m.d.sync += [
                self.is_issuing.eq(0),
                self.is_fresh.eq(0),
                self.slot.eq(0),
                self.turn.eq(0),
                self.bank.eq(~self.bank),
                self.left.eq(self.left - self._taken(entries)),
            ]
        with m.Elif(is_active):
            m.d.sync += self.is_issuing.eq(1)
            with m.If(is_slot_over):
                m.d.sync += [self.slot.eq(self.slot + 1), self.turn.eq(0)]
            with m.Else():
                m.d.sync += self.turn.eq(self.turn + 1)
        return is_step_done

    def _fill(self, m: Module) -> Signal:
        """Receive beats while a bank is free; return whether this cycle completes one."""
        entries = self._entries(m, self.fill_left, "fill_entries")
        is_last_beat = self.beat == self.i_config.last_beat
        is_filled = Signal()
        m.d.comb += [
            self.i.ready.eq((self.fill_left != 0) & (self.lead != 2)),
            is_filled.eq(self.i.ready & is_last_beat & (self.entry == entries - 1)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [self.beat.eq(self.beat + 1), self.received.eq(self.received + 1)]
            with m.If(is_last_beat):
                m.d.sync += [self.beat.eq(0), self.entry.eq(self.entry + 1)]
        with m.If(is_filled):
            m.d.sync += [
                self.entry.eq(0),
                self.received.eq(0),
                self.fill_bank.eq(~self.fill_bank),
                self.fill_left.eq(self.fill_left - self._taken(entries)),
            ]
        return is_filled

    def _group(self, m: Module) -> Value:
        """Return the group of the entry whose turn it is, a beat of this cycle included."""
        width, words = self.spec.array.edge_elems_per_cycle, []
        write_at = Cat(self.entry, self.fill_bank)
        read_at = Signal(len(write_at))
        m.d.comb += read_at.eq(Cat(self.turn[: len(self.entry)], self.bank))
        for beat in range(_most_beats(self.spec)):
            size = min(width, self.spec.nm_m - beat * width)
            bank = Memory(shape=unsigned(16 * size), depth=1 << len(write_at), init=[])
            m.submodules[f"bank{beat}"] = bank
            write, read = bank.write_port(), bank.read_port(domain="comb")
            word = Value.cast(self.i.payload)[: 16 * size]
            m.d.comb += [
                write.addr.eq(write_at),
                write.data.eq(word),
                write.en.eq(self.i.ready & (self.beat == beat if beat else ~self.beat.any())),
                read.addr.eq(read_at),
            ]
            words.append(Mux(write.en & (write_at == read_at), word, read.data))
        return Cat(*words)
