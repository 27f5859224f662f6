"""Compiled code is never older than the sources it came from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwsim.components import jit_cache
from hwsim.components.jit import CACHE_FOLDER, njit, njit_inline

SOURCES = Path(jit_cache.__file__).parent

CALLER = """
from hwsim.components.jit import njit
from hwsim.components.callee import add
@njit
def total(x):
    return add(x) + 100
"""
CALLEE = """
from hwsim.components.jit import njit_inline
from hwsim.core.constant import STEP
@njit_inline
def add(x):
    return x + STEP
"""
PROGRAM = """
from hwsim.components import caller, jit
print(caller.total(1), sum(caller.total.stats.cache_hits.values()), jit.CACHE_FOLDER)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the folder of a small hwsim with a kernel, its callee and a constant."""
    root = tmp_path / "hwsim"
    for name, text in (
        ("components/caller.py", CALLER),
        ("components/callee.py", CALLEE),
        ("core/constant.py", "STEP = 10\n"),
        ("core/unrelated.py", ""),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("jit.py", "jit_cache.py"):
        shutil.copy(SOURCES / name, root / "components" / name)
    return root


def run_total(package: Path, **more: str) -> tuple[int, bool, Path]:
    """Return total(1), whether it came from the cache, and the cache folder of a new process."""
    environment = {k: v for k, v in os.environ.items() if "NUMBA" not in k}
    environment |= {"HWSIM_CACHE": str(package.parent / "cache"), "PYTHONPATH": str(package.parent)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", **more}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=environment, cwd=package.parent, check=True, capture_output=True, text=True
    )
    value, hits, folder = done.stdout.split()
    return int(value), int(hits) > 0, Path(folder)


def test_edits_in_a_callee_and_in_a_constant_are_seen(package: Path) -> None:
    assert run_total(package)[:2] == (111, False)
    assert run_total(package)[:2] == (111, True)
    (package / "components/callee.py").write_text(CALLEE.replace("x +", "2 * x +"))
    assert run_total(package)[:2] == (112, False)
    (package / "core/constant.py").write_text("STEP = 20\n")
    assert run_total(package)[:2] == (122, False)
    (package / "core/constant.py").write_text("STEP = 10\n")
    assert run_total(package)[:2] == (112, True)


def test_without_the_key_an_edit_in_a_callee_is_missed(package: Path) -> None:
    """Shows that the test above can fail: one folder for all is what numba would do."""
    fixed = {"NUMBA_CACHE_DIR": str(package.parent / "one")}
    assert run_total(package, **fixed) == (111, False, package.parent / "one")
    (package / "components/callee.py").write_text(CALLEE.replace("x +", "2 * x +"))
    assert run_total(package, **fixed)[:2] == (111, True)


def test_unwritable_cache_falls_back_to_the_temporary_directory(package: Path) -> None:
    blocked = package.parent / "blocked"
    blocked.write_text("a file where a folder is needed")
    temporary = package.parent / "tmp"
    temporary.mkdir()
    value, _, folder = run_total(package, HWSIM_CACHE=str(blocked), TMPDIR=str(temporary))
    assert value == 111
    assert folder.is_relative_to(temporary)
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_key_covers_kernels_and_what_they_import_only(package: Path) -> None:
    names = {path.name for path in jit_cache.kernel_sources(package)}
    assert names == {"caller.py", "callee.py", "constant.py", "jit.py", "jit_cache.py"}
    key = jit_cache.cache_key(package)
    (package / "core/unrelated.py").write_text("x = 1\n")
    assert jit_cache.cache_key(package) == key


def test_key_covers_the_engine_and_the_nouns_it_is_compiled_with() -> None:
    root = SOURCES.parent
    found = {str(path.relative_to(root)) for path in jit_cache.kernel_sources(root)}
    nouns = {"components/dram/simple.py", "components/engine_kernels.py", "core/result.py"}
    assert nouns <= found


def test_users_cache_folder_is_kept_but_an_inherited_one_is_not(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "users"))
    monkeypatch.setenv("HWSIM_NUMBA_CACHE_DIR", "")
    assert jit_cache.configure(package) == tmp_path / "users"
    monkeypatch.setenv("HWSIM_NUMBA_CACHE_DIR", str(tmp_path / "users"))
    expected = tmp_path / "cache" / "numba" / jit_cache.cache_key(package)
    assert jit_cache.configure(package) == expected
    assert os.environ["NUMBA_CACHE_DIR"] == str(expected)


@pytest.mark.parametrize("level", ["0", "1"])
def test_code_of_another_optimisation_level_is_not_taken(package: Path, level: str) -> None:
    assert run_total(package)[:2] == (111, False)
    assert run_total(package, NUMBA_OPT=level, PYTHONWARNINGS="error")[:2] == (111, False)
    value, is_cached, _ = run_total(package, NUMBA_OPT=level, PYTHONWARNINGS="error")
    assert (value, is_cached) == (111, level != "0")


def test_pruning_keeps_the_newest_the_recent_and_the_one_in_use(tmp_path: Path) -> None:
    folders = [tmp_path / f"{index:020x}" for index in range(6)]
    for age, folder in enumerate(folders):
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    (tmp_path / "not-a-key").mkdir()
    os.utime(folders[5])  # used just now
    jit_cache.prune(tmp_path, in_use=folders[4], kept=3, kept_seconds=3600)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {folders[i].name for i in (0, 4, 5)} | {"not-a-key"}


def test_njit_takes_options_and_keeps_the_python_function() -> None:
    @njit(boundscheck=True)
    def third(values: list[int]) -> int:
        return values[2]

    @njit_inline
    def double(x: int) -> int:
        return 2 * x

    assert third.py_func([1, 2, 3]) == 3
    assert double.py_func(4) == 8
    assert CACHE_FOLDER.is_absolute()
