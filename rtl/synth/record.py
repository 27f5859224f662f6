"""Synthesise the sizes of a unit and say what came out, in the form the area model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from amaranth.lib import wiring

from hwsim.core.area import parameters_of
from rtl.cache import content_key, tool_versions
from rtl.emit import to_rtlil
from rtl.sources import source_hash
from rtl.synth.platform import UltraScalePlus
from rtl.synth.sweep import Sweep
from rtl.synth.xilinx import synthesize, worker

__all__ = ["SYNTHESIS", "record_sweep"]

SYNTHESIS = "rtl.synth.xilinx"
"""The module that the cells depend on beside the unit's own."""

_UNUSED = ("lutram", "carry")
"""Cells of several LUTs each, which ``memory_lut`` counts, and what no board is short of."""

Counts = dict[str, int]


def _rtl_key(unit: wiring.Component, program: str) -> str:
    """Return a hash of what synthesis gets to see, and of how it is told to go about it."""
    text = to_rtlil(unit, "unit", UltraScalePlus())
    return content_key(text, program, tool_versions("pyosys"))


def record_sweep(
    sweep: Sweep,
    progress: Callable[[str], None],
    count: Callable[[wiring.Component], Counts] | None = None,
    known: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the record of ``sweep``: sources, tool, terms, and the cells of each size.

    A size whose RTL is that of one of the ``known`` ones is not synthesised again.
    LUTs that work as memory are counted apart, as ``memory_lut``. ``count`` stands for synthesis.
    """
    if count is None:
        count = partial(synthesize, wide_mux_inputs=sweep.wide_mux_inputs)
    program = worker(sweep.wide_mux_inputs)
    module = sweep.component.__module__
    cells_of = {row["rtl"]: row["cells"] for row in known if row["rtl"]}
    rows = []
    for number, spec in enumerate(sweep.sizes, 1):
        flat = parameters_of(spec)
        size = {name: flat[name] for name in sweep.parameters}
        progress(f"{sweep.unit}: size {number} of {len(sweep.sizes)}")
        rtl = _rtl_key(sweep.component(spec), program)
        if rtl not in cells_of:
            cells = count(sweep.component(spec))
            cells_of[rtl] = {name: n for name, n in cells.items() if name not in _UNUSED}
        rows.append({"parameters": size, "rtl": rtl, "cells": cells_of[rtl]})
    return {
        "unit": sweep.unit,
        "module": module,
        "sources": source_hash(module, SYNTHESIS),
        "tool": tool_versions("pyosys"),
        "parameters": list(sweep.parameters),
        "terms": list(sweep.terms),
        "sizes": rows,
    }
