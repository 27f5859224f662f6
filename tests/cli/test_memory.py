"""``hwsim memory`` lists, measures, writes a page, and names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["memory", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_without_a_device_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0
    assert rows["hbm2-1800"]["peak_bytes_per_s"] == 460_800_000_000
    assert "ddr4-2400" in run(capsys)[1]


def test_measurement_is_one_document_and_a_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = ("ddr4-3200", "--pattern", "stream", "--pattern", "random")
    status, out, _ = run(capsys, *chosen, "--json", "--report", str(tmp_path / "page"))
    document = json.loads(out)
    assert status == 0
    assert [row["pattern"] for row in document["patterns"]] == ["stream", "random"]
    assert 0.9 < document["patterns"][0]["share"] < 1
    assert json.loads((tmp_path / "page/memory.json").read_text()) == document
    page = (tmp_path / "page/index.html").read_text()
    assert page.count("<figure") == 2
    assert "DDR4.cpp" in page  # sources are shown
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "index.html",
        "memory.json",
    ]


def test_text_names_pattern_limit_and_latency(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "ddr4-3200", "--pattern", "random")
    assert status == 0
    assert "(tFAW)" in out
    assert "offered share" in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("ddr9",), "memory.device: need one of"),
        (("ddr4-2400", "--channels", "0"), "dram.ddr4-2400.channels: need a power of two"),
        (("ddr4-2400", "--pattern", "zigzag"), "--pattern: need one of"),
        (("ddr4-2400", "--scheduler", "best"), "memory.scheduler: need one of frfcfs, fcfs"),
        (("ddr4-2400", "--refresh", "per_bank"), "memory.refresh: need all_bank or none"),
        (("ddr4-2400", "--mapping", "RoCo"), "memory.mapping: need a place for"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {named}")
    assert err.count("\n") == 1
