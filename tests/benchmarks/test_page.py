"""Report files: complete, readable, and honest about what was missed or not measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.page import PEERS, markdown_table, write_bench
from benchmarks.rows import Row, row
from hwsim.experiments.host import describe_host

HOST = {"processor": "Abacus <9000>", "cores": 2, "versions": {"python": "3.11"}}
ROWS = [
    row("stepping", 2_500_000, "cycles/s", n=5, least=1e6),
    row("help", 0.9, "s", n=7, most=0.7),
    row("size", 12, "MiB", n=1),
]


def test_table_has_a_line_per_row_with_target_and_verdict() -> None:
    head, rule, *lines = markdown_table(ROWS).splitlines()
    assert head == "| metric | measured | target | met | n |"
    assert set(rule) <= set("|- ")
    assert lines == [
        "| stepping | 2.50 M cycles/s | ≥ 1.00 M cycles/s | yes | 5 |",
        "| help | 0.9 s | ≤ 0.7 s | no | 7 |",
        "| size | 12 MiB | – | – | 1 |",
    ]


def test_json_holds_every_row_the_host_and_the_failures(tmp_path: Path) -> None:
    write_bench(ROWS, HOST, tmp_path, ["commands: no network"])
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["host"] == HOST
    assert [r["metric"] for r in document["rows"]] == ["stepping", "help", "size"]
    assert [r["is_met"] for r in document["rows"]] == [True, False, None]
    assert document["failures"] == ["commands: no network"]


def test_page_names_machine_missed_targets_and_peers(tmp_path: Path) -> None:
    page = write_bench(ROWS, HOST, tmp_path)
    text = page.read_text()
    assert "Abacus &lt;9000&gt;" in text
    assert "1 target missed.</b> help." in text
    assert PEERS in text
    assert "Every target is met" not in text


def test_page_says_when_every_target_is_met(tmp_path: Path) -> None:
    text = write_bench(ROWS[:1], HOST, tmp_path).read_text()
    assert "Every target is met" in text


def test_a_rewritten_report_leaves_no_other_files(tmp_path: Path) -> None:
    write_bench(ROWS, HOST, tmp_path)
    write_bench(ROWS[:1], HOST, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bench.json", "bench.md", "index.html"]
    assert len(json.loads((tmp_path / "bench.json").read_text())["rows"]) == 1


def _good(n: int) -> Iterator[Row]:
    yield row("fine", 1.0, "s", n=n, most=2.0)


def _broken(n: int) -> Iterator[Row]:
    yield row("before", 1.0, "s", n=n)
    raise RuntimeError("hwsim sim: need a network")


def test_a_group_that_fails_is_reported_and_does_not_take_the_others_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "GROUPS", {"broken": _broken, "good": _good})
    status = run.main(["--report", str(tmp_path), "--samples", "4"])
    out = capsys.readouterr().out
    assert status == 1
    assert "| before | 1 s | – | – | 4 |" in out
    assert "| fine | 1 s | ≤ 2 s | yes | 4 |" in out
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["failures"] == ["broken: hwsim sim: need a network"]


def test_a_complete_run_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GROUPS", {"good": _good})
    assert run.main(["--report", str(tmp_path)]) == 0


def test_host_names_processor_cores_and_versions() -> None:
    host = describe_host()
    assert host["processor"]
    assert host["cores"] >= 1
    assert {"python", "hwsim", "numpy", "numba"} <= set(host["versions"])
