"""Write the page of a memory device: what each pattern gets of its peak, latency under load."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.core.errors import InputError, reason_of
from hwsim.report.canvas import Chart, draw_chart
from hwsim.report.pages import render_memory
from hwsim.report.palette import LOOKS, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["memory_charts", "write_memory"]

_SERIES = ("busy", "load", "sync", "drain")
"""Looks of the patterns' lines, in their order."""
_MARKERS = ("o", "s", "^", "D")


def memory_charts(document: Mapping[str, Any]) -> list[Chart]:
    """Return the figures of ``hwsim memory``'s document."""
    charts = [_efficiency_chart(document["patterns"])]
    if any(document["latency"].values()):
        charts.append(_latency_chart(document["latency"]))
    return charts


def _efficiency_chart(rows: Sequence[Mapping[str, Any]]) -> Chart:
    def draw(axes: Axes, theme: Theme) -> None:
        for index, row in enumerate(rows):
            share = row["share"] * 100
            axes.barh(index, share, height=0.62, color=LOOKS["busy"].colour)
            limit = row["limit"] * 100
            axes.plot([limit, limit], [index - 0.4, index + 0.4], color=theme.text, linewidth=1.6)
            axes.text(
                max(share, limit) + 1.5,
                index,
                f"{share:.1f} % of {limit:.1f} % ({row['limit_rule']})",
                va="center",
                fontsize=8,
                color=theme.text,
            )
        axes.set_yticks(range(len(rows)), [row["pattern"] for row in rows])
        axes.tick_params(axis="y", colors=theme.text, labelsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 145)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("share of the peak (%)")

    caption = (
        "Bars: data moved when as much as possible is asked for. Lines: the closed form that no "
        "schedule exceeds on average, and the rule behind it; refresh is taken off."
    )
    return draw_chart(
        "efficiency", "What each pattern gets", caption, (5.6, 1.2 + 0.3 * len(rows)), draw
    )


def _latency_chart(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Chart:
    def draw(axes: Axes, theme: Theme) -> None:
        for name, look, marker in zip(curves, _SERIES, _MARKERS, strict=False):
            points = curves[name]
            x = [point["offered"] * 100 for point in points]
            colour = LOOKS[look].colour
            reads, p95, writes = (
                [point[field] for point in points]
                for field in ("read_mean_ns", "read_p95_ns", "write_mean_ns")
            )
            axes.plot(x, reads, color=colour, marker=marker, markersize=4, label=name)
            axes.plot(x, p95, color=colour, linestyle=":", linewidth=1.2)
            if writes[0] is not None:
                axes.plot(x, writes, color=colour, linestyle="--", label=f"{name}: writes")
        axes.set_yscale("log")
        axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        axes.set_xlim(0, 105)
        axes.set_xlabel("offered load (% of the peak)")
        axes.set_ylabel("latency (ns)")
        axes.legend(frameon=False, fontsize=8, labelcolor=theme.text, loc="upper left")

    caption = (
        "Reads, from arrival to last data: mean (solid) and 95th percentile (dotted), with random "
        "arrivals; a curve ends at the first load that is not sustained. Writes (mean, dashed) are "
        "queued until some can be served together."
    )
    return draw_chart("latency", "Latency under load", caption, (5.6, 3.2), draw)


def write_memory(document: Mapping[str, Any], provenance: Mapping[str, Any], folder: Path) -> Path:
    """Write ``memory.json`` and ``index.html`` into ``folder`` and return the page.

    Each file is written whole under a temporary name first. Raises :class:`InputError` if there is
    no such folder and none can be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"{folder}: {reason_of(error)}"
        raise InputError("report folder", "a writable folder", found) from None
    files = {
        "memory.json": json.dumps(document, indent=1),
        "index.html": render_memory(document, provenance, memory_charts(document)),
    }
    with tempfile.TemporaryDirectory(prefix=".memory-", dir=folder) as scratch:
        for name, content in files.items():
            (Path(scratch) / name).write_text(content, encoding="utf-8")
        for name in files:
            (Path(scratch) / name).replace(folder / name)
    return folder / "index.html"
