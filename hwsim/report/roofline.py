"""Draw a run's layers under its machine's compute and memory roofs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwsim.report.accounts import LayerRow, Run
from hwsim.report.canvas import Chart, draw_chart, plain_label
from hwsim.report.palette import Theme
from hwsim.report.quantities import format_tick, read_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["roofline_chart"]

HALF_INCHES = 5.6
NAMED_LAYERS = 4
NEAR_DECADES = 0.03


def roofline_chart(run: Run, rows: Sequence[LayerRow], height: float) -> Chart | None:
    """Return the roofline figure, or None without a peak or without off-chip traffic."""
    peak = read_number(run.get("peak_macs_per_cycle"))
    memory = read_number(run.get("memory_bytes_per_cycle"))
    placed = [row for row in rows if row.useful_macs and row.dram_bytes and row.cycles]
    if not peak or not placed:
        return None
    points = [(row.useful_macs / row.dram_bytes, row.useful_macs / row.cycles) for row in placed]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(visible=True, axis="both", color=theme.grid, linewidth=0.8)
        _draw_roofs(axes, theme, [x for x, _ in points], peak, memory)
        largest = max(row.cycles for row in placed)
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            s=[18 + 220 * row.cycles / largest for row in placed],
            color=theme.accent,
            alpha=0.6,
            edgecolor=theme.background,
            linewidth=0.8,
            zorder=3,
        )
        _name_points(axes, theme, placed, points)
        _plain_ticks(axes)
        axes.set_xlabel("useful MACs per DRAM byte")
        axes.set_ylabel("useful MACs per cycle")

    roofs = f"compute roof {peak:g} MACs/cycle"
    if memory:
        roofs += f", memory roof {memory:.4g} bytes/cycle"
    caption = f"One dot per matrix layer, area by cycles; {roofs}."
    return draw_chart("roofline", "Roofline", caption, (HALF_INCHES, height), draw)


def _draw_roofs(
    axes: Axes, theme: Theme, intensities: Sequence[float], peak: float, memory: float | None
) -> None:
    ridge = peak / memory if memory else min(intensities)
    low = min([*intensities, ridge]) / 2
    high = max([*intensities, ridge]) * 3
    style: dict[str, Any] = {"color": theme.text, "linewidth": 1.4, "zorder": 2}
    axes.plot([ridge, high] if memory else [low, high], [peak, peak], **style)
    axes.annotate(
        f"peak {peak:g} MACs/cycle",
        (high, peak),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=theme.text,
    )
    if memory:
        axes.plot([low, ridge], [low * memory, peak], **style)
        axes.annotate(
            f"{memory:.4g} bytes/cycle",
            (ridge, peak),
            xytext=(-6, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=theme.text,
        )
    axes.set_xlim(low, high)


def _name_points(
    axes: Axes,
    theme: Theme,
    placed: Sequence[LayerRow],
    points: Sequence[tuple[float, float]],
) -> None:
    """Number the costliest layers at their dots and name them in the lower right corner."""
    ranked = sorted(range(len(placed)), key=lambda i: -placed[i].cycles)[:NAMED_LAYERS]
    labels: dict[tuple[float, float], list[str]] = {}
    for place, i in enumerate(ranked, start=1):
        shared = next((point for point in labels if _is_near(point, points[i])), points[i])
        labels.setdefault(shared, []).append(str(place))
    for point, numbers in labels.items():
        axes.annotate(
            ",".join(numbers),
            point,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7.5,
            fontweight="bold",
            color=theme.text,
            zorder=4,
        )
    names = (f"{place}  {plain_label(placed[i].name, 24)}" for place, i in enumerate(ranked, 1))
    axes.text(
        0.98,
        0.03,
        "\n".join(names),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        multialignment="left",
        fontsize=8,
        color=theme.muted,
    )


def _is_near(point: tuple[float, float], other: tuple[float, float]) -> bool:
    """Say whether two dots overlap so far that their labels would."""
    return all(abs(math.log10(a / b)) < NEAR_DECADES for a, b in zip(point, other, strict=True))


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: format_tick(value))
