"""Say what a DSP48E2 computes as used here, and when: golden model of the multiply-add step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hwsim.core.machine import UnitTiming
from hwsim.flightllm.unit_spec import DSP_A_BITS, DSP_B_BITS, DSP_P_BITS, DspSpec

__all__ = ["Z_C", "Z_P", "Z_PCIN", "Z_ZERO", "DspStep", "run_steps", "timing", "wrap"]

Z_ZERO, Z_PCIN, Z_P, Z_C = 0, 1, 2, 3
"""What is added to the product: codes of OPMODE[6:4] (AMD, UG579)."""


def timing(spec: DspSpec) -> UnitTiming:
    """Return the cycle contract: registers A and B, (AD,) M and P."""
    return UnitTiming(latency_cycles=4 if spec.has_preadder else 3, interval_cycles=1)


@dataclass(frozen=True)
class DspStep:
    """Operands of one step, signed, of 27, 18, 27, 48 and 48 bits, and what to add."""

    a: int = 0
    b: int = 0
    d: int = 0
    c: int = 0
    pcin: int = 0
    z: int = Z_ZERO


def wrap(value: int, bits: int) -> int:
    """Return ``value`` as a two's complement number of ``bits`` bits."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def run_steps(spec: DspSpec, steps: Iterable[DspStep]) -> list[int]:
    """Return P after each step: 48-bit two's complement, every width wraps.

    The pre-adder wraps at 27 bits. ``Z_P`` adds the result of the step before, 0 at first.
    """
    p, results = 0, []
    for step in steps:
        multiplicand = wrap(step.a, DSP_A_BITS)
        if spec.has_preadder:
            multiplicand = wrap(multiplicand + wrap(step.d, DSP_A_BITS), DSP_A_BITS)
        addend = {Z_ZERO: 0, Z_PCIN: step.pcin, Z_P: p, Z_C: step.c}[step.z]
        p = wrap(multiplicand * wrap(step.b, DSP_B_BITS) + addend, DSP_P_BITS)
        results.append(p)
    return results
