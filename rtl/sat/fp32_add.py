"""Add FP32 numbers, rounding to nearest even: the adder of a SAT processing element."""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import C, Cat, Const, Mux, Value

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import ArraySpec
from rtl.sat.float_parts import (
    CANONICAL_NAN,
    Fields,
    FloatPipeline,
    FloatSteps,
    Step,
    Wire,
    leading_zeros,
    scale_field,
    significand,
)

__all__ = ["AdderSteps", "Fp32Add", "timing"]

FRACTION_BITS = 23


def timing(spec: ArraySpec) -> UnitTiming:
    """Return the cycle contract of the adder."""
    return UnitTiming(latency_cycles=spec.adder_latency_cycles, interval_cycles=1)


class AdderSteps(FloatSteps):
    """Add FP32 numbers: order; align; add; count leading zeros; shift; round."""

    def steps(self) -> list[Step]:
        return [self._order, self._align, self._add, self._count, self._shift, self._round]

    def _order(self, wire: Wire, fields: Fields) -> Fields:
        a, b = fields["a"], fields["b"]
        is_swapped = wire("is_swapped", b[:31] > a[:31])
        large = wire("large", Mux(is_swapped, b, a))
        small = wire("small", Mux(is_swapped, a, b))
        is_special = large[23:31].all()
        differ = wire("differ", a[31] ^ b[31])
        # If any operand is NaN, the larger magnitude is; likewise for infinity.
        is_nan = is_special & (large[:23].any() | (small[23:31].all() & differ))
        return {
            "sign": wire("sign", large[31]),
            "is_nan": wire("is_nan", is_nan),
            "is_inf": wire("is_inf", is_special),
            "differ": differ,
            "exponent": wire("exponent", scale_field(large, FRACTION_BITS)),
            "distance": wire(
                "distance",
                (scale_field(large, FRACTION_BITS) - scale_field(small, FRACTION_BITS))[:8],
            ),
            "large": wire("large_significand", significand(large, FRACTION_BITS)),
            "small": wire("small_significand", significand(small, FRACTION_BITS)),
        }

    def _align(self, wire: Wire, fields: Fields) -> Fields:
        # Beyond 26 places only the sticky bit is left, which 31 places give too.
        distance = wire(
            "clamped", Mux(fields["distance"][5:].any(), Const(31, 5), fields["distance"][:5])
        )
        wide = wire("wide", Cat(C(0, 34), fields["small"]) >> distance)
        aligned = Cat(wide[31] | self._sticky(wide[:31]), wide[32:58])
        return {
            **{name: fields[name] for name in ("sign", "is_nan", "is_inf", "differ", "exponent")},
            "large": fields["large"],
            "aligned": wire("aligned", aligned),
        }

    def _sticky(self, below: Value) -> Value:
        """Return whether anything was shifted out."""
        return below.any()

    def _add(self, wire: Wire, fields: Fields) -> Fields:
        large = Cat(C(0, 3), fields["large"], C(0, 1))
        total = Mux(fields["differ"], large - fields["aligned"], large + fields["aligned"])
        total = wire("total", total[:28])
        # Exact cancellation gives +0.
        sign = fields["sign"] & ~(fields["differ"] & ~total.any())
        return {
            "sign": wire("total_sign", sign),
            "is_nan": fields["is_nan"],
            "is_inf": fields["is_inf"],
            "exponent": fields["exponent"],
            "total": total,
        }

    def _count(self, wire: Wire, fields: Fields) -> Fields:
        return {**fields, "zeros": leading_zeros(wire, fields["total"])}

    def _shift(self, wire: Wire, fields: Fields) -> Fields:
        # The leading bit of the total is worth one exponent more than that of the operands; a
        # result of exponent field 1 is not shifted further: it is subnormal.
        exponent, zeros = fields["exponent"], fields["zeros"]
        places = wire("places", Mux(exponent < zeros, exponent, zeros)[:5])
        return {
            "sign": fields["sign"],
            "is_nan": fields["is_nan"],
            "is_inf": fields["is_inf"],
            "exponent": wire("shifted_exponent", (exponent + 1 - places)[:8]),
            "total": wire("normal", (fields["total"] << places)[:28]),
        }

    def _round(self, wire: Wire, fields: Fields) -> Fields:
        total = fields["total"]
        field = Mux(total[27], fields["exponent"], 0)
        kept = Cat(total[4:27], field[:8])
        is_up = wire("is_up", total[3] & (total[:3].any() | total[4]))
        # A carry out of the fraction increments the exponent: to normal, or to infinity.
        rounded = wire("rounded", (kept + is_up)[:31])
        is_inf = fields["is_inf"] | rounded[23:31].all()
        magnitude = Mux(is_inf, Const(0x7F80_0000, 31), rounded)
        number = Cat(magnitude[:31], fields["sign"])
        result = Mux(fields["is_nan"], Const(CANONICAL_NAN, 32), number)
        return {"result": wire("result", result)}


class Fp32Add(FloatPipeline):
    """Emit a + b for every pair of FP32 words accepted, rounded to nearest, ties to even.

    Subnormals count in full, as operands and as results. A NaN operand or the sum of infinities of
    opposite sign gives the canonical NaN 0x7FC00000. Exact cancellation gives +0; only -0 + -0
    is -0. A sum beyond the largest finite number rounds to infinity.

    Parameters
    ----------
    spec : ArraySpec
        ``adder_latency_cycles`` is L.

    Attributes
    ----------
    i : In(stream.Signature(StructLayout({a: 32, b: 32})))
    o : Out(stream.Signature(32))

    Timing
    ------
    Latency ``adder_latency_cycles``, interval 1; back-pressure, reset and the places of the
    registers as :class:`FloatPipeline` states. Six steps: order, align, add, count, shift, round.

    Notes
    -----
    Three bits below the smaller significand suffice: guard, round, and a sticky bit that collects
    all that is shifted out further.
    """

    function: ClassVar[type[FloatSteps]] = AdderSteps

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        super().__init__(self.function(), timing(spec).latency_cycles)
