"""Say how a DRAM memory schedules, and make the state of an idle one (see :mod:`layout`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwsim.components.dram.address import FIELDS, field_bits, parse_mapping
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import (
    BANK_COLUMNS,
    BANKS_PER_RANK,
    CONTROLLER_COLUMNS,
    DUE,
    FIRST_BANK,
    FREE,
    FREE_ENTRY,
    HAS_REFRESH,
    LISTS,
    LONG_AGO,
    MOST_MOVES,
    N_COMMANDS,
    N_LEVELS,
    NEVER,
    NEXT,
    NEXT_BANK,
    NONE,
    PLAN_COMMAND,
    PSEUDO_LEVEL,
    QUEUED,
    RANK_LEVEL,
    REFRESH_INTERVAL,
    RING,
    RING_LENGTH,
    SKIP_BLOCK,
    SKIP_MARGIN,
    SKIP_PERIOD,
    SKIP_REQUEST,
    SKIP_RUN,
    WIDTH,
    Dram,
)
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules
from hwsim.core.errors import InputError, SpecError

__all__ = ["Controller", "Stream", "dram_state"]


@dataclass(frozen=True)
class Controller:
    """How requests are scheduled on one device (see docs/memory.md).

    Attributes
    ----------
    scheduler : str
        ``frfcfs``: row hits first, then the oldest; ``fcfs``: strictly the oldest.
    page : str
        ``open``: rows stay open; ``closed``: the last queued access to a row precharges it.
    refresh : str
        ``all_bank``, ``per_bank`` or ``none`` (to measure what refresh costs).
    mapping : str
        Address mapping, the device's own if empty.
    is_hashed : bool
        Whether bank and bank group are hashed with the row.
    read_entries, write_entries : int
        Bursts that wait in each controller.
    drain_high, drain_low : int
        Queued writes at which draining begins while reads wait, and how many of them it leaves.
    write_age_clocks : int
        Draining begins as well when writes have waited so long, and serves all of them.
    """

    scheduler: Literal["frfcfs", "fcfs"] = "frfcfs"
    page: Literal["open", "closed"] = "open"
    refresh: Literal["all_bank", "per_bank", "none"] = "all_bank"
    mapping: str = ""
    is_hashed: bool = False
    read_entries: int = 32  # assumed: entries, watermarks and age as in common open controllers
    write_entries: int = 32
    drain_high: int = 24
    drain_low: int = 8
    write_age_clocks: int = 1000

    def __post_init__(self) -> None:
        choices = {
            "scheduler": ("frfcfs", "fcfs"),
            "page": ("open", "closed"),
            "refresh": ("all_bank", "per_bank", "none"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                need = f"one of {', '.join(known)}"
                raise InputError(f"memory.{name}", need, repr(getattr(self, name)))
        for name in ("read_entries", "write_entries", "write_age_clocks"):
            if not 1 <= getattr(self, name) < 1 << 20:
                raise InputError(f"memory.{name}", "1 to 2^20 - 1", str(getattr(self, name)))
        if not 0 <= self.drain_low < self.drain_high <= self.write_entries:
            need = f"0 <= drain_low < drain_high <= write_entries = {self.write_entries}"
            found = f"drain_low {self.drain_low}, drain_high {self.drain_high}"
            raise InputError("memory.drain_high", need, found)


@dataclass(frozen=True)
class Stream:
    """The addresses that a requester's requests run through: a region in bursts."""

    first: int
    length: int


