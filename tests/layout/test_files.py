"""Hold names and sizes of files to the rules that keep them readable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hwsim", "models", "mappers", "rtl")
MAX_LINES = 600

VAGUE = re.compile(r"^(utils?|helpers?|misc|common_utils|copy)$|(_old|_new|_copy|_v\d+)$")


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def is_vague(stem: str) -> bool:
    """Return whether a file name says nothing, or that git's memory is not trusted."""
    return VAGUE.search(stem) is not None


def compiles(source: str) -> bool:
    """Return whether ``source`` decorates a function with one of the njit family."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                target = decorator.func if isinstance(decorator, ast.Call) else decorator
                name = target.attr if isinstance(target, ast.Attribute) else target.id
                if name.startswith(("njit", "jit", "vectorize", "guvectorize")):
                    return True
    return False


def test_no_file_has_a_vague_name() -> None:
    folders = (*PACKAGES, "tests", "benchmarks", "examples")
    assert [path for path in _sources(*folders) if is_vague(path.stem)] == []


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("utils", True),
        ("util", True),
        ("helpers", True),
        ("misc", True),
        ("sim_old", True),
        ("sim_v2", True),
        ("threshold", False),
        ("units", False),
        ("golden", False),
    ],
)
def test_the_name_check_tells_vague_names_from_plain_ones(stem: str, expected: bool) -> None:
    assert is_vague(stem) is expected


def test_no_source_file_is_longer_than_a_reader_bears() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in _sources(*PACKAGES)}
    assert {path: size for path, size in sizes.items() if size > MAX_LINES} == {}


def test_only_kernel_files_and_components_compile() -> None:
    found = [
        path
        for path in _sources(*PACKAGES)
        if compiles(path.read_text())
        and "kernels" not in path.stem
        and ROOT / "hwsim/components" not in path.parents
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "@njit\ndef f(): pass",
        "@numba.njit(cache=True)\ndef f(): pass",
        "@njit_inline\ndef f(): pass",
    ],
)
def test_the_compile_check_sees_every_spelling(source: str) -> None:
    assert compiles(source)
    assert not compiles("@property\ndef f(self): pass")
