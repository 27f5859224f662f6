"""Expand streamed low-bit weights to vectors of INT8."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.flightllm.unit_spec import DequantSpec
from rtl.common.choose import choose

__all__ = ["Dequant", "job_layout", "timing"]


def timing(spec: DequantSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a vector, the interval that of the widest code."""
    return UnitTiming(2, ceil_div(spec.lanes * max(spec.widths), spec.word_bits))


def job_layout(spec: DequantSpec) -> data.StructLayout:
    """Return the layout of a job; ``code`` c stands for ``spec.widths[c]`` bits per weight."""
    return data.StructLayout(
        {
            "vectors": unsigned(spec.count_bits),
            "zero": unsigned(8),
            "is_signed": unsigned(1),
            "code": unsigned(spec.code_bits),
        }
    )


class Dequant(wiring.Component):
    """Emit, per job, vectors of ``lanes`` weights unpacked from memory words.

    Codes follow each other lowest bit first, across words. Each is sign-extended if the job says
    so, the job's ``zero`` is subtracted, and the result wraps to 8 bits. The first code of a job is
    the lowest of a word; what is left of its last word is dropped.

    Parameters
    ----------
    spec : DequantSpec
        Word, lanes, widths.

    Attributes
    ----------
    job : In(stream.Signature(job_layout(spec)))
        ``vectors`` >= 1. A code beyond the last stands for the last.
    i : In(stream.Signature(word_bits))
    o : Out(stream.Signature(ArrayLayout(signed(8), lanes)))

    Timing
    ------
    A vector is offered 2 cycles after the word that completes it was accepted; one vector and one
    word per cycle at most. Words are accepted from the cycle after their job on, the next job from
    the cycle after the last vector went to the output register. ``o`` is registers; ``i.ready``
    depends combinationally on ``o.ready``.

    Reset
    -----
    Drops everything.
    """

    def __init__(self, spec: DequantSpec) -> None:
        self.spec = spec
        vector = data.ArrayLayout(signed(8), spec.lanes)
        super().__init__(
            {
                "job": In(stream.Signature(job_layout(spec))),
                "i": In(stream.Signature(unsigned(spec.word_bits))),
                "o": Out(stream.Signature(vector)),
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.reservoir = Signal(spec.reservoir_bits)
        self.level = Signal(range(spec.reservoir_bits + 1))
        self.current = Signal(job_layout(spec), reset_less=True)
        self.left = Signal(spec.count_bits)

    @property
    def need(self) -> Value:
        """Return the bits of a vector of the current job."""
        needs = (Const(self.spec.lanes * width) for width in self.spec.widths)
        return choose(needs, self.current.code)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        is_active, leaves, is_last = self.left.any(), Signal(), Signal()
        need, rest = Signal.like(self.level), Signal.like(self.level)
        is_free = ~self.o.valid | self.o.ready
        m.d.comb += [
            need.eq(self.need),
            leaves.eq(is_active & is_free & (self.level >= need)),
            is_last.eq(leaves & (self.left == 1)),
            rest.eq(Mux(leaves, self.level - need, self.level)),
            self.job.ready.eq(~is_active),
            self.i.ready.eq(is_active & (rest < need) & ~is_last),
        ]
        with m.If(is_free):
            m.d.sync += self.o.valid.eq(leaves)
        kept = Signal.like(self.reservoir)
        m.d.comb += kept.eq(Mux(leaves, self._shifted(), self.reservoir))
        with m.If(leaves):
            m.d.sync += self.left.eq(self.left - 1)
            m.d.sync += [self.o.payload[k].eq(lane) for k, lane in enumerate(self._lanes())]
        accepted = self.i.valid & self.i.ready
        word = Mux(accepted, self.i.payload, 0)
        # Above the level there are zeros, so that a word is put there by or.
        m.d.sync += self.reservoir.eq(Mux(is_last, 0, kept | (word << rest)))
        m.d.sync += self.level.eq(Mux(is_last, 0, rest + Mux(accepted, self.spec.word_bits, 0)))
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [
                Value.cast(self.current).eq(Value.cast(self.job.payload)),
                self.left.eq(self.job.payload.vectors),
            ]
        return m

    def _shifted(self) -> Value:
        """Return the shift register once a vector has left."""
        shifts = [self.reservoir >> self.spec.lanes * width for width in self.spec.widths]
        return choose(shifts, self.current.code)

    def _lanes(self) -> list[Value]:
        """Return the weights of the vector that is lowest in the shift register."""
        lanes = []
        for lane in range(self.spec.lanes):
            choices = []
            for width in self.spec.widths:
                field = self.reservoir[lane * width : (lane + 1) * width]
                sign = field[-1] & self.current.is_signed
                choices.append(Cat(field, sign.replicate(8 - width)))
            lanes.append(self._less_zero(choose(choices, self.current.code)))
        return lanes

    def _less_zero(self, value: Value) -> Value:
        return (value - self.current.zero)[:8]
