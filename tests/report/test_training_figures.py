"""Do a training run's figures show its stages and its schedule, and nothing else?"""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.report.figures import run_charts
from hwsim.report.stages import stage_rows
from hwsim.report.training_figures import (
    methods_chart,
    schedule_chart,
    stages_chart,
    training_charts,
)

CLOCK_HZ = 200_000_000


@pytest.fixture(autouse=True)
def coarse_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few pixels: these tests are about what is drawn."""
    monkeypatch.setattr("hwsim.report.canvas.DOTS_PER_INCH", 40)


def test_a_training_run_leads_with_schedule_and_stages(
    training_run: dict[str, Any], schedule: dict[str, Any]
) -> None:
    slugs = [chart.slug for chart in run_charts(training_run | {"schedule": schedule})]
    assert slugs[:3] == ["schedule", "stages", "where"]
    assert [chart.slug for chart in training_charts(training_run)] == ["stages"]


def test_inference_has_neither(small_run: dict[str, Any]) -> None:
    assert training_charts(small_run) == []


def test_the_dense_bar_needs_a_baseline(training_run: dict[str, Any]) -> None:
    with_dense = stages_chart(stage_rows(training_run))
    without = stages_chart(stage_rows(training_run | {"baseline": {}}))
    assert with_dense.png["light"] != without.png["light"]


def test_a_stage_that_takes_longer_gives_another_image(training_run: dict[str, Any]) -> None:
    before = stages_chart(stage_rows(training_run))
    training_run["layers"][0]["cycles"] *= 2
    assert stages_chart(stage_rows(training_run)).png != before.png


def test_the_schedule_s_caption_has_the_run_s_time_and_gain(schedule: dict[str, Any]) -> None:
    chart = schedule_chart(schedule, CLOCK_HZ)
    assert "210\u00a0µs" in chart.caption  # 42,000 cycles at 200 MHz
    assert "1.43×" in chart.caption
    assert "30.0\u00a0% of its time saved" in chart.caption  # 18,000 of 60,000 cycles


def test_a_frame_that_takes_longer_gives_another_image(schedule: dict[str, Any]) -> None:
    before = schedule_chart(schedule, CLOCK_HZ)
    schedule["frames"][1]["cycles_per_step"] = 450
    assert schedule_chart(schedule, CLOCK_HZ).png != before.png


def test_methods_are_drawn_by_stage_and_another_share_gives_another_image() -> None:
    def drawn(bp: float) -> bytes:
        shares = {"dense": {"ff": 0.3, "bp": 0.3, "wu": 0.4}, "sparse": {"ff": 0.1, "bp": bp}}
        return methods_chart("methods", "Methods", "What they are.", shares).png["light"]

    assert drawn(0.2) == drawn(0.2)
    assert drawn(0.2) != drawn(0.1)
