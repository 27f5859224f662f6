"""The comparison with Ramulator: identical traces, complete records, claims that can fail."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import ramulator as script
from hwsim.components.dram.address import locate
from hwsim.components.dram.controller import count_events, serve
from hwsim.experiments import ramulator
from hwsim.experiments.ramulator_cases import (
    CASES,
    IN_FLIGHT,
    LOADS,
    N_REQUESTS,
    PRESETS,
    SEED,
    TRACES,
    Case,
    case_device,
    controller,
    make_trace,
    their_settings,
)


def test_every_case_is_recorded_once_with_the_settings_that_are_used_now() -> None:
    document = json.loads(ramulator.RECORDED.read_text("utf-8"))
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) and list(document["cases"]) == names
    recorded = document["traces"]
    assert (recorded["seed"], recorded["requests"]) == (SEED, N_REQUESTS)
    assert recorded["in_flight"] == IN_FLIGHT
    for device in PRESETS:
        assert document["settings"][device] == their_settings(Case(device, "stream"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_commands_move_every_request_of_the_trace(case: Case) -> None:
    figures = ramulator.recorded(case)
    writes = N_REQUESTS // 3 if case.trace.startswith("mix") else 0
    assert figures.commands["RD"] == N_REQUESTS - writes
    assert figures.commands.get("WR", 0) == writes
    interval = case_device(case.device).timings["REFI"]
    assert abs(figures.commands["REFab"] - figures.cycles // interval) <= 1


def test_all_claims_but_one_are_gated_and_hold() -> None:
    claims = ramulator.claims()
    assert len(claims) == len(CASES) + len(PRESETS)
    assert [claim.id for claim in claims if claim.gated and not claim.passed] == []
    ungated = [claim for claim in claims if not claim.gated]
    assert [claim.id for claim in ungated] == ["memory-ramulator-ddr4-2400-random-closed"]
    assert not ungated[0].passed


@pytest.mark.parametrize("device", PRESETS)
def test_the_two_decisions_matter(device: str) -> None:
    """Served by the default decisions, heavy mixed traffic takes longer than by Ramulator's."""
    case = Case(device, "mix-stream")
    requests = make_trace(case_device(device), case.trace)
    defaults = controller(replace(case, is_exchanged=True))
    serve(case_device(device), requests, defaults, in_flight=IN_FLIGHT)
    assert requests["done"].max() > 1.05 * ramulator.recorded(case).cycles


def test_the_claims_notice_a_slower_device() -> None:
    case = Case("ddr4-3200", "random")
    device = case_device(case.device)
    slow = {**device.timings, "FAW": device.timings["FAW"] + 4}  # bounds random reads: 34 -> 38
    requests = make_trace(device, case.trace)
    slower = device.model_copy(update={"timings": slow})
    serve(slower, requests, controller(case), in_flight=IN_FLIGHT)
    assert requests["done"].max() > 1.05 * ramulator.recorded(case).cycles


def test_commands_are_those_of_the_run_that_is_compared() -> None:
    case = Case("ddr4-2400", "stride")
    requests = make_trace(case_device(case.device), case.trace)
    dram = serve(case_device(case.device), requests, controller(case), in_flight=IN_FLIGHT)
    issued = {name: n for name, n in count_events(dram).commands.items() if n}
    assert ramulator.simulated(case).commands == issued
    theirs = ramulator.recorded(case).commands
    assert abs(issued["ACT"] - theirs["ACT"]) <= 0.01 * theirs["ACT"]


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_the_same_every_time_and_what_their_name_says(name: str) -> None:
    device = case_device("ddr4-2400")
    first, second = make_trace(device, name), make_trace(device, name)
    assert np.array_equal(first, second)
    assert np.all(np.diff(first["arrival"]) >= 0)
    assert first["address"].max() < device.capacity_bytes
    assert int(first["is_write"].sum()) == (N_REQUESTS // 3 if name.startswith("mix") else 0)
    if name in LOADS:
        assert np.diff(first["arrival"]).mean() == pytest.approx(LOADS[name], rel=0.03)


@pytest.mark.parametrize("mapping", ["RoRaBaCoBgCh", "RoBaRaCoCh"])
def test_written_traces_hold_the_places_that_the_mapping_gives(mapping: str) -> None:
    case = Case("ddr4-3200", "random", mapping)
    device = case_device(case.device)
    rows = script.trace_rows(device, case)
    for row in rows[:50].tolist():
        place = locate(device, mapping, row[1])
        column = place["Co"] * device.burst_length
        assert row[3:] == [place["Ra"], place["Bg"], place["Ba"], place["Ro"], column]


def test_results_of_a_driver_are_collected(tmp_path, monkeypatch) -> None:
    case = Case("ddr4-2400", "mix-random")
    monkeypatch.setattr(script, "CASES", (case,))
    assert script.main(["write", str(tmp_path)]) == 0
    rows = np.fromfile(tmp_path / f"{case.name}.trace", "<i8").reshape(-1, 8)
    done = rows[:, 0] + np.where(rows[:, 2] == 1, 900, 40)  # writes do not count as read latency
    done.tofile(tmp_path / f"{case.name}.done")
    stats = {"commands": {"ACT": 3, "PREpb": 2, "PREab": 1, "RDA": 0}}
    (tmp_path / f"{case.name}.stats.json").write_text(json.dumps(stats), "utf-8")
    output = tmp_path / "found.json"
    assert script.main(["collect", str(tmp_path), "abc", str(output)]) == 0
    document = json.loads(output.read_text("utf-8"))
    assert document["commit"] == "abc"
    assert document["cases"][case.name] == {
        "cycles": N_REQUESTS - 3 + 900,  # requests 19,998 and 19,999 are reads, 19,997 a write
        "read_latency": 40.0,
        "commands": {"ACT": 3, "PRE": 2, "PREA": 1},
    }
    assert script.main(["unknown"]) == 2
