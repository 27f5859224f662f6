"""Expand streamed low-bit weights to vectors of INT8."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.flightllm.unit_spec import DequantSpec
from rtl.common.choose import choose
from rtl.common.constant import is_number

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
        self.words = [
            Signal(spec.word_bits, name=f"word{k}", reset_less=True) for k in range(spec.kept_words)
        ]
        self.write_word = Signal(range(spec.kept_words))
        self.read_word = Signal(range(spec.kept_words))
        self.read_step = Signal(range(spec.word_steps))
        self.steps = Signal(range(spec.kept_words * spec.word_steps + 1))
        self.current = Signal(job_layout(spec), reset_less=True)
        self.left = Signal(spec.count_bits)

    def _of_code(self, number: Callable[[int], int]) -> Value:
        """Return ``number`` of the steps of a vector of the current job."""
        spec = self.spec
        steps = (spec.lanes * width // spec.step_bits for width in spec.widths)
        return choose((Const(number(count)) for count in steps), self.current.code)

    @property
    def need(self) -> Value:
        """Return the steps of a vector of the current job."""
        return self._of_code(lambda steps: steps)

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        is_active, leaves, is_last = self.left.any(), Signal(), Signal()
        need, rest = Signal.like(self.steps), Signal.like(self.steps)
        is_free = ~self.o.valid | self.o.ready
        m.d.comb += [
            need.eq(self.need),
            leaves.eq(is_active & is_free & (self.steps >= need)),
            is_last.eq(leaves & (self.left == 1)),
            rest.eq(Mux(leaves, self.steps - need, self.steps)),
            self.job.ready.eq(~is_active),
            self.i.ready.eq(is_active & (rest < need) & ~is_last),
        ]
        with m.If(is_free):
            m.d.sync += self.o.valid.eq(leaves)
        with m.If(leaves):
            m.d.sync += self.left.eq(self.left - 1)
            m.d.sync += [self.o.payload[k].eq(lane) for k, lane in enumerate(self._lanes())]
            m.d.sync += Cat(self.read_step, self.read_word).eq(Cat(*self._following()))
        accepted = self.i.valid & self.i.ready
        arrived = Mux(accepted, self.spec.word_steps, 0)
        m.d.sync += self.steps.eq(Mux(is_last, 0, rest + arrived))
        with m.If(accepted):
            m.d.sync += self.write_word.eq(self._within(self.write_word + 1))
            for place, word in enumerate(self.words):
                with m.If(is_number(self.write_word, place)):
                    m.d.sync += word.eq(self.i.payload)
        with m.If(is_last):
            m.d.sync += [self.write_word.eq(0), self.read_word.eq(0), self.read_step.eq(0)]
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [
                Value.cast(self.current).eq(Value.cast(self.job.payload)),
                self.left.eq(self.job.payload.vectors),
            ]
        return m

    def _within(self, word: Value) -> Value:
        """Return the place of a word that follows the last one."""
        count = self.spec.kept_words
        return Mux(word >= count, word - count, word)[: len(self.write_word)]

    def _following(self) -> tuple[Value, Value]:
        """Return step and word of what follows the vector that leaves."""
        per_word = self.spec.word_steps
        step = self.read_step + self._of_code(lambda steps: steps % per_word)
        is_over = step >= per_word
        word = self.read_word + self._of_code(lambda steps: steps // per_word) + is_over
        step = Mux(is_over, step - per_word, step)[: len(self.read_step)]
        return step, self._within(word)

    def _window(self) -> Value:
        """Return the bits of the widest vector from where is read: a word, then a step in it."""
        spec, words = self.spec, self.words
        turned = choose(
            (Cat(words[place:], words[:place]) for place in range(len(words))), self.read_word
        )
        starts = (step * spec.step_bits for step in range(spec.word_steps))
        return choose((turned[at : at + spec.window_bits] for at in starts), self.read_step)

    def _lanes(self) -> list[Value]:
        """Return the weights of the vector that is to leave."""
        window, lanes = self._window(), []
        for lane in range(self.spec.lanes):
            choices = []
            for width in self.spec.widths:
                field = window[lane * width : (lane + 1) * width]
                sign = field[-1] & self.current.is_signed
                choices.append(Cat(field, sign.replicate(8 - width)))
            lanes.append(self._less_zero(choose(choices, self.current.code)))
        return lanes

    def _less_zero(self, value: Value) -> Value:
        return (value - self.current.zero)[:8]
