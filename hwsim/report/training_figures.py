"""Draw what a training iteration spends per stage, and its length over a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwsim.report.accounts import Run
from hwsim.report.canvas import Chart, draw_chart
from hwsim.report.palette import STAGE_COLOURS, Theme
from hwsim.report.quantities import (
    format_count,
    format_percent,
    format_ratio,
    format_tick,
    format_time,
)
from hwsim.report.stages import STAGE_NAMES, StageRow, stage_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["methods_chart", "schedule_chart", "stages_chart", "training_charts"]

WIDE_INCHES = 10.6
LEAST_LABELLED = 0.06
"""Parts below this share of the longest bar have no room for a label."""


def training_charts(run: Run) -> list[Chart]:
    """Return the figures of a training run: its schedule, if it has one, and its stages."""
    schedule = run.get("schedule")
    charts = [schedule_chart(schedule, run["clock_hz"])] if schedule else []
    stages = stage_rows(run)
    return charts + ([stages_chart(stages)] if stages and run["cycles"] else [])


def stages_chart(stages: Sequence[StageRow]) -> Chart:
    """Return one bar of stages for this run and one for dense training, if it is known."""
    bars: dict[str, list[float]] = {}
    if any(stage.dense_cycles for stage in stages):
        bars["dense training"] = [stage.dense_cycles or 0.0 for stage in stages]
    bars["this run"] = [float(stage.cycles) for stage in stages]
    keys = [stage.stage for stage in stages]
    labels = {
        name: [
            f"{stage.name} {format_ratio(stage.speedup)}"
            if name == "this run" and stage.speedup is not None
            else stage.name
            for stage in stages
        ]
        for name in bars
    }

    def draw(axes: Axes, theme: Theme) -> None:
        _draw_bars(axes, theme, keys, bars, labels, format_count)
        axes.xaxis.set_major_formatter(lambda value, _: format_tick(value))
        axes.set_xlabel("cycles of one iteration")

    caption = (
        "Cycles that each stage adds to one iteration, against dense training on the same machine. "
        "FF, BP and WU hold products and the vector work of their stage; work hidden beside "
        "another stage adds nothing. Numbers in this run's bar are the stage's speed-up."
    )
    size = (WIDE_INCHES, 1.25 + 0.42 * len(bars))
    return draw_chart("stages", "Stage by stage", caption, size, draw, is_wide=True)


def methods_chart(
    slug: str, title: str, caption: str, shares: Mapping[str, Mapping[str, float]]
) -> Chart:
    """Return one bar of stages per training method.

    Parameters
    ----------
    shares : {method: {stage: float}}
        What each stage adds to an iteration, as a share of the dense iteration; stages are keys of
        :data:`STAGE_NAMES`, and one that a method lacks takes nothing.
    """
    keys = [stage for stage in STAGE_NAMES if any(stage in own for own in shares.values())]
    bars = {
        method: [100.0 * own.get(stage, 0.0) for stage in keys] for method, own in shares.items()
    }
    labels = {method: [STAGE_NAMES[stage] for stage in keys] for method in bars}

    def draw(axes: Axes, theme: Theme) -> None:
        _draw_bars(axes, theme, keys, bars, labels, lambda total: format_percent(total / 100))
        axes.set_xlabel("cycles of one iteration, dense training = 100 %")

    size = (WIDE_INCHES, 1.25 + 0.42 * len(bars))
    return draw_chart(slug, title, caption, size, draw, is_wide=True)


def _draw_bars(
    axes: Axes,
    theme: Theme,
    stages: Sequence[str],
    bars: Mapping[str, Sequence[float]],
    labels: Mapping[str, Sequence[str]],
    total_text: Callable[[float], str],
) -> None:
    """Draw named bars of stacked stages, each part labelled where there is room."""
    longest = max(sum(bar) for bar in bars.values())
    for index, (name, bar) in enumerate(bars.items()):
        _stage_bar(axes, index, stages, bar, labels[name], longest)
        axes.annotate(
            total_text(sum(bar)),
            (sum(bar), index),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=theme.text,
        )
    axes.set_yticks(range(len(bars)), list(bars))
    axes.tick_params(axis="y", colors=theme.text)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, longest * 1.09)
    _stage_legend(axes, theme, stages)


def _stage_bar(
    axes: Axes,
    index: int,
    stages: Sequence[str],
    bar: Sequence[float],
    labels: Sequence[str],
    longest: float,
) -> None:
    left = 0.0
    for stage, width, label in zip(stages, bar, labels, strict=True):
        axes.barh(index, width, left=left, height=0.7, color=_colour(stage))
        if width > LEAST_LABELLED * longest:
            place = (left + width / 2, index)
            axes.annotate(label, place, ha="center", va="center", fontsize=8, color="#101418")
        left += width


def _colour(stage: str) -> str:
    return STAGE_COLOURS.get(stage, "#9aa5b4")


def _stage_legend(axes: Axes, theme: Theme, stages: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    axes.legend(
        handles=[
            Patch(color=_colour(stage), label=STAGE_NAMES.get(stage, stage)) for stage in stages
        ],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(stages),
        frameon=False,
        fontsize=8,
        labelcolor=theme.text,
        handlelength=1.1,
        borderaxespad=0.2,
    )


def schedule_chart(schedule: Mapping[str, Any], clock_hz: int) -> Chart:
    """Return the time of an iteration over the optimiser steps of a run, against dense."""
    frames = schedule["frames"]
    dense = schedule["dense_cycles"] / schedule["steps"] / clock_hz
    times = [frame["cycles_per_step"] / clock_hz for frame in frames]

    def draw(axes: Axes, theme: Theme) -> None:
        total = schedule["steps"]
        for frame, time in zip(frames, times, strict=True):
            start, end = frame["from_step"], frame["from_step"] + frame["steps"]
            axes.fill_between([start, end], 0, time, color=theme.accent, alpha=0.35, linewidth=0)
            axes.plot([start, end], [time, time], color=theme.accent, linewidth=2)
            if frame["steps"] > LEAST_LABELLED * total:
                text = f"{_frame_name(frame)}\n{format_time(time)}"
                place = ((start + end) / 2, time / 2)
                axes.annotate(text, place, ha="center", va="center", fontsize=8, color=theme.text)
        axes.axhline(dense, color=theme.muted, linewidth=1.2, linestyle="--")
        axes.annotate(
            "dense iteration",
            (total, dense),
            xytext=(-4, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=theme.muted,
        )
        axes.set_xlim(0, total)
        axes.set_ylim(0, max(dense, *times) * 1.15)
        axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(lambda value, _: format_time(value))
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("simulated time of an iteration")

    saved = format_percent(1 - 1 / schedule["speedup"]) if schedule["speedup"] else ""
    caption = (
        f"The area is the time of the whole run, {format_time(schedule['time_s'])}, "
        f"{format_ratio(schedule['speedup'])} as fast as dense training ({saved} of its time "
        "saved). While masked weights still count (beta > 0) an iteration takes dense time."
    )
    size = (WIDE_INCHES, 3.2)
    title = "Iteration time over the run"
    return draw_chart("schedule", title, caption, size, draw, is_wide=True)


def _frame_name(frame: Mapping[str, Any]) -> str:
    if frame["nm"] is None:
        return "dense"
    return f"{frame['nm']}, beta > 0" if frame["beta"] > 0 else str(frame["nm"])
