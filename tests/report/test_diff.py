"""Does a comparison of two runs say what changed, where, and by how much?"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from hwsim.core.errors import InputError
from hwsim.report.diff import diff_results, format_diff, load_run


def test_run_equals_itself(run: dict[str, Any]) -> None:
    diff = diff_results(run, run)
    assert diff["identity"] == diff["spec"] == {}
    assert diff["added"] == diff["removed"] == []
    assert all(entry["cycles"]["delta"] == 0 for entry in diff["layers"])
    assert "50 of 50 layers are equal" in format_diff(diff)


def test_changed_layer_is_reported_with_delta_and_ratio(run: dict[str, Any]) -> None:
    after = copy.deepcopy(run)
    after["layers"][4]["cycles"] *= 2
    after["layers"][4]["bytes"]["dram"]["read"] += 64
    diff = diff_results(run, after)
    changed = [e for e in diff["layers"] if e["cycles"]["delta"] or e["bytes"]["delta"]]
    assert [entry["name"] for entry in changed] == [run["layers"][4]["name"]]
    cycles = run["layers"][4]["cycles"]
    assert changed[0]["cycles"] == {
        "a": cycles,
        "b": 2 * cycles,
        "delta": cycles,
        "ratio": 2.0,
    }
    assert changed[0]["dram_bytes"]["delta"] == 64


def test_layers_are_matched_by_name_not_by_place(run: dict[str, Any]) -> None:
    after = copy.deepcopy(run)
    after["layers"].reverse()
    assert all(entry["cycles"]["delta"] == 0 for entry in diff_results(run, after)["layers"])


def test_added_and_removed_layers_are_listed(run: dict[str, Any]) -> None:
    after = copy.deepcopy(run)
    after["layers"][0]["name"] = "stem"
    diff = diff_results(run, after)
    assert (diff["added"], diff["removed"]) == (["stem"], [run["layers"][0]["name"]])
    assert "added: stem" in format_diff(diff)


def test_spec_and_identity_differences_are_named(run: dict[str, Any]) -> None:
    after = copy.deepcopy(run) | {"preset": "small"}
    after["spec"]["array"]["rows"] = 64
    diff = diff_results(run, after)
    assert diff["spec"] == {"array.rows": {"a": 32, "b": 64}}
    assert list(diff["identity"]) == ["preset"]
    assert "spec.array.rows: 32 → 64" in format_diff(diff)


def test_layer_that_took_no_cycles_has_no_ratio(run: dict[str, Any]) -> None:
    before = copy.deepcopy(run)
    before["layers"][0]["cycles"] = 0
    diff = diff_results(before, run)
    assert diff["layers"][0]["cycles"]["ratio"] is None
    assert "–" in format_diff(diff)


def test_largest_change_comes_first(run: dict[str, Any]) -> None:
    after = copy.deepcopy(run)
    after["layers"][2]["cycles"] += 10
    after["layers"][9]["cycles"] -= 1000
    lines = format_diff(diff_results(run, after)).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [
        run["layers"][9]["name"],
        run["layers"][2]["name"],
    ]


def test_diff_is_json(run: dict[str, Any]) -> None:
    json.dumps(diff_results(run, run), allow_nan=False)


def test_file_is_read_back(tmp_path: Path, run: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(run))
    assert load_run(path) == json.loads(json.dumps(run))


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"cycles": 3}'])
def test_file_that_is_no_run_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match="need a run document") as caught:
        load_run(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_run(tmp_path / "absent.json")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\x80\x81\xff")
    with pytest.raises(InputError, match="no JSON"):
        load_run(tmp_path / "a.json")


def test_document_that_is_no_run_is_refused(run: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="^second file"):
        diff_results(run, {"cycles": 1})
