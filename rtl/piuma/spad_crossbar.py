"""Lead requests of several ports to the scratchpad's banks, and the answers back."""

from __future__ import annotations

from amaranth.hdl import C, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_spec import AtomicSpadSpec, SpadCrossbarSpec
from rtl.common.constant import is_number
from rtl.piuma import atomic_spad
from rtl.piuma.atomic_spad import AtomicSpad, answer_layout, request_layout
from rtl.piuma.rotating_pick import at_place, pick_by_turn

__all__ = ["SpadCrossbar", "timing"]


def timing(spec: SpadCrossbarSpec) -> UnitTiming:
    """Return the cycle contract of a request that meets no other."""
    bank = atomic_spad.timing(spec.bank)
    return UnitTiming(bank.latency_cycles + 1, bank.interval_cycles)


class SpadCrossbar(wiring.Component):
    """Carry out the requests of all ports, those to one bank one per cycle and by turns.

    Parameters
    ----------
    spec : SpadCrossbarSpec
        A word's bank is the low bits of its address, with ``has_xor`` those that follow laid over.

    Attributes
    ----------
    i : Array(In(stream.Signature({compare, operand, address, tag, operation})), ports)
        Requests as :class:`AtomicSpad` takes them, addresses over all banks.
    o : Array(Out(stream.Signature({old, tag})), ports)
        Answers to the port's own requests. Those of one bank keep their order; others may overtake.

    Timing
    ------
    Latency 3, interval 1 per port and per bank. A request waits while its bank serves another
    port, at most ``ports - 1`` times in a row; an answer likewise while its port takes another
    bank's. ``i.ready`` depends on ``o.ready`` and on all ``i.valid`` combinationally.

    Reset
    -----
    As the banks; turns begin at place 0.
    """

    def __init__(self, spec: SpadCrossbarSpec) -> None:
        self.spec = spec
        bank = spec.bank
        self.request = request_layout(bank, spec.address_bits, bank.tag_bits)
        answer = answer_layout(bank, bank.tag_bits)
        super().__init__(
            {
                "i": In(stream.Signature(self.request)).array(spec.ports),
                "o": Out(stream.Signature(answer)).array(spec.ports),
            }
        )
        # A bank's tag holds the port above the request's own tag.
        self.port_bits = max(1, (spec.ports - 1).bit_length())
        tag_bits = bank.tag_bits + self.port_bits
        inside = AtomicSpadSpec(words=bank.words, data_bits=bank.data_bits, tag_bits=tag_bits)
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.banks = [AtomicSpad(inside) for _ in range(spec.banks)]
        self.request_turns = [
            Signal(self.port_bits, name=f"request_turn{b}") for b in range(spec.banks)
        ]
        self.answer_turns = [
            Signal(max(1, spec.bank_bits), name=f"answer_turn{p}") for p in range(spec.ports)
        ]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules += self.banks
        targets = [self.bank_of(port.payload.address) for port in self.i]
        chosen = []
        for number, bank in enumerate(self.banks):
            wanting = Cat(
                port.valid & is_number(target, number)
                for port, target in zip(self.i, targets, strict=True)
            )
            place, following = pick_by_turn(
                m, wanting, self.request_turns[number], f"request{number}"
            )
            self._request(m, bank, wanting, place)
            with m.If(bank.i.valid & bank.i.ready):
                m.d.sync += self.request_turns[number].eq(following)
            chosen.append(
                Cat(wanting[p] & is_number(place, p) & bank.i.ready for p in range(len(self.i)))
            )
        for p, port in enumerate(self.i):
            m.d.comb += port.ready.eq(Cat(grant[p] for grant in chosen).any())
        self._answer(m)
        return m

    def bank_of(self, address: Value) -> Value:
        """Return the number of the bank of ``address``."""
        bits = self.spec.bank_bits
        if not bits:
            return C(0, 1)
        following = address[bits : 2 * bits] if self.spec.has_xor else C(0, bits)
        return (address[:bits] ^ following)[:bits]

    def _request(self, m: Module, bank: AtomicSpad, wanting: Value, place: Signal) -> None:
        offered = at_place([Value.cast(port.payload) for port in self.i], place)
        request = Signal(self.request)
        m.d.comb += [
            Value.cast(request).eq(offered),
            bank.i.valid.eq(wanting.any()),
            bank.i.payload.compare.eq(request.compare),
            bank.i.payload.operand.eq(request.operand),
            bank.i.payload.address.eq(request.address[self.spec.bank_bits :]),
            bank.i.payload.tag.eq(Cat(request.tag, place)),
            bank.i.payload.operation.eq(request.operation),
        ]

    def _answer(self, m: Module) -> None:
        taken = []
        tag_bits = self.spec.bank.tag_bits
        for number, port in enumerate(self.o):
            wanting = Cat(
                bank.o.valid & is_number(bank.o.payload.tag[tag_bits:], number)
                for bank in self.banks
            )
            turn = self.answer_turns[number]
            place, following = pick_by_turn(m, wanting, turn, f"answer{number}")
            is_free = ~port.valid | port.ready
            with m.If(is_free):
                m.d.sync += port.valid.eq(wanting.any())
            with m.If(is_free & wanting.any()):
                offered = at_place([Value.cast(bank.o.payload) for bank in self.banks], place)
                old = offered[: self.spec.bank.data_bits]
                m.d.sync += port.payload.old.eq(old)
                m.d.sync += port.payload.tag.eq(offered[len(old) :][:tag_bits])
                m.d.sync += turn.eq(following)
            taken.append(
                Cat(is_free & wanting[b] & is_number(place, b) for b in range(self.spec.banks))
            )
        for b, bank in enumerate(self.banks):
            m.d.comb += bank.o.ready.eq(Cat(grant[b] for grant in taken).any())
