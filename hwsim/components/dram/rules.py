"""Declare the timing rules of DRAM commands as data.

A rule says: at one node of ``level``, ``following`` may be issued no earlier than ``latency``
clocks after the ``window``-th latest ``preceding``; ``is_sibling`` rules hold at the other nodes
of that level behind the same data bus instead. Latencies are sums of timing names and integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwsim.components.dram.devices import Device

__all__ = ["COMMANDS", "LEVELS", "Rule", "device_rules", "latency_of"]

COMMANDS = ("ACT", "PRE", "RD", "WR", "RDA", "WRA", "PREA", "REFab", "REFpb")
"""Activate a row, precharge a bank, read, write (A: then precharge), precharge all, refresh."""
LEVELS = ("channel", "pseudo", "rank", "group", "bank")
"""Command bus, data bus, chips selected together, bank group, bank."""

_READS, _WRITES = "RD RDA", "WR WRA"
_COLUMN = f"{_READS} {_WRITES}"
_ROW = "ACT PRE PREA REFab REFpb"
_ALL = f"{_ROW} {_COLUMN}"
_WRITTEN = "CWL + BL + WR"


@dataclass(frozen=True)
class Rule:
    """One timing rule between two commands, in clocks."""

    level: str
    preceding: str
    following: str
    latency: int
    window: int = 1
    is_sibling: bool = False


_Row = tuple[str, str, str, str]  # level, preceding commands, following commands, latency

_SHARED_BUS: tuple[_Row, ...] = (
    ("channel", "ACT", _ALL, "CMD_ACT"),
    ("channel", _COLUMN, _ALL, "CMD_CAS"),
    ("channel", "PRE PREA REFab REFpb", _ALL, "CMD_PRE"),
)
_SPLIT_BUS: tuple[_Row, ...] = (  # HBM: row and column commands have a bus each (JESD235)
    ("channel", "ACT", _ROW, "CMD_ACT"),
    ("channel", "PRE PREA REFab REFpb", _ROW, "CMD_PRE"),
    ("channel", _COLUMN, _COLUMN, "CMD_CAS"),
)
_COMMON: tuple[_Row, ...] = (
    ("pseudo", _READS, _READS, "BL"),
    ("pseudo", _WRITES, _WRITES, "BL"),
    ("rank", _READS, _READS, "CCD_S"),
    ("rank", _WRITES, _WRITES, "CCD_S"),
    ("rank", _READS, _WRITES, "RTW"),
    ("rank", _WRITES, _READS, "CWL + BL + WTR_S"),
    ("rank", "RD", "PREA", "RTP"),
    ("rank", "WR", "PREA", _WRITTEN),
    ("rank", "RDA", "REFab", "RTP + RP"),
    ("rank", "WRA", "REFab", f"{_WRITTEN} + RP"),
    ("rank", "ACT", "ACT", "RRD_S"),
    ("rank", "ACT", "PREA", "RAS"),
    ("rank", "ACT", "REFab", "RC"),
    ("rank", "PRE", "PRE PREA", "PPD"),
    ("rank", "PRE", "REFab", "RP"),
    ("rank", "PREA", "ACT REFab", "RP_AB"),
    ("rank", "REFab", "ACT REFab", "RFC_AB"),
    ("group", _READS, _READS, "CCD_L"),
    ("group", _WRITES, _WRITES, "CCD_L_WR"),
    ("group", _WRITES, _READS, "CWL + BL + WTR_L"),
    ("group", "ACT", "ACT", "RRD_L"),
    ("bank", "ACT", "ACT", "RC"),
    ("bank", "ACT", _READS, "RCD_RD"),
    ("bank", "ACT", _WRITES, "RCD_WR"),
    ("bank", "ACT", "PRE", "RAS"),
    ("bank", "PRE", "ACT", "RP"),
    ("bank", "RD", "PRE", "RTP"),
    ("bank", "WR", "PRE", _WRITTEN),
    ("bank", "WR", "RDA", f"{_WRITTEN} - RTP"),  # the precharge inside must wait for the write
    ("bank", "RDA", "ACT", "RTP + RP"),
    ("bank", "WRA", "ACT", f"{_WRITTEN} + RP"),
)
_PER_BANK: tuple[_Row, ...] = (
    ("rank", "ACT", "REFpb", "RRD_S"),
    ("rank", "PREA", "REFpb", "RP_AB"),
    ("rank", "REFab", "REFpb", "RFC_AB"),
    ("rank", "REFpb", "REFab", "RFC_PB"),
    ("rank", "REFpb", "REFpb ACT", "REFPB_NEXT"),
    ("bank", "ACT", "REFpb", "RC"),
    ("bank", "PRE", "REFpb", "RP"),
    ("bank", "RDA", "REFpb", "RTP + RP"),
    ("bank", "WRA", "REFpb", f"{_WRITTEN} + RP"),
    ("bank", "REFpb", "ACT REFpb", "RFC_PB"),
)
_SIBLINGS: tuple[_Row, ...] = (  # the data bus changes its driver
    ("rank", _READS, _READS, "BL + CS"),
    ("rank", _WRITES, _WRITES, "BL + CS"),
    ("rank", _READS, _WRITES, "RTW + CS"),
    ("rank", _WRITES, _READS, "CWL + BL + CS - CL"),
)


def latency_of(device: Device, expression: str) -> int:
    """Return the clocks of a sum like ``CWL + BL + WTR_S``, at least 1."""
    total, sign = 0, 1
    for word in expression.split():
        if word in "+-":
            sign = 1 if word == "+" else -1
        else:
            total += sign * device.timings[word]
    return max(total, 1)


def device_rules(device: Device) -> list[Rule]:
    """Return every timing rule of ``device``, grouped by preceding command."""
    rules = [
        *_expand(device, _SPLIT_BUS if device.family == "hbm" else _SHARED_BUS),
        *_expand(device, _COMMON),
        Rule("rank", "ACT", "ACT", device.timings["FAW"], window=4),
    ]
    if device.has_per_bank_refresh:
        rules += _expand(device, _PER_BANK)
    if device.ranks > 1:
        rules += _expand(device, _SIBLINGS, is_sibling=True)
    if not device.has_per_bank_refresh:  # a command that it does not have
        rules = [rule for rule in rules if "REFpb" not in (rule.preceding, rule.following)]
    return sorted(rules, key=lambda rule: COMMANDS.index(rule.preceding))


def _expand(device: Device, rows: tuple[_Row, ...], is_sibling: bool = False) -> Iterator[Rule]:
    for level, preceding, following, expression in rows:
        latency = latency_of(device, expression)
        for first in preceding.split():
            for second in following.split():
                yield Rule(level, first, second, latency, is_sibling=is_sibling)
