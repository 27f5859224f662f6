"""Multiply and add one product per cycle, weight- or output-stationary: one PE of the SAT array."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.core.sparsity import index_bits
from hwsim.sat.spec import TileSpec
from rtl.sat.float_parts import FloatStages
from rtl.sat.fp16_mul import MultiplierSteps
from rtl.sat.fp16_mul import timing as multiplier_timing
from rtl.sat.fp32_add import AdderSteps

__all__ = ["Uspe", "entry_bits", "op_layout", "slot_bits", "sum_layout", "timing", "weight_layout"]


def entry_bits(spec: TileSpec) -> int:
    """Return the bits that number a partial sum; at least 1, because Verilog lacks width 0."""
    return max(1, (spec.array.interleave - 1).bit_length())


def slot_bits(spec: TileSpec) -> int:
    """Return the bits that number a kept value of a group, at least 1."""
    return max(1, (spec.nm_n - 1).bit_length())


def weight_layout(spec: TileSpec) -> data.StructLayout:
    """Return the layout of a weight: an FP16 word below its position in the group."""
    return data.StructLayout({"value": unsigned(16), "index": unsigned(index_bits(spec.nm_m))})


def op_layout(spec: TileSpec) -> data.StructLayout:
    """Return the layout of what moves east: an operation and its activation group."""
    return data.StructLayout(
        {
            "entry": unsigned(entry_bits(spec)),
            "slot": unsigned(slot_bits(spec)),
            "is_first": unsigned(1),
            "is_last": unsigned(1),
            "group": data.ArrayLayout(unsigned(16), spec.nm_m),
        }
    )


def sum_layout(spec: TileSpec) -> data.StructLayout:
    """Return the layout of what moves south: an FP32 word and the entry it belongs to."""
    return data.StructLayout({"value": unsigned(32), "entry": unsigned(entry_bits(spec))})


def timing(spec: TileSpec) -> UnitTiming:
    """Return cycles from an operation to its sum going south (or being back), and between two."""
    adder = spec.array.adder_latency_cycles
    # The last register of the adder is the memory the sum is written to.
    return UnitTiming(multiplier_timing(spec.array).latency_cycles + adder - 1, 1)


class Uspe(wiring.Component):
    """Add a product to one of I partial sums per cycle, in the order of the operations.

    An operation (``i_west``) names a partial sum (``entry``) and brings an activation group. The
    weight's index selects the element that is multiplied: the product is exact in FP32, the sum
    rounds to nearest even. An operation that adds to the result of another must come at least L
    cycles after it.

    * Weight-stationary (``i_is_os`` = 0): ``slot`` selects the weight in use. ``is_first``: the
      product is added to the sum that came from the north; ``is_last``: the sum goes south.
      ``i_weight`` shifts the shadow chain by one; ``i_take_over`` copies the chain, the shift of
      this cycle included, to the weights in use.
    * Output-stationary (``i_is_os`` = 1): the weight comes with the operation from the north and
      goes on to the south one cycle later. ``is_first``: the sum starts from +0 (clear);
      ``is_last`` makes the sum show at ``o_psum`` too: the block is finished.
    * Shift (``i_shift``), with no operation in flight: the partial sum ``i_place`` goes south and
      what comes from the north takes its place: drain, and load of stored sums.

    Parameters
    ----------
    spec : TileSpec
        2 <= ``nm_m``, ``nm_n`` <= ``nm_m``, else :class:`SpecError`; as is the multiplier's
        latency, if it is below 1.

    Attributes
    ----------
    i_west, o_east : stream(op_layout), always ready
    i_weight, o_weight : stream(weight_layout), always ready
    i_psum, o_psum : stream(sum_layout), always ready
    i_is_os, i_take_over, i_shift : In(1)
    i_last_slot : In(slot_bits)
        Values per group - 1: the chain is this much shorter than ``nm_n``.
    i_place : In(entry_bits)

    Timing
    ------
    ``o_east`` is ``i_west`` one cycle later. A sum goes south (``o_psum``) Lm + L - 1 cycles after
    its operation came, in time for an operation of the PE below that came L - 1 cycles later than
    its own: PEs write a sum to memory where another adder has its last register. The word of
    ``o_psum`` is combinational, behind the adder's last step (or the memory, in a shift).
    ``o_weight`` is a register; its ``valid`` is that of ``i_weight`` if weight-stationary.
    There is no back-pressure inside an array: who stalls it stops every register at once
    (``EnableInserter``).

    Reset
    -----
    Forgets the operations in flight. Weights, partial sums and data registers keep stale words.
    """

    def __init__(self, spec: TileSpec) -> None:
        if spec.nm_n > spec.nm_m:
            raise SpecError("tile.nm_n", f"<= nm_m = {spec.nm_m}", str(spec.nm_n))
        self.spec = spec
        self.latency_cycles = timing(spec).latency_cycles
        op, weight, total = (
            stream.Signature(layout(spec), always_ready=True)
            for layout in (op_layout, weight_layout, sum_layout)
        )
        super().__init__(
            {
                "i_west": In(op),
                "o_east": Out(op),
                "i_weight": In(weight),
                "o_weight": Out(weight),
                "i_psum": In(total),
                "o_psum": Out(total),
                "i_is_os": In(1),
                "i_last_slot": In(slot_bits(spec)),
                "i_take_over": In(1),
                "i_shift": In(1),
                "i_place": In(entry_bits(spec)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        chain = data.ArrayLayout(weight_layout(spec), spec.nm_n)
        self.shadow = Signal(chain, reset_less=True)
        is_double = spec.array.has_double_buffered_weights
        self.weights = Signal(chain, reset_less=True) if is_double else self.shadow
        self.operand = Signal(16)
        self.addend = Signal(32)
        self.product = Signal(32)
        self.total = Signal(32)
        self.is_stored = Signal()  # a word is written to the partial sums
        self.stored = Signal(sum_layout(spec))
        control = data.StructLayout(
            {"entry": unsigned(entry_bits(spec)), "is_first": 1, "is_last": 1}
        )
        self.ops = [Signal(control, name=f"op_q{k}") for k in range(self.latency_cycles + 1)]
        self.is_used = Signal(self.latency_cycles + 1)
        size = 1 << entry_bits(spec)
        self.sums = Memory(shape=unsigned(32), depth=size, init=[])
        self.north = Memory(shape=unsigned(32), depth=size, init=[])

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        weight = self._weights(m)
        self._operations(m)
        m.d.comb += self.operand.eq(self._select(self.i_west.payload.group, weight.index))
        array = self.spec.array
        multiplier = FloatStages(
            MultiplierSteps().steps(),
            array.multiplier_latency_cycles,
            Cat(self.operand, weight.value),
        )
        m.d.comb += [wire.eq(value) for wire, value in multiplier.wires]
        m.d.sync += [register.eq(value) for register, value in multiplier.moves]
        m.d.comb += self.product.eq(multiplier.stages[-1]["result"])
        adder = FloatStages(
            AdderSteps().steps(), array.adder_latency_cycles, Cat(self.addend, self.product)
        )
        m.d.comb += [wire.eq(value) for wire, value in adder.wires]
        # The memory that takes the sum stands for the last register.
        m.d.sync += [register.eq(value) for register, value in adder.moves[:-1]]
        m.d.comb += self.total.eq(adder.next_result)
        self._sums(m)
        return m

    def _select(self, group: data.View, index: Value) -> Value:
        """Return the element of ``group`` that the weight belongs to."""
        return Array(group[element] for element in range(self.spec.nm_m))[index]

    def _weights(self, m: Module) -> data.View:
        """Shift, take over and pass on weights; return the one of this cycle's operation."""
        shadow = self.shadow
        shifted = Signal.like(shadow, name="shifted")
        slots = [Value.cast(shadow[slot]) for slot in range(self.spec.nm_n)]
        above = [Value.cast(self.i_weight.payload), *slots[:-1]]
        # Output-stationary, the first shadow register carries weights south.
        is_shifting = self.i_weight.valid | self.i_is_os
        for slot, weight in enumerate(above):
            m.d.comb += Value.cast(shifted[slot]).eq(Mux(is_shifting, weight, slots[slot]))
        m.d.sync += shadow.eq(shifted)
        if self.weights is not shadow:
            with m.If(self.i_take_over):
                m.d.sync += self.weights.eq(shifted)
        was_weight = Signal()
        m.d.sync += was_weight.eq(self.i_weight.valid)
        with m.If(self.i_is_os):
            m.d.comb += [self.o_weight.valid.eq(was_weight), self.o_weight.payload.eq(shadow[0])]
        with m.Else():
            m.d.comb += [
                self.o_weight.valid.eq(self.i_weight.valid),
                self.o_weight.payload.eq(Array(slots)[self.i_last_slot]),
            ]
        weight = Signal(weight_layout(self.spec))
        in_use = Array(Value.cast(self.weights[slot]) for slot in range(self.spec.nm_n))
        m.d.comb += Value.cast(weight).eq(
            Mux(self.i_is_os, Value.cast(self.i_weight.payload), in_use[self.i_west.payload.slot])
        )
        return weight

    def _operations(self, m: Module) -> None:
        """Pass operations east and keep those in flight in step with their data."""
        west = self.i_west
        m.d.sync += [self.o_east.valid.eq(west.valid), self.o_east.payload.eq(west.payload)]
        m.d.comb += [
            self.ops[0][name].eq(west.payload[name]) for name in self.ops[0].shape().members
        ]
        m.d.comb += self.is_used[0].eq(west.valid)
        for before, after in zip(self.ops, self.ops[1:], strict=False):
            m.d.sync += after.eq(before)
        m.d.sync += self.is_used[1:].eq(self.is_used)

    def _sums(self, m: Module) -> None:
        """Read what the product is added to; write the sum back or send it south."""
        m.submodules.sums, m.submodules.north = self.sums, self.north
        sums, north = self.sums.read_port(domain="comb"), self.north.read_port(domain="comb")
        into_sums, into_north = self.sums.write_port(), self.north.write_port()
        adding = self.ops[self.spec.array.multiplier_latency_cycles]
        done, is_done = self.ops[-1], self.is_used[-1]
        m.d.comb += [
            sums.addr.eq(Mux(self.i_shift, self.i_place, adding.entry)),
            north.addr.eq(adding.entry),
            self.addend.eq(Mux(adding.is_first, Mux(self.i_is_os, 0, north.data), sums.data)),
            self.is_stored.eq(self.i_shift | (is_done & (self.i_is_os | ~done.is_last))),
            self.stored.entry.eq(Mux(self.i_shift, self.i_place, done.entry)),
            self.stored.value.eq(Mux(self.i_shift, self.i_psum.payload.value, self.total)),
            into_sums.en.eq(self.is_stored),
            into_sums.addr.eq(self.stored.entry),
            into_sums.data.eq(self.stored.value),
            into_north.addr.eq(self.i_psum.payload.entry),
            into_north.data.eq(self.i_psum.payload.value),
            into_north.en.eq(self.i_psum.valid & ~self.i_is_os),
            self.o_psum.valid.eq(self.i_shift | (is_done & done.is_last)),
            self.o_psum.payload.value.eq(Mux(self.i_shift, sums.data, self.total)),
            self.o_psum.payload.entry.eq(Mux(self.i_shift, self.i_place, done.entry)),
        ]