def dram_state(
    device: Device,
    controller: Controller,
    capacity: int,
    *,
    cycle_hz: int | None = None,
    path_cycles: int = 0,
    streams: Sequence[Stream] = (),
    max_trace: int = 0,
    fast_forward: bool = True,
) -> Dram:
    """Return the state of an idle memory.

    Parameters
    ----------
    device, controller : Device, Controller
        What is scheduled and how.
    capacity : int
        Requests in flight.
    cycle_hz : int, optional
        The caller's clock; the device's own if None.
    path_cycles : int
        Cycles between the last data and the completion: the way from the controller.
    streams : sequence of Stream
        Regions of the requesters, for callers that leave addresses to the memory.
    max_trace : int
        Commands to record; fast-forward is off then.
    fast_forward : bool
        Whether to skip the periods of long requests; the result is the same.

    Raises
    ------
    InputError
        If the mapping does not fit the device or the device lacks the chosen refresh.
    """
    if controller.refresh == "per_bank" and not device.has_per_bank_refresh:
        raise SpecError("memory.refresh", f"all_bank or none on {device.name}", "'per_bank'")
    hz = device.clock_hz if cycle_hz is None else cycle_hz
    common = int(np.gcd(device.clock_hz, hz))
    num, den = device.clock_hz // common, hz // common
    marks = _marks_length(device, num, den) if streams else 0
    fixed = _fixed(device, controller, [num, den, path_cycles], marks, max_trace)
    nodes, n_nodes = _nodes(device)
    gaps, special, windows = _rules(device)
    n_requesters = max(len(streams), 1)
    lists = 2 * device.controllers * LISTS
    return Dram(
        fixed=fixed,
        now=np.array([0, 0, capacity, 0, 0, 0, 0, -1, -1, 0, 0], np.int64),
        mapping=_mapping(device, controller),
        levels=np.array(_levels(device), np.int64),
        gaps=gaps,
        special=special,
        nodes=nodes,
        ready=np.zeros((n_nodes, WIDTH), np.int64),
        history=_history(windows, n_nodes),
        plan_time=np.zeros(device.controllers, np.int64),
        controllers=_controllers(device, controller),
        banks=_banks(device),
        ranks=_ranks(device, fixed),
        listed=np.zeros(lists, np.int64),
        candidates=np.zeros((lists, device.banks, 4), np.int64),
        entries=_entries(device, controller),
        requests=np.zeros((capacity, 9), np.int64),
        rings=_rings(capacity),
        streams=np.array([[s.first, s.length, *[0] * 5] for s in streams] or [[0] * 7], np.int64),
        marks=np.full((n_requesters, max(marks, 1)), -1, np.int64),
        trace=np.zeros((max_trace + 1, 5), np.int64),
        **_skipping(device, controller, n_nodes, len(windows), fast_forward and not max_trace),
    )


def _skipping(
    device: Device, controller: Controller, nodes: int, windows: int, is_on: bool
) -> dict[str, np.ndarray]:
    """Return what fast-forward works on."""
    skip = np.zeros(9, np.int64)
    pieces = parse_mapping(device, controller.mapping or device.mapping)
    columns = pieces[pieces[:, 0] == FIELDS.index("Co")]
    if is_on and len(columns):
        longest = columns[np.argmax(columns[:, 2])]
        skip[SKIP_PERIOD] = 1 << int(longest[1])
        skip[SKIP_RUN] = skip[SKIP_PERIOD] * (int(longest[2]) + 1)
    latencies = [r.latency for r in device_rules(device) if not r.preceding.startswith("REF")]
    skip[SKIP_MARGIN] = max(latencies)
    skip[SKIP_REQUEST] = skip[SKIP_BLOCK] = NONE
    banks = device.controllers * device.banks
    length = 8 + device.controllers * (CONTROLLER_COLUMNS + 8 + LISTS)
    length += 4 * banks + 4 * device.controllers * max(
        controller.read_entries, controller.write_entries
    )
    length += banks + device.controllers * device.ranks + nodes * WIDTH
    length += max(windows, 1) * nodes * 8
    return {
        "skip": skip,
        "saved": np.zeros((2, length if is_on else 1), np.int64),
        "moves": np.zeros((MOST_MOVES if is_on else 1, 2), np.int64),
    }


