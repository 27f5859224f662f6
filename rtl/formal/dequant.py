"""State that unpacking loses, repeats, reorders and invents no bit of a job."""

from __future__ import annotations

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value

from rtl.common.choose import choose
from rtl.common.constant import is_number
from rtl.flightllm.dequant import Dequant

__all__ = ["dequant_properties"]


def dequant_properties(m: Module, unit: Dequant) -> None:
    """Assert when jobs, words and vectors move, and where every bit of a word comes out.

    Bits are counted here once more. Of any one accepted word the solver marks any one bit, which
    must come out in the weight and at the place that as many bits of the job before it give, once
    the zero point is added again.
    """
    spec = unit.spec
    left, is_held = Signal.like(unit.left), Signal()
    level = Signal(range(spec.kept_words * spec.word_bits + 1))
    m.d.comb += Assume(~unit.job.valid | unit.job.payload.vectors.any())
    m.d.comb += Assume(unit.job.payload.code < len(spec.widths))
    code = Signal(spec.code_bits)
    need = choose((Const(spec.lanes * width) for width in spec.widths), code)
    is_free = ~unit.o.valid | unit.o.ready
    leaves = left.any() & is_free & (level >= need)
    is_last = leaves & (left == 1)
    rest = Signal.like(level)
    m.d.comb += rest.eq(Mux(leaves, level - need, level))
    accepted, started = unit.i.valid & unit.i.ready, unit.job.valid & unit.job.ready
    m.d.sync += level.eq(Mux(is_last, 0, rest + Mux(accepted, spec.word_bits, 0)))
    m.d.sync += left.eq(Mux(started, unit.job.payload.vectors, left - leaves))
    m.d.sync += is_held.eq(Mux(is_free, leaves, is_held))
    with m.If(started):
        m.d.sync += code.eq(unit.job.payload.code)

    m.d.comb += Assert(unit.job.ready == ~left.any())
    m.d.comb += Assert(unit.i.ready == (left.any() & (rest < need) & ~is_last))
    m.d.comb += Assert(unit.o.valid == is_held)
    m.d.comb += [Assert(unit.left == left), Assert(unit.steps * spec.step_bits == level)]
    m.d.comb += [Assert(code < len(spec.widths)), Assert(level < need + spec.word_bits)]
    m.d.comb += Assert(~left.any() | (unit.current.code == code))
    m.d.comb += Assert(left.any() | is_number(level, 0))
    _hold_places(m, unit)
    _follow_a_bit(m, unit, code, need, rest, leaves, is_last)


def _hold_places(m: Module, unit: Dequant) -> None:
    """Assert that what is there ends where the next word is put, and that a job begins at 0."""
    spec = unit.spec
    read_at = unit.read_word * spec.word_steps + unit.read_step
    write_at, all_steps = unit.write_word * spec.word_steps, spec.kept_words * spec.word_steps
    end = read_at + unit.steps
    m.d.comb += [
        *(Assert(word < spec.kept_words) for word in (unit.read_word, unit.write_word)),
        Assert(unit.read_step < spec.word_steps),
        Assert((end == write_at) | (end == write_at + all_steps)),
        Assert(unit.left.any() | (is_number(read_at, 0) & is_number(write_at, 0))),
    ]


def _bit_ahead(unit: Dequant, ahead: Signal) -> Value:
    """Return the bit that comes ``ahead`` bits behind the next one to leave."""
    spec, kept = unit.spec, Cat(unit.words)
    at = unit.read_word * spec.word_bits + unit.read_step * spec.step_bits + ahead
    return kept.bit_select(Mux(at >= len(kept), at - len(kept), at)[: len(kept).bit_length()], 1)


def _follow_a_bit(
    m: Module,
    unit: Dequant,
    code: Signal,
    need: Value,
    rest: Signal,
    leaves: Value,
    is_last: Value,
) -> None:
    spec = unit.spec
    place = Signal(range(spec.word_bits), name="marked_place")
    m.d.comb += [place.eq(AnyConst(len(place))), Assume(place < spec.word_bits)]
    is_marked, bit = Signal(name="is_marked"), Signal(name="bit")
    ahead, out_at = (Signal.like(rest, name=name) for name in ("ahead", "out_at"))
    is_out, out_bit, out_zero = Signal(name="is_out"), Signal(name="out_bit"), Signal(8)
    out_code = Signal.like(code, name="out_code")
    with m.If(leaves):
        m.d.sync += is_out.eq(is_marked & (ahead < need))
        m.d.sync += [out_bit.eq(bit), out_at.eq(ahead), out_code.eq(code)]
        m.d.sync += out_zero.eq(unit.current.zero)
        with m.If(is_marked):
            m.d.sync += ahead.eq(ahead - need)
            with m.If((ahead < need) | is_last):
                m.d.sync += is_marked.eq(0)
    with m.If(unit.i.valid & unit.i.ready & ~is_marked & AnySeq(1)):
        m.d.sync += [is_marked.eq(1), ahead.eq(rest + place)]
        m.d.sync += bit.eq(unit.i.payload.bit_select(place, 1))
    with m.If(is_marked):
        m.d.comb += Assert(ahead < unit.steps * spec.step_bits)
        m.d.comb += Assert(_bit_ahead(unit, ahead) == bit)
    for number, width in enumerate(spec.widths):
        for at in range(spec.lanes * width):
            with m.If(is_out & (out_code == number) & (out_at == at)):
                weight = (unit.o.payload[at // width] + out_zero)[:8]
                m.d.comb += Assert(weight[at % width] == out_bit)
    m.d.comb += Assert(~is_out | (out_at < choose((spec.lanes * w for w in spec.widths), out_code)))
