"""Fill the records that every DRAM memory has: parameters, addresses, rules, nodes, controllers.

State layout: :mod:`layout`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram import layout
from hwsim.components.dram.address import FIELDS, field_bits, parse_mapping
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.rules import COMMANDS, Rule

if TYPE_CHECKING:
    from hwsim.components.dram.state import Controller

__all__ = ["allocate", "fill_gaps", "fill_machine"]

_LATEST_KEPT = 3
"""Latest activates of a rank that are kept: with the next one, the window of tFAW."""


def allocate(
    device: Device, controller: Controller, more: dict[int, int], widths: dict[int, int]
) -> NDArray[np.int64]:
    """Return words with room for the device and ``more`` records by section, of such widths."""
    ranks = device.controllers * device.ranks
    counts = {
        layout.AT_PIECES: len(_pieces(device, controller)),
        layout.AT_GROUPS: ranks * device.bank_groups,
        layout.AT_RANKS: ranks,
        layout.AT_BANKS: device.controllers * device.banks,
        layout.AT_CONTROLLERS: device.controllers,
        **more,
    }
    at = layout.PARAMETERS
    sections = {}
    for section, count in counts.items():
        sections[section] = at, count
        at += count * widths[section]
    words = np.zeros(at, np.int64)
    words[layout.LENGTH] = at
    for section, (first, count) in sections.items():
        words[section : section + 2] = first, count
    return words


def fill_machine(
    words: NDArray[np.int64],
    device: Device,
    controller: Controller,
    cycle_hz: int | None,
    path_cycles: int,
    max_trace: int,
) -> None:
    """Write parameters, address mapping, nodes and controllers of an idle memory."""
    dram = Dram(words)
    _fill_parameters(words, device, controller)
    hz = device.clock_hz if cycle_hz is None else cycle_hz
    common = int(np.gcd(device.clock_hz, hz))
    words[layout.CLOCK_NUM], words[layout.CLOCK_DEN] = device.clock_hz // common, hz // common
    words[layout.PATH_CYCLES] = path_cycles
    words[layout.HAS_TRACE], words[layout.MAX_TRACE] = max_trace > 0, max_trace
    words[layout.PENDING_BANK : layout.PENDING_BANK + 2] = layout.NONE
    dram.section(layout.AT_PIECES)[:] = _pieces(device, controller)
    _fill_ranks(dram, device, controller)
    _fill_banks(dram, device)
    rows, index = dram.controllers, np.arange(device.controllers)
    rows[:, layout.PLAN_COMMAND] = layout.NONE
    own = words[layout.AT_RANKS] + index * device.ranks * layout.RANK_WIDTH
    rows[:, layout.CONTROLLER_RANK] = own
    rows[:, layout.CHANNEL_RANK] = own[index // device.pseudo_channels * device.pseudo_channels]
    due = dram.section(layout.AT_RANKS)[:, layout.DUE].reshape(-1, device.ranks)
    rows[:, layout.SOONEST_DUE] = due.min(axis=1)


def _fill_parameters(words: NDArray[np.int64], device: Device, controller: Controller) -> None:
    t, c = device.timings, controller
    is_per_bank = c.refresh == "per_bank"
    per_rank = device.bank_groups * device.banks_per_group
    values = {
        **{layout.CL: t["CL"], layout.CWL: t["CWL"], layout.BL: t["BL"]},
        layout.REFRESH_INTERVAL: t["REFI_PB"] if is_per_bank else t["REFI"],
        layout.IS_PER_BANK: is_per_bank,
        layout.HAS_REFRESH: c.refresh != "none",
        layout.IS_FCFS: c.scheduler == "fcfs",
        layout.IS_CLOSED: c.page == "closed",
        **{layout.HIGH: c.drain_high, layout.LOW: c.drain_low},
        layout.DRAINS_TO_LEVEL: c.drain_end == "level",
        layout.ACTIVATED_FIRST: c.is_activated_first,
        layout.WRITE_AGE: c.write_age_clocks,
        layout.IS_HASHED: c.is_hashed,
        **{layout.READ_ENTRIES: c.read_entries, layout.WRITE_ENTRIES: c.write_entries},
        **{layout.RANKS: device.ranks, layout.GROUPS: device.bank_groups},
        **{layout.BANKS: device.banks_per_group, layout.BANKS_PER_RANK: per_rank},
        layout.PSEUDO_CHANNELS: device.pseudo_channels,
        layout.BUS_MATES: device.pseudo_channels * device.ranks,
        layout.BURST_BYTES: device.burst_bytes,
        layout.BURSTS: device.capacity_bytes // device.burst_bytes,
        layout.BURST_SHIFT: device.burst_bytes.bit_length() - 1,
        layout.CONTROLLER_SHIFT: device.banks.bit_length() - 1,
    }
    for at, value in values.items():
        words[at] = value


def _pieces(device: Device, controller: Controller) -> NDArray[np.int64]:
    """Return the pieces of the address mapping that make up a bank's number and a row's."""
    bits = field_bits(device)
    into = {"Ba": 0, "Bg": bits["Ba"], "Ro": 32}
    into["Ra"] = into["Bg"] + bits["Bg"]
    into["Ch"] = into["Ra"] + bits["Ra"]
    word = controller.mapping or device.mapping
    rows = [
        [shift, mask, low + into[FIELDS[field]]]
        for field, shift, mask, low in parse_mapping(device, word).tolist()
        if FIELDS[field] != "Co" and mask > 0
    ]
    return np.array(rows, np.int64).reshape(-1, layout.PIECE_WIDTH)


def _fill_ranks(dram: Dram, device: Device, controller: Controller) -> None:
    """Write the ranks: those behind one data bus refresh one after the other.

    All data buses refresh together: a stream over all channels waits for the slowest, so that
    refreshing in turns would cost it every channel's refresh instead of one.
    """
    words, rows = dram.words, dram.section(layout.AT_RANKS)
    index = np.arange(len(rows))
    interval = words[layout.REFRESH_INTERVAL]
    rows[:, layout.DUE] = interval * (index % device.ranks + 1) // device.ranks
    if controller.refresh == "none":
        rows[:, layout.DUE] = layout.NEVER
    first = words[layout.AT_BANKS] + index * words[layout.BANKS_PER_RANK] * layout.BANK_WIDTH
    rows[:, layout.FIRST_BANK] = rows[:, layout.NEXT_BANK] = first
    rows[:, layout.LATEST : layout.LATEST + _LATEST_KEPT] = layout.LONG_AGO
    buses = index // device.ranks * layout.CONTROLLER_WIDTH
    rows[:, layout.RANK_CONTROLLER] = words[layout.AT_CONTROLLERS] + buses


def _fill_banks(dram: Dram, device: Device) -> None:
    words, rows = dram.words, dram.section(layout.AT_BANKS)
    index = np.arange(len(rows))
    rows[:, layout.OPEN_ROW : layout.NUMBER] = layout.NONE
    rows[:, layout.QUEUED : layout.QUEUED + 2] = 0
    rows[:, layout.NUMBER] = index
    group = index // device.banks_per_group
    rank = group // device.bank_groups
    bus = rank // device.ranks
    rows[:, layout.BANK_GROUP] = words[layout.AT_GROUPS] + group * layout.NODE_WIDTH
    rows[:, layout.BANK_RANK] = words[layout.AT_RANKS] + rank * layout.RANK_WIDTH
    rows[:, layout.BANK_CONTROLLER] = words[layout.AT_CONTROLLERS] + bus * layout.CONTROLLER_WIDTH


def fill_gaps(words: NDArray[np.int64], device: Device, rules: Iterable[Rule]) -> None:
    """Write the rules as least gaps, by how the node of the following command is related.

    Rules of channel and data bus are kept at the ranks there, so that only a bank's own three nodes
    say when it may have a command.
    """
    shape = layout.N_COMMANDS, layout.RELATIONS, layout.GAP_WIDTH
    gaps = words[layout.GAPS : layout.PARAMETERS].reshape(shape)
    gaps[:] = layout.LONG_AGO
    own, other_rank, other_bus = layout.OWN_RANK, layout.OTHER_RANK, layout.OTHER_BUS
    related = {
        "channel": [own, other_rank, other_bus],
        **{"pseudo": [own, other_rank], "rank": [own]},
        **{"group": [layout.OWN_GROUP], "bank": [layout.OWN_BANK]},
    }
    for rule in rules:
        first, second = COMMANDS.index(rule.preceding), COMMANDS.index(rule.following)
        if rule.window > 1:
            found = rule.level, rule.preceding, rule.following, rule.window
            assert found == ("rank", "ACT", "ACT", _LATEST_KEPT + 1), found  # rules.py has no other
            words[layout.WINDOW_CLOCKS] = rule.latency
            continue
        for relation in [other_rank] if rule.is_sibling else related[rule.level]:
            gaps[first, relation, second] = max(gaps[first, relation, second], rule.latency)
    # timing_kernels.py relies on it that only an activate holds back these.
    columns, rows = slice(layout.RD, layout.RDA), slice(layout.ACT, layout.RD)
    others = np.arange(layout.N_COMMANDS) != layout.ACT
    for relation, following in ((layout.OWN_BANK, columns), (layout.OWN_GROUP, rows)):
        assert (gaps[others, relation, following] == layout.LONG_AGO).all()
