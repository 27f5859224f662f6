"""DEVIATIONS.md says what runs say."""

from __future__ import annotations

import re

import pytest

from hwsim.core.machine import machine_names
from hwsim.experiments import deviations
from hwsim.experiments.deviations import (
    DOCUMENT,
    deviation_table,
    deviations_markdown,
    deviations_of,
    write_document,
)


def test_the_page_is_the_one_generated_from_the_table():
    assert DOCUMENT.read_text() == deviations_markdown(), (
        "run python -m hwsim.experiments.deviations"
    )


def test_every_machine_has_a_table():
    assert sorted(deviation_table()) == machine_names()


@pytest.mark.parametrize("machine", machine_names())
def test_every_deviation_is_numbered_and_in_the_page(machine):
    rows = deviation_table()[machine]
    assert [row["id"] for row in rows] == [
        f"{machine.upper()}-{number}" for number in range(1, len(rows) + 1)
    ]
    assert all(set(row) == {"id", "choice", "reason"} for row in rows)
    page = re.findall(
        rf"^\| ({machine.upper()}-\d+) \| (.+) \| (.+) \|$", DOCUMENT.read_text(), re.M
    )
    assert [found[0] for found in page] == [row["id"] for row in rows]
    assert len(deviations_of(machine)) == len(rows)


def test_cells_cannot_break_the_table(monkeypatch):
    rows = [{"id": "X-1", "choice": "a | b\nc", "reason": "n * m * k"}]
    monkeypatch.setattr(deviations, "deviation_table", lambda: {"x": rows})
    assert deviations_markdown().splitlines()[-1] == r"| X-1 | a \| b c | n \* m \* k |"


def test_the_page_is_written_where_asked(tmp_path):
    write_document(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == deviations_markdown()
