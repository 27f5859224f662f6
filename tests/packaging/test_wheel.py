"""A built wheel must carry everything a run needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "-q",
        "-w",
        str(folder),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("hwsim-*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_wheel_holds_every_package_file(unpacked_wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "hwsim", "models", "mappers", "rtl"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    missing = [name for name in tracked if not (unpacked_wheel / name).exists()]
    assert missing == []


def test_wheel_runs_a_model_away_from_the_sources(unpacked_wheel: Path, tmp_path: Path) -> None:
    where = f"assert hwsim.__file__.startswith({str(unpacked_wheel)!r})"
    code = f"import hwsim; {where}; from hwsim.cli.main import main; main()"
    environment = os.environ | {"PYTHONPATH": str(unpacked_wheel), "PYTHONSAFEPATH": "1"}
    arguments = ["run", "resnet18-32", "--sparsity", "nm:2:8", "--report", "report", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert document["cycles"] == sum(layer["cycles"] for layer in document["layers"])
    assert (tmp_path / "report" / "index.html").exists()
