"""State every user-visible failure as one line: field, needed, found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "GraphError",
    "HwsimError",
    "InputError",
    "MappingError",
    "SpecError",
    "nearest",
    "reason_of",
    "unknown_name",
]


class HwsimError(Exception):
    """Carry ``field``, ``need`` and ``found``; ``str()`` is the one line a user reads."""

    def __init__(self, field: str, need: str, found: str) -> None:
        self.field = field
        self.need = need
        self.found = found
        super().__init__(field, need, found)

    def __str__(self) -> str:
        return f"{self.field}: need {self.need}, found {self.found}"


class InputError(HwsimError):
    """A file, flag or value given by the user cannot be used."""


class SpecError(InputError):
    """A machine description is inconsistent or names an unknown key."""


class GraphError(InputError):
    """A model graph breaks an invariant of :class:`~hwsim.core.graph.OpGraph`."""


class MappingError(InputError):
    """A mapping does not fit: ``resource`` needs ``need`` but has ``have`` (both in ``unit``)."""

    def __init__(self, resource: str, need: int, have: int, unit: str = "bytes") -> None:
        super().__init__(resource, f"{need} {unit}", f"{have} {unit}")
        self.args = (resource, need, have, unit)  # what unpickling calls __init__ with
        self.resource = resource
        self.need_amount = need
        self.have_amount = have
        self.unit = unit


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean a, b?)`` for the choices closest to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=3, cutoff=0.5)
    return f" (did you mean {', '.join(close)}?)" if close else ""


def reason_of(error: Exception) -> str:
    """Return in one line what ``error`` says; of a file's, without the name and the errno."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0] if text.strip() else type(error).__name__


def unknown_name(field: str, name: str, choices: Iterable[str]) -> InputError:
    """Return the error for ``name`` not being one of ``choices``, with the nearest names."""
    known = sorted(choices)
    return InputError(field, f"one of {', '.join(known)}", f"{name!r}{nearest(name, known)}")
