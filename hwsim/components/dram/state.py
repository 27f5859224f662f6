"""Say how a DRAM memory schedules, and make the state of an idle one (see :mod:`layout`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwsim.components.dram import layout
from hwsim.components.dram.address import FIELDS, parse_mapping
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.records import allocate, fill_gaps, fill_machine
from hwsim.components.dram.rules import device_rules
from hwsim.core.errors import InputError, SpecError

__all__ = ["Controller", "Stream", "dram_state"]

MOST_CLOCKS = 1 << 14
"""Longest timing: two of them in a row stay below the 2^16 clocks that are compared."""


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
    drain_end : str
        ``count``: of the writes queued when draining begins all but ``drain_low`` are served;
        ``level``: writes are served until no more than ``drain_low`` are queued.
    is_activated_first : bool
        Whether a burst leaves its queue when its row is opened for it, and goes before everything
        else from then on: the row stays open until it was served.
    write_age_clocks : int
        Draining begins as well, and serves all writes, when so much time has passed since none were
        queued or such a drain or one from ``drain_high`` on ended (reads may end others at once).
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
    drain_end: Literal["count", "level"] = "count"
    is_activated_first: bool = False
    write_age_clocks: int = 1000

    def __post_init__(self) -> None:
        choices = {
            "scheduler": ("frfcfs", "fcfs"),
            "page": ("open", "closed"),
            "refresh": ("all_bank", "per_bank", "none"),
            "drain_end": ("count", "level"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                need = f"one of {', '.join(known)}"
                raise InputError(f"memory.{name}", need, repr(getattr(self, name)))
        for name in ("read_entries", "write_entries", "write_age_clocks"):
            if not 1 <= getattr(self, name) < 1 << 20:
                raise InputError(f"memory.{name}", "1 to 2^20 - 1", str(getattr(self, name)))
        if self.is_activated_first and self.scheduler == "fcfs":
            raise InputError("memory.is_activated_first", "scheduler frfcfs", "fcfs")
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
    check_refresh(device, controller)
    _check_extent(device)
    marks = _marks_length(device, cycle_hz) if streams else 0
    n_streams = max(len(streams), 1)
    buses = device.controllers
    per_bus = controller.read_entries + controller.write_entries
    per_bus += device.banks * controller.is_activated_first
    is_forwarding = fast_forward and not max_trace
    words = allocate(
        device,
        controller,
        {
            layout.AT_ENTRIES: buses * per_bus,
            layout.AT_REQUESTS: capacity,
            layout.AT_SLOTS: buses * (device.banks + 1),
            layout.AT_OPENERS: buses * device.banks,
            layout.AT_STREAMS: n_streams,
            layout.AT_MARKS: n_streams * max(marks, 1),
            layout.AT_TRACE: max_trace + 1,
            layout.AT_SAVED: _snapshot_length(device, per_bus) if is_forwarding else 1,
            layout.AT_MOVES: layout.MOST_MOVES if is_forwarding else 1,
        },
        layout.WIDTHS,
    )
    fill_machine(words, device, controller, cycle_hz, path_cycles, max_trace)
    fill_gaps(words, device, device_rules(device))
    words[layout.MARKS] = marks
    words[layout.FREE_REQUESTS] = capacity
    dram = Dram(words)
    _fill_queues(dram, device, controller, per_bus)
    _fill_streams(dram, streams, marks)
    _fill_skipping(words, device, controller, is_forwarding)
    return dram


def check_refresh(device: Device, controller: Controller) -> None:
    """Refuse a refresh that the device lacks."""
    if controller.refresh == "per_bank" and not device.has_per_bank_refresh:
        raise SpecError("memory.refresh", f"all_bank or none on {device.name}", "'per_bank'")


def _check_extent(device: Device) -> None:
    """Refuse what a candidate's one number of 63 bits cannot hold (scheduler_kernels.py)."""
    longest = max(rule.latency for rule in device_rules(device))
    if longest >= MOST_CLOCKS:
        raise SpecError(f"dram.{device.name}", f"timings below {MOST_CLOCKS} clocks", str(longest))
    if device.banks > 1 << layout.PLACE_BITS:
        need = f"at most {1 << layout.PLACE_BITS} banks on a data bus"
        raise SpecError(f"dram.{device.name}", need, str(device.banks))


