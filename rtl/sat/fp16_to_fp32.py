"""Widen FP16 to FP32, exactly: the input of a weight update lane."""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import C, Cat, Const, Mux

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.sat.float_parts import (
    CANONICAL_NAN,
    Fields,
    FloatPipeline,
    FloatSteps,
    Step,
    Wire,
    is_nan,
    leading_zeros,
)

__all__ = ["Fp16ToFp32", "WideningSteps", "timing"]

BIAS_DIFFERENCE = 127 - 15
"""FP32 exponent field of a normal number = its FP16 one + 112."""


def timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract: one register, whatever the array's units take."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


class WideningSteps(FloatSteps):
    """Widen FP16: count the leading zeros of a subnormal; shift and pack."""

    OPERANDS: ClassVar = {"a": 16}

    def steps(self) -> list[Step]:
        return [self._count, self._pack]

    def _count(self, wire: Wire, fields: Fields) -> Fields:
        return {"a": fields["a"], "zeros": leading_zeros(wire, fields["a"][:10])}

    def _pack(self, wire: Wire, fields: Fields) -> Fields:
        fraction, exponent, sign = fields["a"][:10], fields["a"][10:15], fields["a"][15]
        is_subnormal = wire("is_subnormal", ~exponent.any())
        # The leading bit of a subnormal becomes the hidden one; below 112 by one place each.
        shifted = wire("shifted", (fraction << fields["zeros"])[:9])
        small = Cat(C(0, 14), shifted, (Const(BIAS_DIFFERENCE, 8) - fields["zeros"])[:8])
        normal = Cat(C(0, 13), fraction, (exponent + BIAS_DIFFERENCE)[:8])
        finite = Mux(is_subnormal, Mux(fraction.any(), small, 0), normal)
        magnitude = Mux(exponent.all(), Const(0x7F80_0000, 31), finite)
        number = Cat(magnitude[:31], sign)
        has_nan = is_nan(fields["a"], 10)
        return {"result": wire("result", Mux(has_nan, Const(CANONICAL_NAN, 32), number))}


class Fp16ToFp32(FloatPipeline):
    """Emit the FP32 word of the same value for every FP16 word accepted.

    Subnormals become normal; zeros and infinities keep their sign; every NaN becomes the canonical
    one, 0x7FC00000.

    Parameters
    ----------
    spec : ArraySpec
        Any.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a: 16})))
    o : Out(stream.Signature(32))

    Timing
    ------
    Latency 1, interval 1; back-pressure and reset as :class:`FloatPipeline` states.
    """

    function: ClassVar[type[FloatSteps]] = WideningSteps

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        super().__init__(self.function(), timing(spec).latency_cycles)
