"""Do the rows and parts a report shows add up to the document?"""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.core.errors import InputError
from hwsim.core.result import Result
from hwsim.report.accounts import (
    check_run,
    compute_unit,
    cycle_parts,
    layer_rows,
    moved_bytes,
    parts_of,
    read_account,
)


def test_fixture_keeps_the_contract(result: Result) -> None:
    result.check()


def test_parts_sum_to_the_makespan(run: dict[str, Any]) -> None:
    parts = cycle_parts(run)
    assert sum(part.cycles for part in parts) == run["cycles"]
    assert sum(part.share for part in parts) == pytest.approx(1.0)


def test_parts_fall_short_when_a_layer_is_lost(run: dict[str, Any]) -> None:
    run["layers"].pop()
    assert sum(part.cycles for part in cycle_parts(run)) < run["cycles"]


def test_parts_are_sorted_and_busy_is_kept_per_unit(run: dict[str, Any]) -> None:
    parts = cycle_parts(run)
    assert [p.cycles for p in parts] == sorted((p.cycles for p in parts), reverse=True)
    assert {p.label for p in parts if p.state == "busy"} == {"stce busy", "vector busy"}


def test_parts_come_from_the_unit_when_there_are_no_layers(run: dict[str, Any]) -> None:
    run["layers"] = []
    assert sum(part.cycles for part in cycle_parts(run)) == run["cycles"]


def test_row_derives_utilization_and_speedup(run: dict[str, Any]) -> None:
    row, layer = layer_rows(run)[1], run["layers"][1]
    slots = layer["cycles"] * run["peak_macs_per_cycle"]
    assert row.utilization == layer["useful_macs"] / slots
    assert row.speedup == run["baseline"]["layers"][row.name] / layer["cycles"]
    assert row.density == 0.25
    assert row.dram_bytes == sum(layer["bytes"]["dram"].values())


def test_row_without_baseline_has_no_speedup(run: dict[str, Any]) -> None:
    run["baseline"] = {}
    assert all(row.speedup is None for row in layer_rows(run))


def test_product_is_taken_from_the_mapping_else_from_the_dims(run: dict[str, Any]) -> None:
    with_mapping = layer_rows(run)[0].gemm
    del run["layers"][0]["mapping"]["gemm"]
    assert layer_rows(run)[0].gemm == with_mapping == "25088×64×64"
    assert layer_rows(run)[5].gemm.endswith(" elems")


def test_compute_unit_has_most_layer_cycles(run: dict[str, Any]) -> None:
    assert compute_unit(run) == "stce"
    for layer in run["layers"]:
        layer["unit"] = "vector"
    assert compute_unit(run) == "vector"


def test_account_without_a_reason_counts_zero() -> None:
    account = read_account({"busy": 3, "stall": {"dram": 2}, "idle": 1})
    assert account.total == 6
    assert [part.state for part in parts_of(account)] == ["busy", "dram", "idle"]


def test_only_off_chip_levels_are_dram_bytes() -> None:
    assert moved_bytes({"dram": {"read": 5, "write": 2}, "sram": {"read": 100}}) == 7


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"cycles": "many"}, "no 'cycles'"),
        ({"cycles": True}, "no 'cycles'"),
        ({"clock_hz": 0}, "clock_hz 0"),
        ({"layers": {}}, "no 'layers'"),
        ({"layers": [{"name": "a"}]}, "layers[0]"),
        ({"units": []}, "no 'units'"),
    ],
)
def test_document_that_is_no_run_is_refused_in_one_line(
    run: dict[str, Any], change: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError, match=r"^a\.json: need a run document") as caught:
        check_run({**run, **change}, "a.json")
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_is_no_run() -> None:
    with pytest.raises(InputError, match="found list"):
        check_run([], "a.json")
