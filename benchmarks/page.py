"""Write measured rows as bench.json, bench.md and index.html, all of it or nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from hwsim.report.palette import style_sheet
from hwsim.report.quantities import format_count

__all__ = ["PEERS", "markdown_table", "write_bench"]

PEERS = (
    "Peers, each run once on a 2-core x86-64 machine with 24 GiB: SCALE-Sim 3.0.0 steps five "
    "ResNet-50 layers on a 32x32 array at 4.9 k (output-stationary) to 7.1 k cycles/s "
    "(weight-stationary), without values and traces; STONNE steps a 49x512x4608 product on its "
    "output-stationary mesh at 2.6 k cycles/s, values checked."
)
"""Figures to hold against stepping; they were not taken in this run."""

_HEADS = ("metric", "measured", "target", "met", "n")


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≤" if row.is_most else "≥"
    target = "–" if row.target is None else f"{sign} {_amount(row.target, row.unit)}"
    met = {None: "–", True: "yes", False: "no"}[row.is_met]
    return row.metric, _amount(row.measured, row.unit), target, met, str(row.n)


def _amount(value: float, unit: str) -> str:
    text = format_count(value) if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".replace("\u00a0", " ")


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [" | ".join(_HEADS), " | ".join("---" for _ in _HEADS)]
    lines += [" | ".join(_cells(row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def write_bench(
    rows: Sequence[Row], host: Mapping[str, Any], folder: Path, failures: Sequence[str] = ()
) -> Path:
    """Write the three files into ``folder`` and return the page.

    ``failures`` are measurements that could not be made, one line each. Every file is written
    whole under a temporary name first; the page comes last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "host": dict(host),
        "rows": [row.to_json() for row in rows],
        "failures": list(failures),
        "peers": PEERS,
    }
    text = f"# Speed of the simulators\n\n{_host_line(host)}\n\n{markdown_table(rows)}\n"
    text += "".join(f"Not measured: {line}\n" for line in failures) + f"\n{PEERS}\n"
    files = {
        "bench.json": json.dumps(document, indent=1),
        "bench.md": text,
        "index.html": _page(rows, host, failures),
    }
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as scratch:
        for name, content in files.items():
            (Path(scratch) / name).write_text(content, encoding="utf-8")
        for name in files:
            (Path(scratch) / name).replace(folder / name)
    return folder / "index.html"


def _host_line(host: Mapping[str, Any]) -> str:
    parts = [f"{key} {value}" for key, value in host.items() if not isinstance(value, Mapping)]
    versions = host.get("versions", {})
    return ", ".join([*parts, *(f"{name} {version}" for name, version in versions.items())])


def _page(rows: Sequence[Row], host: Mapping[str, Any], failures: Sequence[str]) -> str:
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loaders = [
        FileSystemLoader(Path(__file__).parent),
        PackageLoader("hwsim.report", "templates"),
    ]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined
    )
    for name in ("value", "percent"):  # what the shared macros use
        environment.filters[name] = str
    assets = resources.files("hwsim.report.templates")
    style = (assets / "report.css").read_text(encoding="utf-8")
    return environment.get_template("bench.html").render(
        # Our own package files, not user text: the only markup that is not escaped.
        style=Markup(f"{style}\n{style_sheet()}"),
        script=Markup((assets / "sort.js").read_text(encoding="utf-8")),
        provenance=host,
        heads=_HEADS,
        rows=[_cells(row) for row in rows],
        missed=[row.metric for row in rows if row.is_met is False],
        failures=failures,
        peers=PEERS,
    )
