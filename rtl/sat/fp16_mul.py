"""Multiply FP16 by FP16 into FP32, exactly: the multiplier of a SAT processing element."""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import C, Cat, Const, Mux

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.sat.float_parts import (
    CANONICAL_NAN,
    Fields,
    FloatPipeline,
    FloatSteps,
    Step,
    Wire,
    is_infinite,
    is_nan,
    leading_zeros,
    scale_field,
    significand,
)

__all__ = ["Fp16Mul", "MultiplierSteps", "timing"]

FRACTION_BITS = 10

EXPONENT_OFFSET = 98
"""FP32 exponent field = sum of the FP16 ones + 98 - leading zeros of the 22-bit product.

A significand s of exponent field e is worth s * 2**(e - 25), the product's leading bit is bit 21,
and the FP32 bias is 127: 127 + 21 - 2 * 25 = 98. The field lies in 79..158: never subnormal.
"""


def timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract; raise :class:`SpecError` if no register is allowed."""
    if spec.multiplier_latency_cycles < 1:
        raise SpecError(
            "array.multiplier_latency_cycles",
            ">= 1 in RTL, whose outputs are registers",
            str(spec.multiplier_latency_cycles),
        )
    return UnitTiming(latency_cycles=spec.multiplier_latency_cycles, interval_cycles=1)


class MultiplierSteps(FloatSteps):
    """Multiply FP16 by FP16 into FP32: unpack; multiply; count leading zeros; shift and pack."""

    OPERANDS: ClassVar = {"a": 16, "b": 16}

    def steps(self) -> list[Step]:
        return [self._unpack, self._multiply, self._count, self._pack]

    def _unpack(self, wire: Wire, fields: Fields) -> Fields:
        a, b = fields["a"], fields["b"]
        has_nan = is_nan(a, FRACTION_BITS) | is_nan(b, FRACTION_BITS)
        has_inf = is_infinite(a, FRACTION_BITS) | is_infinite(b, FRACTION_BITS)
        is_zero = ~a[:15].any() | ~b[:15].any()
        return {
            "sign": wire("sign", a[15] ^ b[15]),
            "is_nan": wire("is_nan", has_nan | (has_inf & is_zero)),
            "is_inf": wire("is_inf", has_inf),
            "exponent": wire(
                "exponent", (scale_field(a, FRACTION_BITS) + scale_field(b, FRACTION_BITS))[:6]
            ),
            "significand_a": wire("significand_a", significand(a, FRACTION_BITS)),
            "significand_b": wire("significand_b", significand(b, FRACTION_BITS)),
        }

    def _multiply(self, wire: Wire, fields: Fields) -> Fields:
        product = fields["significand_a"] * fields["significand_b"]
        passed = {name: fields[name] for name in ("sign", "is_nan", "is_inf", "exponent")}
        return {**passed, "product": wire("product", product[:22])}

    def _count(self, wire: Wire, fields: Fields) -> Fields:
        return {**fields, "zeros": leading_zeros(wire, fields["product"])}

    def _pack(self, wire: Wire, fields: Fields) -> Fields:
        normal = wire("normal", (fields["product"] << fields["zeros"])[:22])
        exponent = wire(
            "fp32_exponent", (fields["exponent"] + EXPONENT_OFFSET - fields["zeros"])[:8]
        )
        magnitude = Mux(
            fields["is_inf"],
            Const(0x7F80_0000, 31),
            Mux(normal[21], Cat(C(0, 2), normal[:21], exponent), 0),
        )
        number = Cat(magnitude[:31], fields["sign"])
        result = Mux(fields["is_nan"], Const(CANONICAL_NAN, 32), number)
        return {"result": wire("result", result)}


class Fp16Mul(FloatPipeline):
    """Emit a * b in FP32 for every pair of FP16 words accepted, without rounding.

    The 11 x 11-bit product fits the 24 bits of FP32, and its range that of FP32's normal numbers.
    Subnormal operands count in full. A NaN operand or 0 * infinity gives the canonical NaN
    0x7FC00000; every other result has the XOR of the signs, zeros and infinities included.

    Parameters
    ----------
    spec : ArraySpec
        ``multiplier_latency_cycles`` >= 1, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a: 16, b: 16})))
    o : Out(stream.Signature(32))

    Timing
    ------
    Latency ``multiplier_latency_cycles``, interval 1; back-pressure, reset and the places of the
    registers as :class:`FloatPipeline` states. Four steps: unpack, multiply, count, shift and pack.
    """

    function: ClassVar[type[FloatSteps]] = MultiplierSteps

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        super().__init__(self.function(), timing(spec).latency_cycles)
