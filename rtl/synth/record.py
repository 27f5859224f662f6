"""Synthesise the sizes of a unit and say what came out, in the form the area model reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.lib import wiring

from hwsim.core.area import parameters_of
from rtl.cache import tool_versions
from rtl.sources import source_hash
from rtl.synth.sizes import Sweep
from rtl.synth.xilinx import synthesize

__all__ = ["SYNTHESIS", "record_sweep"]

SYNTHESIS = "rtl.synth.xilinx"
"""The module that the cells depend on beside the unit's own."""

_UNUSED = ("lutram", "carry")
"""Cells of several LUTs each, which ``memory_lut`` counts, and what no board is short of."""

Counts = dict[str, int]


def record_sweep(
    sweep: Sweep,
    progress: Callable[[str], None],
    count: Callable[[wiring.Component], Counts] = synthesize,
) -> dict[str, Any]:
    """Return the record of ``sweep``: sources, tool, terms, and the cells of each size.

    LUTs that work as memory are counted apart, as ``memory_lut``.
    """
    module = sweep.component.__module__
    rows = []
    for number, spec in enumerate(sweep.sizes, 1):
        flat = parameters_of(spec)
        size = {name: flat[name] for name in sweep.parameters}
        progress(f"{sweep.unit}: size {number} of {len(sweep.sizes)}")
        cells = count(sweep.component(spec))
        kept = {name: number for name, number in cells.items() if name not in _UNUSED}
        rows.append({"parameters": size, "cells": kept})
    return {
        "unit": sweep.unit,
        "module": module,
        "sources": source_hash(module, SYNTHESIS),
        "tool": tool_versions("pyosys"),
        "parameters": list(sweep.parameters),
        "terms": list(sweep.terms),
        "sizes": rows,
    }
