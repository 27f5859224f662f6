"""Render a report's pages from templates: everything inline, nothing fetched."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from hwsim.core.result import Claim
from hwsim.report import quantities
from hwsim.report.accounts import LayerRow, Run, cycle_parts, layer_rows, parts_of, read_account
from hwsim.report.area import RESOURCE_NAMES, area_doubts
from hwsim.report.bottleneck import describe_bottleneck
from hwsim.report.canvas import Chart
from hwsim.report.counters import COUNTERS, REASON_MEANINGS, TIER_MEANINGS
from hwsim.report.palette import STATES, style_sheet
from hwsim.report.stages import stage_rows
from hwsim.report.tables import DataTable
from hwsim.report.text import NO_TIER, headline, tier_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_memory", "render_overview", "render_run", "run_title", "slugs_of"]


def run_title(run: Run) -> str:
    """Return ``model on machine (preset)``."""
    preset = run.get("preset")
    return f"{run.get('model', '?')} on {run.get('machine', '?')}" + (
        f" ({preset})" if preset else ""
    )


def slugs_of(runs: Sequence[Run]) -> list[str]:
    """Return a distinct file-name part for each run."""
    slugs: list[str] = []
    for run in runs:
        words = (run.get("model", ""), run.get("machine", ""), run.get("preset", ""))
        text = "-".join(str(word) for word in words if word).lower()
        base = re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:80] or "run"
        slug, number = base, 2
        while slug in slugs:
            slug, number = f"{base}-{number}", number + 1
        slugs.append(slug)
    return slugs


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hwsim.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("bytes", "count", "energy", "exact", "percent", "ratio", "time", "value"):
        environment.filters[name] = getattr(quantities, f"format_{name}")
    environment.globals["tier_text"] = tier_text
    environment.globals["no_tier"] = NO_TIER
    return environment


def _asset(name: str) -> str:
    return (resources.files("hwsim.report.templates") / name).read_text(encoding="utf-8")


def _figure(chart: Chart) -> dict[str, Any]:
    images = {
        theme: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        for theme, png in chart.png.items()
    }
    return {
        "slug": chart.slug,
        "title": chart.title,
        "caption": chart.caption,
        "images": images,
        "is_wide": chart.is_wide,
    }


def _render(template: str, **context: Any) -> str:
    from markupsafe import Markup

    # Our own package files, not user text: the only markup that is not escaped.
    style = Markup(f"{_asset('report.css')}\n{style_sheet()}")
    script = Markup(_asset("sort.js"))
    return _environment().get_template(template).render(style=style, script=script, **context)


def render_overview(
    title: str,
    provenance: Mapping[str, Any],
    runs: Sequence[Run],
    claims: Sequence[Claim],
    charts: Mapping[str, Chart],
    *,
    experiments: Sequence[Chart] = (),
    unchecked: Sequence[str] = (),
    tables: Sequence[DataTable] = (),
) -> str:
    """Return the page over all runs and claims; run pages are linked by slug.

    ``charts`` has ``runs`` and ``claims``; ``experiments`` are further figures, ``tables`` their
    tables.
    """
    cards = [
        {
            "slug": slug,
            "title": run_title(run),
            "run": run,
            "parts": cycle_parts(run),
            "verdict": next(iter(describe_bottleneck(run)), ""),
        }
        for slug, run in zip(slugs_of(runs), runs, strict=True)
    ]
    return _render(
        "overview.html",
        title=title,
        provenance=provenance,
        cards=cards,
        claims=claims,
        tiers=TIER_MEANINGS,
        figures={slug: _figure(chart) for slug, chart in charts.items()},
        experiments=[_figure(chart) for chart in experiments],
        unchecked=unchecked,
        tables=[(table, _columns(table.rows)) for table in tables],
    )


def _present_states(rows: Sequence[LayerRow], units: Mapping[str, Any]) -> list[str]:
    seen = {part.state for row in rows for part in row.parts}
    seen |= {part.state for unit in units.values() for part in parts_of(read_account(unit))}
    return [state for state in STATES if state in seen]


def _columns(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the union of the entries' keys in order of first appearance."""
    return list(dict.fromkeys(key for entry in entries for key in entry))


def _layer_notes(rows: Sequence[LayerRow]) -> list[tuple[str, list[str]]]:
    """Return each distinct note of the mappings with the layers it applies to."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.name)
    return list(notes.items())


def _energy_rows(run: Run) -> list[tuple[str, float, float]]:
    parts = sorted(run.get("energy_by_component_pj", {}).items(), key=lambda item: -item[1])
    total = run.get("energy_pj") or 1.0
    return [(name, amount, amount / total) for name, amount in parts]


def render_run(
    run: Run,
    title: str,
    provenance: Mapping[str, Any],
    charts: Sequence[Chart],
    *,
    has_index: bool = True,
) -> str:
    """Return the page of one run; ``title`` is the report's."""
    rows = layer_rows(run)
    units = {name: read_account(unit) for name, unit in run["units"].items()}
    return _render(
        "run.html",
        report_title=title,
        title=run_title(run),
        provenance=provenance,
        has_index=has_index,
        run=run,
        headline=headline(run),
        sentences=describe_bottleneck(run),
        rows=rows,
        top_share=max((row.share for row in rows), default=1.0) or 1.0,
        has_dense=any(row.dense_cycles is not None for row in rows),
        zero_layers=sum(not row.cycles for row in rows),
        has_stages=len({row.stage for row in rows}) > 1,
        stages=stage_rows(run),
        schedule=run.get("schedule"),
        units={name: (account, parts_of(account)) for name, account in units.items()},
        states=_present_states(rows, run["units"]),
        reasons=REASON_MEANINGS,
        layer_notes=_layer_notes(rows),
        unmodelled_columns=_columns(run.get("unmodelled", [])),
        verification_columns=_columns(run.get("verification", [])),
        energy=_energy_rows(run),
        area=run.get("area"),
        area_doubts=area_doubts(run["area"]) if run.get("area") else [],
        resources=RESOURCE_NAMES,
        counters=COUNTERS,
        figures=[_figure(chart) for chart in charts],
    )


def render_memory(
    document: Mapping[str, Any], provenance: Mapping[str, Any], charts: Sequence[Chart]
) -> str:
    """Return the page of a memory device; ``document`` is that of ``hwsim memory --json``."""
    patterns = []
    for row in document["patterns"]:
        shown = {"limit_share" if key == "limit" else key: value for key, value in row.items()}
        shown["bytes_per_s"] = quantities.format_bytes(row["bytes_per_s"])
        patterns.append(shown)
    return _render(
        "memory.html",
        document=document,
        provenance=provenance,
        figures=[_figure(chart) for chart in charts],
        patterns=patterns,
        columns=_columns(patterns),
    )
