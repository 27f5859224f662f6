"""Say what a machine costs on its board, and how far the numbers can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwsim.report.accounts import Run
from hwsim.report.quantities import format_exact, format_percent

__all__ = ["RESOURCE_NAMES", "area_doubts", "area_pairs"]

RESOURCE_NAMES = {
    "lut": "LUT",
    "ff": "FF",
    "dsp48e2": "DSP",
    "ramb36": "BRAM36",
    "uram": "URAM",
}
"""Resource of a board -> its usual name."""


def area_pairs(run: Run) -> list[tuple[str, str]]:
    """Return the headline's (label, value) of the area; none if the run has no ``area``."""
    area = run.get("area")
    if not area:
        return []
    cells = [
        f"{format_exact(area['total'][name])} {label} ({format_percent(area['share'][name])})"
        for name, label in RESOURCE_NAMES.items()
    ]
    prefix = "~ " if area["is_extrapolated"] else ""
    return [(f"area, {area['board']}", prefix + ", ".join(cells))]


def area_doubts(area: Mapping[str, Any]) -> list[str]:
    """Return one sentence per reason to doubt the total."""
    doubts = [
        f"{part['unit']} is extrapolated ({'; '.join(part['outside'])})"
        for part in area["parts"]
        if part["outside"]
    ]
    if area["stale"]:
        names = ", ".join(area["stale"])
        doubts.append(f"RTL changed since it was synthesised: {names}; hwsim rtl synth --record")
    over = [RESOURCE_NAMES[name] for name, share in area["share"].items() if share > 1]
    if over:
        doubts.append(f"{area['board']} has not enough {', '.join(over)}")
    if area["missing"]:
        doubts.append(f"not included, no RTL: {', '.join(area['missing'])}")
    return doubts
