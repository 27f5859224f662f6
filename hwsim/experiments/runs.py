"""Execute several requests, in processes if asked, and write reports over their results."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.core.result import Claim, Result
from hwsim.experiments.pipeline import (
    RunRequest,
    attach_baseline,
    dense_request,
    execute,
    machine_of,
    prepare,
)

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart
    from hwsim.report.tables import DataTable

__all__ = ["execute_all", "write_report"]


def execute_all(
    requests: Sequence[RunRequest], *, jobs: int, progress: Callable[[str], None]
) -> list[Result]:
    """Return the results in the order of ``requests``, using up to ``jobs`` processes.

    A single request spends its second process on the dense baseline. What a machine cannot do is
    refused before the first of several runs.
    """
    if len(requests) > 1:
        for request in requests:
            machine_of(request)
    if jobs > 1 and len(requests) == 1 and _needs_dense_run(requests[0]):
        return [_execute_beside_dense(requests[0], progress)]
    if jobs == 1 or len(requests) == 1:
        return [
            execute(request, lambda step, name=request.model: progress(f"{name}: {step}"))  # type: ignore[misc]  # default binds early
            for request in requests
        ]
    return _execute_in_processes(requests, jobs, progress)


def _needs_dense_run(request: RunRequest) -> bool:
    return request.has_baseline and request.sparsity != "dense"


def _processes(count: int) -> ProcessPoolExecutor:
    """Return a pool of processes that end without a word when the user interrupts."""
    # Spawned, not forked: numba's and matplotlib's threads do not survive a fork.
    return ProcessPoolExecutor(
        count,
        get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )


def _execute_beside_dense(request: RunRequest, progress: Callable[[str], None]) -> Result:
    """Run ``request`` here and its dense baseline in a second process."""
    session = prepare(request)  # a bad request is refused before a process is started
    with _processes(1) as pool:
        dense = pool.submit(execute, dense_request(request))
        result = execute(replace(request, has_baseline=False), progress, session)
        progress("dense baseline")
        attach_baseline(result, dense.result())
    return result


def _execute_in_processes(
    requests: Sequence[RunRequest], jobs: int, progress: Callable[[str], None]
) -> list[Result]:
    results: dict[int, Result] = {}
    with _processes(min(jobs, len(requests))) as pool:
        futures = {pool.submit(execute, request): i for i, request in enumerate(requests)}
        try:
            for done in as_completed(futures):
                results[futures[done]] = done.result()
                progress(f"{len(results)} of {len(requests)} runs done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[i] for i in range(len(requests))]


def write_report(
    results: Sequence[Result],
    folder: Path,
    claims: Sequence[Claim] = (),
    title: str = "hwsim",
    *,
    charts: Sequence[Chart] = (),
    unchecked: Sequence[str] = (),
    tables: Sequence[DataTable] = (),
) -> None:
    """Write index.html, one page per run, figures and results.json into ``folder``.

    ``charts`` and ``tables`` are those of the overview; ``unchecked`` says what was not checked,
    and why.
    """
    from hwsim.core.result import tool_versions
    from hwsim.report.report import Report

    report = Report(
        results=[result.to_json() for result in results],
        claims=list(claims),
        title=title,
        charts=list(charts),
        unchecked=list(unchecked),
        tables=list(tables),
        provenance={
            "commit": _commit(),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "seed": results[0].provenance.seed if results else 0,
            "versions": results[0].provenance.versions if results else tool_versions(),
        },
    )
    report.write(folder)


def _commit() -> str:
    """Return the commit of the sources, or a word that says there is none."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed package"
    return done.stdout.strip()
