"""Does the terminal summary say the headline, on the stream and in the width asked for?"""

from __future__ import annotations

import io
from typing import Any

import pytest

from hwsim.report.stages import stage_rows
from hwsim.report.text import headline, tier_text, write_summary


def summary(run: dict[str, Any], width: int = 100, top: int = 10) -> str:
    stream = io.StringIO()
    write_summary(run, stream, width=width, top=top)
    return stream.getvalue()


def test_summary_has_headline_bottleneck_and_layers(run: dict[str, Any]) -> None:
    text = summary(run)
    assert "resnet50 on sat (vcu1525)" in text
    assert f"{run['cycles']:,}" in text
    assert "stce works in" in text
    assert "10 most expensive of 50 layers" in text
    assert "note: Batch 8" in text


def test_summary_goes_to_the_given_stream_only(
    run: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    summary(run)
    assert capsys.readouterr() == ("", "")


def test_summary_to_a_file_has_no_colour_codes(run: dict[str, Any]) -> None:
    assert "\x1b" not in summary(run)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_lines_keep_the_width_and_numbers_stay_whole(run: dict[str, Any], width: int) -> None:
    text = summary(run, width)
    assert max(len(line) for line in text.splitlines()) <= width
    costly = max(run["layers"], key=lambda layer: layer["cycles"])
    assert f"{costly['cycles']:,}" in text


def test_top_limits_the_table(run: dict[str, Any]) -> None:
    ranked = sorted(run["layers"], key=lambda layer: -layer["cycles"])
    text = summary(run, 160, top=2)
    table = text[text.index("2 most expensive") :]
    assert ranked[1]["name"] in table
    assert ranked[2]["name"] not in table


def test_name_with_brackets_is_printed_as_it_is(run: dict[str, Any]) -> None:
    run["layers"][0] |= {"name": "[red]x[/red]", "cycles": run["cycles"]}
    assert "[red]x[/red]" in summary(run, 160)


def test_estimate_says_so(run: dict[str, Any]) -> None:
    assert "closed form only" not in summary(run)
    assert "closed form only" in summary(run | {"fidelity": "estimate"})


def test_headline_without_baseline_or_energy_leaves_them_out(run: dict[str, Any]) -> None:
    labels = [label for label, _ in headline(run | {"baseline": {}, "energy_pj": 0.0})]
    assert "against dense" not in labels
    assert "energy" not in labels


def test_verified_outputs_are_told_with_the_gradients_that_are_not_finite(
    run: dict[str, Any],
) -> None:
    assert "outputs" not in dict(headline(run | {"verification": []}))
    records = [{"equal": True}, {"equal": False}, {"equal": True, "nonfinite_gradients": 1234}]
    told = dict(headline(run | {"verification": records}))["outputs"]
    assert told == "2 of 3 checks equal the golden model; 1,234 gradients not finite"


def test_tier_is_never_shown_without_meaning() -> None:
    assert tier_text("T3") == "T3: cycle-exact against RTL co-simulation"
    assert "no accuracy is claimed" in tier_text("")
    assert tier_text("none") == tier_text("")
    assert tier_text("T1 partial") == "T1 partial"


def test_headline_shows_off_chip_traffic_only(run: dict[str, Any]) -> None:
    run["bytes"]["weight_buffer"] = {"read": 1, "write": 1}
    labels = [label for label, _ in headline(run)]
    assert "dram" in labels
    assert "weight_buffer" not in labels


def test_a_training_run_s_summary_has_its_stages_with_exact_cycles(
    training_run: dict[str, Any],
) -> None:
    text = summary(training_run)
    assert "Stages of an iteration" in text
    for row in stage_rows(training_run):
        (line,) = [x for x in text.splitlines() if x.startswith(f"{row.name} ")]
        assert f"{row.cycles:,}" in line
        assert f"{row.array_busy_cycles:,}" in line
    assert "Stages" not in summary(training_run | {"layers": training_run["layers"][:1]})


@pytest.mark.parametrize("width", [80, 100])
def test_a_schedule_is_summed_up_in_one_line_and_a_row_per_frame(
    training_run: dict[str, Any], schedule: dict[str, Any], width: int
) -> None:
    text = summary(training_run | {"schedule": schedule}, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "100 steps" in text
    assert "1.43× as fast as dense training" in " ".join(text.split())
    lines = [line.split() for line in text.splitlines()]
    dense = next(line for line in lines if line[:1] == ["dense"])
    assert dense[1:6] == ["0", "40", "0", "600", "57.1"]  # 24,000 of 42,000 cycles
    assert next(line for line in lines if line[:1] == ["2:8"])[1:5] == ["40", "60", "0", "300"]


def test_area_and_memory_models_are_shown_with_their_doubts(
    run: dict[str, Any], area: dict[str, Any], memory_models: list[dict[str, Any]]
) -> None:
    text = summary(run | {"area": area, "memory_models": memory_models})
    assert "area, vcu1525" in text
    assert "extrapolated" in text
    assert "ideal (this run)" in text
    assert "1,500" in text
