"""List, per machine, where the model departs from its paper or fills a gap in it.

``python -m hwsim.experiments.deviations`` writes DEVIATIONS.md from the table.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

__all__ = [
    "DOCUMENT",
    "deviation_table",
    "deviations_markdown",
    "deviations_of",
    "write_document",
]

DOCUMENT = Path(__file__).resolve().parents[2] / "DEVIATIONS.md"

_HEAD = """# Deviations

Where a model departs from its paper, or fills what the paper's text leaves open: the choice, and
why it was made. Every run's JSON lists the deviations of its machine.

Written by `python -m hwsim.experiments.deviations` from `hwsim/experiments/deviations.json`; edit
that file, not this one.
"""


def deviation_table() -> dict[str, list[dict[str, str]]]:
    """Return {machine: [{"id", "choice", "reason"}]}; DEVIATIONS.md is generated from it."""
    text = resources.files("hwsim.experiments").joinpath("deviations.json").read_text()
    table: dict[str, list[dict[str, str]]] = json.loads(text)
    return table


def deviations_of(machine: str) -> list[str]:
    """Return the deviations of ``machine`` as sentences."""
    return [f"{row['id']}: {row['choice']} {row['reason']}" for row in deviation_table()[machine]]


def deviations_markdown() -> str:
    """Return the text of DEVIATIONS.md: one table per machine."""
    parts = [_HEAD]
    for machine, rows in deviation_table().items():
        lines = [f"## {machine}", "", "| id | choice | reason |", "|---|---|---|"]
        lines += [
            f"| {row['id']} | {_cell(row['choice'])} | {_cell(row['reason'])} |" for row in rows
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Return ``text`` with what a Markdown table would take as markup escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


def write_document(path: Path = DOCUMENT) -> None:
    """Write DEVIATIONS.md."""
    path.write_text(deviations_markdown())


if __name__ == "__main__":
    write_document()
