"""Use a DRAM memory from Python: serve requests, count what happened, keep a command trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram import layout
from hwsim.components.dram import memory_kernels as kernels
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.rules import COMMANDS
from hwsim.components.dram.simple import Completion
from hwsim.components.dram.state import Controller, dram_state
from hwsim.core.errors import InputError

__all__ = [
    "REQUEST",
    "AddressedRequest",
    "Counts",
    "DramMemory",
    "check_requests",
    "count_events",
    "serve",
]

REQUEST = np.dtype(
    [
        ("arrival", np.int64),  # clock, not decreasing
        ("address", np.int64),  # byte
        ("size_bytes", np.int64),
        ("is_write", np.int64),
        ("done", np.int64),  # clock in which the last data have moved: written by serve
    ]
)
"""One request of :func:`serve`."""

TRACE = np.dtype([(name, np.int64) for name in ("clock", "command", "bank", "row", "request")])
"""One command of a trace: index into COMMANDS, bank counted over all controllers."""

MOST_CYCLES = (1 << 56) - 1
"""Latest arrival: from 2^57 on the kernels take a time for never."""
CHECKED_AT_ONCE = 1 << 13
"""Requests that a cache holds: checking takes a third of the time."""


@dataclass(frozen=True)
class AddressedRequest:
    """``size_bytes`` to move at ``address`` for ``requester``; ``tag`` comes back when done."""

    requester: int
    tag: int
    address: int
    size_bytes: int
    is_write: bool = False


@dataclass(frozen=True)
class Counts:
    """What a memory did, summed over its controllers.

    Attributes
    ----------
    commands : dict of str to int
        Commands issued.
    hits, misses, conflicts : int
        Bursts that found their row open, the bank closed, another row open.
    bytes_read, bytes_written : int
        Data moved, whole bursts.
    turnarounds : int
        Changes between serving reads and writes.
    """

    commands: dict[str, int]
    hits: int
    misses: int
    conflicts: int
    bytes_read: int
    bytes_written: int
    turnarounds: int

    def refresh_share(self, device: Device, clocks: int) -> float:
        """Return the part of ``clocks`` for which an average rank (bank) was refreshing."""
        whole = self.commands["REFab"] * device.timings["RFC_AB"]
        single = self.commands["REFpb"] * device.timings.get("RFC_PB", 0)
        ranks = device.controllers * device.ranks
        banks = device.bank_groups * device.banks_per_group
        return (whole + single / banks) / (ranks * clocks) if clocks else 0.0


def count_events(dram: Dram) -> Counts:
    """Return what happened so far."""
    total = dram.controllers.sum(axis=0)
    outcomes = total[layout.OUTCOMES : layout.OUTCOMES + 6].reshape(2, 3)
    moved = outcomes.sum(axis=1) * dram.words[layout.BURST_BYTES]
    hits, misses, conflicts = outcomes.sum(axis=0).tolist()
    issued = total[layout.COUNTS : layout.OUTCOMES].tolist()
    return Counts(
        commands=dict(zip(COMMANDS, issued, strict=True)),
        hits=hits,
        misses=misses,
        conflicts=conflicts,
        bytes_read=int(moved[0]),
        bytes_written=int(moved[1]),
        turnarounds=int(total[layout.TURNAROUNDS]),
    )


def read_trace(dram: Dram) -> NDArray[np.void]:
    """Return the recorded commands in order of issue."""
    n = min(int(dram.words[layout.TRACED]), int(dram.words[layout.MAX_TRACE]))
    order = np.argsort(dram.trace[:n, layout.TRACE_CLOCK], kind="stable")
    return np.ascontiguousarray(dram.trace[order]).view(TRACE)[:, 0]


def serve(
    device: Device,
    requests: NDArray[np.void],
    controller: Controller | None = None,
    *,
    in_flight: int = 1024,
    max_trace: int = 0,
    fast_forward: bool = True,
) -> Dram:
    """Serve ``requests`` : REQUEST[:] on the device's own clock, writing each one's ``done``.

    A request waits outside the memory while ``in_flight`` others are inside. The bytes of one
    request are moved in whole bursts.

    Raises
    ------
    InputError
        If a request is empty, beyond the capacity, or earlier than the one before it.
    """
    check_requests(device, requests)
    dram = dram_state(
        device,
        controller or Controller(),
        in_flight,
        max_trace=max_trace,
        fast_forward=fast_forward,
    )
    columns = requests.view(np.int64).reshape(len(requests), len(REQUEST))
    kernels.play(dram.words, columns)
    return dram


def check_requests(device: Device, requests: NDArray[np.void], *, is_ordered: bool = True) -> None:
    """Raise :class:`InputError` naming the first field of ``requests`` that is wrong."""
    before = 0
    for first in range(0, len(requests), CHECKED_AT_ONCE):
        some = requests[first : first + CHECKED_AT_ONCE]
        _check_some(device, some, first, before if is_ordered else None)
        before = some["arrival"][-1]


def _check_some(device: Device, requests: NDArray[np.void], first: int, before: int | None) -> None:
    """Check requests from ``first`` on; the one before came at ``before`` (None: any order)."""
    arrival, address, size_bytes, is_write = (
        np.ascontiguousarray(requests[field])
        for field in ("arrival", "address", "size_bytes", "is_write")
    )
    last = device.capacity_bytes - 1
    bad = {
        "size_bytes: need at least 1": size_bytes < 1,
        f"address: need 0 to {last} with its last byte on {device.name}": (
            (address < 0) | (address > device.capacity_bytes - size_bytes)
        ),
        f"arrival: need 0 to {MOST_CYCLES}": (arrival < 0) | (arrival > MOST_CYCLES),
        "is_write: need 0 or 1": (is_write & ~1) != 0,
    }
    if before is not None:
        need = "arrival: need no earlier than the request before"
        bad[need] = np.diff(arrival, prepend=before) < 0
    for text, mask in bad.items():
        if mask.any():
            index = int(mask.argmax())
            field, _, need = text.partition(": need ")
            found = str(requests[field][index])
            raise InputError(f"requests[{first + index}].{field}", need, found)


class DramMemory:
    """A DRAM memory behind the contract of :mod:`hwsim.components.dram`, for use by Python."""

    def __init__(
        self, device: Device, controller: Controller | None = None, capacity: int = 64, **more: Any
    ) -> None:
        """Start idle; ``more`` goes to :func:`dram_state`."""
        self.device = device
        self.state = dram_state(device, controller or Controller(), capacity, **more)
        self._now = 0

    def submit(self, request: AddressedRequest, t: int) -> None:
        """Hand over ``request`` at cycle ``t``, to which all completions have been taken.

        Raises
        ------
        InputError
            If it moves no byte or bytes beyond the capacity, if ``t`` is in the past, or if the
            memory is full.
        """
        end = request.address + request.size_bytes
        if request.size_bytes < 1:
            raise InputError("request.size_bytes", "at least 1", str(request.size_bytes))
        if request.address < 0 or end > self.device.capacity_bytes:
            need = f"bytes below {self.device.capacity_bytes} on {self.device.name}"
            raise InputError("request.address", need, str(request.address))
        if not self._now <= t <= MOST_CYCLES:
            raise InputError("request.t", f"{self._now} to {MOST_CYCLES}", str(t))
        if self.state.words[layout.FREE_REQUESTS] == 0:
            capacity = int(self.state.words[layout.AT_REQUESTS + 1])
            raise InputError("memory.capacity", "room for a request", f"{capacity} held")
        self.next_time(t)
        kind = int(layout.WRITE if request.is_write else layout.READ)
        where = (request.requester, request.tag, request.address, request.size_bytes, kind, t)
        self._operate(kernels.SUBMIT, *where)
        self._now = t

    def next_time(self, limit: int) -> int | None:
        """Return the cycle of the next completion, None if none is due until ``limit``."""
        cycle = self._operate(kernels.NEXT_TIME, limit)
        return None if cycle > limit else cycle

    def advance(self, until: int) -> list[Completion]:
        """Return the completions due at or before ``until``, in order of completion."""
        done = []
        while self.next_time(until) is not None:
            at = self._operate(kernels.POP, until)
            columns = (layout.REQUESTER, layout.TAG, layout.DONE_CYCLE)
            requester, tag, cycle = (int(self.state.words[at + column]) for column in columns)
            done.append(Completion(requester, tag, cycle))
        self._now = max(self._now, until)
        return done

    def data_cycles(self, requester: int, until: int) -> int:
        """Return the cycles before ``until``, not counted before, in which its data moved."""
        return self._operate(kernels.DATA_CYCLES, requester, until)

    def _operate(self, operation: int, *values: int) -> int:
        passed = np.zeros(6, np.int64)
        passed[: len(values)] = values
        kernels.operate(self.state.words, operation, passed)
        return int(passed[0])
