"""Are figures drawn when the document has the numbers, and only then?"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from hwsim.core.result import Claim
from hwsim.report.accounts import layer_rows
from hwsim.report.canvas import Chart, plain_label
from hwsim.report.figures import TOP_LAYERS, _top_rows, run_charts
from hwsim.report.overview_figures import claims_chart, runs_chart
from hwsim.report.palette import THEMES
from hwsim.report.roofline import _name_points


@pytest.fixture(autouse=True)
def coarse_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few pixels: these tests are about what is drawn."""
    monkeypatch.setattr("hwsim.report.canvas.DOTS_PER_INCH", 40)


PNG = b"\x89PNG\r\n\x1a\n"


def slugs(charts: list[Chart]) -> list[str]:
    return [chart.slug for chart in charts]


def test_run_with_all_numbers_has_all_figures_in_both_themes(small_run: dict[str, Any]) -> None:
    charts = run_charts(small_run)
    assert slugs(charts) == ["where", "units", "layers", "roofline", "dense"]
    for chart in charts:
        assert set(chart.png) == {"light", "dark"}
        assert all(png.startswith(PNG) for png in chart.png.values())
        assert chart.png["light"] != chart.png["dark"]


def test_figures_that_lack_numbers_are_left_out(small_run: dict[str, Any]) -> None:
    small_run |= {"baseline": {}, "peak_macs_per_cycle": 0}
    assert slugs(run_charts(small_run)) == ["where", "units", "layers"]


def test_roofline_without_bandwidth_still_has_its_compute_roof(small_run: dict[str, Any]) -> None:
    del small_run["memory_bytes_per_cycle"]
    charts = {chart.slug: chart for chart in run_charts(small_run)}
    assert "1024 MACs/cycle" in charts["roofline"].caption
    assert "memory roof" not in charts["roofline"].caption


def test_layers_at_one_dot_of_the_roofline_share_a_label(small_run: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    row = next(row for row in layer_rows(small_run) if row.useful_macs)
    axes = Figure().subplots()
    points = [(1.0, 100.0), (1.01, 99.0), (2.0, 100.0)]
    _name_points(axes, THEMES[0], [row] * 3, points)
    assert [text.get_text() for text in axes.texts[:-1]] == ["1,2", "3"]


def test_empty_run_has_no_figures(small_run: dict[str, Any]) -> None:
    assert run_charts(small_run | {"cycles": 0, "layers": [], "units": {}}) == []


def test_equal_runs_give_equal_images(small_run: dict[str, Any]) -> None:
    assert run_charts(small_run) == run_charts(small_run)


def test_another_account_gives_another_image(small_run: dict[str, Any]) -> None:
    before = run_charts(small_run)[0]
    layer = small_run["layers"][0]
    moved = layer["busy"] // 2
    layer["busy"] -= moved
    layer["stall"]["dram"] += moved
    assert run_charts(small_run)[0].png != before.png


@pytest.mark.parametrize("name", ["$x_1$", "層.重み", "a" * 90, "tab\there", "new\nline", ""])
def test_any_layer_name_can_be_drawn(small_run: dict[str, Any], name: str) -> None:
    small_run["layers"][0]["name"] = name
    small_run |= {"units": {name: small_run["units"]["stce"]}}
    assert run_charts(small_run)


def test_label_keeps_both_ends() -> None:
    label = plain_label("model.layers.17.mlp.experts.63.down_proj.weight", 21)
    assert (len(label), label[:5], label[-6:]) == (21, "model", "weight")


def test_others_are_their_mean_and_keep_their_share(run: dict[str, Any]) -> None:
    rows = layer_rows(run)
    top = _top_rows(rows, TOP_LAYERS)
    assert len(top) == TOP_LAYERS + 1
    assert [row.index for row in top[:-1]] == sorted(row.index for row in top[:-1])
    others = sorted(rows, key=lambda row: -row.cycles)[TOP_LAYERS:]
    assert top[-1].cycles == sum(row.cycles for row in others) // len(others)
    assert sum(row.share for row in top) == pytest.approx(1.0)


def test_layers_that_take_no_cycles_are_not_drawn(small_run: dict[str, Any]) -> None:
    small_run["layers"][0]["cycles"] = 0
    small_run["baseline"] = {}
    assert len(_top_rows(layer_rows(small_run), TOP_LAYERS)) == 2


def test_overview_figures_take_zero_cycles_and_undefined_errors(small_run: dict[str, Any]) -> None:
    assert runs_chart(["a"], [small_run | {"cycles": 0, "layers": []}]).png
    undefined = Claim("x", "", float("nan"), 1.0, "", 0.1, "peer", True, "")
    assert claims_chart([undefined]).png


def test_global_plotting_state_is_not_used(small_run: dict[str, Any]) -> None:
    run_charts(small_run)
    assert "matplotlib.pyplot" not in sys.modules
