"""Multiply FP32 numbers, rounding to nearest even: the multiplier of a weight update lane."""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import C, Cat, Const, Mux, Value

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.sat import fp16_mul
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

__all__ = ["Fp32Mul", "ProductSteps", "timing"]

FRACTION_BITS = 23

EXPONENT_OFFSET = 126
"""FP32 exponent field = sum of the operands' - 126 - leading zeros of the 48-bit product.

A significand s of exponent field e is worth s * 2**(e - 150), the product's leading bit is bit 47,
and the bias is 127: 127 + 47 - 2 * 150 = -126.
"""

FLAGS = ("sign", "is_nan", "is_inf")


def timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract: that of the FP16 multiplier."""
    return fp16_mul.timing(spec)


class ProductSteps(FloatSteps):
    """Multiply FP32: unpack; multiply; count leading zeros; normalise; align subnormals; round."""

    def steps(self) -> list[Step]:
        return [
            self._unpack,
            self._multiply,
            self._count,
            self._normalise,
            self._align,
            self._round,
        ]

    def _unpack(self, wire: Wire, fields: Fields) -> Fields:
        a, b = fields["a"], fields["b"]
        has_nan = is_nan(a, FRACTION_BITS) | is_nan(b, FRACTION_BITS)
        has_inf = is_infinite(a, FRACTION_BITS) | is_infinite(b, FRACTION_BITS)
        is_zero = ~a[:31].any() | ~b[:31].any()
        return {
            "sign": wire("sign", a[31] ^ b[31]),
            "is_nan": wire("is_nan", has_nan | (has_inf & is_zero)),
            "is_inf": wire("is_inf", has_inf),
            "exponent": wire(
                "exponent", (scale_field(a, FRACTION_BITS) + scale_field(b, FRACTION_BITS))[:9]
            ),
            "significand_a": wire("significand_a", significand(a, FRACTION_BITS)),
            "significand_b": wire("significand_b", significand(b, FRACTION_BITS)),
        }

    def _multiply(self, wire: Wire, fields: Fields) -> Fields:
        product = fields["significand_a"] * fields["significand_b"]
        passed = {name: fields[name] for name in (*FLAGS, "exponent")}
        return {**passed, "product": wire("product", product[:48])}

    def _count(self, wire: Wire, fields: Fields) -> Fields:
        return {**fields, "zeros": leading_zeros(wire, fields["product"])}

    def _normalise(self, wire: Wire, fields: Fields) -> Fields:
        # The exponent field is at least 1 if the sum exceeds the least one.
        least = wire("least", (fields["zeros"] + EXPONENT_OFFSET + 1)[:8])
        is_normal = wire("is_normal", fields["exponent"] >= least)
        missing = wire("missing", (least - fields["exponent"])[:8])
        field = wire("field", (fields["exponent"] - least + 1)[:9])
        return {
            **{name: fields[name] for name in FLAGS},
            "normal": wire("normal", (fields["product"] << fields["zeros"])[:48]),
            "field": wire("normal_field", Mux(is_normal, field, 1)),
            # Beyond 25 places only the sticky bit is left, which 31 places give too.
            "places": wire(
                "places", Mux(is_normal, 0, Mux(missing[5:].any(), Const(31, 5), missing[:5]))
            ),
        }

    def _align(self, wire: Wire, fields: Fields) -> Fields:
        """Shift what is too small for exponent field 1 until it has it; 24 bits, guard, sticky."""
        # Room for all that is shifted out.
        wide = wire("wide", Cat(C(0, 31), fields["normal"]) >> fields["places"])
        aligned = Cat(wide[:54].any(), wide[54:79])
        passed = {name: fields[name] for name in (*FLAGS, "field")}
        return {**passed, "aligned": wire("aligned", aligned)}

    def _round(self, wire: Wire, fields: Fields) -> Fields:
        aligned = fields["aligned"]
        field = Mux(aligned[25], fields["field"], 0)
        kept = Cat(aligned[2:25], field[:9])
        is_up = wire("is_up", self._is_up(aligned[2], aligned[1], aligned[0]))
        # A carry out of the fraction increments the exponent: to normal, or to infinity.
        rounded = wire("rounded", (kept + is_up)[:32])
        is_inf = fields["is_inf"] | (rounded[23:32] >= 255)
        magnitude = Mux(is_inf, Const(0x7F80_0000, 31), rounded[:31])
        number = Cat(magnitude[:31], fields["sign"])
        return {"result": wire("result", Mux(fields["is_nan"], Const(CANONICAL_NAN, 32), number))}

    def _is_up(self, last: Value, guard: Value, sticky: Value) -> Value:
        """Return whether to round away from zero: beyond the middle, or in it and odd."""
        return guard & (sticky | last)


class Fp32Mul(FloatPipeline):
    """Emit a * b for every pair of FP32 words accepted, rounded to nearest, ties to even.

    Subnormals count in full, as operands and as results; the rounding happens once, at the place
    where the result ends. A NaN operand or 0 * infinity gives the canonical NaN 0x7FC00000; every
    other result has the XOR of the signs, zeros and infinities included.

    Parameters
    ----------
    spec : ArraySpec
        ``multiplier_latency_cycles`` >= 1, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a: 32, b: 32})))
    o : Out(stream.Signature(32))

    Timing
    ------
    Latency ``multiplier_latency_cycles``, interval 1; back-pressure, reset and the places of the
    registers as :class:`FloatPipeline` states. Six steps: unpack, multiply, count, normalise,
    align, round.
    """

    function: ClassVar[type[FloatSteps]] = ProductSteps

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        super().__init__(self.function(), timing(spec).latency_cycles)
