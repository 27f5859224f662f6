"""Draw on an off-screen canvas in a theme's colours, without matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.report.palette import LOOKS, THEMES, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Chart", "bar_style", "draw_chart", "plain_label", "state_legend"]

DOTS_PER_INCH = 160
"""Sharp on a high-density screen at the printed size of about 9 inches."""
LABEL_LENGTH = 30


@dataclass(frozen=True)
class Chart:
    """One figure: ``png`` maps the theme's name to the image."""

    slug: str
    title: str
    caption: str
    png: dict[str, bytes]
    is_wide: bool = False


def plain_label(name: str, length: int = LABEL_LENGTH) -> str:
    """Return ``name`` shortened in the middle, without characters the font lacks."""
    text = "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in name)
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def draw_chart(
    slug: str,
    title: str,
    caption: str,
    size: tuple[float, float],
    draw: Callable[[Axes, Theme], None],
    *,
    is_wide: bool = False,
) -> Chart:
    """Return the chart that ``draw`` paints, once per theme; ``size`` is in inches."""
    images = {theme.name: _render(draw, theme, size) for theme in THEMES}
    return Chart(slug, title, caption, images, is_wide)


def _render(draw: Callable[[Axes, Theme], None], theme: Theme, size: tuple[float, float]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no annotations
    figure.set_facecolor(theme.background)
    axes = figure.add_subplot()
    _dress(axes, theme)
    draw(axes, theme)
    for text in axes.texts:
        text.set_parse_math(False)
    buffer = io.BytesIO()
    # savefig would lay out and draw twice; None leaves the library's name out of the file.
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.background)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("bottom", "left"))
        spine.set_color(theme.grid)
    axes.tick_params(colors=theme.muted, which="both", labelsize=8, length=0)
    axes.grid(visible=True, axis="x", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.muted)
        label.set_fontsize(8.5)


def bar_style(state: str, theme: Theme) -> dict[str, Any]:
    """Return the keyword arguments that paint a bar as ``state``."""
    look = LOOKS.get(state, LOOKS["idle"])
    return {
        "facecolor": theme.idle if state == "idle" else look.colour,
        "edgecolor": theme.background,
        "linewidth": 0.7,
        "hatch": "/////" if look.is_hatched else None,
    }


def state_legend(axes: Axes, theme: Theme, states: Sequence[str], *, columns: int = 10) -> None:
    """Put a legend of the drawn states above the axes, in stacking order."""
    from matplotlib.patches import Patch

    axes.legend(
        handles=[Patch(label=state, **bar_style(state, theme)) for state in states],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=max(1, min(len(states), columns)),
        frameon=False,
        fontsize=8,
        labelcolor=theme.text,
        handlelength=1.1,
        handleheight=1.0,
        columnspacing=1.2,
        borderaxespad=0.2,
    )
