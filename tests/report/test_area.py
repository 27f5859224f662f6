"""Area in text: cells by their usual names, and every reason to doubt them."""

from __future__ import annotations

from typing import Any

from hwsim.report.area import area_doubts, area_pairs

AREA: dict[str, Any] = {
    "board": "vcu1525",
    "total": {"lut": 1234, "ff": 10, "dsp48e2": 3, "ramb36": 2, "uram": 1},
    "share": {"lut": 0.5, "ff": 0.1, "dsp48e2": 1.5, "ramb36": 0, "uram": 0},
    "is_extrapolated": False,
    "parts": [{"unit": "sat/uspe", "outside": []}],
    "missing": [],
    "stale": [],
}


def test_the_headline_names_cells_and_shares() -> None:
    ((label, text),) = area_pairs({"area": AREA})
    assert label == "area, vcu1525"
    assert text.startswith("1,234 LUT (50")
    assert "3 DSP (150" in text


def test_a_run_without_area_has_no_line() -> None:
    assert area_pairs({}) == []


def test_an_extrapolation_is_marked() -> None:
    ((_, text),) = area_pairs({"area": {**AREA, "is_extrapolated": True}})
    assert text.startswith("~ ")


def test_every_doubt_has_its_sentence() -> None:
    area = {
        **AREA,
        "parts": [{"unit": "sat/uspe", "outside": ["nm_m: 64, synthesised 2 to 16"]}],
        "missing": ["vector path"],
        "stale": ["sat/sore"],
    }
    extrapolated, stale, over, missing = area_doubts(area)
    assert extrapolated == "sat/uspe is extrapolated (nm_m: 64, synthesised 2 to 16)"
    assert "sat/sore" in stale
    assert "not enough DSP" in over
    assert "vector path" in missing
    fitting = {**AREA, "share": {**AREA["share"], "dsp48e2": 0.9}}
    assert area_doubts(fitting) == []