def _fill_queues(dram: Dram, device: Device, controller: Controller, per_bus: int) -> None:
    """Write the free entries, slots and requests, linked."""
    words, rows = dram.words, dram.controllers
    index = np.arange(len(rows))
    rows[:, layout.FREE_ENTRY] = words[layout.AT_ENTRIES] + index * per_bus * layout.ENTRY_WIDTH
    slots = index * (device.banks + 1) * layout.SLOT_WIDTH
    rows[:, layout.FIRST_SLOT] = words[layout.AT_SLOTS] + slots
    dram.section(layout.AT_SLOTS)[:, layout.KEY] = layout.NEVER
    rows[:, layout.FIRST_OPENER] = words[layout.AT_OPENERS] + index * device.banks
    entries = dram.section(layout.AT_ENTRIES)
    place = words[layout.AT_ENTRIES] + np.arange(1, len(entries) + 1) * layout.ENTRY_WIDTH
    entries[:, layout.NEXT] = np.where(np.arange(1, len(entries) + 1) % per_bus, place, -1)
    requests = dram.section(layout.AT_REQUESTS)
    place = words[layout.AT_REQUESTS] + np.arange(len(requests)) * layout.REQUEST_WIDTH
    requests[1:, layout.NEXT_REQUEST] = place[:-1]
    words[layout.FREE] = place[-1]


def _fill_streams(dram: Dram, streams: Sequence[Stream], marks: int) -> None:
    words, rows = dram.words, dram.section(layout.AT_STREAMS)
    rows[: len(streams), :2] = [[s.first, s.length] for s in streams] or 0
    rows[:, layout.STREAM_MARKS] = words[layout.AT_MARKS] + np.arange(len(rows)) * marks
    dram.section(layout.AT_MARKS)[:] = -1


def _fill_skipping(words: np.ndarray, device: Device, controller: Controller, is_on: bool) -> None:
    """Write what fast-forward works on."""
    pieces = parse_mapping(device, controller.mapping or device.mapping)
    columns = pieces[pieces[:, 0] == FIELDS.index("Co")]
    if is_on and len(columns):
        longest = columns[np.argmax(columns[:, 2])]
        words[layout.SKIP_PERIOD] = 1 << int(longest[1])
        words[layout.SKIP_RUN] = words[layout.SKIP_PERIOD] * (int(longest[2]) + 1)
    latencies = [r.latency for r in device_rules(device) if not r.preceding.startswith("REF")]
    words[layout.SKIP_MARGIN] = max(latencies)
    words[layout.SKIP_REQUEST] = words[layout.SKIP_BLOCK] = -1


def _snapshot_length(device: Device, per_bus: int) -> int:
    """Return a bound of what skip_kernels.py saves."""
    banks, ranks = device.controllers * device.banks, device.controllers * device.ranks
    nodes = banks + ranks + device.controllers * device.ranks * device.bank_groups
    length = 16 + device.controllers * (layout.CONTROLLER_WIDTH + 8 + 4 * per_bus)
    return length + banks * 8 + ranks * 8 + nodes * layout.N_COMMANDS


def _marks_length(device: Device, cycle_hz: int | None) -> int:
    """Return a power of two above the cycles from a command to the end of its data."""
    hz = device.clock_hz if cycle_hz is None else cycle_hz
    clocks = max(device.timings["CL"], device.timings["CWL"]) + device.timings["BL"]
    return 1 << int(clocks * hz // device.clock_hz + 4).bit_length()
