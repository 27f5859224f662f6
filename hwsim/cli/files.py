"""Write what a command was asked to write."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hwsim.core.errors import InputError

__all__ = ["write_text"]


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
