"""Ctrl-C in the middle of a run: exit 130, earlier results intact, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# Stops inside the named function and says so; everything around it is the real command.
DRIVER = """
    import sys, time
    from {module} import {target} as owner

    def hang(*_, **__):
        print("there", file=sys.stderr, flush=True)
        while True:
            time.sleep(0.01)

    owner.{name} = hang
    from hwsim.cli.main import main
    sys.argv[1:] = {arguments!r}
    main()
"""


def interrupt_in(
    module: str, target: str, name: str, arguments: list[str], sent: int = signal.SIGINT
) -> tuple[int, str, str]:
    """Run ``hwsim`` until it calls ``module.target.name``, send ``sent``, return its outcome."""
    values = {"module": module, "target": target, "name": name, "arguments": arguments}
    code = textwrap.dedent(DRIVER).format(**values)
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    try:
        assert child.stderr.readline() == "there\n"
        time.sleep(0.05)
        child.send_signal(sent)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, out, err


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a folder with an earlier report in it."""
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "index.html").write_text("earlier")
    (folder / "results.json").write_text('{"files": ["index.html", "results.json"]}')
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("module", "target", "name"),
    [
        ("hwsim.sat.machine", "SatMachine", "run"),  # while simulating
        ("hwsim.report.report", "Report", "_document"),  # figures and pages are written
    ],
    ids=["simulating", "writing the report"],
)
def test_an_interrupt_leaves_the_earlier_report_as_it_was(module, target, name, matrices, report):
    before = contents(report.parent)
    arguments = ["run", str(matrices), "--report", str(report)]
    status, out, err = interrupt_in(module, target, name, arguments)
    assert status == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert contents(report.parent) == before


def test_a_terminated_run_leaves_no_half_of_a_trace(matrices, tmp_path):
    arguments = ["run", str(matrices), "--trace", str(tmp_path / "run.pftrace")]
    place = ("hwsim.components.trace_file", "PerfettoFile", "take")  # the file has been begun
    status, _, err = interrupt_in(*place, arguments, signal.SIGTERM)
    assert status == 130
    assert err.splitlines()[-1] == "interrupted"
    assert [path.name for path in tmp_path.glob("*") if "run.pftrace" in path.name] == []
