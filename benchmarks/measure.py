"""Measure wall time with warm-ups and medians, in this process or in a fresh one."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Samples", "peak_rss_bytes", "present_rss_bytes", "run_child", "sample", "time_command"]


@dataclass(frozen=True)
class Samples:
    """Wall times of repeated equal work, in seconds."""

    seconds: tuple[float, ...]
    warmups: int

    @property
    def median_s(self) -> float:
        """Return the median wall time in seconds."""
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the samples with their median."""
        return {
            "median_s": self.median_s,
            "seconds": list(self.seconds),
            "warmups": self.warmups,
            "n": len(self.seconds),
        }


def sample(
    work: Callable[[], object],
    *,
    n: int,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Return ``n`` wall times of ``work`` after ``warmups`` untimed calls.

    Warm-ups compile kernels and fill caches, so that only steady work is timed.
    """
    for _ in range(warmups):
        work()
    seconds = []
    for _ in range(n):
        start = clock()
        work()
        seconds.append(clock() - start)
    return Samples(tuple(seconds), warmups)


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def present_rss_bytes() -> int:
    """Return the resident set of this process now, in bytes (Linux; elsewhere the peak)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_rss_bytes()
    return int(statm.read_text().split()[1]) * resource.getpagesize()


def run_child(workload: str, n: int) -> dict[str, Any]:
    """Return what ``workload`` reports from a process of its own.

    Raises
    ------
    RuntimeError
        With the last line of the child's stderr, if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.workloads", workload, str(n)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{workload}: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def time_command(
    command: Sequence[str], *, n: int, warmups: int, env: Mapping[str, str] | None = None
) -> Samples:
    """Return the wall times of a whole command, interpreter start included.

    Raises
    ------
    RuntimeError
        With the last line of its stderr, if the command fails.
    """

    def work() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"{' '.join(command)}: {last}")

    return sample(work, n=n, warmups=warmups)
