"""Say in rows what a claim's single number hides: parts of a sum, and what is missing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DataTable"]


@dataclass(frozen=True)
class DataTable:
    """A table of an experiment, shown on the overview.

    Attributes
    ----------
    title, caption : str
        Heading, and what the reader should know of the numbers.
    rows : sequence of mapping
        Column (``_`` shown as a space) -> text or number; columns in order of first appearance.
    """

    title: str
    caption: str
    rows: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the report's ``results.json``."""
        return {
            "title": self.title,
            "caption": self.caption,
            "rows": [dict(row) for row in self.rows],
        }
