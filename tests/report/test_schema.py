"""Do the documents that the nouns write keep the schema, and is every counter explained?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hwsim.core.result import Claim
from hwsim.report.schema import COUNTERS, run_schema, validate_schema

RUN = Draft202012Validator(run_schema())
VALIDATE = Draft202012Validator(validate_schema())

NOT_COUNTED = {
    "layers[].dims.*",
    "layers[].mapping",
    "area.parts[].parameters.nm_m",
    "spec",
    "schema_version",
    "seed",
}


def test_schemas_are_schemas() -> None:
    Draft202012Validator.check_schema(run_schema())
    Draft202012Validator.check_schema(validate_schema())


def test_result_keeps_the_run_schema(run: dict[str, Any]) -> None:
    RUN.validate(run)


def test_claims_keep_the_validate_schema(claims: list[Claim]) -> None:
    VALIDATE.validate([claim.to_json() for claim in claims])


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda run: run.pop(key)


@pytest.mark.parametrize(
    "damage",
    [
        drop("utilization"),
        drop("layers"),
        drop("tier"),
        lambda run: run.update(cycles=1.5),
        lambda run: run.update(utilization=1.01),
        lambda run: run["layers"][0].pop("stall"),
        lambda run: run["layers"][0]["stall"].pop("dram"),
        lambda run: run["units"]["stce"]["stall"].update(coffee=1),
        lambda run: run["bytes"]["dram"].update(read=-1),
        lambda run: run.update(schema_version="0"),
    ],
)
def test_damaged_run_breaks_the_schema(
    run: dict[str, Any], damage: Callable[[dict[str, Any]], object]
) -> None:
    damage(run)
    assert not RUN.is_valid(run)


def test_claim_with_an_unknown_basis_breaks_the_schema(claims: list[Claim]) -> None:
    assert not VALIDATE.is_valid([claims[0].to_json() | {"basis": "hearsay"}])


LISTS = ("layers", "schedule.frames", "area.parts", "memory_models", "peers")
AREA_TABLES = ("total", "board_has", "share", "cells", "residual", "left_out")


def counted(value: Any, path: str) -> set[str]:
    """Return the dictionary paths of all numbers in a document."""
    named = {"units", "bytes", "energy_by_component_pj", "dims", *AREA_TABLES}
    last = path.rsplit(".", 1)[-1]
    if isinstance(value, bool) or path in NOT_COUNTED:
        return set()
    if isinstance(value, int | float):
        return {path}
    found: set[str] = set()
    if isinstance(value, dict):
        is_named = last in named or path == "baseline.layers"
        for key, entry in value.items():
            found |= counted(entry, f"{path}.{'*' if is_named else key}".lstrip("."))
    elif isinstance(value, list) and path in LISTS:
        for entry in value:
            found |= counted(entry, f"{path}[]")
    return found - NOT_COUNTED


def test_every_counter_of_a_result_is_in_the_dictionary_and_back(
    run: dict[str, Any],
    schedule: dict[str, Any],
    area: dict[str, Any],
    memory_models: list[dict[str, Any]],
    peers: list[dict[str, Any]],
) -> None:
    extra = {"schedule": schedule, "area": area, "memory_models": memory_models, "peers": peers}
    assert counted(run | extra, "") == set(COUNTERS)


def test_a_run_with_peers_keeps_the_run_schema(
    run: dict[str, Any], peers: list[dict[str, Any]]
) -> None:
    RUN.validate(run | {"peers": peers})
    peers[0]["limit"] = "luck"
    assert not RUN.is_valid(run | {"peers": peers})


def test_a_run_with_memory_models_keeps_the_run_schema(
    run: dict[str, Any], memory_models: list[dict[str, Any]]
) -> None:
    RUN.validate(run | {"memory_models": memory_models})
    memory_models[0]["model"] = "tape"
    assert not RUN.is_valid(run | {"memory_models": memory_models})


def test_a_run_with_area_keeps_the_run_schema(run: dict[str, Any], area: dict[str, Any]) -> None:
    RUN.validate(run | {"area": area})
    assert not RUN.is_valid(run | {"area": area | {"coffee": 1}})


def test_a_training_run_keeps_the_run_schema(
    training_run: dict[str, Any], schedule: dict[str, Any]
) -> None:
    RUN.validate(training_run | {"schedule": schedule, "pregenerated": True})


@pytest.mark.parametrize(
    "damage",
    [{"steps": 0}, {"cycles": 1.5}, {"speedup": -1}, {"frames": [{}]}, {"coffee": 1}],
)
def test_a_damaged_schedule_breaks_the_schema(
    training_run: dict[str, Any], schedule: dict[str, Any], damage: dict[str, Any]
) -> None:
    assert not RUN.is_valid(training_run | {"schedule": schedule | damage})


def test_every_counter_says_meaning_and_unit() -> None:
    assert all(meaning and unit for meaning, unit in COUNTERS.values())
