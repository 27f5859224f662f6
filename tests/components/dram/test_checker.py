"""The checker finds every kind of broken trace."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.components.dram.checker import check_trace
from hwsim.components.dram.controller import REQUEST, read_trace, serve
from hwsim.components.dram.devices import load_device
from hwsim.components.dram.rules import COMMANDS

DDR4 = load_device("ddr4-2400", 1)
T = DDR4.timings
ACT, PRE, RD, WR, RDA, WRA, PREA, REFAB, REFPB = range(len(COMMANDS))
Command = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def trace() -> list[Command]:
    rng = np.random.default_rng(1)
    requests = np.zeros(400, REQUEST)
    requests["address"] = rng.integers(0, 1 << 20, 400) * 64
    requests["size_bytes"] = 64
    requests["is_write"] = rng.random(400) < 0.3
    requests["arrival"] = np.arange(400) * 30
    return [row[:4] for row in read_trace(serve(DDR4, requests, max_trace=9999)).tolist()]


def rules_broken(trace: list[Command]) -> set[str]:
    return {violation.rule for violation in check_trace(DDR4, trace)}


def test_schedulers_trace_is_clean(trace: list[Command]) -> None:
    assert len(trace) > 1000
    assert check_trace(DDR4, trace) == []


@pytest.mark.parametrize("name", ["ACT", "PRE", "RD", "WR"])
def test_command_moved_to_the_one_before_it_is_found(trace: list[Command], name: str) -> None:
    """Some command of each kind was issued as early as its rules allow."""
    broken = 0
    for index in range(1, len(trace)):
        clock, command, bank, row = trace[index]
        if COMMANDS[command] == name and clock - 1 >= trace[index - 1][0]:
            mutated = [*trace[:index], (clock - 1, command, bank, row), *trace[index + 1 :]]
            broken += bool(check_trace(DDR4, mutated[: index + 1]))
        if broken > 3:
            return
    assert broken > 3


def test_missing_precharge_and_wrong_row_are_found(trace: list[Command]) -> None:
    precharge = next(i for i, command in enumerate(trace) if command[1] == PRE)
    assert "ACT to a closed bank" in rules_broken(trace[:precharge] + trace[precharge + 1 :])
    read = next(i for i, command in enumerate(trace) if command[1] == RD)
    clock, command, bank, row = trace[read]
    mutated = [*trace[:read], (clock, command, bank, row + 1), *trace[read + 1 :]]
    assert "column command to the open row" in rules_broken(mutated)


def test_each_named_rule_is_found_at_one_clock_less() -> None:
    far = 1000
    cases: list[tuple[list[Command], int, str]] = [
        ([(0, ACT, 0, 1)], T["RCD_RD"], "ACT-RD at bank"),
        ([(0, ACT, 0, 1)], T["RRD_S"], "ACT-ACT at rank"),
        ([(0, ACT, 0, 1), (far, RD, 0, 1)], T["RTP"], "RD-PRE at bank"),
        ([(0, ACT, 0, 1), (far, WR, 0, 1)], T["CWL"] + T["BL"] + T["WR"], "WR-PRE at bank"),
        ([(0, ACT, 0, 1), (far, RD, 0, 1)], T["CCD_L"], "RD-RD at group"),
        ([(0, REFAB, 0, -1)], T["RFC_AB"], "REFab-ACT at rank"),
    ]
    following = {"RD": RD, "ACT": ACT, "PRE": PRE}
    for before, gap, rule in cases:
        last = before[-1][0]
        command = following[rule.split("-")[1].split()[0]]
        bank = 4 if rule == "ACT-ACT at rank" else 0
        late = [*before, (last + gap, command, bank, 1)]
        early = [*before, (last + gap - 1, command, bank, 1)]
        assert check_trace(DDR4, late) == []
        assert rule in rules_broken(early)


def test_window_of_four_activates_is_found() -> None:
    gap = T["RRD_L"]
    trace = [(i * 4, ACT, i % 4 * 4 + i // 4, 0) for i in range(4)]
    assert check_trace(DDR4, [*trace, (max(T["FAW"], gap), ACT, 1, 0)]) == []
    wide = load_device("ddr4-3200")
    spread = [(i * 8, ACT, i % 4 * 4, 0) for i in range(4)]
    assert check_trace(wide, [*spread, (34, ACT, 1, 0)]) == []
    assert {v.rule for v in check_trace(wide, [*spread, (33, ACT, 1, 0)])} == {"ACT-ACT at rank x4"}


def test_data_bus_state_and_refresh_rules_are_found() -> None:
    opened = [(0, ACT, 0, 1), (100, ACT, 4, 1)]
    clash = [*opened, (200, RD, 0, 1), (203, WR, 4, 1)]
    assert "data bus free" in rules_broken(clash)
    assert "REFab with every bank closed" in rules_broken([*opened, (500, REFAB, 0, -1)])
    late = [(9 * T["REFI"] + 1, REFAB, 0, -1)]
    assert "refresh in time" in rules_broken(late)
    assert rules_broken([(9 * T["REFI"], REFAB, 0, -1)]) == set()
    hbm = load_device("hbm2-1800")
    trace = [(0, ACT, 0, 1), (400, REFPB, 0, -1)]
    assert {v.rule for v in check_trace(hbm, trace)} == {"REFpb to a closed bank"}


def test_sibling_ranks_share_the_data_bus() -> None:
    device = DDR4.model_copy(update={"ranks": 2})
    opened = [(0, ACT, 0, 1), (100, ACT, 16, 1), (200, RD, 0, 1)]
    gap = T["BL"] + T["CS"]
    assert check_trace(device, [*opened, (200 + gap, RD, 16, 1)]) == []
    found = check_trace(device, [*opened, (200 + gap - 1, RD, 16, 1)])
    assert {v.rule for v in found} == {"RD-RD at rank"}