def _marks_length(device: Device, num: int, den: int) -> int:
    """Return a power of two above the cycles from a command to the end of its data."""
    clocks = max(device.timings["CL"], device.timings["CWL"]) + device.timings["BL"]
    return 1 << int(clocks * den // num + 4).bit_length()


def _fixed(
    device: Device, controller: Controller, clock: list[int], marks: int, max_trace: int
) -> np.ndarray:
    t = device.timings
    is_per_bank = controller.refresh == "per_bank"
    per_rank = device.bank_groups * device.banks_per_group
    interval = t["REFI_PB"] if is_per_bank else t["REFI"]
    return np.array(
        [
            *clock,
            *(t["CL"], t["CWL"], t["BL"], interval, is_per_bank),
            *(controller.scheduler == "fcfs", controller.page == "closed"),
            *(controller.drain_high, controller.drain_low, controller.write_age_clocks),
            *(controller.is_hashed, max_trace > 0, max_trace),
            *(device.ranks, device.bank_groups, device.banks_per_group),
            *(per_rank, device.burst_bytes),
            device.capacity_bytes // device.burst_bytes,
            *(marks, controller.refresh != "none"),
            *(controller.read_entries, controller.write_entries),
            *(size.bit_length() - 1 for size in (device.burst_bytes, per_rank, device.banks)),
            device.pseudo_channels,
        ],
        np.int64,
    )


def _nodes(device: Device) -> tuple[np.ndarray, int]:
    """Return each bank's node per level, numbered through the levels, and how many there are."""
    per_rank = device.bank_groups * device.banks_per_group
    bank = np.arange(device.controllers * device.banks)
    sizes = (
        *(device.banks * device.pseudo_channels, device.banks),
        *(per_rank, device.banks_per_group, 1),
    )
    nodes = np.zeros((len(bank), N_LEVELS), np.int64)
    offset = 0
    for level in sorted(range(N_LEVELS), key=lambda level: level != RANK_LEVEL):  # ranks first
        nodes[:, level] = bank // sizes[level] + offset
        offset += len(bank) // sizes[level]
    return nodes, offset


def _rules(device: Device) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the plain rules as least gaps, the special ones as rows, and the windows above 1."""
    gaps = np.full((N_COMMANDS, N_LEVELS, WIDTH), LONG_AGO, np.int64)
    special, windows = [], []
    levels = _levels(device)
    for rule in device_rules(device):
        level, first = LEVELS.index(rule.level), COMMANDS.index(rule.preceding)
        while level not in levels:
            level += 1  # its nodes are the same
        second = COMMANDS.index(rule.following)
        if rule.window == 1 and not rule.is_sibling:
            gaps[first, level, second] = max(gaps[first, level, second], rule.latency)
            continue
        history = len(windows) if rule.window > 1 else 0
        if rule.window > 1:
            windows.append(rule.window)
        row = [level, first, second, rule.latency, rule.window, history, rule.is_sibling]
        special.append(row)
    return gaps, np.array(special, np.int64), windows


def _levels(device: Device) -> list[int]:
    """Return the levels in use: not those of which each node holds one node of the next."""
    single = [device.pseudo_channels == 1, device.ranks == 1]
    return [level for level in range(N_LEVELS) if level > PSEUDO_LEVEL or not single[level]]


def _mapping(device: Device, controller: Controller) -> np.ndarray:
    """Return the pieces of the address mapping that make up a bank's number and a row's."""
    bits = field_bits(device)
    into = {"Ba": 0, "Bg": bits["Ba"]}
    into["Ra"] = into["Bg"] + bits["Bg"]
    into["Ch"] = into["Ra"] + bits["Ra"]
    rows = []
    for field, shift, mask, low in parse_mapping(
        device, controller.mapping or device.mapping
    ).tolist():
        if FIELDS[field] != "Co":
            rows.append([FIELDS[field] == "Ro", shift, mask, low + into.get(FIELDS[field], 0)])
    return np.array(rows, np.int64).reshape(-1, 4)


def _history(windows: list[int], n_nodes: int) -> np.ndarray:
    history = np.full((max(len(windows), 1), n_nodes, 1 + max(windows, default=1)), LONG_AGO)
    history[:, :, 0] = 1
    return history


def _controllers(device: Device, controller: Controller) -> np.ndarray:
    rows = np.zeros((device.controllers, CONTROLLER_COLUMNS), np.int64)
    rows[:, PLAN_COMMAND] = NONE
    entries = controller.read_entries + controller.write_entries
    rows[:, FREE_ENTRY] = np.arange(device.controllers) * entries
    return rows


def _banks(device: Device) -> np.ndarray:
    rows = np.full((device.controllers * device.banks, BANK_COLUMNS), -1, np.int64)
    rows[:, QUEUED : QUEUED + 2] = 0
    return rows


def _ranks(device: Device, fixed: np.ndarray) -> np.ndarray:
    """Return the ranks: those behind one data bus refresh one after the other.

    All data buses refresh together: a stream over all channels waits for the slowest, so that
    refreshing in turns would cost it every channel's refresh instead of one.
    """
    rows = np.zeros((device.controllers * device.ranks, 4), np.int64)
    index = np.arange(len(rows))
    turn = index % device.ranks
    rows[:, DUE] = fixed[REFRESH_INTERVAL] * (turn + 1) // device.ranks
    if not fixed[HAS_REFRESH]:
        rows[:, DUE] = NEVER
    rows[:, FIRST_BANK] = index * fixed[BANKS_PER_RANK]
    rows[:, NEXT_BANK] = rows[:, FIRST_BANK]
    return rows


def _entries(device: Device, controller: Controller) -> np.ndarray:
    per_controller = controller.read_entries + controller.write_entries
    rows = np.zeros((device.controllers * per_controller, 6), np.int64)
    index = np.arange(len(rows))
    rows[:, NEXT] = np.where((index + 1) % per_controller == 0, -1, index + 1)
    return rows


def _rings(capacity: int) -> np.ndarray:
    rings = np.zeros((5, RING + capacity), np.int64)
    rings[FREE, RING_LENGTH] = capacity
    rings[FREE, RING:] = np.arange(capacity)
    return rings
