"""Draw the figures of the overview: runs side by side, and claims against their references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwsim.core.result import Claim
from hwsim.report.accounts import Run, cycle_parts
from hwsim.report.canvas import Chart, bar_style, draw_chart, plain_label, state_legend
from hwsim.report.palette import LOOKS, STATES, Theme
from hwsim.report.quantities import format_percent, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["claims_chart", "runs_chart"]

WIDE_INCHES = 10.6
PASS_COLOUR, FAIL_COLOUR = LOOKS["dependency"].colour, LOOKS["dram"].colour


def runs_chart(names: Sequence[str], runs: Sequence[Run]) -> Chart:
    """Return the simulated time of every run, split into where its cycles went."""

    def draw(axes: Axes, theme: Theme) -> None:
        seen = set()
        longest = max(run["cycles"] / run["clock_hz"] for run in runs) or 1.0
        for index, run in enumerate(runs):
            left = 0.0
            for part in sorted(cycle_parts(run), key=lambda part: STATES.index(part.state)):
                width = part.cycles / run["clock_hz"]
                axes.barh(index, width, left=left, height=0.7, **bar_style(part.state, theme))
                left += width
                seen.add(part.state)
            axes.text(
                left + longest * 0.006,
                index,
                format_time(left),
                va="center",
                fontsize=8,
                color=theme.text,
            )
        axes.set_yticks(
            range(len(names)), [plain_label(name, 44) for name in names], parse_math=False
        )
        axes.tick_params(axis="y", colors=theme.text)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, longest * 1.09)
        axes.xaxis.set_major_formatter(lambda value, _: format_time(value))
        axes.set_xlabel("simulated time")
        state_legend(axes, theme, [state for state in STATES if state in seen])

    caption = "Simulated time of each run, charged by what the layers' compute units did."
    size = (WIDE_INCHES, 1.4 + 0.32 * max(len(runs), 2))
    return draw_chart("runs", "Runs side by side", caption, size, draw, is_wide=True)


def claims_chart(all_claims: Sequence[Claim]) -> Chart:
    """Return each claim's relative error as a dot on its tolerance band (finite errors only)."""
    claims = [claim for claim in all_claims if math.isfinite(claim.error)]

    def draw(axes: Axes, theme: Theme) -> None:
        for index, claim in enumerate(claims):
            band = claim.tolerance * 100
            axes.barh(index, 2 * band, left=-band, height=0.5, color=theme.muted, alpha=0.22)
            colour = PASS_COLOUR if claim.passed else FAIL_COLOUR
            marker = "o" if claim.passed else "X"
            axes.scatter([claim.error * 100], [index], color=colour, marker=marker, s=42, zorder=3)
            is_left = claim.error < 0  # away from the line at zero
            axes.annotate(
                format_percent(claim.error, is_signed=True),
                (claim.error * 100, index),
                xytext=(-7 if is_left else 7, 0),
                textcoords="offset points",
                ha="right" if is_left else "left",
                va="center",
                fontsize=8,
                color=theme.text,
            )
        axes.axvline(0, color=theme.muted, linewidth=1)
        axes.set_yticks(
            range(len(claims)), [plain_label(c.id, 52) for c in claims], parse_math=False
        )
        axes.tick_params(axis="y", colors=theme.text)
        axes.set_ylim(len(claims) - 0.4, -0.6)
        reach = max([max(abs(c.error), c.tolerance) for c in claims], default=0.0) * 100
        axes.set_xlim(-reach * 1.2 - 0.1, reach * 1.2 + 0.1)
        axes.set_xlabel("relative error of the simulated value (%)")

    caption = "Dot: (simulated − reference) / reference. Band: tolerance. Cross: outside it."
    size = (WIDE_INCHES, 1.1 + 0.3 * max(len(claims), 2))
    return draw_chart("claims", "Claims against references", caption, size, draw, is_wide=True)
