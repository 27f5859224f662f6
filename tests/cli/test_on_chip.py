"""``hwsim network`` and ``hwsim scratchpad`` measure, and name what is wrong."""

from __future__ import annotations

import json

import pytest

from hwsim.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_network_is_measured_beside_its_closed_form(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("network", "mesh:4x2", "--pattern", "mirror", "--cycles", "300")
    status, out, _ = run(capsys, *chosen, "--set", "policy=oldest", "--json")
    document = json.loads(out)
    (row,) = document["patterns"]
    assert (status, document["spec"]["policy"]) == (0, "oldest")
    assert row["accepted"] == pytest.approx(row["limit"], rel=0.02)
    assert row["limit"] == 0.5  # two flows per link across the middle
    text = run(capsys, *chosen)[1]
    assert "0.500 (router1.east)" in text


def test_a_scratchpad_is_measured_beside_its_closed_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = ("scratchpad", "--pattern", "stride:4", "--pattern", "hot", "--steps", "20")
    status, out, _ = run(capsys, *chosen, "--set", "banks=8", "--json")
    stride, hot = json.loads(out)["patterns"]
    assert (status, stride["limit"], hot["words_per_cycle"]) == (0, 2.0, 1.0)
    assert "2.00 (2 banks)" in run(capsys, *chosen, "--set", "banks=8")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("network", "ring:4"), "SHAPE: need crossbar:N or mesh:WxH, found 'ring:4'"),
        (("network", "mesh:33x32"), "SHAPE: need at most 1024 nodes, found 'mesh:33x32'"),
        (("network", "crossbar:" + "9" * 5000), "SHAPE: need at most 1024 nodes, found"),
        (("network", "mesh:4"), "SHAPE: need crossbar:N or mesh:WxH, found 'mesh:4'"),
        (("network", "mesh:0x2"), "width: need at least 1, found 0"),
        (("network", "crossbar:4", "--set", "queue=1"), "--set: need a known key"),
        (("network", "crossbar:4", "--pattern", "zigzag"), "--pattern: need one of"),
        (("network", "crossbar:4", "--cycles", "0"), "--cycles: need at least 1, found 0"),
        (("scratchpad", "--set", "banks=0"), "banks: need at least 1, found 0"),
        (("scratchpad", "--set", "banks=6", "--set", "bank_selection=xor"), "banks: need a power"),
        (("scratchpad", "--set", "banks=nan"), "banks: need a finite number, found nan"),
        (("scratchpad", "--pattern", "stride:" + "9" * 5000), "--pattern: need stride:S"),
        (("scratchpad", "--steps", "0"), "--steps: need at least 1, found 0"),
        (("scratchpad", "--pattern", "stride"), "--pattern: need stride:S"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert named in err
