"""Check sparse products of a whole run against the golden product, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hwsim.experiments.pipeline import Session

__all__ = ["compare_product", "verify_products"]

RELATIVE_ERROR = 1e-9
"""Sums of fractions differ by the order of their terms; sums of whole numbers must not differ."""

Array = NDArray[Any]


def verify_products(session: Session, outputs: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Return one record per op whose operands are sparse matrices: is its result the golden one?

    ``outputs`` are the run's; without them (an estimate has none) the program runs once more.
    """
    names = [op.name for op in session.graph.ops() if op.is_sparse]
    if not names:
        return []
    found = outputs or session.machine.execute(session.program, {})
    golden = session.machine.golden(session.program, found)  # of each op from what it was given
    return [{"layer": name, **compare_product(found[name], golden[name])} for name in names]


def compare_product(found: Array, golden: Array) -> dict[str, Any]:
    """Compare results: places exactly, whole numbers exactly, others up to rounding.

    A result is a dense array, or an array of entries with ``row``, ``col`` and ``value``.
    """
    entries = f"{found.size} of {golden.size}"
    if found.shape != golden.shape or found.dtype != golden.dtype:
        return {"entries": entries, "equal": False, "max_abs_error": float("inf")}
    has_places = golden.dtype.names is not None
    values = [x["value"] if has_places else x for x in (found, golden)]
    error = float(np.max(np.abs(values[0] - values[1]), initial=0.0))
    largest = float(np.max(np.abs(values[1]), initial=0.0))
    is_whole = bool((values[1] == np.rint(values[1])).all()) and largest < 2.0**53
    is_near = bool((np.abs(values[0] - values[1]) <= RELATIVE_ERROR * np.abs(values[1])).all())
    # Terms that cancel leave the rounding of larger sums behind.
    is_near = is_near or error <= 1e-3 * RELATIVE_ERROR * largest
    is_placed = not has_places or bool((found[["row", "col"]] == golden[["row", "col"]]).all())
    return {
        "entries": entries,
        "equal": is_placed and (error == 0.0 if is_whole else is_near),
        "max_abs_error": error,
    }
