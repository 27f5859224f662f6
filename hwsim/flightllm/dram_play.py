"""Play a layer with its loads and stores served by HBM command by command.

Each of a core's eight channels is a pseudo channel of its own, with addresses as the layout has
them. Units, tokens and completions are those of :mod:`kernels`; costs are rounded up to cycles. A
load or store takes a cycle to issue and completes, in order, when all of its bytes have moved: a
unit has ``memory.outstanding`` of them in flight. What the units behind memory add stays.

A layer finds its channels idle, all rows closed and the next refresh a whole interval away, as
equal layers are played once. Channels are advanced in steps of 32 cycles: a request that a
completion of the same step causes (a store right behind a load) comes late by less than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.controller import AddressedRequest, DramMemory, count_events
from hwsim.components.dram.devices import Device
from hwsim.components.dram.state import Controller
from hwsim.core.errors import HwsimError, InputError
from hwsim.flightllm.body import Body
from hwsim.flightllm.isa import LD, ROW, SPREAD, ST, STRIPED, SYS, UNITS
from hwsim.flightllm.places import BLOCK, CHANNELS
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.timing import LayerTime

__all__ = ["check_capacity", "channel_bytes", "dram_layer_time", "transfers"]

_STEP_CYCLES = 32
_CAPACITY = 512
"""Requests that a channel may hold; more than any unit's loads have."""
_MAPPING = "ChRoRaBaCoBg"
"""A channel's addresses follow each other inside it."""


def channel_bytes(device: Device) -> int:
    """Return the bytes of one pseudo channel."""
    return device.capacity_bytes // device.controllers


def check_capacity(used_bytes: int, spec: FlightSpec) -> None:
    """Raise :class:`InputError` if a layout of ``used_bytes`` per channel does not fit."""
    room = channel_bytes(spec.memory.dram_device())
    if used_bytes > room:
        need = f"{used_bytes} bytes per channel for the model"
        raise InputError("memory.device", need, f"{room} on {spec.memory.device}")


