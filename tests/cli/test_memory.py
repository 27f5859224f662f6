"""``hwsim memory`` lists, measures, writes a page, and names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.cli.main import main
from hwsim.components.dram.devices import load_device


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
    assert f"{document['patterns'][0]['bytes_per_s'] / 1e9:.1f}\u00a0GB<" in page
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
        (("ddr4-2400", "--channels", "512"), "dram.ddr4-2400.channels: need at most 256, found"),
        (("ddr4-2400", "--seed", "-1"), "--seed: need"),
        (("--activated-first",), "--activated-first: need a device to measure, found none"),
        (("ddr4-2400", "--pattern", "zigzag"), "--pattern: need one of"),
        (("ddr4-2400", "--scheduler", "best"), "memory.scheduler: need one of frfcfs, fcfs"),
        (("ddr4-2400", "--refresh", "per_bank"), "memory.refresh: need all_bank or none"),
        (("ddr4-2400", "--mapping", "RoCo"), "memory.mapping: need a place for"),
        (("ddr4-2400", "--timing", "RAS=60"), "dram.ddr4-2400.RC: need at least RAS + RP = 77"),
        (("ddr4-2400", "--timing", "FAW=0"), "dram.ddr4-2400.FAW: need 1 to 131072 clocks"),
        (("ddr4-2400", "--timing", "tRAS=40"), "dram.ddr4-2400.timings: need one of"),
        (("ddr4-2400", "--timing", "RAS=" + "9" * 5000), "--timing: need NAME=CLOCKS, found"),
        (("ddr4-2400", "--timing", "RAS"), "--timing: need NAME=CLOCKS, found 'RAS'"),
        (("ddr4-2400", "--requests", "/no/file"), "/no/file: need a file of text"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {named}")
    assert err.count("\n") == 1


def test_requests_of_a_file_are_served(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One read alone takes ACT, tRCD, CL and its data; a longer tRCD adds its difference."""
    trace = tmp_path / "trace.txt"
    trace.write_text("# one block\n0 0 64 R\n")
    timings = load_device("ddr4-2400").timings
    alone = timings["RCD_RD"] + timings["CL"] + timings["BL"]
    served = json.loads(run(capsys, "ddr4-2400", "--requests", str(trace), "--json")[1])
    assert (served["requests"], served["clocks"], served["counts"]["misses"]) == (1, alone, 1)
    slower = f"RCD_RD={timings['RCD_RD'] + 3}"
    served = run(capsys, "ddr4-2400", "--requests", str(trace), "--timing", slower)[1]
    assert f"1 requests in {alone + 3} clocks" in served


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("0 68719476736 64 R", "requests[1].address: need 0 to 68719476735"),
        ("0 68719476735 2 R", "requests[1].address: need 0 to 68719476735"),
        ("0 64 0 R", "requests[1].size_bytes: need at least 1"),
    ],
)
def test_a_request_beyond_the_device_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, named: str
) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text(f"0 0 64 R\n{line}\n")
    status, out, err = run(capsys, "ddr4-2400", "--requests", str(trace))
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {named}")
    assert err.count("\n") == 1


def test_a_file_excludes_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "ddr4-2400", "--requests", "x", "--pattern", "stream")
    assert status == 2
    assert err.startswith("error: --requests: need neither --pattern nor --report")
