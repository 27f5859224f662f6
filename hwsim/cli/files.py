"""Read and write the files that commands name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hwsim.core.errors import InputError, reason_of

__all__ = ["read_bytes", "read_text", "write_bytes", "write_text"]


def read_text(path: Path) -> str:
    """Return what a file holds; raise :class:`InputError` if it cannot be read or is no text."""
    data = read_bytes(path)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InputError(str(path), "a file of text", f"{len(data)} bytes that are none") from None


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raise :class:`InputError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(str(path), "a readable file", reason_of(error)) from None


def write_text(path: Path, text: str, *, field: str) -> None:
    """Write ``text`` as :func:`write_bytes` does."""
    write_bytes(path, text.encode(), field=field)


def write_bytes(path: Path, data: bytes, *, field: str) -> None:
    """Write through a temporary name, so that an interrupted run leaves the old file.

    Raises
    ------
    InputError
        About flag ``field``, if the file cannot be written.
    """
    partial = path.parent / f"{path.name}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise InputError(field, "a writable file", f"{path}: {reason_of(error)}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
