"""List, per machine, where the model departs from its paper or fills a gap in it."""

from __future__ import annotations

import json
from importlib import resources

__all__ = ["deviation_table", "deviations_of"]


def deviation_table() -> dict[str, list[dict[str, str]]]:
    """Return {machine: [{"id", "choice", "reason"}]}; DEVIATIONS.md is generated from it."""
    text = resources.files("hwsim.experiments").joinpath("deviations.json").read_text()
    table: dict[str, list[dict[str, str]]] = json.loads(text)
    return table


def deviations_of(machine: str) -> list[str]:
    """Return the deviations of ``machine`` as sentences."""
    return [f"{row['id']}: {row['choice']} {row['reason']}" for row in deviation_table()[machine]]
