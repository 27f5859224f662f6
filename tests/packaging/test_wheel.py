"""A built wheel must carry everything a run needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked_files(*folders: str) -> list[str]:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *folders], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tracked files alone, built without the network by the installed setuptools."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        copy = folder / "sources" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    built = subprocess.run(
        [*pip, "-w", str(folder), str(folder / "sources")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("hwsim-*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_wheel_holds_every_package_file(unpacked_wheel: Path) -> None:
    tracked = tracked_files("hwsim", "models", "mappers", "rtl")
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
