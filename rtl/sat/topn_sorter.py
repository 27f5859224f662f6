"""Keep the N largest magnitudes of every M streamed FP16 values: one lane of the SORE."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.core.sparsity import index_bits
from hwsim.sat.spec import SorterSpec

__all__ = ["TopNSorter", "slot_layout", "timing"]


def timing(spec: SorterSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a group of ``nm_m`` values."""
    return UnitTiming(latency_cycles=1, interval_cycles=spec.nm_m)


def slot_layout(spec: SorterSpec) -> data.StructLayout:
    """Return the layout of one kept element: its FP16 word below its position in the group."""
    return data.StructLayout(
        {"value": unsigned(spec.value_bits), "index": unsigned(index_bits(spec.nm_m))}
    )


class TopNSorter(wiring.Component):
    """Emit, for every ``nm_m`` values accepted, the ``nm_n`` of largest magnitude.

    The order is that of the 15 magnitude bits as an unsigned integer (so +0 and -0 tie, infinity
    is above finite values and NaN above infinity, by payload); ties go to the lowest index.
    Slots leave in ascending index order.

    Parameters
    ----------
    spec : SorterSpec
        2 <= ``nm_m``, ``nm_n`` <= ``nm_m``, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(16))
        FP16 words; ``nm_m`` consecutive transfers form a group.
    o : Out(stream.Signature(ArrayLayout({value, index}, nm_n)))
        One transfer per group, slot 0 holding the lowest index.

    Timing
    ------
    Accepts one value per cycle. A group is offered 1 cycle after its last value was accepted, from
    an output register that the next group fills up behind: ``nm_m`` cycles per group while
    the consumer accepts in time. ``i.ready`` is low only for the last value of a group while the
    previous group is still offered; it does not depend on ``o.ready`` combinationally.

    Reset
    -----
    Drops a started group; ``o.valid`` is 0.

    Notes
    -----
    Every slot carries its rank (0 = largest). A new value is compared with all slots at once; its
    rank is the number of slots it does not beat, the slots it beats fall by one rank, and the slot
    of the last rank is evicted if it was beaten. Slots are kept in order of arrival: those behind
    the evicted one move up and the new value is appended. Empty slots lose against everything.
    """

    def __init__(self, spec: SorterSpec) -> None:
        if spec.nm_m < 2 or spec.nm_n > spec.nm_m:
            found = f"nm_n={spec.nm_n}, nm_m={spec.nm_m}"
            raise SpecError("sore.sorter", "nm_m >= 2 and nm_n <= nm_m", found)
        self.spec = spec
        slots = data.ArrayLayout(slot_layout(spec), spec.nm_n)
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(spec.value_bits))),
                "o": Out(stream.Signature(slots)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.position = Signal(range(spec.nm_m))
        self.slots = [Signal(slot_layout(spec), name=f"slot{j}") for j in range(spec.nm_n)]
        self.is_used = Signal(spec.nm_n)
        # An empty lane evicts slot 0 first, so that values fill it from the back. At least 1 bit
        # wide, because Verilog lacks width 0.
        self.ranks = [
            Signal(range(max(2, spec.nm_n)), init=spec.nm_n - 1 - j, name=f"rank{j}")
            for j in range(spec.nm_n)
        ]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        nm_n = self.spec.nm_n
        is_last = self.position == self.spec.nm_m - 1
        accepted = self.i.valid & self.i.ready
        m.d.comb += self.i.ready.eq(~(is_last & self.o.valid))

        beaten = Signal(nm_n)
        for j in range(nm_n):
            m.d.comb += beaten[j].eq(~self.is_used[j] | self._beats(self.i.payload, self.slots[j]))
        is_worst = Cat(rank == nm_n - 1 for rank in self.ranks)
        is_kept = Signal()
        m.d.comb += is_kept.eq((is_worst & beaten).any())

        # State after this value: slots from the evicted one on take over their right neighbour's.
        new_slot = Signal(slot_layout(self.spec))
        m.d.comb += [new_slot.value.eq(self.i.payload), new_slot.index.eq(self.position)]
        new_rank = Signal(range(max(2, nm_n)))
        m.d.comb += new_rank.eq(sum((~beaten[j] for j in range(nm_n)), Const(0, 1)))
        right_slots = [*self.slots[1:], new_slot]
        right_used = Cat(self.is_used[1:], 1)
        right_ranks = [*(self.ranks[j] + beaten[j] for j in range(1, nm_n)), new_rank]
        next_slots = [Signal(slot_layout(self.spec), name=f"next_slot{j}") for j in range(nm_n)]
        for j in range(nm_n):
            moves = is_kept & is_worst[: j + 1].any()
            m.d.comb += next_slots[j].eq(Mux(moves, right_slots[j], self.slots[j]))
            with m.If(accepted & is_last):
                # Empty, as after reset; the group itself goes to the output register.
                m.d.sync += [self.is_used[j].eq(0), self.ranks[j].eq(self.ranks[j].init)]
            with m.Elif(accepted):
                m.d.sync += [
                    self.slots[j].eq(next_slots[j]),
                    self.is_used[j].eq(Mux(moves, right_used[j], self.is_used[j])),
                    self.ranks[j].eq(
                        Mux(moves, right_ranks[j], self.ranks[j] + (is_kept & beaten[j]))
                    ),
                ]

        with m.If(accepted):
            m.d.sync += self.position.eq(Mux(is_last, 0, self.position + 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(accepted & is_last):
            m.d.sync += self.o.valid.eq(1)
            m.d.sync += [self.o.payload[j].eq(next_slots[j]) for j in range(nm_n)]
        return m

    def _beats(self, word: Value, slot: data.View) -> Value:
        """Return whether ``word`` displaces ``slot``, which came first: strictly larger."""
        magnitude_bits = self.spec.value_bits - 1
        return word[:magnitude_bits] > slot.value[:magnitude_bits]
