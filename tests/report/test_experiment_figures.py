"""Do bars and lines of an experiment follow its numbers?"""

from __future__ import annotations

import pytest

from hwsim.report.canvas import Chart
from hwsim.report.experiment_figures import bar_chart, group_chart, line_chart


@pytest.fixture(autouse=True)
def coarse_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few pixels: these tests are about what is drawn."""
    monkeypatch.setattr("hwsim.report.canvas.DOTS_PER_INCH", 40)


def bars(series: dict[str, list[float]]) -> Chart:
    return group_chart("bars", "Bars", "What they are.", "longer", ["a", "b"], series)


def lines(series: dict[str, list[float]]) -> Chart:
    return line_chart("lines", "Lines", "What they are.", ("x", "y"), ["1", "2"], series)


@pytest.mark.parametrize("draw", [bars, lines])
def test_another_number_gives_another_image_and_the_same_one_does_not(draw) -> None:
    first = draw({"p": [0.5, 0.1], "q": [0.2, 0.3]})
    assert set(first.png) == {"light", "dark"}
    assert draw({"p": [0.5, 0.1], "q": [0.2, 0.3]}) == first
    assert draw({"p": [0.5, 0.1], "q": [0.2, 0.9]}).png != first.png


@pytest.mark.parametrize("values", [[0.0, 0.0], [-0.4, 0.2], [1e-6, 3e6]])
@pytest.mark.parametrize("draw", [bars, lines])
def test_gains_losses_and_nothing_at_all_can_be_drawn(draw, values: list[float]) -> None:
    assert draw({"p": values}).png


def test_more_series_than_colours_can_be_drawn() -> None:
    series = {str(i): [float(i), 1.0] for i in range(12)}
    assert bars(series).png
    assert lines(series).png


def test_bars_on_a_logarithmic_axis_follow_their_values() -> None:
    first = bar_chart("log", "Log", "What they are.", "cycles", {"a": 3.0, "b": 40_000.0})
    other = bar_chart("log", "Log", "What they are.", "cycles", {"a": 3.0, "b": 90_000.0})
    assert other.png != first.png
