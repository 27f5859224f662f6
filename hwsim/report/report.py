"""Write runs and claims as a folder of self-contained pages, all of it or nothing."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hwsim.core.errors import InputError, reason_of
from hwsim.core.result import SCHEMA_VERSION, Claim
from hwsim.report.accounts import check_run
from hwsim.report.canvas import Chart
from hwsim.report.pages import render_overview, render_run, slugs_of
from hwsim.report.tables import DataTable

__all__ = ["Report"]

INDEX, DATA = "index.html", "results.json"


@dataclass
class Report:
    """Runs, claims and where they came from.

    Attributes
    ----------
    results : list of dict
        Run documents (:meth:`hwsim.core.result.Result.to_json`).
    claims : list of Claim
        Simulated values against references.
    title : str
        Heading of the overview.
    provenance : mapping
        ``commit``, ``command``, ``seed`` and ``versions`` (tool -> version); shown on every page.
    charts : list of Chart
        Figures of experiments, shown on the overview; slugs distinct.
    unchecked : list of str
        What was not checked, and why.
    tables : list of DataTable
        Tables of experiments, shown below the claims.
    """

    results: list[dict[str, Any]]
    claims: list[Claim] = field(default_factory=list)
    title: str = "hwsim report"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    charts: list[Chart] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    tables: list[DataTable] = field(default_factory=list)

    def failed_claims(self, *, only_gated: bool = True) -> list[Claim]:
        """Return the claims outside their tolerance, by default only those that gate."""
        return [c for c in self.claims if not c.passed and (c.gated or not only_gated)]

    def write(self, folder: Path) -> Path:
        """Write ``index.html``, a page per run, ``figures/`` and ``results.json`` into ``folder``.

        Everything is made in a temporary folder beside it first; then each file is renamed into
        place, the index last. Files that only an earlier report wrote are removed, others stay.

        Returns
        -------
        Path
            The overview page.

        Raises
        ------
        InputError
            If a result is no run document or ``folder`` cannot be written.
        """
        for index, result in enumerate(self.results):
            check_run(result, f"results[{index}]")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists() and not folder.is_dir():
                raise InputError("report folder", "a folder", f"a file at {folder}")
            built = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                files = self._build(built)
                _publish(built, folder, files)
            finally:
                shutil.rmtree(built, ignore_errors=True)
        except OSError as error:
            raise InputError(
                "report folder", "a writable folder", f"{folder}: {reason_of(error)}"
            ) from None
        return folder / INDEX

    def _build(self, folder: Path) -> list[str]:
        """Write every file into ``folder``; return their names, the index last."""
        from hwsim.report.figures import run_charts
        from hwsim.report.overview_figures import claims_chart, runs_chart

        files: list[str] = []
        for slug, run in zip(slugs_of(self.results), self.results, strict=True):
            charts = run_charts(run)
            files += _write_charts(folder, f"{slug}-", charts)
            page = render_run(run, self.title, self.provenance, charts)
            files.append(_write_text(folder, f"run-{slug}.html", page))
        charts_by_name: dict[str, Chart] = {}
        if len(self.results) > 1:
            charts_by_name["runs"] = runs_chart(slugs_of(self.results), self.results)
        if self.claims:
            charts_by_name["claims"] = claims_chart(self.claims)
        files += _write_charts(folder, "", [*charts_by_name.values(), *self.charts])
        overview = render_overview(
            self.title,
            self.provenance,
            self.results,
            self.claims,
            charts_by_name,
            experiments=self.charts,
            unchecked=self.unchecked,
            tables=self.tables,
        )
        files += [DATA, INDEX]
        _write_text(folder, INDEX, overview)
        _write_text(
            folder, DATA, json.dumps(_plain(self._document(files)), indent=1, allow_nan=False)
        )
        return files

    def _document(self, files: list[str]) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "provenance": dict(self.provenance),
            "results": self.results,
            "claims": [claim.to_json() for claim in self.claims],
            "unchecked": self.unchecked,
            "tables": [table.to_json() for table in self.tables],
            "files": files,
        }


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON has it: numpy scalars as numbers, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _write_text(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def _write_charts(folder: Path, prefix: str, charts: Iterable[Chart]) -> list[str]:
    (folder / "figures").mkdir(exist_ok=True)
    names = []
    for chart in charts:
        for theme, png in chart.png.items():
            suffix = "" if theme == "light" else f"-{theme}"
            name = f"figures/{prefix}{chart.slug}{suffix}.png"
            (folder / name).write_bytes(png)
            names.append(name)
    return names


def _earlier_files(folder: Path) -> list[str]:
    """Return the files that an earlier report in ``folder`` says it wrote (only safe names)."""
    try:
        files = json.loads((folder / DATA).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    paths = [PurePosixPath(name) for name in files if isinstance(name, str)]
    return [str(p) for p in paths if not p.is_absolute() and ".." not in p.parts]


def _publish(built: Path, folder: Path, files: list[str]) -> None:
    """Rename the finished files into ``folder``, then remove what an earlier report left over."""
    earlier = _earlier_files(folder)
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (built / name).replace(target)
    for name in set(earlier) - set(files):
        (folder / name).unlink(missing_ok=True)
