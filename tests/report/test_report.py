"""Is a written report complete, self-contained, safe to overwrite, and honest?"""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.result import Claim
from hwsim.report import report as report_module
from hwsim.report.canvas import Chart
from hwsim.report.pages import slugs_of
from hwsim.report.quantities import format_percent
from hwsim.report.report import Report
from hwsim.report.tables import DataTable

VOID = {"meta", "img", "source", "br"}
PROVENANCE = {"commit": "abc123", "command": "hwsim run <x>", "seed": 7, "versions": {"py": "3"}}


class Page(HTMLParser):
    """Collect a page's text, references and unbalanced tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.broken: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.broken += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the slow part where a test is not about it."""
    monkeypatch.setattr("hwsim.report.figures.run_charts", lambda run: [])


@pytest.fixture
def written(
    tmp_path: Path, small_run: dict[str, Any], claims: list[Claim], no_figures: None
) -> Path:
    other = copy.deepcopy(small_run) | {"tier": "", "baseline": {}}
    Report([small_run, other], claims, "Trial", PROVENANCE).write(tmp_path / "out")
    return tmp_path / "out"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def pages(folder: Path) -> dict[str, Page]:
    return {path.name: Page(path) for path in folder.glob("*.html")}


def test_every_promised_file_is_there(tmp_path: Path, small_run: dict[str, Any]) -> None:
    Report([small_run]).write(tmp_path / "out")
    names = set(snapshot(tmp_path / "out"))
    assert {"index.html", "results.json", "run-resnet50-sat-vcu1525.html"} <= names
    assert "figures/resnet50-sat-vcu1525-roofline.png" in names
    assert set(json.loads((tmp_path / "out" / "results.json").read_text())["files"]) == names
    page = Page(tmp_path / "out" / "run-resnet50-sat-vcu1525.html")
    inline = [r for r in page.references if r.startswith("data:image/png;base64,")]
    assert len(inline) == sum(name.endswith(".png") for name in names) == 10


def test_pages_are_balanced_and_need_no_network(written: Path) -> None:
    for name, page in pages(written).items():
        assert page.broken == [], name
        assert "link" not in page.tags
        for reference in page.references:
            inline = reference.startswith(("data:image/png;base64,", "#"))
            assert inline or (written / reference).is_file(), reference[:80]


def test_a_missing_page_would_be_noticed(written: Path) -> None:
    (written / "run-resnet50-sat-vcu1525-2.html").unlink()
    links = Page(written / "index.html").references
    assert any(not r.startswith(("data:", "#")) and not (written / r).is_file() for r in links)


def test_pages_show_provenance_tier_and_layers(written: Path, small_run: dict[str, Any]) -> None:
    page = pages(written)["run-resnet50-sat-vcu1525.html"]
    for text in ("abc123", "hwsim run <x>", small_run["spec_hash"], "cycles within analytic"):
        assert text in page.text
    assert all(layer["name"] in page.text for layer in small_run["layers"])
    assert "no accuracy is claimed" in pages(written)["run-resnet50-sat-vcu1525-2.html"].text


def test_claims_show_both_values_error_tolerance_and_outcome(written: Path) -> None:
    text = pages(written)["index.html"].text
    assert "1 of 3 claims within tolerance" in text
    for part in ("1200", "1000", "+20.0", "co-simulation of the array", "fail", "not gated"):
        assert part in text


def test_claims_fail_by_gate(small_run: dict[str, Any], claims: list[Claim]) -> None:
    report = Report([small_run], claims)
    assert [c.id for c in report.failed_claims()] == ["sat.cycles"]
    assert [c.id for c in report.failed_claims(only_gated=False)] == ["sat.cycles", "sat.energy"]


@pytest.mark.usefixtures("no_figures")
def test_text_from_documents_is_never_markup(tmp_path: Path, small_run: dict[str, Any]) -> None:
    attack = '<script>alert("x")</script>'
    small_run["layers"][0] |= {"name": attack, "kind": attack, "unit": attack}
    small_run["layers"][0]["mapping"] = {"dataflow": attack, "note": attack}
    small_run |= {"model": attack, "notes": [attack], "tier": attack, "unmodelled": [{attack: 1}]}
    claim = Claim(attack, attack, 1.0, 1.0, attack, 0.0, attack, True, attack)
    Report([small_run], [claim], attack, {"command": attack}).write(tmp_path / "out")
    for page in pages(tmp_path / "out").values():
        assert page.tags.count("script") == 1
        assert page.broken == []
        assert attack in page.text


@pytest.mark.usefixtures("no_figures")
def test_two_reports_of_equal_runs_are_equal(tmp_path: Path, small_run: dict[str, Any]) -> None:
    for name in ("a", "b"):
        Report([small_run], [], "Trial", PROVENANCE).write(tmp_path / name)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


