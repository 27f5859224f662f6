"""Update weights by SGD with momentum: the weight update engine (WUVE)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SatSpec
from rtl.sat import fp16_to_fp32, fp32_add, fp32_mul, fp32_to_fp16
from rtl.sat.float_parts import Fields, FloatStages, FloatSteps, Step, Wire

__all__ = ["Wuve", "timing"]

RATES = ("lr", "mu", "wd", "inv_scale")
"""The parameters of an update: learning rate, momentum, weight decay, 1 / loss scale."""


def timing(spec: SatSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is one weight per lane.

    The longest path: widen, scale, add the decay, add the momentum, multiply by the learning rate,
    subtract, narrow.
    """
    widen = fp16_to_fp32.timing(spec.array).latency_cycles
    multiply = fp32_mul.timing(spec.array).latency_cycles
    add = fp32_add.timing(spec.array).latency_cycles
    narrow = fp32_to_fp16.timing(spec.array).latency_cycles
    return UnitTiming(widen + 2 * multiply + 3 * add + narrow, 1)


class Wuve(wiring.Component):
    """Emit w', v' and fp16(w') for every gradient, weight and momentum accepted, lane by lane.

    ``g = fp32(dw) inv_scale + wd w``; ``v' = mu v + g``; ``w' = w - lr v'``. Every product and
    every sum is rounded to FP32 by itself, to nearest even, subnormals included; NaN and
    infinities propagate within their lane, and every NaN is the canonical one.

    Parameters
    ----------
    spec : SatSpec
        ``wuve.lanes``, and the latencies of ``array``; a multiplier latency of 0 raises
        :class:`SpecError`.

    Attributes
    ----------
    i_dw : In(stream.Signature(ArrayLayout(16, lanes)))
        FP16 gradients, times the loss scale.
    i_w, i_v : In(stream.Signature(ArrayLayout(32, lanes)))
        FP32 master weights and momentum.
    o_w, o_v : Out(stream.Signature(ArrayLayout(32, lanes)))
        New weights and momentum.
    o_w16 : Out(stream.Signature(ArrayLayout(16, lanes)))
        FP16 copy of the new weights.
    i_lr, i_mu, i_wd, i_inv_scale : In(32)
        FP32; constant while a transfer is in flight.

    Timing
    ------
    Latency as :func:`timing` states, interval 1. The three inputs are accepted together, in a
    cycle in which all are offered and the stages move: when the last one is empty, or each output
    has been or is being accepted. ``ready`` of the inputs therefore depends combinationally on
    ``valid`` of all inputs and on ``ready`` of the outputs; outputs are registers (``valid``: of
    two) and need not be accepted together. Bubbles are not closed.

    Reset
    -----
    Drops what is in flight; no output is offered. Data registers keep stale words.
    """

    def __init__(self, spec: SatSpec) -> None:
        self.spec = spec
        self.latency_cycles = timing(spec).latency_cycles
        words, halves = (
            stream.Signature(data.ArrayLayout(unsigned(bits), spec.wuve.lanes)) for bits in (32, 16)
        )
        super().__init__(
            {
                "i_dw": In(halves),
                "i_w": In(words),
                "i_v": In(words),
                "o_w": Out(words),
                "o_v": Out(words),
                "o_w16": Out(halves),
                **{f"i_{name}": In(32) for name in RATES},
            }
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.sources = {"dw": self.i_dw, "w": self.i_w, "v": self.i_v}
        self.sinks = {"w": self.o_w, "v": self.o_v, "w16": self.o_w16}
        self.rates: dict[str, Signal] = {name: getattr(self, f"i_{name}") for name in RATES}
        self.is_used = Signal(self.latency_cycles)
        self.is_moving = Signal()
        self.is_sent = Signal(len(self.sinks))
        self._parts: list[FloatStages] = []
        lanes = [self._lane(lane) for lane in range(spec.wuve.lanes)]
        self.results = {name: [lane[name] for lane in lanes] for name in self.sinks}
        self.moves = [move for part in self._parts for move in part.moves]

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        accepted = Signal()
        is_offered = Cat(port.valid for port in self.sources.values()).all()
        m.d.comb += accepted.eq(is_offered & self.is_moving)
        m.d.comb += [port.ready.eq(accepted) for port in self.sources.values()]

        is_leaving = Signal(len(self.sinks))
        for number, (name, port) in enumerate(self.sinks.items()):
            m.d.comb += [
                port.valid.eq(self._is_due(number)),
                Cat(port.payload[lane] for lane in range(self.spec.wuve.lanes)).eq(
                    Cat(self.results[name])
                ),
                is_leaving[number].eq(self.is_sent[number] | port.ready),
            ]
            with m.If(self.is_moving):
                m.d.sync += self.is_sent[number].eq(0)
            with m.Elif(port.valid & port.ready):
                m.d.sync += self.is_sent[number].eq(1)
        m.d.comb += self.is_moving.eq(~self.is_used[-1] | is_leaving.all())

        for part in self._parts:
            m.d.comb += [wire.eq(value) for wire, value in part.wires]
        with m.If(self.is_moving):
            m.d.sync += self.is_used.eq(Cat(accepted, self.is_used)[: self.latency_cycles])
            m.d.sync += [register.eq(value) for register, value in self.moves]
        return m

    def _is_due(self, sink: int) -> Value:
        """Return whether an output has not yet emitted its word of the last stage."""
        return self.is_used[-1] & ~self.is_sent[sink]

    def _lane(self, lane: int) -> dict[str, Signal]:
        """Lay out the units of one lane, each input delayed until its partner comes."""
        dw, w, v = (port.payload[lane] for port in self.sources.values())
        array = self.spec.array
        multiply = fp32_mul.timing(array).latency_cycles
        add = fp32_add.timing(array).latency_cycles
        widen = fp16_to_fp32.timing(array).latency_cycles
        narrow = fp32_to_fp16.timing(array).latency_cycles

        wide = self._stages(fp16_to_fp32.WideningSteps(), widen, {"a": dw})
        w_beside = self._delay(w, widen)
        scaled = self._multiply(wide, self.i_inv_scale)
        decay = self._multiply(w_beside, self.i_wd)
        gradient = self._add(scaled, decay)
        kept = self._multiply(self._delay(v, widen + add), self.i_mu)
        velocity = self._add(kept, gradient)
        step = self._multiply(velocity, self.i_lr)
        old = self._delay(w_beside, 2 * multiply + 2 * add)
        new = self._add(old, self._negate(step))
        copy = self._stages(fp32_to_fp16.NarrowingSteps(), narrow, {"a": new})
        return {
            "w": self._delay(new, narrow),
            "v": self._delay(velocity, multiply + add + narrow),
            "w16": copy,
        }

    def _negate(self, word: Value) -> Value:
        return Cat(word[:31], ~word[31])

    def _multiply(self, a: Value, b: Value) -> Signal:
        latency = fp32_mul.timing(self.spec.array).latency_cycles
        return self._stages(fp32_mul.ProductSteps(), latency, {"a": a, "b": b})

    def _add(self, a: Value, b: Value) -> Signal:
        latency = fp32_add.timing(self.spec.array).latency_cycles
        return self._stages(fp32_add.AdderSteps(), latency, {"a": a, "b": b})

    def _delay(self, word: Value, cycles: int) -> Signal:
        return self._stages(_Delay(), cycles, {"a": word})

    def _stages(self, function: FloatSteps, latency: int, operands: Fields) -> Signal:
        part = FloatStages(function.steps(), latency, operands)
        self._parts.append(part)
        return part.result


class _Delay(FloatSteps):
    """Pass a word on as it is."""

    def steps(self) -> list[Step]:
        return [self._pass]

    def _pass(self, wire: Wire, fields: Fields) -> Fields:
        del wire
        return {"result": fields["a"]}
