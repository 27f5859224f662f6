"""Name the machine that figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe_host"]

_PACKAGES = ("hwsim", "numpy", "numba", "llvmlite", "scipy")


def describe_host() -> dict[str, Any]:
    """Return processor, cores, memory, load, system, versions and the sources' commit.

    ``load`` is the average number of runnable processes over the last minute: figures taken while
    other work ran are not the machine's best.
    """
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory": _memory(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / (1 << 30):.0f} GiB"


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES}


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
