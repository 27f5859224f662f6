"""Keep what is slow to build, keyed by everything it was built from."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_root", "cached_folder", "content_key", "locked", "tool_versions"]


def cache_root() -> Path:
    """Return ``$HWSIM_CACHE``, or ``~/.cache/hwsim``."""
    root = os.environ.get("HWSIM_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "hwsim"


def content_key(*texts: str) -> str:
    """Return a hash of ``texts`` and of where one ends and the next begins."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:20]


def tool_versions(*distributions: str) -> str:
    """Return the installed versions of ``distributions``, for a key."""
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in distributions)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` exclusively among all processes; the file itself stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cached_folder(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return folder ``<cache>/<kind>/<key>``, filled by ``build(folder)`` if it is not there.

    Processes that want the same key wait for each other. A build that fails or is interrupted
    leaves nothing behind under the key.
    """
    parent = cache_root() / kind
    folder = parent / key
    if folder.is_dir():
        return folder
    with locked(parent / f"{key}.lock"):
        if not folder.is_dir():
            scratch = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=parent))
            try:
                build(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder
