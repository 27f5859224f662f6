"""Replay a command trace and verify every timing rule, independently of the scheduler.

The checker keeps the whole history of each node and looks back at it for every command; it shares
the tables of rules with the simulator but no code. States of banks, overlap of data and lateness of
refreshes are checked without those tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hwsim.components.dram.devices import Device
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules

__all__ = ["Violation", "check_trace"]

MAX_POSTPONED = 9
"""Intervals between two refreshes at most (JESD79-4: up to 8 refreshes may be postponed)."""


@dataclass(frozen=True)
class Violation:
    """Command ``index`` of the trace breaks ``rule``: needed ``need``, found ``found`` clocks."""

    index: int
    rule: str
    need: int
    found: int


@dataclass
class _Bank:
    row: int = -1


@dataclass
class _Replay:
    device: Device
    issued: dict[tuple[int, int, str], list[int]] = field(default_factory=dict)
    banks: dict[int, _Bank] = field(default_factory=dict)
    bus_free: dict[int, int] = field(default_factory=dict)
    refreshed: dict[int, int] = field(default_factory=dict)

    def node(self, level: str, bank: int) -> tuple[int, int]:
        d = self.device
        group = bank // d.banks_per_group
        rank = group // d.bank_groups
        pseudo = rank // d.ranks
        path = (pseudo // d.pseudo_channels, pseudo, rank, group, bank)
        index = LEVELS.index(level)
        return index, path[index]


def check_trace(device: Device, trace: Iterable[tuple[int, int, int, int]]) -> list[Violation]:
    """Return what in ``trace`` breaks a rule of ``device``; an empty list if nothing does.

    ``trace`` : (clock, index into COMMANDS, bank over all controllers, row) in order of issue.
    """
    replay = _Replay(device)
    rules: dict[str, list] = {name: [] for name in COMMANDS}
    for rule in device_rules(device):
        rules[rule.following].append(rule)
    found: list[Violation] = []
    for index, (clock, number, bank, row) in enumerate(trace):
        command = COMMANDS[number]
        problems = [
            *_check_gaps(replay, rules[command], clock, bank),
            *_check_state(replay, command, bank, row),
            *_check_data_bus(replay, command, clock, bank),
            *_check_refresh(replay, command, clock, bank),
        ]
        found += [Violation(index, *problem) for problem in problems]
        _note(replay, command, clock, bank, row)
    return found


_Problem = tuple[str, int, int]


def _check_gaps(replay: _Replay, rules: list, clock: int, bank: int) -> Iterator[_Problem]:
    for rule in rules:
        level, own = replay.node(rule.level, bank)
        nodes = [own]
        if rule.is_sibling:
            first = own // replay.device.ranks * replay.device.ranks
            nodes = [n for n in range(first, first + replay.device.ranks) if n != own]
        for node in nodes:
            times = replay.issued.get((level, node, rule.preceding), [])
            if len(times) >= rule.window:
                gap = clock - times[-rule.window]
                if gap < rule.latency:
                    name = f"{rule.preceding}-{rule.following} at {rule.level}"
                    yield name if rule.window == 1 else f"{name} x{rule.window}", rule.latency, gap


def _rank_banks(replay: _Replay, bank: int) -> range:
    per_rank = replay.device.bank_groups * replay.device.banks_per_group
    first = bank // per_rank * per_rank
    return range(first, first + per_rank)


def _check_state(replay: _Replay, command: str, bank: int, row: int) -> Iterator[_Problem]:
    state = replay.banks.setdefault(bank, _Bank())
    if command == "ACT" and state.row >= 0:
        yield "ACT to a closed bank", -1, state.row
    if command in ("RD", "WR", "RDA", "WRA") and state.row != row:
        yield "column command to the open row", row, state.row
    if command == "REFpb" and state.row >= 0:
        yield "REFpb to a closed bank", -1, state.row
    if command == "REFab":
        rows = [replay.banks.get(other, _Bank()).row for other in _rank_banks(replay, bank)]
        if max(rows) >= 0:
            yield "REFab with every bank closed", -1, max(rows)


def _check_data_bus(replay: _Replay, command: str, clock: int, bank: int) -> Iterator[_Problem]:
    """Check that bursts on one data bus do not overlap, from their latencies alone."""
    t = replay.device.timings
    if command not in ("RD", "WR", "RDA", "WRA"):
        return
    begin = clock + (t["CL"] if command[0] == "R" else t["CWL"])
    bus = replay.node("pseudo", bank)[1]
    if begin < replay.bus_free.get(bus, begin):
        yield "data bus free", replay.bus_free[bus], begin
    replay.bus_free[bus] = begin + t["BL"]


def _check_refresh(replay: _Replay, command: str, clock: int, bank: int) -> Iterator[_Problem]:
    """Check that refreshes of a rank (bank) follow each other in time."""
    t = replay.device.timings
    if command == "REFab":
        key, interval = -1 - replay.node("rank", bank)[1], t["REFI"]
    elif command == "REFpb":
        key, interval = bank, t["REFI"]
    else:
        return
    gap = clock - replay.refreshed.get(key, 0)
    if gap > MAX_POSTPONED * interval:
        yield "refresh in time", MAX_POSTPONED * interval, gap
    replay.refreshed[key] = clock


def _note(replay: _Replay, command: str, clock: int, bank: int, row: int) -> None:
    for level in LEVELS:
        key = (*replay.node(level, bank), command)
        replay.issued.setdefault(key, []).append(clock)
    if command == "ACT":
        replay.banks[bank] = _Bank(row)
    elif command in ("PRE", "RDA", "WRA"):
        replay.banks[bank] = _Bank()
    elif command == "PREA":
        for other in _rank_banks(replay, bank):
            replay.banks[other] = _Bank()
