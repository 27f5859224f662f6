"""Say what is wrong with a spec in the words of our own errors: key, need, found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from hwsim.core.errors import SpecError, nearest

__all__ = ["spec_error"]

_NEEDS = {
    "bool": "true or false",
    "dict": "a table of keys",
    "finite": "a finite number",
    "float": "a number",
    "int": "an integer",
    "model": "a table of keys",
    "string": "a text",
}
"""What pydantic's type errors ask for, by the first word of their name."""


def spec_error(error: ValidationError, known: Iterable[str]) -> SpecError:
    """Return the first complaint of ``error`` about a spec whose dotted keys are ``known``."""
    first: Mapping[str, Any] = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    where = place or "spec"
    if first["type"] == "extra_forbidden":
        return SpecError(where, "a known key", f"{where}{nearest(where, known)}")
    if first["type"] == "value_error":
        return _complaint(place, first)
    return SpecError(where, _need(first), repr(first.get("input")))


def _need(error: Mapping[str, Any]) -> str:
    """Return what a pydantic error asks for, in the words of our own errors."""
    limits = error.get("ctx", {})
    if error["type"] == "greater_than_equal":
        return f"at least {limits['ge']}"
    if error["type"] == "less_than_equal":
        return f"at most {limits['le']}"
    if error["type"] == "greater_than":
        return f"more than {limits['gt']}"
    if error["type"] == "less_than":
        return f"less than {limits['lt']}"
    if error["type"] == "literal_error":
        known = str(limits["expected"])
        return f"one of {known.replace(' or ', ', ')}" if " or " in known else known
    if error["type"] == "missing":
        return "a value"
    return _NEEDS.get(error["type"].partition("_")[0], str(error["msg"]))


def _complaint(where: str, error: Mapping[str, Any]) -> SpecError:
    """Return a spec's own complaint, ``KEY: need X, found Y`` of the part at ``where``."""
    text = str(error["ctx"]["error"])
    key, has_need, rest = text.partition(": need ")
    need, has_found, found = rest.rpartition(", found ")
    if not has_need or not has_found:
        return SpecError(where or "spec", text, repr(error.get("input")))
    return SpecError(".".join(part for part in (where, key) if part), need, found)
