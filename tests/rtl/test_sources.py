"""Hashes of RTL sources: what counts as a change, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtl import sources

TEXT = '''"""Say something."""
from rtl.fake.part import cells
def build():
    """Say more."""
    return cells + 1
'''
PART = "cells = 4\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rtl" / "fake"
    folder.mkdir(parents=True)
    (folder / "unit.py").write_text(TEXT)
    (folder / "part.py").write_text(PART)
    (folder / "other.py").write_text("")
    monkeypatch.setattr(sources, "_ROOT", tmp_path)
    return folder


def test_comments_docstrings_and_layout_do_not_count(tree: Path) -> None:
    before = sources.source_hash("rtl.fake.unit")
    other = TEXT.replace("Say more", "Say less").replace("return", "# why\n    return")
    (tree / "unit.py").write_text(other)
    assert sources.source_hash("rtl.fake.unit") == before


@pytest.mark.parametrize(("name", "old", "new"), [("unit", "+ 1", "+ 2"), ("part", "4", "5")])
def test_an_edit_in_a_module_or_in_what_it_imports_counts(
    tree: Path, name: str, old: str, new: str
) -> None:
    before = sources.source_hash("rtl.fake.unit")
    path = tree / f"{name}.py"
    path.write_text(path.read_text().replace(old, new))
    assert sources.source_hash("rtl.fake.unit") != before


def test_an_edit_elsewhere_does_not_count(tree: Path) -> None:
    before = sources.source_hash("rtl.fake.unit")
    (tree / "other.py").write_text("cells = 9\n")
    assert sources.source_hash("rtl.fake.unit") == before


def test_modules_of_rtl_are_followed() -> None:
    used = sources.used_modules("rtl.sat.uspe")
    assert {"rtl.sat.uspe", "rtl.sat.fp16_mul", "rtl.sat.float_parts"} <= used
    assert not any(module.startswith("hwsim") for module in used)
