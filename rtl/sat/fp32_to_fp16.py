"""Narrow FP32 to FP16, rounding to nearest even: the FP16 output of a weight update lane."""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import C, Cat, Const, Mux, Value

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.sat.float_parts import Fields, FloatPipeline, FloatSteps, Step, Wire, is_nan

__all__ = ["CANONICAL_NAN_FP16", "Fp32ToFp16", "NarrowingSteps", "timing"]

CANONICAL_NAN_FP16 = 0x7E00
"""The one FP16 NaN emitted: quiet, positive, no payload (own choice)."""

LEAST_FIELD = 127 - 14
"""FP32 exponent field of the smallest normal FP16 number, 2**-14."""


def timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract: one register, whatever the array's units take."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


class NarrowingSteps(FloatSteps):
    """Narrow FP32: align what becomes subnormal; round and pack."""

    OPERANDS: ClassVar = {"a": 32}
    RESULT_BITS = 16

    def steps(self) -> list[Step]:
        return [self._align, self._round]

    def _align(self, wire: Wire, fields: Fields) -> Fields:
        fraction, exponent = fields["a"][:23], fields["a"][23:31]
        is_normal = wire("is_normal", exponent >= LEAST_FIELD)
        missing = wire("missing", (LEAST_FIELD - exponent)[:8])
        # Beyond 12 places only the sticky bit is left, which 15 places give too.
        far = Mux(missing[4:].any(), Const(15, 4), missing[:4])
        places = wire("places", Mux(is_normal, 0, far))
        significand = Cat(fraction, exponent.any())
        wide = wire("wide", Cat(C(0, 15), significand) >> places)
        return {
            "sign": wire("sign", fields["a"][31]),
            "is_nan": wire("is_nan", is_nan(fields["a"], 23)),
            # FP32 exponent fields from 143 on stand for 65536 and more, infinity included.
            "is_large": wire("is_large", exponent >= LEAST_FIELD + 30),
            "field": wire("field", Mux(is_normal, (exponent - LEAST_FIELD + 1)[:5], 0)),
            # Fraction, guard, sticky.
            "aligned": wire("aligned", Cat(wide[:27].any(), wide[27:38])),
        }

    def _round(self, wire: Wire, fields: Fields) -> Fields:
        aligned = fields["aligned"]
        kept = Cat(aligned[2:12], fields["field"][:5])
        is_up = wire("is_up", self._is_up(aligned[2], aligned[1], aligned[0]))
        # A carry out of the fraction increments the exponent: to normal, or to infinity.
        rounded = (kept + is_up)[:15]
        magnitude = wire("magnitude", Mux(fields["is_large"], Const(0x7C00, 15), rounded))
        number = Cat(magnitude, fields["sign"])
        result = Mux(fields["is_nan"], Const(CANONICAL_NAN_FP16, 16), number)
        return {"result": wire("result", result)}

    def _is_up(self, last: Value, guard: Value, sticky: Value) -> Value:
        """Return whether to round away from zero: beyond the middle, or in it and odd."""
        return guard & (sticky | last)


class Fp32ToFp16(FloatPipeline):
    """Emit the nearest FP16 number for every FP32 word accepted, ties to even.

    From 65520 on, halfway beyond the largest finite number, the result is infinity. Below 2**-14
    it is subnormal, below or at 2**-25 zero of the same sign. Every NaN becomes the canonical one,
    0x7E00.

    Parameters
    ----------
    spec : ArraySpec
        Any.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a: 32})))
    o : Out(stream.Signature(16))

    Timing
    ------
    Latency 1, interval 1; back-pressure and reset as :class:`FloatPipeline` states.
    """

    function: ClassVar[type[FloatSteps]] = NarrowingSteps

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        super().__init__(self.function(), timing(spec).latency_cycles)
