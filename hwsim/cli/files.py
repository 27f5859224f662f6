"""Read and write the files that commands name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hwsim.core.errors import InputError

__all__ = ["read_text", "write_text"]


def read_text(path: Path, *, field: str) -> str:
    """Return what a file holds; raise :class:`InputError` about ``field`` if it is no text."""
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise InputError(field, "a readable text", f"{path}: {error}") from None


def write_text(path: Path, text: str, *, field: str) -> None:
    """Write through a temporary name, so that an interrupted run leaves the old file.

    Raises
    ------
    InputError
        About flag ``field``, if the file cannot be written.
    """
    partial = path.parent / f"{path.name}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise InputError(field, "a writable file", f"{path}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
