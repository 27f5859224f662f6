"""Show what each unit of a machine costs on its board, and what the published design reports."""

from __future__ import annotations

from collections.abc import Mapping

from hwsim.core.area import FPGA_RESOURCES
from hwsim.core.machine import make_machine
from hwsim.experiments.area import area_of
from hwsim.report.area import RESOURCE_NAMES, area_doubts
from hwsim.report.tables import DataTable

__all__ = ["area_table"]


def area_table(
    machine: str,
    preset: str,
    purposes: Mapping[str, str],
    reported: Mapping[str, float],
    source: str,
) -> DataTable:
    """Return a row per unit of the preset, the total, and what is reported.

    Parameters
    ----------
    machine, preset : str
        With RTL for a board.
    purposes : mapping of unit to str
        What its cells are for, where that explains a difference.
    reported : mapping of resource to float
        Of the published design; none for what is not known.
    source : str
        Of ``reported``, or why nothing is.
    """
    area = area_of(make_machine(machine, preset))
    rows = [
        {
            "unit": part["unit"],
            "count": part["count"],
            **_named(part["cells"]),
            "for": purposes.get(part["unit"], ""),
        }
        for part in area["parts"]
    ]
    rows.append({"unit": "total", **_named(area["total"]), "for": ""})
    rows.append({"unit": "reported", **_named(reported), "for": source})
    doubts = ". ".join(area_doubts(area))
    caption = f"Cells by the fit over synthesised sizes, before placement. {doubts}."
    return DataTable(f"Area of {machine} on its board ({preset})", caption, rows)


def _named(cells: Mapping[str, float]) -> dict[str, int]:
    return {RESOURCE_NAMES[name]: round(cells[name]) for name in FPGA_RESOURCES if name in cells}
