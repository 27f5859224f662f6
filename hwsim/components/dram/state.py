"""Lay out the state of a DRAM memory: one bundle of int64 arrays and the names of their columns.

Kernels in ``timing_kernels``, ``scheduler_kernels`` and ``memory_kernels`` advance it in place.
Times are clocks of the device unless a name says cycle, which is the caller's clock. A controller
is one data bus (channel or pseudo channel); banks, ranks and queue entries of all controllers are
numbered through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from hwsim.components.dram.address import FIELDS, parse_mapping
from hwsim.components.dram.devices import Device
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules
from hwsim.core.errors import InputError, SpecError

__all__ = ["Controller", "Dram", "Stream", "dram_state"]

# As np.int64 the constants that are passed on are no literal types to numba, which would compile
# each function that takes one anew for each.
ACT, PRE, PREA, RD, WR, RDA, WRA, REFAB, REFPB = (np.int64(i) for i in range(len(COMMANDS)))
NONE = np.int64(-1)
READ, WRITE = np.int64(0), np.int64(1)
N_COMMANDS = len(COMMANDS)
WIDTH = 12
"""Columns per command: padded so that loops over following commands become vector code."""
N_LEVELS = len(LEVELS)
CHANNEL_LEVEL, PSEUDO_LEVEL, RANK_LEVEL, GROUP_LEVEL, BANK_LEVEL = range(N_LEVELS)
MOST_MOVES = 4096
"""Bursts noted of one period, above what a column of all channels has."""
LONG_AGO = -(1 << 62)
NEVER = np.iinfo(np.int64).max
"""The time of an event that is not going to happen."""

# Dram.fixed entries, which never change.
CLOCK_NUM, CLOCK_DEN, PATH_CYCLES, CL, CWL, BL, REFRESH_INTERVAL, IS_PER_BANK = range(8)
IS_FCFS, IS_CLOSED, HIGH, LOW, WRITE_AGE, IS_HASHED, HAS_TRACE, MAX_TRACE = range(8, 16)
RANKS, GROUPS, BANKS, BANKS_PER_RANK, BURST_BYTES, BURSTS, MARKS, HAS_REFRESH = range(16, 24)
READ_ENTRIES, WRITE_ENTRIES = 24, 25  # capacity of each controller's queues, by kind
# Dram.now entries. PENDING_*: the next burst to enter the queues, already decoded, by kind.
NOW, LIVE, FREE_REQUESTS, SEQUENCE, HAS_ROOM, TRACED, BURSTS_DONE = range(7)
PENDING_BANK, PENDING_ROW = 7, 9
# Dram.controllers columns. COUNT, ACTIVE by kind; plan: the command to issue at Dram.plan_time.
COUNT, ACTIVE, DRAINING, WRITE_SINCE, PLAN_KEY, PLAN_COMMAND, PLAN_BANK, PLAN_ENTRY = (
    *(0, 2, 4, 5, 6, 7, 8, 9),
)
FREE_ENTRY, TURNAROUNDS, DRAIN_LEFT, COUNTS = 10, 11, 12, 13
# COUNTS: issued commands by command; then bursts by outcome, by kind: hit, miss, conflict.
OUTCOMES = COUNTS + N_COMMANDS
CONTROLLER_COLUMNS = OUTCOMES + 6
HIT, MISS, CONFLICT = 0, 1, 2
# Dram.banks columns: the open row (-1: none); by kind, of its queued entries: oldest, newest, how
# many, the oldest that hits the open row (-1), the position in the controller's list of banks.
OPEN_ROW, HEAD, TAIL, QUEUED, OLDEST_HIT, POSITION = 0, 1, 3, 5, 7, 9
BANK_COLUMNS = 11
# Dram.active columns: a bank with queued entries and the command it needs next: its age (plus
# ROW_COMMAND), its entry, the clock at which the bank's own rules allow it, the bank's group node.
BANK, NEED, KEY, ENTRY, BANK_READY, GROUP_NODE = range(6)
# Dram.entries columns.
ROW, NEXT, PREVIOUS, REQUEST, ORDER, OUTCOME = range(6)
# Dram.ranks columns.
DUE, OPEN_BANKS, FIRST_BANK, NEXT_BANK = range(4)
# Dram.requests columns: CURSOR is the next burst's address in bursts, TO_FEED and LEFT count.
REQUESTER, TAG, CURSOR, TO_FEED, LEFT, KIND, DONE_CLOCK, SUBMITTED, DONE_CYCLE = range(9)
# Dram.rings rows: requests to feed by kind, requests done by kind; then the free requests (a
# stack). Columns: first, length, then the ring.
FEED, DONE, FREE = 0, 2, 4
RING_FIRST, RING_LENGTH, RING = range(3)
# Dram.special columns: rules with a window or between ranks.
LEVEL, PRECEDING, FOLLOWING, LATENCY, WINDOW, HISTORY, IS_SIBLING = range(7)
# Dram.streams columns, per requester and in bursts: first address, length, next offset; then its
# data cycles: marked so far, charged so far, clocks covered by the latest mark.
STREAM_FIRST, STREAM_LENGTH, STREAM_OFFSET, MARKED, CHARGED, MARK_FROM, MARK_TO = range(7)
# Dram.skip entries (skip_kernels.py): bursts from one column to the next and of all columns that a
# mapping runs through without another row or bank (0: no fast-forward); clocks that a plan may
# reach ahead; request, column and number of the latest comparison; length of the saved state (0:
# none), bursts noted since then; bursts skipped in all.
SKIP_PERIOD, SKIP_RUN, SKIP_MARGIN, SKIP_REQUEST, SKIP_BLOCK, SKIP_ATTEMPTS = range(6)
SKIP_LENGTH, SKIP_MARKED, SKIPPED = range(6, 9)
# Dram.trace columns.
TRACE_CLOCK, TRACE_COMMAND, TRACE_BANK, TRACE_ROW, TRACE_REQUEST = range(5)


class Dram(NamedTuple):
    """All state of a DRAM memory, int64 throughout."""

    fixed: np.ndarray  # [26]
    now: np.ndarray  # [11]
    mapping: np.ndarray  # [piece, 4], see address.py
    gaps: np.ndarray  # [command, level, WIDTH]: least gap to each following command
    special: np.ndarray  # [rule, 7]
    nodes: np.ndarray  # [bank, level]: row of each level's node in ready
    ready: np.ndarray  # [node, WIDTH]: first clock at which the rules allow the command
    history: np.ndarray  # [windowed rule, node, 1 + window]: ring position, latest times
    plan_time: np.ndarray  # [controller]
    shared: np.ndarray  # [WIDTH]: scratch of a scan, the latest of channel, data bus and rank
    controllers: np.ndarray  # [controller, CONTROLLER_COLUMNS]
    banks: np.ndarray  # [bank, BANK_COLUMNS]
    ranks: np.ndarray  # [rank, 4]
    active: np.ndarray  # [2 * controller + kind, position, 6]: banks with entries
    entries: np.ndarray  # [entry, 6]
    requests: np.ndarray  # [capacity, 9]
    rings: np.ndarray  # [5, 2 + capacity]
    streams: np.ndarray  # [requester, 7]
    marks: np.ndarray  # [requester, MARKS]: cycle in which data moved
    trace: np.ndarray  # [events + 1, 5]; the last row is a dump
    skip: np.ndarray  # [9]
    saved: np.ndarray  # [2, longest snapshot]: saved and present state, see skip_kernels.py
    moves: np.ndarray  # [noted bursts, 2]: begin and end clock of data since the saved state


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
        Queued writes at which draining begins and ends while reads wait.
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
    return Dram(
        fixed=fixed,
        now=np.array([0, 0, capacity, 0, 0, 0, 0, -1, -1, 0, 0], np.int64),
        mapping=parse_mapping(device, controller.mapping or device.mapping),
        gaps=gaps,
        special=special,
        nodes=nodes,
        ready=np.zeros((n_nodes, WIDTH), np.int64),
        history=_history(windows, n_nodes),
        shared=np.zeros(WIDTH, np.int64),
        plan_time=np.zeros(device.controllers, np.int64),
        controllers=_controllers(device, controller),
        banks=_banks(device),
        ranks=_ranks(device, fixed),
        active=np.zeros((2 * device.controllers, device.banks, 6), np.int64),
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
    length = 8 + device.controllers * (CONTROLLER_COLUMNS + 8)
    length += 5 * banks + 4 * device.controllers * max(
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
    interval = t["REFI_PB"] if is_per_bank else t["REFI"]
    return np.array(
        [
            *clock,
            *(t["CL"], t["CWL"], t["BL"], interval, is_per_bank),
            *(controller.scheduler == "fcfs", controller.page == "closed"),
            *(controller.drain_high, controller.drain_low, controller.write_age_clocks),
            *(controller.is_hashed, max_trace > 0, max_trace),
            *(device.ranks, device.bank_groups, device.banks_per_group),
            *(device.bank_groups * device.banks_per_group, device.burst_bytes),
            device.capacity_bytes // device.burst_bytes,
            *(marks, controller.refresh != "none"),
            *(controller.read_entries, controller.write_entries),
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
    for level, size in enumerate(sizes):
        nodes[:, level] = bank // size + offset
        offset += len(bank) // size
    return nodes, offset


def _rules(device: Device) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return the plain rules as least gaps, the special ones as rows, and the windows above 1."""
    gaps = np.full((N_COMMANDS, N_LEVELS, WIDTH), LONG_AGO, np.int64)
    special, windows = [], []
    for rule in device_rules(device):
        level, first = LEVELS.index(rule.level), COMMANDS.index(rule.preceding)
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
