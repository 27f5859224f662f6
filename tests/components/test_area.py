"""The area model: terms, fits that say how far they are off, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.components.area import AreaModel, area_model, area_units, board_counts, term_value
from hwsim.core.area import FPGA_RESOURCES
from hwsim.core.errors import InputError

NO_CELLS = dict.fromkeys(("lut", "memory_lut", "ff", "dsp48e2", "ramb18", "ramb36", "uram"), 0)


def record(cells: dict[tuple[int, int], int], terms: list[str]) -> dict[str, Any]:
    return {
        "unit": "fake/unit",
        "module": "rtl.fake.unit",
        "sources": "0",
        "tool": "yosys",
        "parameters": ["lanes", "sorter.nm_m"],
        "terms": terms,
        "sizes": [
            {"parameters": {"lanes": lanes, "sorter.nm_m": m}, "cells": {**NO_CELLS, "lut": lut}}
            for (lanes, m), lut in cells.items()
        ],
    }


LINEAR = {(lanes, m): 7 + 3 * lanes * m for lanes, m in ((1, 4), (2, 4), (4, 8), (8, 8), (8, 16))}


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("1", 1),
        ("lanes", 5),
        ("lanes*sorter.nm_m", 5 * 9),
        ("clog2(sorter.nm_m)", 4),
        ("clog2(one)", 0),
        ("sorter.nm_m/4", 3),
        ("lanes*clog2(lanes)*lanes/2", 5 * 3 * 3),
    ],
)
def test_a_term_is_a_product_of_factors(term: str, value: int) -> None:
    assert term_value(term, {"lanes": 5, "sorter.nm_m": 9, "one": 1}) == value


def test_a_term_that_is_no_product_is_refused() -> None:
    with pytest.raises(InputError, match=r"area.term: need factors"):
        term_value("lanes+1", {"lanes": 5})


def test_cells_that_grow_as_the_terms_say_are_met_everywhere() -> None:
    model = AreaModel(record(LINEAR, ["1", "lanes*sorter.nm_m"]))
    prediction = model.predict({"lanes": 3, "sorter.nm_m": 5, "another.units": 99})
    assert prediction.cells == {**dict.fromkeys(FPGA_RESOURCES, 0), "lut": 7 + 3 * 15}
    assert prediction.outside == ()
    assert model.fits["lut"].residual == pytest.approx(0, abs=1e-9)
    assert model.fits["lut"].left_out == pytest.approx(0, abs=1e-9)


def test_the_residual_is_the_largest_relative_error() -> None:
    # A constant through 10, 10, 10, 20: least relative squares of c, (c-10)/10 three times and
    # (c-20)/20 once, are at c = (3/10 + 1/20) / (3/100 + 1/400) = 140/13.
    cells = {(1, 2): 10, (2, 2): 10, (3, 2): 10, (4, 2): 20}
    fit = AreaModel(record(cells, ["1"])).fits["lut"]
    assert fit.coefficients["1"] == pytest.approx(140 / 13)
    assert fit.residual == pytest.approx((20 - 140 / 13) / 20)
    # Left out, the 20 is taken for 10: off by a half; a 10 among 10, 10, 20 is less off.
    assert fit.left_out == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("lanes", "m", "outside"),
    [
        (1, 4, []),
        (8, 16, []),
        (9, 16, ["lanes: 9, synthesised 1 to 8"]),
        (0, 17, ["lanes: 0, synthesised 1 to 8", "sorter.nm_m: 17, synthesised 4 to 16"]),
    ],
)
def test_what_lies_outside_the_sizes_is_named(lanes: int, m: int, outside: list[str]) -> None:
    model = AreaModel(record(LINEAR, ["1", "lanes*sorter.nm_m"]))
    assert list(model.predict({"lanes": lanes, "sorter.nm_m": m}).outside) == outside


def test_a_parameter_that_was_never_varied_must_be_as_synthesised() -> None:
    cells = {(lanes, 8): 5 * lanes for lanes in (1, 2, 3, 4)}
    model = AreaModel(record(cells, ["lanes"]))
    assert model.predict({"lanes": 2, "sorter.nm_m": 8}).outside == ()
    outside = model.predict({"lanes": 2, "sorter.nm_m": 4}).outside
    assert outside == ("sorter.nm_m: 4, synthesised 8",)


def test_cells_are_never_negative() -> None:
    cells = {(lanes, 8): 100 * lanes - 90 for lanes in (1, 2, 3, 4)}
    model = AreaModel(record(cells, ["1", "lanes"]))
    assert model.predict({"lanes": 0, "sorter.nm_m": 8}).cells["lut"] == 0


@pytest.mark.parametrize(("sizes", "terms"), [(3, ["1"]), (5, ["1", "lanes", "a", "b", "c"])])
def test_too_few_sizes_to_see_an_error_by_are_refused(sizes: int, terms: list[str]) -> None:
    few = dict(list(LINEAR.items())[:sizes])
    named = [t if t in ("1", "lanes") else "sorter.nm_m" for t in terms]
    with pytest.raises(InputError, match=r"area_data.fake/unit.sizes: need at least"):
        AreaModel(record(few, named))


def test_a_missing_parameter_is_named() -> None:
    model = AreaModel(record(LINEAR, ["1", "lanes*sorter.nm_m"]))
    with pytest.raises(InputError, match=r"area.fake/unit: need parameter sorter.nm_m"):
        model.predict({"lanes": 2})


def test_an_unknown_unit_is_refused_with_a_near_name() -> None:
    with pytest.raises(InputError, match="common/fifo"):
        area_model("common/fifi")


@pytest.mark.parametrize("unit", area_units())
def test_recorded_sizes_are_met_within_their_residual(unit: str) -> None:
    model = area_model(unit)
    for size, cells in zip(model.sizes, model.cells, strict=True):
        prediction = model.predict(size)
        assert prediction.outside == ()
        for resource, count in cells.items():
            allowed = model.fits[resource].residual * max(count, 10) + 0.5
            assert abs(prediction.cells[resource] - count) <= allowed + 1e-6


def test_memory_luts_are_luts_and_half_block_rams_are_halves() -> None:
    cells = {"lut": 5, "memory_lut": 3, "ff": 1, "dsp48e2": 2, "ramb18": 3, "ramb36": 4, "uram": 6}
    assert board_counts(cells) == {"lut": 8, "ff": 1, "dsp48e2": 2, "ramb36": 6, "uram": 6}
