"""Add activations by the ternary digit they meet: what multiplies QMoE's decoded rows."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import QMoeSpec
from rtl.common.pipeline import Pipeline
from rtl.common.tree import tree_sum
from rtl.flightllm.qmoe_decoder import DIGIT_BITS, decoded_layout

__all__ = ["QMoeDot", "timing"]

ACT_BITS = 8


def timing(spec: QMoeSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a decoded codeword."""
    del spec
    return UnitTiming(latency_cycles=4, interval_cycles=1)


class QMoeDot(Pipeline):
    """Emit, per row, the sums of the activations under digit 1 and under digit 2.

    Parameters
    ----------
    spec : QMoeSpec
        Weights per codeword, activations held, width of a sum.

    Attributes
    ----------
    x : In(stream.Signature(ArrayLayout(signed(8), bank)))
        Activations, word after word from column 0; always accepted, starts over at the end.
    i : In(stream.Signature(decoded_layout(spec)))
        As the decoder emits them.
    o : Out(stream.Signature(StructLayout({first, second})))
        One transfer per row; sums wrap.

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 4; codewords that end no row vanish.
    Activations accepted in a cycle can be used by codewords of the next one on.

    Reset
    -----
    Drops what is in flight and the sums so far; loading starts at column 0. Activations stay.

    Notes
    -----
    A codeword's weights begin at any column, so they meet two neighbouring words. Even and odd
    words have a memory each; both are read and the pair is shifted.
    """

    def __init__(self, spec: QMoeSpec) -> None:
        self.spec = spec
        self.offset_bits = spec.bank.bit_length() - 1
        words = spec.columns // spec.bank
        row = unsigned(ACT_BITS * spec.bank)
        self.storages = [Memory(shape=row, depth=words // 2, init=[]) for _ in range(2)]
        self.reads = [storage.read_port(domain="sync") for storage in self.storages]
        self.writes = [storage.write_port() for storage in self.storages]
        self.place = Signal(words.bit_length() - 1)
        sums = signed(spec.sum_bits)
        acts = data.ArrayLayout(signed(ACT_BITS), spec.bank)
        super().__init__(
            decoded_layout(spec),
            data.StructLayout({"first": sums, "second": sums}),
            timing(spec).latency_cycles,
            {"x": In(stream.Signature(acts, always_ready=True))},
        )

    @property
    def word(self) -> Value:
        """Return the number of the word that a codeword begins in."""
        return self.i.payload.position[self.offset_bits :][: len(self.place)]

    def datapath(self) -> Value:
        spec, lanes = self.spec, 2 * self.spec.max_pairs
        offset = self.register("offset_q1", self.i.payload.position[: self.offset_bits])
        is_odd = self.register("is_odd_q1", self.word[0])
        digits = self.delay("digits", Value.cast(self.i.payload.entry.digits), 2)
        is_last = self.delay("is_last", self.i.payload.is_last, 3)
        even, odd = (read.data for read in self.reads)
        pair = Mux(is_odd, Cat(odd, even), Cat(even, odd))
        window = self.register("window_q2", self._aligned(pair, offset)[: ACT_BITS * lanes])
        totals = []
        for name, digit in (("first", 1), ("second", 2)):
            chosen = [
                Mux(
                    digits.word_select(k, DIGIT_BITS) == digit,
                    window.word_select(k, ACT_BITS).as_signed(),
                    0,
                )
                for k in range(lanes)
            ]
            added = self.register(f"{name}_q3", tree_sum(chosen))
            carry = Signal(signed(spec.sum_bits), name=f"{name}_carry")
            total = self.wire(f"{name}_total", (carry + added)[: spec.sum_bits].as_signed())
            self.hold(2, carry, Mux(is_last, 0, total))
            totals.append(self.register(f"{name}_q4", total))
        self.is_emitted = self.register("is_emitted_q4", is_last)
        return Cat(totals)

    def _aligned(self, pair: Value, offset: Value) -> Value:
        """Return the pair of words from activation ``offset`` on."""
        return pair >> (offset << (ACT_BITS.bit_length() - 1))

    def extend(self, m: Module) -> None:
        for parity, storage in enumerate(self.storages):
            read, write = self.reads[parity], self.writes[parity]
            m.submodules[f"storage{parity}"] = storage
            # An odd word is followed by the even one behind it.
            following = self.word[1:] + (self.word[0] if parity == 0 else 0)
            m.d.comb += [
                read.addr.eq(following),
                read.en.eq(self.is_moving),
                write.addr.eq(self.place[1:]),
                write.data.eq(Value.cast(self.x.payload)),
                write.en.eq(self.x.valid & (self.place[0] == parity)),
            ]
        with m.If(self.x.valid):
            m.d.sync += self.place.eq(self.place + 1)
