"""Read the command line's PATTERN."""

from __future__ import annotations

from hwsim.core.errors import InputError
from hwsim.core.sparsity.base import Dense, require
from hwsim.core.sparsity.counted import NM
from hwsim.core.sparsity.placed import Block, Pattern, Unstructured

__all__ = ["parse_pattern"]


def parse_pattern(text: str) -> Pattern:
    """Parse the command line's PATTERN: ``dense``, ``nm:N:M``, ``unstructured:S``, ``block:RxC:S``.

    S is the fraction of zeros. N:M patterns group along the reduction axis (axis 0 of a
    [k, n] weight matrix). Raises :class:`InputError` naming the malformed part.
    """
    need = "dense, nm:N:M, unstructured:S or block:RxC:S (S = fraction of zeros)"
    kind, *rest = text.split(":")
    try:
        if kind == "dense" and not rest:
            return Dense()
        if kind == "nm" and len(rest) == 2:
            return NM(nm_n=int(rest[0]), nm_m=int(rest[1]))
        if kind == "unstructured" and len(rest) == 1:
            return Unstructured(keep=_keep(rest[0]))
        if kind == "block" and len(rest) == 2:
            rows, cols = (int(part) for part in rest[0].split("x"))
            require(rows >= 1 and cols >= 1, "sparsity", "a block of at least 1x1", rest[0])
            return Block(rows=rows, cols=cols, keep=_keep(rest[1]))
    except ValueError as error:
        raise InputError("sparsity", need, repr(text)) from error
    raise InputError("sparsity", need, repr(text))


def _keep(zeros: str) -> float:
    fraction = float(zeros)
    require(0.0 <= fraction <= 1.0, "sparsity", "a fraction of zeros from 0 to 1", zeros)
    return 1.0 - fraction
