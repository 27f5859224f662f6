"""Check that marked tests are recorded once, by machine and tier, whoever ran them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

SUITE = """
import pytest

@pytest.mark.evidence("machine_name", "T0")
@pytest.mark.parametrize("machine_name", ["a", "b"])
def test_by_parameter(machine_name): pass

@pytest.mark.evidence("a", "T1")
def test_by_name(): assert False

@pytest.mark.evidence("a", "T2")
def test_skipped(): pytest.skip("not here")

def test_unmarked(): pass
"""

PLUGIN = """
import json
from pathlib import Path
import hwsim.experiments.evidence as evidence

def record(machine, tier, check, is_passed):
    with Path("record.jsonl").open("a") as file:
        file.write(json.dumps([machine, tier, check, is_passed]) + "\\n")

evidence.record = record
"""

EXPECTED = [
    ["a", "T0", "test_suite.py::test_by_parameter[a]", True],
    ["a", "T1", "test_suite.py::test_by_name", False],
    ["b", "T0", "test_suite.py::test_by_parameter[b]", True],
]


def recorded(folder: Path, *options: str) -> list[list[object]]:
    """Return what a run of SUITE with this project's conftest records."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "spy.py").write_text(PLUGIN)
    marker = "markers=evidence(machine, tier): a check"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "spy", "-o", marker, *options]
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    record = folder / "record.jsonl"
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_outcomes_are_recorded_once_in_order(tmp_path: Path, workers: tuple[str, ...]) -> None:
    assert recorded(tmp_path, "--record-evidence", *workers) == EXPECTED


def test_nothing_is_recorded_unless_asked_for(tmp_path: Path) -> None:
    assert recorded(tmp_path) == []
