"""Build or run one simulation in a process of its own: ``python -m rtl.cosim.child JOB.json``.

A process of its own, because cocotb's runner takes its tools from the environment, reports
failure through ``sys.exit`` and behaves differently under pytest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cocotb_tools.runner import get_runner

from rtl.cosim.bench import JOB_VARIABLE

__all__ = ["main"]

WARNINGS = ["-Wall", "-Wno-style", "-Wno-WIDTHEXPAND"]
"""Every warning is fatal but this: Yosys writes narrow operands and relies on extension."""

RANDOM = ["--x-assign", "unique", "--x-initial", "unique"]
"""Whatever reset and initial values leave undefined is random, so that it shows."""

TOP = "bench"

PORTS = ("clk", "rst_next", "stim_next", "seen")
"""Of the top module (:data:`rtl.cosim.verilator.TOP_MODULE`)."""

VISIBLE = "\n".join(
    ["`verilator_config"] + [f'public_flat_rw -module "{TOP}" -var "{port}"' for port in PORTS]
)
"""What the bench touches. cocotb's runner makes every variable of the design public, which keeps
Verilator from optimising: minutes to compile for an array."""


def main(job_file: str) -> None:
    """Do what the job file says."""
    job: dict[str, Any] = json.loads(Path(job_file).read_text())
    runner = get_runner("verilator")
    if job["action"] == "build":
        visible = Path(job["folder"]) / "visible.vlt"
        visible.write_text(VISIBLE + "\n")
        runner.build(
            sources=[job["source"]],
            hdl_toplevel=TOP,
            build_dir=job["folder"],
            build_args=[*RANDOM, *WARNINGS, "--no-public-flat-rw", str(visible)],
            always=True,
        )
    else:
        runner.test(
            test_module="rtl.cosim.bench",
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            build_dir=job["folder"],
            test_dir=job["scratch"],
            results_xml=str(Path(job["scratch"]) / "results.xml"),
            plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{1 + job['seed'] % 1000}"],
            extra_env={JOB_VARIABLE: job_file},
            seed=job["seed"],
        )


if __name__ == "__main__":
    main(sys.argv[1])
