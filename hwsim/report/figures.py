"""Draw the figures of one run: where cycles went, units, layers, dense against sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hwsim.core.result import STALL_REASONS, UnitStats
from hwsim.report.accounts import (
    LayerRow,
    Part,
    Run,
    cycle_parts,
    layer_rows,
    parts_of,
    read_account,
)
from hwsim.report.canvas import Chart, bar_style, draw_chart, plain_label, state_legend
from hwsim.report.palette import STATES, Theme
from hwsim.report.quantities import format_count, format_percent, format_ratio, format_tick
from hwsim.report.roofline import roofline_chart
from hwsim.report.training_figures import training_charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["run_charts"]

TOP_LAYERS = 20
"""Layers drawn one by one; the rest are one bar, their mean, so that the scale stays theirs."""
TOP_DENSE_LAYERS = 14
ROW_INCHES = 0.24
WIDE_INCHES = 10.6
HALF_INCHES = 5.6


def run_charts(run: Run) -> list[Chart]:
    """Return the figures that the document has the numbers for, in reading order."""
    rows = layer_rows(run)
    height = _height(max(len(cycle_parts(run)), len(run["units"]) + 2))
    charts = training_charts(run)
    charts += [_where_chart(run, height)] if run["cycles"] else []
    if run["cycles"] and run["units"]:
        charts.append(_units_chart(run, height))
    if any(row.cycles for row in rows):
        charts.append(_layers_chart(rows))
    known = [row for row in rows if row.dense_cycles is not None]
    height = _height(min(max(len(known), 12), TOP_DENSE_LAYERS + 1)) + 0.4
    roofline = roofline_chart(run, rows, height)
    dense = _dense_chart(known, height) if known else None
    return charts + [chart for chart in (roofline, dense) if chart is not None]


def _height(rows: int) -> float:
    return 1.0 + ROW_INCHES * max(rows, 2)


def _name_rows(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    axes.set_yticks(range(len(names)), [plain_label(n) for n in names], parse_math=False)
    axes.tick_params(axis="y", colors=theme.text, labelsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _cycle_axis(axes: Axes, label: str = "cycles") -> None:
    axes.xaxis.set_major_formatter(lambda value, _: format_tick(value))
    axes.set_xlabel(label)
    axes.set_xlim(left=0)


def _where_chart(run: Run, height: float) -> Chart:
    parts = cycle_parts(run)

    def draw(axes: Axes, theme: Theme) -> None:
        start = 0
        for index, part in enumerate(parts):
            axes.barh(index, part.cycles, left=start, height=0.72, **bar_style(part.state, theme))
            start += part.cycles
            _step_label(axes, theme, index, part, start, run["cycles"])
        _name_rows(axes, [part.label for part in parts], theme)
        _cycle_axis(axes)
        axes.set_xlim(0, run["cycles"])

    caption = (
        "Every cycle of the run, charged once: busy cycles by unit, stalls by reason, idle. "
        "Bars add up from left to right to the makespan."
    )
    return draw_chart("where", "Where the cycles went", caption, (HALF_INCHES, height), draw)


def _step_label(axes: Axes, theme: Theme, index: int, part: Part, end: int, total: int) -> None:
    left = end - part.cycles
    has_room_right = end <= total * 0.72
    has_room_left = left >= total * 0.28
    # A bar that leaves no room beside it is long enough to carry its label.
    place = end if has_room_right or not has_room_left else left
    is_after = has_room_right
    axes.annotate(
        f"{format_percent(part.share)}  {format_count(part.cycles)}",
        (place, index),
        xytext=(4 if is_after else -4, 0),
        textcoords="offset points",
        ha="left" if is_after else "right",
        va="center",
        fontsize=8,
        color=theme.text if has_room_right or has_room_left else "#ffffff",
    )


def _units_chart(run: Run, height: float) -> Chart:
    accounts = {name: parts_of(read_account(unit)) for name, unit in run["units"].items()}

    def draw(axes: Axes, theme: Theme) -> None:
        shown = _stack(
            axes, theme, [[(p.state, p.share * 100) for p in a] for a in accounts.values()]
        )
        _name_rows(axes, list(accounts), theme)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the run's cycles (%)")
        state_legend(axes, theme, shown, columns=5)

    caption = "Account of each unit over the whole run: busy + stalls + idle = 100 % of the cycles."
    return draw_chart("units", "What each unit did", caption, (HALF_INCHES, height), draw)


def _stack(axes: Axes, theme: Theme, bars: Sequence[Sequence[tuple[str, float]]]) -> list[str]:
    """Draw one stacked bar per row; return the states drawn, in stacking order."""
    pieces: dict[str, list[tuple[int, float, float]]] = {}
    for index, bar in enumerate(bars):
        left = 0.0
        for state, width in bar:
            pieces.setdefault(state, []).append((index, left, width))
            left += width
    for state, placed in pieces.items():
        rows, lefts, widths = zip(*placed, strict=True)
        axes.barh(rows, widths, left=lefts, height=0.74, **bar_style(state, theme))
    return [state for state in STATES if state in pieces]


def _top_rows(rows: Sequence[LayerRow], top: int) -> list[LayerRow]:
    """Return the ``top`` costliest layers in graph order and one row, the mean of the others.

    Layers that take no cycles in either run (fused into another) are left out.
    """
    rows = [row for row in rows if row.cycles or row.dense_cycles]
    ranked = sorted(rows, key=lambda row: -row.cycles)
    if len(ranked) <= top + 1:
        return rows
    others = ranked[top:]
    count = len(others)
    account = UnitStats(
        sum(row.account.busy for row in others) // count,
        {r: sum(row.account.stall.get(r, 0) for row in others) // count for r in STALL_REASONS},
        sum(row.account.idle for row in others) // count,
    )
    mean = replace(
        others[0],
        name=f"mean of {count} others",
        cycles=sum(row.cycles for row in others) // count,
        share=sum(row.share for row in others),
        account=account,
        dense_cycles=sum(row.dense_cycles or 0.0 for row in others) / count,
    )
    return [*sorted(ranked[:top], key=lambda row: row.index), mean]


def _layers_chart(rows: Sequence[LayerRow]) -> Chart:
    top = _top_rows(rows, TOP_LAYERS)
    is_cut = top[-1] not in rows

    def draw(axes: Axes, theme: Theme) -> None:
        shown = _stack(axes, theme, [[(p.state, p.cycles) for p in row.parts] for row in top])
        for index, row in enumerate(top):
            axes.annotate(
                format_percent(row.share) + (" together" if is_cut and row is top[-1] else ""),
                (row.cycles, index),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=theme.muted,
            )
        _name_rows(axes, [row.name for row in top], theme)
        _cycle_axis(axes)
        axes.set_xlim(0, max(row.cycles for row in top) * 1.07)
        state_legend(axes, theme, shown)

    caption = (
        "Cycles that each layer adds to the makespan, in graph order, split by what its compute "
        "unit did. The percentage is the share of the run."
    )
    size = (WIDE_INCHES, _height(len(top)) + 0.4)
    return draw_chart("layers", "Layer by layer", caption, size, draw, is_wide=True)


def _dense_chart(known: Sequence[LayerRow], height: float) -> Chart:
    top = _top_rows(known, TOP_DENSE_LAYERS)

    def draw(axes: Axes, theme: Theme) -> None:
        places = range(len(top))
        dense = [row.dense_cycles or 0.0 for row in top]
        above, below = [i - 0.19 for i in places], [i + 0.19 for i in places]
        axes.barh(above, dense, height=0.36, color=theme.muted, alpha=0.45)
        axes.barh(below, [row.cycles for row in top], height=0.36, color=theme.accent)
        for index, row in enumerate(top):
            axes.annotate(
                format_ratio(row.speedup),
                (max(dense[index], row.cycles), index),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=theme.text,
            )
        _name_rows(axes, [row.name for row in top], theme)
        _cycle_axis(axes)
        axes.set_xlim(0, max([*dense, *(row.cycles for row in top)]) * 1.12)
        _dense_legend(axes, theme)

    caption = (
        "Baseline: the same layers with dense weights on the same machine. "
        "The number is the speed-up (dense cycles / cycles)."
    )
    size = (HALF_INCHES, height)
    return draw_chart("dense", "Against the dense baseline", caption, size, draw)


def _dense_legend(axes: Axes, theme: Theme) -> None:
    from matplotlib.patches import Patch

    axes.legend(
        handles=[
            Patch(color=theme.muted, alpha=0.45, label="dense baseline"),
            Patch(color=theme.accent, label="this run"),
        ],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        frameon=False,
        fontsize=8,
        labelcolor=theme.text,
        handlelength=1.1,
        borderaxespad=0.2,
    )
