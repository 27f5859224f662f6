"""Are the stages of an iteration the sums of their layers, and none forgotten?"""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.report.stages import StageRow, stage_of, stage_rows


def by_stage(run: dict[str, Any]) -> dict[str, StageRow]:
    return {row.stage: row for row in stage_rows(run)}


def layers_of(run: dict[str, Any], stage: str) -> list[dict[str, Any]]:
    return [x for x in run["layers"] if stage_of(x["kind"], x["stage"]) == stage]


@pytest.mark.parametrize(
    ("kind", "stage", "counted"),
    [
        ("conv", "ff", "ff"),
        ("elementwise", "bp", "bp"),
        ("conv_wgrad", "wu", "wu"),
        ("weight_update", "wu", "update"),
        ("nm_prune", "wu", "prune"),  # pre-generated
        ("nm_prune", "ff", "prune"),  # in front of its product
    ],
)
def test_updates_and_selections_are_stages_of_their_own(
    kind: str, stage: str, counted: str
) -> None:
    assert stage_of(kind, stage) == counted


def test_stages_come_in_the_order_of_an_iteration_and_sum_to_the_run(
    training_run: dict[str, Any],
) -> None:
    rows = stage_rows(training_run)
    assert [row.stage for row in rows] == ["ff", "bp", "wu", "update", "prune"]
    assert sum(row.cycles for row in rows) == training_run["cycles"]
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert sum(row.macs for row in rows) == sum(x["macs"] for x in training_run["layers"])
    assert sum(row.dram_bytes for row in rows) == sum(training_run["bytes"]["dram"].values())


def test_a_stage_sums_its_layers(training_run: dict[str, Any]) -> None:
    rows = by_stage(training_run)
    for stage, row in rows.items():
        layers = layers_of(training_run, stage)
        assert row.cycles == sum(x["cycles"] for x in layers)
        assert row.useful_macs == sum(x["useful_macs"] for x in layers)
        assert row.array_busy_cycles == sum(x["busy"] for x in layers if x["macs"])
    assert rows["update"].array_busy_cycles == rows["prune"].array_busy_cycles == 0


def test_speed_up_is_dense_cycles_of_the_same_stage_over_cycles(
    training_run: dict[str, Any],
) -> None:
    dense = training_run["baseline"]["layers"]
    rows = by_stage(training_run)
    for stage in ("ff", "bp", "wu", "update"):
        expected = sum(dense[x["name"]] for x in layers_of(training_run, stage))
        assert rows[stage].dense_cycles == expected
        assert rows[stage].speedup == expected / rows[stage].cycles
    assert rows["prune"].dense_cycles is None  # dense training selects nothing
    assert rows["prune"].speedup is None


def test_a_layer_that_gains_a_cycle_shows_in_its_stage_alone(training_run: dict[str, Any]) -> None:
    before = by_stage(training_run)
    training_run["layers"][2]["cycles"] += 1
    after = by_stage(training_run)
    changed = [stage for stage in before if before[stage].cycles != after[stage].cycles]
    assert changed == ["wu"]


def test_inference_has_no_stages(run: dict[str, Any]) -> None:
    assert stage_rows(run) == []
