"""Predict the FPGA cells of a unit from the sizes of it that were synthesised.

Each file of ``area_data`` holds one unit: its sizes, the cells that Yosys counted for each, and
the terms in which cells are assumed to grow (written by ``hwsim rtl synth --record``). A resource
is fitted by least squares of the relative error; how far the fit is off at the sizes themselves,
and at each size when it is left out of the fit, is part of every prediction. A parameter outside
the sizes synthesised, or one that was never varied and differs, makes it an extrapolation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.area import FPGA_RESOURCES, AreaPart
from hwsim.core.errors import InputError, unknown_name
from hwsim.core.units import ceil_div

__all__ = [
    "AreaModel",
    "Fit",
    "Prediction",
    "area_file",
    "area_model",
    "area_units",
    "board_counts",
    "cells_of",
    "term_value",
]

Counts = dict[str, int]

_FOLDER = Path(__file__).with_name("area_data")
_FACTOR = re.compile(r"(?:(clog2)\(([\w.]+)\)|([\w.]+)(?:/(\d+))?)")
_LEAST_SIZES = 4
_LEAST_CELLS = 10
"""Errors are relative to the cells of a size, or to so many if it has fewer."""


def term_value(term: str, parameters: Mapping[str, int]) -> int:
    """Return the value of a product of factors, e.g. ``nm_n*clog2(nm_m)``.

    A factor is ``1``, a parameter, ``clog2(parameter)`` (address bits, 0 for 1), or
    ``parameter/k``, rounded up.
    """
    value = 1
    for factor in term.split("*"):
        found = _FACTOR.fullmatch(factor)
        if found is None:
            raise InputError("area.term", "factors 1, p, clog2(p), p/k", repr(term))
        is_log, inner, name, divisor = found.groups()
        if is_log:
            value *= (parameters[inner] - 1).bit_length()
        elif name != "1":
            value *= ceil_div(parameters[name], int(divisor or 1))
    return value


def board_counts(cells: Mapping[str, int]) -> Counts:
    """Return ``cells`` as boards count: memory LUTs are LUTs, two RAMB18 make a RAMB36."""
    return {
        "lut": cells["lut"] + cells["memory_lut"],
        "ff": cells["ff"],
        "dsp48e2": cells["dsp48e2"],
        "ramb36": cells["ramb36"] + ceil_div(cells["ramb18"], 2),
        "uram": cells["uram"],
    }


@dataclass(frozen=True)
class Fit:
    """How cells of one resource grow.

    Attributes
    ----------
    coefficients : dict of str to float
        Cells per term.
    residual : float
        Largest relative error at a synthesised size.
    left_out : float
        Largest relative error at a size that was left out of its fit.
    """

    coefficients: dict[str, float]
    residual: float
    left_out: float

    def at(self, parameters: Mapping[str, int]) -> int:
        """Return the cells at ``parameters``, at least 0."""
        total = sum(c * term_value(term, parameters) for term, c in self.coefficients.items())
        return max(0, round(total))


@dataclass(frozen=True)
class Prediction:
    """Cells of one instance, and why they may be off.

    ``outside`` has a phrase per parameter that no synthesised size covers.
    """

    cells: Counts
    outside: tuple[str, ...]


class AreaModel:
    """What is known of one unit's cells.

    Parameters
    ----------
    record : dict
        ``unit``, ``module``, ``sources``, ``tool``, ``parameters`` (names that matter), ``terms``,
        ``sizes`` (list of ``{parameters, cells}``).

    Raises
    ------
    InputError
        If there are fewer than four sizes, or no more sizes than terms: nothing would be left to
        see an error by.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.unit: str = record["unit"]
        self.module: str = record["module"]
        self.sources: str = record["sources"]
        self.tool: str = record["tool"]
        self.parameters: tuple[str, ...] = tuple(record["parameters"])
        self.terms: tuple[str, ...] = tuple(record["terms"])
        self.sizes: list[dict[str, int]] = [row["parameters"] for row in record["sizes"]]
        self.cells: list[Counts] = [board_counts(row["cells"]) for row in record["sizes"]]
        need = max(_LEAST_SIZES, len(self.terms) + 1)
        if len(self.sizes) < need:
            found = str(len(self.sizes))
            raise InputError(f"area_data.{self.unit}.sizes", f"at least {need}", found)
        matrix = np.array([[term_value(t, size) for t in self.terms] for size in self.sizes], float)
        self.fits: dict[str, Fit] = {
            resource: self._fit(matrix, np.array([cells[resource] for cells in self.cells], float))
            for resource in FPGA_RESOURCES
        }

    def _fit(self, matrix: NDArray[np.float64], found: NDArray[np.float64]) -> Fit:
        weights = 1 / np.maximum(found, 1)
        coefficients = _solve(matrix, found, weights)
        base = np.maximum(found, _LEAST_CELLS)
        residual = np.abs((matrix @ coefficients - found) / base).max()
        left_out = 0.0
        for size in range(len(found)):
            kept = np.arange(len(found)) != size
            partial = matrix[kept]
            if np.linalg.matrix_rank(partial) < np.linalg.matrix_rank(matrix):
                continue  # this size alone tells of a term: without it nothing could be said
            guess = matrix[size] @ _solve(partial, found[kept], weights[kept])
            left_out = max(left_out, abs(guess - found[size]) / base[size])
        named = zip(self.terms, coefficients.tolist(), strict=True)
        return Fit(dict(named), float(residual), float(left_out))

    def predict(self, parameters: Mapping[str, int]) -> Prediction:
        """Return the cells of one instance built with ``parameters``.

        Raises :class:`InputError` if a parameter that matters is not given.
        """
        absent = [name for name in self.parameters if name not in parameters]
        if absent:
            raise InputError(f"area.{self.unit}", f"parameter {absent[0]}", "none")
        outside = []
        for name in self.parameters:
            values = sorted({size[name] for size in self.sizes})
            if not values[0] <= parameters[name] <= values[-1]:
                known = f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
                outside.append(f"{name}: {parameters[name]}, synthesised {known}")
        cells = {resource: fit.at(parameters) for resource, fit in self.fits.items()}
        return Prediction(cells, tuple(outside))


def _solve(
    matrix: NDArray[np.float64], found: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the coefficients of least relative squares."""
    scaled, target = matrix * weights[:, None], found * weights
    solution: NDArray[np.float64] = np.linalg.lstsq(scaled, target, rcond=None)[0]
    return solution


def area_file(unit: str) -> Path:
    """Return where the sizes of ``unit`` are recorded."""
    return _FOLDER / f"{unit}.json"


def area_units() -> list[str]:
    """Return the units whose sizes are recorded."""
    return sorted(
        path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.json")
    )


@lru_cache
def area_model(unit: str) -> AreaModel:
    """Return the model of ``unit``; raise :class:`InputError` with near names."""
    if unit not in area_units():
        raise unknown_name("area.unit", unit, area_units())
    return AreaModel(json.loads(area_file(unit).read_text()))


def cells_of(parts: Iterable[AreaPart]) -> Counts:
    """Return the predicted cells of all instances of ``parts`` together."""
    total = dict.fromkeys(FPGA_RESOURCES, 0)
    for part in parts:
        cells = area_model(part.unit).predict(part.parameters).cells
        for resource, count in cells.items():
            total[resource] += part.count * count
    return total
