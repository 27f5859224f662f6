"""Each timing rule of each device holds to the clock: not issuable at t - 1, issuable at t."""

from __future__ import annotations

import pytest

from hwsim.components.dram import layout, timing_kernels
from hwsim.components.dram.devices import Device, device_names, load_device, make_device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.rules import COMMANDS, LEVELS, Rule, device_rules, latency_of
from hwsim.components.dram.state import Controller, dram_state

LONG = 1 << 40  # after everything that an idle memory may wait for
DEVICES = [load_device(name) for name in device_names()]
TWO_RANKS = make_device({**load_device("ddr4-2400").model_dump(), "ranks": 2})
RULES = [(device, rule) for device in (*DEVICES, TWO_RANKS) for rule in device_rules(device)]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("earliest", "apply_rules", "apply_to_others", "hold_back", "hold_back_rank"):
        kernel = getattr(timing_kernels, name)
        monkeypatch.setattr(timing_kernels, name, getattr(kernel, "py_func", kernel))


def path_of(device: Device, bank: int) -> list[int]:
    """Return the bank's node on each level."""
    group = bank // device.banks_per_group
    rank = group // device.bank_groups
    pseudo = rank // device.ranks
    return [pseudo // device.pseudo_channels, pseudo, rank, group, bank]


def partner(device: Device, rule: Rule) -> int | None:
    """Return a bank that shares with bank 0 exactly the rule's level, the same bank for ``bank``.

    None if the geometry has none: then the rule can only show on a deeper level.
    """
    level = LEVELS.index(rule.level)
    for bank in range(device.banks * device.pseudo_channels):
        shared = sum(a == b for a, b in zip(path_of(device, 0), path_of(device, bank), strict=True))
        if rule.is_sibling and shared == level:
            return bank
        if not rule.is_sibling and shared == level + 1:
            return bank
    return None


def required_gap(device: Device, rule: Rule, bank: int) -> int:
    """Return the greatest gap that any rule asks between the two commands at banks 0, ``bank``."""
    same = [a == b for a, b in zip(path_of(device, 0), path_of(device, bank), strict=True)]
    gaps = []
    for other in device_rules(device):
        if (other.preceding, other.following) != (rule.preceding, rule.following):
            continue
        level = LEVELS.index(other.level)
        is_sibling_node = not same[level] and same[level - 1]
        if other.window == 1 and (is_sibling_node if other.is_sibling else same[level]):
            gaps.append(other.latency)
    return max(gaps)


def at(dram: Dram, bank: int) -> int:
    return int(dram.words[layout.AT_BANKS]) + bank * layout.BANK_WIDTH


def first_clock(dram: Dram, command: str, bank: int) -> int:
    return int(timing_kernels.earliest(dram.words, COMMANDS.index(command), at(dram, bank)))


def issue(dram: Dram, command: str, bank: int, clock: int) -> None:
    timing_kernels.apply_rules(dram.words, COMMANDS.index(command), at(dram, bank), clock)


def name_of(case: tuple[Device, Rule]) -> str:
    device, rule = case
    sibling = "-sibling" if rule.is_sibling else ""
    ranks = f"-{device.ranks}ranks" if device.ranks > 1 else ""
    return f"{device.name}{ranks}-{rule.level}-{rule.preceding}-{rule.following}{sibling}"


@pytest.mark.parametrize(
    ("device", "rule"),
    [case for case in RULES if case[1].window == 1],
    ids=[name_of(case) for case in RULES if case[1].window == 1],
)
def test_following_command_waits_exactly_the_greatest_gap(device: Device, rule: Rule) -> None:
    bank = partner(device, rule)
    if bank is None:
        bank = 0
        assert not rule.is_sibling
    refresh = "per_bank" if device.has_per_bank_refresh else "all_bank"
    dram = dram_state(device, Controller(page="closed", refresh=refresh), 1)  # knows all commands
    assert first_clock(dram, rule.following, bank) == 0  # issuable before anything was issued
    issue(dram, rule.preceding, 0, LONG)
    gap = required_gap(device, rule, bank)
    assert first_clock(dram, rule.following, bank) == LONG + gap
    assert gap >= rule.latency  # hence not issuable at LONG + latency - 1


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_fifth_activate_waits_for_the_window_of_four(device: Device) -> None:
    """The window binds where four activates at their closest end before it."""
    dram = dram_state(device, Controller(), 1)
    banks = [i * device.banks_per_group % device.banks + i // device.bank_groups for i in range(5)]
    clocks = []
    for bank in banks:
        clock = max(first_clock(dram, "ACT", bank), LONG)
        clocks.append(clock)
        issue(dram, "ACT", bank, clock)
    t = device.timings
    paths = [path_of(device, bank) for bank in banks]
    same_group = paths[4][3] == paths[3][3]
    own_group = [c for c, path in zip(clocks[:4], paths[:4], strict=True) if path[3] == paths[4][3]]
    closest = max(
        [clocks[3] + t["RRD_L" if same_group else "RRD_S"]] + [c + t["RRD_L"] for c in own_group]
    )
    assert clocks[4] == max(clocks[0] + t["FAW"], closest)
    assert clocks[4] - clocks[0] >= t["FAW"]


def test_window_counts_the_fourth_last_activate_only() -> None:
    device = load_device("ddr4-3200")
    dram = dram_state(device, Controller(), 1)
    for i, clock in enumerate((0, 100, 110, 120, 130)):
        issue(dram, "ACT", i % 4 * 4 + i // 4, clock)
    assert first_clock(dram, "ACT", 5) == max(100 + 34, 130 + 4)
    issue(dram, "ACT", 5, 134)
    assert first_clock(dram, "ACT", 9) == 110 + 34


def test_ranks_and_pseudo_channels_do_not_hold_up_each_other() -> None:
    """Data and banks of two pseudo channels are apart; only the command buses are shared."""
    device = load_device("hbm2-1800")
    dram = dram_state(device, Controller(), 1)
    other = device.banks  # first bank of the second pseudo channel
    issue(dram, "RD", 0, LONG)
    assert first_clock(dram, "RD", other) == LONG + device.timings["CMD_CAS"]
    assert first_clock(dram, "ACT", other) == 0  # row commands have a bus of their own
    assert first_clock(dram, "RD", 2 * device.banks) == 0  # another channel


def test_device_without_bank_groups_has_one_column_gap() -> None:
    device = load_device("lpddr4x-3733")
    assert device.bank_groups == 1
    assert device.timings["CCD_S"] == device.timings["CCD_L"] == device.timings["BL"]


def test_latency_expressions_add_and_subtract() -> None:
    device = load_device("ddr4-2400")
    t = device.timings
    assert latency_of(device, "CWL + BL + WTR_S") == t["CWL"] + t["BL"] + t["WTR_S"]
    assert latency_of(device, "CL - CWL") == t["CL"] - t["CWL"]
    assert latency_of(device, "BL - CL") == 1  # never in the past


def test_known_rule_has_its_documented_gap() -> None:
    """Ramulator's DDR4-2400 17-17-17: write to read in the same group is CWL + BL + tWTR_L."""
    rules = device_rules(load_device("ddr4-2400"))
    assert Rule("group", "WR", "RD", 12 + 4 + 9) in rules
    assert Rule("rank", "ACT", "ACT", 16, window=4) in rules
    assert Rule("bank", "ACT", "ACT", 39 + 17) in rules
