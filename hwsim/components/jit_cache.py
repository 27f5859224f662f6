"""Key numba's on-disk cache by the sources it was compiled from, so that every edit is seen.

numba's ``cache=True`` checks only the file of the cached function: after an edit in a callee, or
in a constant, of another file it runs stale machine code. Here the cache folder's name is a hash
of every source that can reach compiled code, so an edit means another folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["cache_key", "configure", "kernel_sources", "prune"]

KEPT_FOLDERS = 6
"""Folders that survive pruning whatever their age (assumed: a few branches in use at once)."""

KEPT_SECONDS = 24 * 3600
"""A folder used this recently is never pruned: another process may be writing into it."""

_CODE_OPTIONS = (
    "NUMBA_OPT",
    "NUMBA_BOUNDSCHECK",
    "NUMBA_DEBUGINFO",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_SLP_VECTORIZE",
)
"""Environment variables that change machine code without numba's cache noticing."""

_OWN_MARK = "HWSIM_NUMBA_CACHE_DIR"
"""Holds the folder that :func:`configure` chose, to tell it from one that the user chose."""

_IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<base>[\w.]+)\s+import\s+(?P<names>\([^)]*\)|[^\n#]*)"
    r"|import\s+(?P<plain>[\w.]+))",
    re.MULTILINE,
)


def kernel_sources(package: Path) -> list[Path]:
    """Return every source of ``package`` that can reach compiled code, sorted.

    These are the files that mention ``njit`` and, transitively, the modules of the same package
    that they import: numba freezes imported constants into the machine code.
    """
    texts = {path: path.read_text("utf-8") for path in sorted(package.rglob("*.py"))}
    pending = [path for path, text in texts.items() if "njit" in text]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending.extend(p for p in _imports(texts[path], package) if p in texts)
    return sorted(found)


def _imports(text: str, package: Path) -> list[Path]:
    """Return the files of ``package`` that absolute imports in ``text`` may name."""
    modules: list[str] = []
    for match in _IMPORT.finditer(text):
        base = match["base"] or match["plain"]
        names = re.findall(r"\w+", match["names"] or "")
        modules += [base, *(f"{base}.{name}" for name in names)]
    prefix = package.name + "."
    inside = [
        module[len(prefix) :].replace(".", "/") for module in modules if module.startswith(prefix)
    ]
    return [package / path for part in inside for path in (f"{part}.py", f"{part}/__init__.py")]


def cache_key(package: Path) -> str:
    """Return the hash of the kernel sources and of the versions and options that compile them."""
    digest = hashlib.sha256()
    versions = [importlib.metadata.version(name) for name in ("numba", "numpy", "llvmlite")]
    options = [os.environ.get(name) for name in _CODE_OPTIONS]
    digest.update(repr([sys.version, *versions, *options]).encode())
    for path in kernel_sources(package):
        digest.update(f"\0{path.relative_to(package)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def configure(package: Path | None = None) -> Path:
    """Point ``NUMBA_CACHE_DIR`` at the folder of the present sources and return it.

    A folder that the user chose is left alone. Otherwise it is ``<root>/numba/<key>`` with root
    ``$HWSIM_CACHE`` or ``~/.cache/hwsim``; where that cannot be written, a private folder under
    the temporary directory. Call before numba is imported.
    """
    present = os.environ.get("NUMBA_CACHE_DIR")
    if present and present != os.environ.get(_OWN_MARK):
        return Path(present)
    key = cache_key(package or Path(__file__).resolve().parents[1])
    folder = _writable_folder(key)
    os.environ["NUMBA_CACHE_DIR"] = os.environ[_OWN_MARK] = str(folder)
    prune(folder.parent, in_use=folder)
    return folder


def _writable_folder(key: str) -> Path:
    """Create and return the first folder for ``key`` that can be written."""
    candidates = []
    with contextlib.suppress(RuntimeError):  # no home directory
        root = os.environ.get("HWSIM_CACHE")
        candidates.append((Path(root) if root else Path.home() / ".cache" / "hwsim") / "numba")
    owner = os.getuid() if hasattr(os, "getuid") else 0
    private = Path(tempfile.gettempdir()) / f"hwsim-numba-{owner}"
    candidates.append(private)
    for parent in candidates:
        folder = parent / key
        with contextlib.suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if parent == private and not _is_private(parent):
                continue
            folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
            return folder
    return Path(tempfile.mkdtemp(prefix="hwsim-numba-")) / key


def _is_private(folder: Path) -> bool:
    """Return whether nobody else could have planted code in ``folder`` of a shared directory."""
    status = folder.lstat()
    is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return is_own and stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022


def prune(
    parent: Path, in_use: Path, kept: int = KEPT_FOLDERS, kept_seconds: float = KEPT_SECONDS
) -> None:
    """Delete key folders under ``parent`` but the ``kept`` newest, recent ones and ``in_use``."""
    aged: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for folder in parent.iterdir():
            if re.fullmatch(r"[0-9a-f]{20}", folder.name) and folder != in_use:
                aged.append((folder.stat().st_mtime, folder))  # noqa: PERF401 (may raise)
    aged.sort(reverse=True)
    oldest = time.time() - kept_seconds
    for used, folder in aged[max(kept - 1, 0) :]:
        if used <= oldest:
            shutil.rmtree(folder, ignore_errors=True)
