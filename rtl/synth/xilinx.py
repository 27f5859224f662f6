"""Count the UltraScale+ cells of a unit with Yosys (``synth_xilinx -family xcup -uram``)."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth.lib import wiring

from hwsim.core.errors import InputError
from rtl.emit import to_rtlil
from rtl.synth.platform import UltraScalePlus

__all__ = ["MEMORY_LUTS", "RESOURCES", "count_cells", "synthesize", "worker"]

RESOURCES: dict[str, tuple[str, ...]] = {
    "lut": ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6"),
    "lutram": ("RAM32M", "RAM32M16", "RAM32X1D", "RAM64M", "RAM64M8", "RAM64X1D", "RAM128X1D"),
    "ff": ("FDRE", "FDSE", "FDCE", "FDPE"),
    "carry": ("CARRY4", "CARRY8"),
    "dsp48e2": ("DSP48E2",),
    "ramb18": ("RAMB18E2",),
    "ramb36": ("RAMB36E2",),
    "uram": ("URAM288",),
}
"""Resource -> the cells of UltraScale+ that count as it, one each."""

MEMORY_LUTS: dict[str, int] = {
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM128X1D": 4,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "SRL16E": 1,
    "SRLC32E": 1,
}
"""Cell -> the LUTs of a SLICEM that it occupies (AMD, UltraScale Libraries Guide, UG974)."""

_WORKER = """
import sys
from pyosys import libyosys
design = libyosys.Design()
source, result = sys.argv[1:]
for command in (
    f"read_rtlil {source}",
    "proc",
    "flatten",
    "rename -hide",
    "synth_xilinx -family xcup -uram -top unit",
    f"tee -q -o {result} stat -json",
):
    libyosys.run_pass(command, design)
"""
"""Runs in a process of its own: Yosys writes its log to the standard output.

Names are hidden first, because abc9 fails on split wires with public names (an open Yosys issue:
``Assert count_id(wire->name) == 0 failed``).
"""


def worker(wide_mux_inputs: int = 0) -> str:
    """Return the program that synthesises a unit.

    Multiplexers of ``wide_mux_inputs`` or more (0: none) use MUXF7 and MUXF8, which Yosys leaves
    alone unless told: a slice has them, so that one of 16 inputs takes four LUT6 per bit (AMD,
    UG574), not five to six.
    """
    option = f"-widemux {wide_mux_inputs} " if wide_mux_inputs else ""
    return _WORKER.replace("-uram ", f"-uram {option}")


def synthesize(unit: wiring.Component, wide_mux_inputs: int = 0) -> dict[str, int]:
    """Return how many cells of each resource ``unit`` (not yet elaborated) takes.

    ``wide_mux_inputs`` as :func:`worker` has it.
    Raises :class:`InputError` if Yosys is missing or stops with an error.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise InputError("pyosys", "the packages of hwsim[rtl]", "no module pyosys")
    program = worker(wide_mux_inputs)
    with tempfile.TemporaryDirectory(prefix="hwsim-synth-") as folder:
        source, result = Path(folder) / "unit.il", Path(folder) / "stat.json"
        source.write_text(to_rtlil(unit, "unit", UltraScalePlus()))
        done = subprocess.run(
            [sys.executable, "-c", program, str(source), str(result)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode or not result.is_file():
            lines = [line for line in done.stdout.splitlines() if "ERROR" in line]
            raise InputError("yosys", "a design it can map", (lines or ["no result"])[0])
        cells = json.loads(result.read_text())["design"]["num_cells_by_type"]
    return count_cells(cells)


def count_cells(cells: dict[str, int]) -> dict[str, int]:
    """Return the sum per resource of ``cells`` {cell type: count}.

    ``memory_lut``: LUTs that work as memory or shift registers, beside those counted as ``lut``.
    """
    counts = {
        resource: sum(cells.get(cell, 0) for cell in members)
        for resource, members in RESOURCES.items()
    }
    memory = sum(cells.get(cell, 0) * luts for cell, luts in MEMORY_LUTS.items())
    return {**counts, "memory_lut": memory}
