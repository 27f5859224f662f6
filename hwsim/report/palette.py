"""Give every account state one look (colour, hatch) in all figures, tables and both themes.

Eight hues that stay apart under the common colour-vision deficiencies (Okabe & Ito 2008), used
twice: solid for the states most accelerators show, hatched for the rarer ones of the same family.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.result import STALL_REASONS

__all__ = [
    "LOOKS",
    "SERIES_COLOURS",
    "STAGE_COLOURS",
    "STATES",
    "THEMES",
    "Look",
    "Theme",
    "style_sheet",
]

STATES = ("busy", *STALL_REASONS, "idle")
"""All states of an account in stacking order."""


@dataclass(frozen=True)
class Look:
    """Colour as a style sheet writes it, and whether the area is hatched."""

    colour: str
    is_hatched: bool = False


_BLUE, _SKY, _GREEN, _YELLOW = "#2f7fc1", "#56b4e9", "#009e73", "#f2e646"
_ORANGE, _VERMILLION, _PURPLE, _BROWN = "#e69f00", "#d55e00", "#cc79a7", "#8c4a24"

LOOKS: dict[str, Look] = {
    "busy": Look(_BLUE),
    "fill": Look(_SKY),
    "resource": Look(_SKY, is_hatched=True),
    "dependency": Look(_GREEN),
    "sync": Look(_GREEN, is_hatched=True),
    "frontend": Look(_YELLOW),
    "queue_full": Look(_YELLOW, is_hatched=True),
    "load": Look(_ORANGE),
    "data_wait": Look(_ORANGE, is_hatched=True),
    "dram": Look(_VERMILLION),
    "cache": Look(_VERMILLION, is_hatched=True),
    "drain": Look(_PURPLE),
    "hazard": Look(_PURPLE, is_hatched=True),
    "network": Look(_BROWN),
    "atomic": Look(_BROWN, is_hatched=True),
    "idle": Look("var(--idle)"),  # quiet against either background
}

STAGE_COLOURS = {"ff": _SKY, "bp": _ORANGE, "wu": _GREEN, "update": _YELLOW, "prune": _PURPLE}
"""Colour of each stage of a training iteration; dark text stays legible on all of them."""

SERIES_COLOURS = (_BLUE, _ORANGE, _GREEN, _PURPLE, _VERMILLION, _SKY, _BROWN, _YELLOW)
"""Colours of an experiment's series, in order."""


@dataclass(frozen=True)
class Theme:
    """Colours of a page and its figures."""

    name: str
    background: str
    text: str
    muted: str
    grid: str
    accent: str
    idle: str


THEMES = (
    Theme("light", "#ffffff", "#1a1f26", "#5f6b7a", "#e6e9ee", _BLUE, "#ccd2da"),
    Theme("dark", "#1a1f27", "#e7eaef", "#9aa5b4", "#2d3541", "#5aa9e6", "#3b4552"),
)


def style_sheet() -> str:
    """Return one CSS class ``s-<state>`` per state."""
    rules = []
    for state, look in LOOKS.items():
        paint = look.colour
        if look.is_hatched:
            lines = f"{look.colour} 0 3px, var(--panel) 3px 4.5px"
            paint = f"repeating-linear-gradient(135deg, {lines})"
        rules.append(f".s-{state} {{ background: {paint}; }}")
    return "\n".join(rules)
