"""Draw an experiment's numbers: bars in groups, and lines over a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hwsim.report.canvas import Chart, draw_chart, plain_label
from hwsim.report.palette import SERIES_COLOURS, Theme
from hwsim.report.quantities import format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bar_chart", "group_chart", "line_chart"]

WIDE_INCHES = 10.6
HALF_INCHES = 5.6
MARKERS = "osD^vPX*"
"""One per line, so that lines can be told apart without their colours."""


def group_chart(
    slug: str,
    title: str,
    caption: str,
    label: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
) -> Chart:
    """Return horizontal bars of shares in groups.

    Parameters
    ----------
    slug, title, caption, label : str
        File name, heading, explanation, and what the axis measures.
    groups : sequence of str
        Names along the axis.
    series : mapping of str to float[groups]
        Name of each bar of a group -> its values, 0.25 for 25 %.
    """
    height = 0.8 / max(1, len(series))

    def draw(axes: Axes, theme: Theme) -> None:
        shares = [value for values in series.values() for value in values]
        lowest, highest = min([0.0, *shares]), max([0.0, *shares]) or 1.0
        for place, (name, values) in enumerate(series.items()):
            rows = [index - 0.4 + (place + 0.5) * height for index in range(len(groups))]
            colour = _colour(place)
            axes.barh(
                rows,
                [value * 100 for value in values],
                height=height * 0.9,
                color=colour,
                label=name,
            )
            for row, value in zip(rows, values, strict=True):
                axes.annotate(
                    format_percent(value, is_signed=True),
                    (max(value, 0.0) * 100, row),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    color=theme.text,
                )
        axes.axvline(0, color=theme.muted, linewidth=1)
        axes.set_yticks(range(len(groups)), [plain_label(group) for group in groups])
        axes.tick_params(axis="y", colors=theme.text)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(lowest * 109, highest * 109)
        axes.set_xlabel(f"{label} (%)")
        _legend(axes, theme, len(series))

    size = (WIDE_INCHES, 1.3 + 0.19 * len(groups) * max(2, len(series)))
    return draw_chart(slug, title, caption, size, draw, is_wide=True)


def bar_chart(
    slug: str, title: str, caption: str, label: str, values: Mapping[str, float]
) -> Chart:
    """Return one horizontal bar per name on a logarithmic axis, its value beside it.

    Parameters
    ----------
    slug, title, caption, label : str
        File name, heading, explanation, and what the axis measures.
    values : mapping of str to float
        Positive; one a tenth of the least is where bars begin.
    """

    def draw(axes: Axes, theme: Theme) -> None:
        rows = range(len(values))
        left = min(values.values()) / 10
        widths = [value - left for value in values.values()]
        axes.barh(rows, widths, left=left, height=0.7, color=_colour(0))
        for row, value in zip(rows, values.values(), strict=True):
            axes.annotate(
                f"{value:,.0f}",
                (value, row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=theme.text,
            )
        axes.set_xscale("log")
        axes.set_xlim(left, 3 * max(values.values()))
        axes.set_yticks(rows, [plain_label(name) for name in values])
        axes.tick_params(axis="y", colors=theme.text)
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)

    size = (HALF_INCHES, 1.1 + 0.28 * len(values))
    return draw_chart(slug, title, caption, size, draw)


def line_chart(
    slug: str,
    title: str,
    caption: str,
    labels: tuple[str, str],
    places: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    starts_at_zero: bool = True,
    is_log: bool = False,
) -> Chart:
    """Return one line per series over evenly spaced ``places``.

    Parameters
    ----------
    slug, title, caption : str
        File name, heading, explanation.
    labels : (str, str)
        What the horizontal and the vertical axis measure, units included.
    places : sequence of str
        Values of the parameter, in order.
    series : mapping of str to float[places]
        Name of each line -> its values.
    starts_at_zero, is_log : bool
        Whether the vertical axis does, or is logarithmic.
    """

    def draw(axes: Axes, theme: Theme) -> None:
        for index, (name, values) in enumerate(series.items()):
            axes.plot(
                range(len(places)),
                values,
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                linewidth=1.6,
                color=_colour(index),
                label=name,
            )
        axes.set_xticks(range(len(places)), list(places))
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        axes.grid(visible=False, axis="x")
        if is_log:
            axes.set_yscale("log")
        elif starts_at_zero:
            axes.set_ylim(bottom=0)
        _legend(axes, theme, min(3, len(series)))

    return draw_chart(slug, title, caption, (HALF_INCHES, 3.6), draw)


def _colour(index: int) -> str:
    return SERIES_COLOURS[index % len(SERIES_COLOURS)]


def _legend(axes: Axes, theme: Theme, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(1, columns),
        frameon=False,
        fontsize=8,
        labelcolor=theme.text,
        handlelength=1.4,
        borderaxespad=0.2,
    )
