"""Add up what a machine costs on its board, by the area model of its units."""

from __future__ import annotations

from typing import Any

from hwsim.components.area import AreaModel, area_model
from hwsim.core.area import BOARDS, FPGA_RESOURCES, AreaPart
from hwsim.core.errors import InputError
from hwsim.core.machine import Machine
from rtl.sources import source_hash

__all__ = ["area_of", "is_stale"]

SYNTHESIS = "rtl.synth.xilinx"


def is_stale(model: AreaModel) -> bool:
    """Return whether the RTL has changed since its sizes were synthesised."""
    return source_hash(model.module, SYNTHESIS) != model.sources


def area_of(machine: Machine) -> dict[str, Any]:
    """Return the ``area`` of a run's JSON: parts, total, share of the board, and doubts.

    Raises :class:`InputError` if the machine has no RTL, or none for such a board.
    """
    design = machine.area()
    if design is None:
        found = f"{machine.name} ({machine.preset})"
        raise InputError("--area", "a machine whose units were synthesised for its board", found)
    parts = [_part_row(part) for part in design.parts if part.count]
    total = {name: sum(part["cells"][name] for part in parts) for name in FPGA_RESOURCES}
    board = BOARDS[design.board]
    models = {part.unit: area_model(part.unit) for part in design.parts}
    return {
        "board": design.board,
        "total": total,
        "board_has": dict(board),
        "share": {name: total[name] / board[name] for name in FPGA_RESOURCES},
        "is_extrapolated": any(part["outside"] for part in parts),
        "parts": parts,
        "missing": list(design.missing),
        "stale": sorted(unit for unit, model in models.items() if is_stale(model)),
        "tools": sorted({model.tool for model in models.values()}),
    }


def _part_row(part: AreaPart) -> dict[str, Any]:
    """Return the cells of all instances of one part, and how far its fit can be trusted."""
    model = area_model(part.unit)
    prediction = model.predict(part.parameters)
    return {
        "unit": part.unit,
        "count": part.count,
        "parameters": {name: part.parameters[name] for name in model.parameters},
        "cells": {name: part.count * cells for name, cells in prediction.cells.items()},
        "sizes": len(model.sizes),
        "residual": {name: model.fits[name].residual for name in ("lut", "ff")},
        "left_out": {name: model.fits[name].left_out for name in ("lut", "ff")},
        "outside": list(prediction.outside),
    }