def transfers(row: np.void) -> Iterator[tuple[int, int, int]]:
    """Yield channel, address and bytes of what a load or store moves there."""
    length, address, flags = int(row["length"]), int(row["address"]), int(row["flags"])
    if flags & STRIPED:
        for channel in range(CHANNELS):
            yield channel, address // CHANNELS, -(-length // CHANNELS)
        return
    if flags & ROW:  # 16 bytes of every block
        for piece in range(0, length, BLOCK):
            yield int(row["channel"]), address + piece * BLOCK, min(BLOCK, length - piece)
        return
    channels = range(CHANNELS) if flags & SPREAD else [int(row["channel"])]
    size = -(-length // CHANNELS) if flags & SPREAD else length
    loops, stride = int(row["loops"]), int(row["stride"])
    count = max(loops & 255, 1) * max(loops >> 8, 1)
    for channel in channels:
        for piece in range(count):
            yield channel, address + piece * stride, size


def dram_layer_time(body: Body, code: NDArray[np.void], spec: FlightSpec) -> LayerTime:
    """Return the time of a layer whose instructions, addresses in place, are ``code``.

    Raises :class:`HwsimError` if an instruction waits for a token that never comes.
    """
    play = _Play(body, code, spec)
    play.run()
    lost = tuple(tuple(Fraction(t) for t in row) for row in play.lost)
    busy = tuple(Fraction(t) for t in play.busy)
    dram = tuple(count_events(memory.state) for memory in play.channels)
    return LayerTime(Fraction(play.end), busy, lost, dram)


class _Play:
    """The state of one layer."""

    def __init__(self, body: Body, code: NDArray[np.void], spec: FlightSpec) -> None:
        self.code, self.spec = code, spec
        device = spec.memory.dram_device().with_channels(1)
        options = {"cycle_hz": spec.clock_hz, "path_cycles": spec.memory.path_cycles}
        self.channels = [
            DramMemory(device, Controller(mapping=_MAPPING), _CAPACITY, **options)
            for _ in range(CHANNELS)
        ]
        self.waits, self.releases = code["wait"].tolist(), code["release"].tolist()
        busy = [-(-c.numerator // c.denominator) for c in body.costs]
        # Of a transfer what comes behind memory: unpacking, and the way of its token.
        behind = [int(t - c) for t, c in zip(body.told, body.costs, strict=True)]
        index = code["cost"].tolist()
        self.busy_of = [busy[i] for i in index]
        self.behind = [behind[i] for i in index]
        self.gap = body.completion_gap_cycles
        self.queues = [deque(np.flatnonzero(code["unit"] == u).tolist()) for u in range(6)]
        self.tokens: list[list[deque[int]]] = [[deque() for _ in range(6)] for _ in range(6)]
        for consumer in range(6):
            self.tokens[SYS][consumer].append(0)
        self.free, self.told = [0] * 6, [0] * 6
        self.flying: list[deque[list[int]]] = [deque() for _ in range(6)]
        self.parts: dict[int, list[int]] = {}  # instruction -> [parts left, latest done]
        self.left = len(code)
        self.busy, self.lost = [0] * 6, [[0] * 6 for _ in range(6)]
        self.until, self.end, self.advanced = [0] * 6, 0, 0

    def run(self) -> None:
        """Play to the end."""
        now = 0
        while self.left or any(self.flying):
            following = self._start(now)
            if any(self.flying):
                limit = now + _STEP_CYCLES
                now = limit if following is None else min(limit, following)
                self._land(now)
            elif following is not None:
                now = following
            elif self.left:
                unit = next(u for u in range(6) if self.queues[u])
                need = f"tokens for instruction {self.queues[unit][0]} of a layer"
                raise HwsimError(f"unit {UNITS[unit]}", need, "none that will come")

    def _start(self, now: int) -> int | None:
        """Start all that may until ``now``; return when the next known start will be."""
        following: int | None = None
        has_moved = True
        while has_moved:
            has_moved, following = False, None
            for unit, queue in enumerate(self.queues):
                while queue:
                    begin, last = self._ready(unit, queue[0])
                    if begin is None:
                        break
                    if begin > now:
                        following = begin if following is None else min(following, begin)
                        break
                    self._begin(unit, queue.popleft(), begin, last)
                    has_moved = True
        return following

    def _ready(self, unit: int, row: int) -> tuple[int | None, int]:
        """Return when ``row`` may start, None if that is not known, and for whom it waited."""
        begin, last = self.free[unit], -1
        if unit in (LD, ST) and len(self.flying[unit]) >= self.spec.memory.outstanding:
            return None, last
        for producer in range(6):
            if self.waits[row] >> producer & 1:
                waiting = self.tokens[producer][unit]
                if not waiting:
                    return None, last
                if waiting[0] > begin:
                    begin, last = waiting[0], producer
        return begin, last

    def _begin(self, unit: int, row: int, begin: int, last: int) -> None:
        for producer in range(6):
            if self.waits[row] >> producer & 1:
                self.tokens[producer][unit].popleft()
        if last >= 0:
            self.lost[unit][last] += begin - max(self.free[unit], min(self.until[unit], begin))
        self.left -= 1
        parts = list(transfers(self.code[row])) if unit in (LD, ST) else []
        parts = [part for part in parts if part[2] > 0]
        if not parts or self.code["operand"][row] == 0:
            self.free[unit] = begin + self.busy_of[row]
            self._count(unit, begin, self.free[unit])
            if unit in (LD, ST) and self.flying[unit]:  # completes in order, behind the others
                self.flying[unit].append([row, 0, self.free[unit], begin])
                return
            self._complete(unit, row, self.free[unit])
            return
        self.free[unit] = begin + 1
        flight = [row, len(parts), 0, begin]
        self.flying[unit].append(flight)
        self.parts[row] = flight
        for channel, address, size in parts:
            request = AddressedRequest(0, row, address, size, is_write=unit == ST)
            self.channels[channel].submit(request, max(begin, self.advanced))

    def _land(self, until: int) -> None:
        """Take all completions of the memory up to ``until``, in order of their unit."""
        self.advanced = until
        for memory in self.channels:
            for done in memory.advance(until):
                flight = self.parts[done.tag]
                flight[1] -= 1
                flight[2] = max(flight[2], done.cycle)
        for unit in (LD, ST):
            flying = self.flying[unit]
            while flying and flying[0][1] == 0:
                row, _, done, begin = flying.popleft()
                self.parts.pop(row, None)
                self._count(unit, begin, done)
                self._complete(unit, row, done)

    def _count(self, unit: int, begin: int, end: int) -> None:
        """Count the cycles in which ``unit`` works, those of several instructions once."""
        self.busy[unit] += max(0, end - max(begin, self.until[unit]))
        self.until[unit] = max(self.until[unit], end)

    def _complete(self, unit: int, row: int, done: int) -> None:
        told = max(done + self.behind[row], self.told[unit] + self.gap)
        self.told[unit] = told
        self.end = max(self.end, told, done)
        for consumer in range(6):
            if self.releases[row] >> consumer & 1:
                self.tokens[unit][consumer].append(told)
