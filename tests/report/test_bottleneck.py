"""Does the answer to "where is the bottleneck?" follow from the accounts?"""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.core.result import UnitStats, empty_stalls
from hwsim.report.accounts import layer_rows
from hwsim.report.bottleneck import describe_bottleneck, is_memory_bound


def with_account(run: dict[str, Any], busy: int, idle: int, **stalls: int) -> dict[str, Any]:
    run["units"]["stce"] = UnitStats(busy, empty_stalls() | stalls, idle).to_json()
    return run


@pytest.mark.parametrize(
    ("busy", "idle", "stalls", "verdict"),
    [
        (70, 5, {"fill": 25}, "Compute-bound: stce works in 70.0"),
        (30, 10, {"dram": 50, "load": 10}, "Bound by dram: stce works in 30.0"),
        (20, 70, {"dram": 10}, "Starved of work: stce"),
        (40, 25, {"dram": 35}, "No single bottleneck; most lost to dram"),
        (100, 0, {}, "Compute-bound: stce works in 100.0"),
    ],
)
def test_verdict_names_the_largest_part(
    run: dict[str, Any], busy: int, idle: int, stalls: dict[str, int], verdict: str
) -> None:
    assert describe_bottleneck(with_account(run, busy, idle, **stalls))[0].startswith(verdict)


def test_reasons_are_explained_and_small_ones_left_out(run: dict[str, Any]) -> None:
    text = describe_bottleneck(with_account(run, 30, 10, dram=59, drain=1))[0]
    assert "bytes from or to off-chip memory" in text
    assert "drain" not in text


def test_costliest_layers_are_named(run: dict[str, Any]) -> None:
    run["layers"][7]["cycles"] = run["cycles"]
    assert describe_bottleneck(run)[1].index(run["layers"][7]["name"])


def test_padding_is_the_part_of_issued_slots_that_is_not_useful(run: dict[str, Any]) -> None:
    run |= {"issued_macs": 1000, "useful_macs": 750}
    assert any(text.startswith("25.0\u00a0% of the issued") for text in describe_bottleneck(run))
    run |= {"useful_macs": 1000}
    assert not any("of the issued" in text for text in describe_bottleneck(run))


def test_layer_below_the_ridge_is_memory_bound(run: dict[str, Any]) -> None:
    row = layer_rows(run)[1]
    ridge = row.useful_macs / row.dram_bytes  # bytes/cycle · ridge = peak
    assert is_memory_bound(row, peak=ridge * 100 * 1.001, memory_bytes_per_cycle=100)
    assert not is_memory_bound(row, peak=ridge * 100 * 0.999, memory_bytes_per_cycle=100)


def test_no_roofline_sentence_without_a_bandwidth(run: dict[str, Any]) -> None:
    assert any("roofline" in text for text in describe_bottleneck(run))
    del run["memory_bytes_per_cycle"]
    assert not any("roofline" in text for text in describe_bottleneck(run))


def test_the_rate_taken_from_memory_is_bytes_over_cycles(run: dict[str, Any]) -> None:
    moved = sum(row.dram_bytes for row in layer_rows(run))
    run["memory_bytes_per_cycle"] = 4 * moved / run["cycles"]
    [text] = [text for text in describe_bottleneck(run) if "roofline" in text]
    assert text.endswith("the whole run takes 25.0\u00a0% of memory's rate.")


def test_run_without_layers_or_units_is_described_by_nothing(run: dict[str, Any]) -> None:
    run |= {"layers": [], "units": {}, "issued_macs": 0}
    assert describe_bottleneck(run) == []


def memory_run(load_busy: int, wait: int) -> dict[str, Any]:
    account = {"stall": {"dram": wait}, "idle": 0}
    units = {
        "mv": {**account, "busy": 1000 - wait},
        "ld": {"busy": load_busy, "stall": {}, "idle": 1000 - load_busy},
    }
    layer = {"name": "fc", "cycles": 1000, "unit": "mv", **units["mv"]}
    return {"cycles": 1000, "units": units, "layers": [layer]}


@pytest.mark.parametrize(
    ("load_busy", "wait", "verdict"),
    [
        (900, 350, "Bound by ld, which works in 90.0\u00a0% of all cycles"),
        (640, 350, "Compute-bound"),  # the unit itself works more
        (990, 99, "Compute-bound"),  # it hardly waits
    ],
)
def test_a_busier_unit_that_is_waited_for_is_the_bottleneck(load_busy, wait, verdict):
    assert describe_bottleneck(memory_run(load_busy, wait))[0].startswith(f"{verdict}: mv works")
