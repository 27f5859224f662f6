"""Can every pair of states be told apart, also with a colour-vision deficiency?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim.core.result import STALL_REASONS
from hwsim.report.counters import REASON_MEANINGS
from hwsim.report.palette import LOOKS, STATES, THEMES, style_sheet

# Complete deficiency, linear RGB to linear RGB (Machado et al. 2009, severity 1.0).
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
MIN_DELTA_E = 15.0
"""CIE76 difference; about 2.3 is just noticeable (Mahy et al. 1994)."""


def seen_lab(colour: str, deficiency: str) -> NDArray[np.float64]:
    """Return CIELAB of ``#rrggbb`` as seen with ``deficiency``."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = RGB_TO_XYZ @ np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
    f = np.cbrt(xyz / (RGB_TO_XYZ @ np.ones(3)))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def delta_e(a: str, b: str, deficiency: str) -> float:
    return float(np.linalg.norm(seen_lab(a, deficiency) - seen_lab(b, deficiency)))


def test_every_state_has_one_look_and_a_meaning() -> None:
    assert set(LOOKS) == set(STATES) == {"busy", "idle", *STALL_REASONS}
    assert set(REASON_MEANINGS) == set(STALL_REASONS)
    assert len(set(LOOKS.values())) == len(LOOKS)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_solid_colours_differ_visibly(theme: object, deficiency: str) -> None:
    idle = next(t.idle for t in THEMES if t is theme)
    solid = [x.colour for state, x in LOOKS.items() if not x.is_hatched and state != "idle"]
    for a, b in itertools.combinations([*solid, idle], 2):
        assert delta_e(a, b, deficiency) > MIN_DELTA_E, (a, b)


def test_red_and_green_of_equal_lightness_would_fail() -> None:
    assert delta_e("#cc3311", "#557733", "none") > MIN_DELTA_E
    assert delta_e("#b04a1a", "#6f6a14", "deuteranopia") < MIN_DELTA_E


def test_style_sheet_paints_every_state() -> None:
    assert all(f".s-{state} {{" in style_sheet() for state in STATES)
