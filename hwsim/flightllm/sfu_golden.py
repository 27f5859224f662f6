"""Say what the special function unit must give for whole vectors, all rows at once.

Written from the unit's definition, without its beats, jobs or instructions where the result does
not depend on them; softmax's sum does: it is cut whenever the maximum grows.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.unit_spec import SfuSpec

__all__ = ["exact_vectors"]

Codes = NDArray[np.int64]
_TERM_BITS = 15


def exact_vectors(
    spec: SfuSpec, function: str, x: Codes, y: Codes, scale: Codes, length: Codes
) -> NDArray[np.int16]:
    """Return int16[rows, width] of ``function``; beyond each row's ``length`` zeros.

    Parameters
    ----------
    function : str
        add, mul, silu, gelu, softmax, layernorm or rmsnorm.
    x, y : int64[rows, width]
        Codes.
    scale, length : int64[rows]
        Fixed-point scale of x, elements of the row.
    """
    inside = np.arange(x.shape[1]) < length[:, None]
    x = np.where(inside, x, 0)
    if function == "add":
        found = x + y
    elif function == "mul":
        found = (x * y) // 128
    elif function in ("silu", "gelu"):
        found = _gated(spec, function, x, x * scale[:, None])
    elif function == "softmax":
        found = _shares(spec, x * scale[:, None], inside)
    elif function in ("layernorm", "rmsnorm"):
        found = _normalised(spec, x, length, is_centred=function == "layernorm")
    else:
        raise InputError("function", "one of the special function unit", function)
    limit = 1 << (spec.output_bits - 1 if function.endswith(("softmax", "norm")) else 7)
    return np.where(inside, np.clip(found, -limit, limit - 1), 0).astype(np.int16)


def _gated(spec: SfuSpec, function: str, x: Codes, t: Codes) -> Codes:
    table = np.array(spec.gate_table("silu" if function == "silu" else "gelu"), np.int64)
    step = np.minimum(np.abs(t) // (1 << spec.gate_shift), table.size - 1)
    gate = np.where(t >= 0, table[step], (1 << _TERM_BITS) - table[step])
    return (2 * x * gate + (1 << _TERM_BITS)) // (2 << _TERM_BITS)


def _shares(spec: SfuSpec, t: Codes, inside: NDArray[np.bool_]) -> Codes:
    one = 1 << spec.scale_fraction_bits
    table = np.array(spec.exp2_table(), np.int64)
    least = -(1 << 40)
    ceiling = np.where(inside, -(-t // one), least)
    beats = ceil_div(t.shape[1], spec.lanes)
    total = np.zeros(len(t), np.int64)
    reached = np.full(len(t), least)
    for beat in range(beats):
        own = slice(beat * spec.lanes, (beat + 1) * spec.lanes)
        before, reached = reached, np.maximum(reached, ceiling[:, own].max(axis=1))
        below = reached[:, None] * one - t[:, own]
        terms = np.where(inside[:, own], _powers(table, below, one), 0)
        total = (total >> np.minimum(reached - before, 62)) + terms.sum(axis=1)
    below = reached[:, None] * one - t
    reciprocal = (1 << spec.reciprocal_bits) // np.maximum(total, 1)
    shares = _powers(table, below, one) * reciprocal[:, None] // (1 << (spec.reciprocal_bits - 8))
    return np.minimum(shares, 255)


def _powers(table: Codes, below: Codes, one: int) -> Codes:
    """Return 2 to the power of -below / one in 15 fraction bits, cut."""
    whole, fraction = np.divmod(below, one)
    return np.asarray(table[fraction * table.size // one] // (1 << np.clip(whole, 0, 40)))


def _normalised(spec: SfuSpec, x: Codes, length: Codes, *, is_centred: bool) -> Codes:
    total = x.sum(axis=1) * is_centred
    squares = length * (x * x).sum(axis=1) - total * total
    roots = np.array([max(isqrt(int(value)), 1) for value in squares], np.int64)
    reciprocal = (1 << spec.reciprocal_bits) // roots
    spread = length[:, None] * x - total[:, None]
    return spread * reciprocal[:, None] // (1 << (spec.reciprocal_bits - spec.norm_fraction_bits))
