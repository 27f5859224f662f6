"""Multiply rows of kept INT4 groups by a vector, and join rows that several engines share."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import GqsaSpec
from rtl.common.pipeline import Pipeline
from rtl.common.tree import tree_sum

__all__ = ["GqsaEngine", "GqsaFixup", "fixup_timing", "partial_layout", "timing"]

VALUE_BITS = 4
ACT_BITS = 8


def timing(spec: GqsaSpec) -> UnitTiming:
    """Return the cycle contract of an engine; a transfer is a group."""
    del spec
    return UnitTiming(latency_cycles=4, interval_cycles=1)


def fixup_timing(spec: GqsaSpec) -> UnitTiming:
    """Return the cycle contract of the fix-up adder; a transfer is a partial sum."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def partial_layout(spec: GqsaSpec) -> data.StructLayout:
    """Return the layout of a partial sum; ``is_row_end`` marks a row's last one."""
    return data.StructLayout({"sum": signed(spec.sum_bits), "is_row_end": unsigned(1)})


class GqsaEngine(Pipeline):
    """Emit ``sum(scale * (q - zero) * x)`` over the groups of every row, or of its share of one.

    Parameters
    ----------
    spec : GqsaSpec
        Group, activations held, widths.

    Attributes
    ----------
    x : In(stream.Signature(ArrayLayout(signed(8), group)))
        Activations, group after group from the first one; always accepted, starts over behind the
        last one.
    i : In(stream.Signature(StructLayout({values, zero, scale, column, is_row_end, is_end})))
        Groups. ``is_end`` is the engine's last one: its row goes on in another engine unless
        ``is_row_end``.
    o : Out(stream.Signature(partial_layout(spec)))
        One transfer per group that ends a row or the share; sums wrap.

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 4; groups that end nothing vanish at the
    end. Activations that are accepted in a cycle can be used by groups of the next one on. The sum
    of a group's activations, which its zero point multiplies, is formed once, with the load.

    Reset
    -----
    Drops what is in flight and the sum so far; loading starts at the first group. Activations stay.
    """

    def __init__(self, spec: GqsaSpec) -> None:
        self.spec = spec
        self.column_bits = max(1, (spec.groups - 1).bit_length())
        self.sum_x_bits = ACT_BITS + (spec.group - 1).bit_length()
        row = unsigned(ACT_BITS * spec.group + self.sum_x_bits)
        self.storage = Memory(shape=row, depth=spec.groups, init=[])
        self.read = self.storage.read_port(domain="sync")
        self.write = self.storage.write_port()
        self.place = Signal(range(spec.groups))
        group = data.StructLayout(
            {
                "values": data.ArrayLayout(unsigned(VALUE_BITS), spec.group),
                "zero": unsigned(VALUE_BITS),
                "scale": unsigned(spec.scale_bits),
                "column": unsigned(self.column_bits),
                "is_row_end": unsigned(1),
                "is_end": unsigned(1),
            }
        )
        acts = data.ArrayLayout(signed(ACT_BITS), spec.group)
        x = In(stream.Signature(acts, always_ready=True))
        super().__init__(group, partial_layout(spec), timing(spec).latency_cycles, {"x": x})

    def datapath(self) -> Value:
        spec, group = self.spec, self.i.payload
        values = self.register("values_q1", Value.cast(group.values))
        zero, scale = self.register("zero_q1", group.zero), self.delay("scale", group.scale, 2)
        is_row_end = self.delay("is_row_end", group.is_row_end, 3)
        is_end = self.delay("is_end", group.is_row_end | group.is_end, 3)

        row = self.read.data
        acts = [row.word_select(k, ACT_BITS).as_signed() for k in range(spec.group)]
        products = [values.word_select(k, VALUE_BITS) * act for k, act in enumerate(acts)]
        sum_x = row[ACT_BITS * spec.group :].as_signed()
        dot = self.register("dot_q2", tree_sum(products))
        shift = self.register("shift_q2", self._shift(zero, sum_x))
        scaled = self.register("scaled_q3", (dot - shift) * scale)

        self.carry = Signal(signed(spec.sum_bits))
        total = self.wire("total", (self.carry + scaled)[: spec.sum_bits].as_signed())
        self.hold(2, self.carry, Mux(is_end, 0, total))
        self.is_emitted = self.register("is_emitted_q4", is_end)
        return Cat(self.register("sum_q4", total), self.register("is_row_end_q4", is_row_end))

    def _shift(self, zero: Value, sum_x: Value) -> Value:
        """Return what the zero point takes off the dot product."""
        return zero * sum_x

    def extend(self, m: Module) -> None:
        m.submodules.storage = self.storage
        acts = [self.x.payload[k] for k in range(self.spec.group)]
        packed = Cat(Value.cast(self.x.payload), tree_sum(acts)[: self.sum_x_bits])
        m.d.comb += [
            self.read.addr.eq(self.i.payload.column),
            self.read.en.eq(self.is_moving),
            self.write.addr.eq(self.place),
            self.write.data.eq(packed),
            self.write.en.eq(self.x.valid),
        ]
        with m.If(self.x.valid):
            is_last = self.place == self.spec.groups - 1
            m.d.sync += self.place.eq(Mux(is_last, 0, self.place + 1))


class GqsaFixup(Pipeline):
    """Emit one sum per row, joining the partial sums of rows that engines share.

    Parameters
    ----------
    spec : GqsaSpec
        Width of a sum.

    Attributes
    ----------
    i : In(stream.Signature(partial_layout(spec)))
        The partial sums of all engines, one engine after the other.
    o : Out(stream.Signature(signed(sum_bits)))

    Timing
    ------
    As for :class:`rtl.common.pipeline.Pipeline`, latency 1; partial sums of no row's end vanish.

    Reset
    -----
    Drops the sum so far.
    """

    def __init__(self, spec: GqsaSpec) -> None:
        self.spec = spec
        latency = fixup_timing(spec).latency_cycles
        super().__init__(partial_layout(spec), signed(spec.sum_bits), latency)

    def datapath(self) -> Value:
        partial, bits = self.i.payload, self.spec.sum_bits
        self.carry = Signal(signed(bits))
        total = self.wire("total", (self.carry + partial.sum)[:bits].as_signed())
        following = Mux(partial.is_row_end, 0, total)
        self.moves.append((self.carry, Mux(self.i.valid, following, self.carry)))
        self.is_emitted = self.register("is_emitted_q1", partial.is_row_end)
        return self.register("sum_q1", total)
