"""Check that a result's identities are enforced and that claims compare as they say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hwsim.core.errors import HwsimError
from hwsim.core.result import (
    STALL_REASONS,
    Claim,
    LayerResult,
    Provenance,
    Result,
    Stats,
    UnitStats,
    empty_stalls,
)


def account(busy: int, idle: int, **stall: int) -> UnitStats:
    return UnitStats(busy, {**empty_stalls(), **stall}, idle)


def layer(name: str, start: int, cycles: int) -> LayerResult:
    return LayerResult(
        name=name,
        kind="linear",
        stage="infer",
        dims={"m": 1},
        mapping={},
        start_cycle=start,
        end_cycle=start + cycles,
        cycles=cycles,
        unit="array",
        account=account(cycles - 3, 1, dram=2),
        macs=10,
        issued_macs=12,
        useful_macs=5,
        bytes={"dram": {"read": 100, "write": 20}},
    )


def result() -> Result:
    """Return a correct run of two layers, 10 + 30 cycles."""
    layers = [layer("a", 0, 10), layer("b", 10, 30)]
    stats = Stats(
        cycles=40,
        units={"array": account(34, 2, dram=4), "dma": account(0, 40)},
        macs=20,
        issued_macs=24,
        useful_macs=10,
        bytes={"dram": {"read": 200, "write": 40}},
        energy_by_component_pj={"mac": 1.5, "dram": 2.5},
    )
    provenance = Provenance("spec", "program", 0, {})
    return Result("m", "sat", "p", "cycle", 100, 2, stats, layers, provenance)


def test_a_correct_result_passes() -> None:
    result().check()


def lose_unit_cycle(run: Result) -> None:
    run.stats.units["dma"].idle -= 1


def lose_layer_cycle(run: Result) -> None:
    run.layers[1].account.busy -= 1


def lengthen_layer(run: Result) -> None:
    run.layers[1].cycles += 1
    run.layers[1].account.busy += 1


def lose_macs(run: Result) -> None:
    run.stats.macs -= 1


def lose_bytes(run: Result) -> None:
    run.layers[0].bytes["dram"]["write"] -= 1


@pytest.mark.parametrize(
    ("breaks", "field"),
    [
        (lose_unit_cycle, "units.dma"),
        (lose_layer_cycle, "layers.b"),
        (lengthen_layer, "layers.cycles"),
        (lose_macs, "layers.macs"),
        (lose_bytes, "layers.bytes.dram.write"),
    ],
)
def test_check_names_the_identity_that_is_broken(
    breaks: Callable[[Result], None], field: str
) -> None:
    run = result()
    breaks(run)
    with pytest.raises(HwsimError) as caught:
        run.check()
    assert caught.value.field == field


def test_json_derives_time_energy_and_utilization() -> None:
    document = json.loads(json.dumps(result().to_json()))
    assert document["time_s"] == 40 / 100
    assert document["energy_pj"] == 4.0
    assert document["utilization"] == 10 / (40 * 2)
    assert sum(entry["cycles"] for entry in document["layers"]) == document["cycles"]
    for entry in (*document["layers"], *document["units"].values()):
        assert tuple(entry["stall"]) == STALL_REASONS


def test_an_empty_run_has_no_utilization() -> None:
    run = result()
    run.stats.cycles = 0
    assert run.utilization == 0.0


def claim(simulated: float, reference: float, tolerance: float) -> Claim:
    return Claim("id", "what", simulated, reference, "cycles", tolerance, "peer", True, "source")


@pytest.mark.parametrize(
    ("simulated", "reference", "tolerance", "error", "passed"),
    [
        (100, 100, 0.0, 0.0, True),
        (101, 100, 0.0, 0.01, False),
        (105, 100, 0.05, 0.05, True),
        (95, 100, 0.05, -0.05, True),
        (94, 100, 0.05, -0.06, False),
        (0, 0, 0.0, 0.0, True),
        (0.5, 0, 0.1, 0.5, False),
    ],
)
def test_a_claim_passes_within_its_tolerance(
    simulated: float, reference: float, tolerance: float, error: float, passed: bool
) -> None:
    made = claim(simulated, reference, tolerance)
    assert made.error == pytest.approx(error)
    assert made.passed is passed
    assert made.to_json()["passed"] is passed


def test_a_negative_reference_keeps_the_sign_of_the_difference() -> None:
    # error = (simulated - reference) / reference, as the validate document defines it.
    assert claim(-11, -10, 0.2).error == pytest.approx(0.1)
