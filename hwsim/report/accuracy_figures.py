"""Draw how well networks train: accuracy per method with its spread, and loss over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.report.canvas import Chart, draw_chart, plain_label
from hwsim.report.palette import LOOKS, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracy_chart", "loss_chart"]

WIDE_INCHES = 10.6
HALF_INCHES = 5.6
_ROW_INCHES = 0.36
_SERIES = tuple(
    LOOKS[state].colour for state in ("busy", "dram", "dependency", "drain", "load", "atomic")
)
_MARKERS = ("o", "s")

Values = NDArray[np.float64]


def accuracy_chart(
    slug: str, caption: str, methods: Sequence[str], accuracy: Mapping[str, Sequence[Values]]
) -> Chart:
    """Return a row per method, a colour per network: mean, standard deviation and every seed.

    Parameters
    ----------
    methods : sequence of str
        The first is what the others are compared with; a line marks its mean.
    accuracy : {network: [percent float64[seeds] per method]}
    """

    def draw(axes: Axes, theme: Theme) -> None:
        for index, (network, rows) in enumerate(accuracy.items()):
            _draw_network(axes, network, rows, index, len(accuracy))
        axes.set_yticks(range(len(methods)), [plain_label(m) for m in methods], parse_math=False)
        axes.tick_params(axis="y", colors=theme.text)
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("test accuracy (%); dashed: dense")
        _legend(axes, theme)

    size = (WIDE_INCHES, 1.1 + _ROW_INCHES * len(methods))
    return draw_chart(slug, "Accuracy of sparse training", caption, size, draw, is_wide=True)


def _draw_network(
    axes: Axes, network: str, rows: Sequence[Values], index: int, networks: int
) -> None:
    colour = _SERIES[index % len(_SERIES)]
    offset = (index - (networks - 1) / 2) * 0.34
    for row, values in enumerate(rows):
        axes.scatter(values, [row + offset] * len(values), color=colour, s=9, alpha=0.35)
    means = [float(np.mean(values)) for values in rows]
    spreads = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in rows]
    axes.errorbar(
        means,
        [row + offset for row in range(len(rows))],
        xerr=spreads,
        fmt=_MARKERS[index % len(_MARKERS)],
        color=colour,
        markersize=5.5,
        capsize=3,
        linewidth=1.4,
        label=network,
    )
    axes.axvline(means[0], color=colour, linewidth=1, linestyle="--", alpha=0.7)


def loss_chart(
    slug: str, title: str, caption: str, losses: Mapping[str, Values], block_steps: int
) -> Chart:
    """Return one curve per method; ``losses`` is {method: float64[blocks of steps]} in nats."""

    def draw(axes: Axes, theme: Theme) -> None:
        for index, (method, values) in enumerate(losses.items()):
            steps = block_steps * np.arange(1, len(values) + 1)
            colour = _SERIES[index % len(_SERIES)]
            axes.plot(steps, values, color=colour, linewidth=1.5, label=method)
        axes.set_yscale("log")
        axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("training loss (nats)")
        _legend(axes, theme, columns=3)

    return draw_chart(slug, title, caption, (HALF_INCHES, 3.6), draw)


def _legend(axes: Axes, theme: Theme, *, columns: int = 4) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=8,
        labelcolor=theme.text,
        borderaxespad=0.2,
    )