@pytest.mark.usefixtures("no_figures")
def test_interrupted_report_leaves_the_earlier_one(
    written: Path, small_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(written)

    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(report_module, "render_overview", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Report([small_run | {"model": "other"}]).write(written)
    assert snapshot(written) == before
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.usefixtures("no_figures")
def test_rewriting_removes_stale_pages_but_no_foreign_file(
    written: Path, small_run: dict[str, Any]
) -> None:
    (written / "mine.txt").write_text("keep")
    Report([small_run]).write(written)
    names = set(snapshot(written))
    assert "mine.txt" in names
    assert "run-resnet50-sat-vcu1525-2.html" not in names


@pytest.mark.usefixtures("no_figures")
def test_listed_names_outside_the_folder_are_not_removed(
    tmp_path: Path, small_run: dict[str, Any]
) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("keep")
    folder = tmp_path / "out"
    folder.mkdir()
    files = ["../victim.txt", str(victim), 3]
    (folder / "results.json").write_text(json.dumps({"files": files}))
    Report([small_run]).write(folder)
    assert victim.read_text() == "keep"


def test_sparse_document_still_has_a_page(tmp_path: Path) -> None:
    bare = {"cycles": 0, "clock_hz": 1, "time_s": 0.0, "layers": [], "units": {}}
    Report([bare]).write(tmp_path / "out")
    assert pages(tmp_path / "out")["run-run.html"].broken == []


@pytest.mark.usefixtures("no_figures")
def test_numbers_that_json_lacks_become_null(tmp_path: Path, small_run: dict[str, Any]) -> None:
    small_run["layers"][0]["cycles"] = np.int64(small_run["layers"][0]["cycles"])
    claim = Claim("nan", "", float("nan"), 1.0, "", 0.1, "peer", True, "")
    report = Report([small_run], [claim])
    report.write(tmp_path / "out")
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["claims"][0]["simulated"] is None
    assert report.failed_claims() == [claim]


def test_document_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^results\[0\]: need a run document"):
        Report([{"cycles": 3}]).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_in_the_folders_place_is_refused(tmp_path: Path, small_run: dict[str, Any]) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="need a folder, found a file"):
        Report([small_run]).write(tmp_path / "out")


def test_runs_with_equal_names_get_pages_of_their_own() -> None:
    runs = [{"model": "A/b", "machine": "sat"}] * 3
    assert slugs_of(runs) == ["a-b-sat", "a-b-sat-2", "a-b-sat-3"]


@pytest.mark.usefixtures("no_figures")
def test_layers_without_cycles_fold_away_but_stay_in_the_page(
    tmp_path: Path, small_run: dict[str, Any]
) -> None:
    fused = copy.deepcopy(small_run["layers"][0]) | {"name": "relu", "cycles": 0, "busy": 0}
    fused |= {"stall": {}, "idle": 0}
    small_run["layers"].append(fused)
    Report([small_run]).write(tmp_path / "out")
    page = Page(tmp_path / "out" / "run-resnet50-sat-vcu1525.html")
    assert "relu" in page.text
    assert "Show the 1 layer that adds no cycles" in page.text


def chart(slug: str) -> Chart:
    """Return a chart of one pixel's worth of bytes per theme."""
    return Chart(slug, f"Title of {slug}", "What it shows.", {"light": b"L", "dark": b"D"})


@pytest.mark.usefixtures("no_figures")
def test_experiments_figures_are_files_and_on_the_overview(tmp_path: Path) -> None:
    charts = [chart("sweep"), chart("ablation")]
    Report([], charts=charts).write(tmp_path / "out")
    names = set(snapshot(tmp_path / "out"))
    assert {"figures/sweep.png", "figures/sweep-dark.png", "figures/ablation.png"} <= names
    page = Page(tmp_path / "out" / "index.html")
    assert page.broken == []
    assert page.text.index("Title of sweep") < page.text.index("Title of ablation")
    assert "All runs" not in page.text  # none were made


@pytest.mark.usefixtures("no_figures")
def test_what_could_not_be_checked_is_listed_on_page_and_in_data(tmp_path: Path) -> None:
    Report([], unchecked=["power: <no number> at hand"]).write(tmp_path / "out")
    assert "power: <no number> at hand" in Page(tmp_path / "out" / "index.html").text
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["unchecked"] == ["power: <no number> at hand"]


@pytest.mark.usefixtures("no_figures")
def test_an_experiments_table_is_on_the_overview_and_in_the_data(tmp_path: Path) -> None:
    rows = [{"part": "hbm <2>", "value": 6.25, "share_of_all": 0.5}, {"part": "missing", "of": "x"}]
    Report([], tables=[DataTable("Power by part", "What is missing.", rows)]).write(
        tmp_path / "out"
    )
    text = Page(tmp_path / "out" / "index.html").text
    assert text.index("Power by part") < text.index("hbm <2>") < text.index("What is missing.")
    assert "share of all" in text
    assert format_percent(0.5) in text  # not 0.5
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["tables"][0]["rows"] == rows


def test_a_report_of_checked_things_alone_has_no_such_list(written: Path) -> None:
    text = pages(written)["index.html"].text
    assert "not checked" not in text
    assert "Experiments" not in text


@pytest.mark.usefixtures("no_figures")
def test_a_training_run_s_page_has_schedule_and_stages(
    tmp_path: Path, training_run: dict[str, Any], schedule: dict[str, Any]
) -> None:
    Report([training_run | {"schedule": schedule}]).write(tmp_path / "out")
    page = pages(tmp_path / "out")["run-resnet50-sat-vcu1525.html"]
    assert page.broken == []
    for text in (
        "Training run",
        "42,000 cycles",
        "1.43×",
        "Stages of an iteration",
        "N:M selection",
    ):
        assert text in page.text


@pytest.mark.usefixtures("no_figures")
def test_inference_has_neither_schedule_nor_stages(
    tmp_path: Path, small_run: dict[str, Any]
) -> None:
    Report([small_run]).write(tmp_path / "out")
    text = pages(tmp_path / "out")["run-resnet50-sat-vcu1525.html"].text
    assert "Training run" not in text
    assert "Stages of an iteration" not in text
