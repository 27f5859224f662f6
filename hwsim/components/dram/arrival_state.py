"""Lay out and make the state of a DRAM memory that serves bursts in order of arrival.

What is the same as in :mod:`layout` has the same names and columns there, so that rules, address
mapping and counters are shared. Times are clocks of the device unless a name says cycle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import (
    ACT,
    CHANNEL_LEVEL,
    LONG_AGO,
    N_COMMANDS,
    N_LEVELS,
    RD,
    WIDTH,
    Dram,
)
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules
from hwsim.components.dram.state import Controller, dram_state

__all__ = ["Arrival", "arrival_state"]

NEXT_DUE, LAST_DATA = 11, 12
"""Entries of Arrival.now behind those of Dram.now: the first refresh due, the end of all data."""
BACK_CLOCKS = np.int64(4096)
"""Clocks that an access may be older than the newest one; one that is still older is moved up."""
BUS, LENGTH = range(2)
"""Columns of Arrival.bus_use: bus of the channel (row and column commands may have one each)."""
BITS, WORD = range(2)
"""Parts of Arrival.slots: 64 clocks' bits, and which 64 clocks they are."""
ENTRIES_FIRST = 1
"""Column of Arrival.queue behind the position in its ring."""
OLDEST, HELD, SERVED = range(3)
"""Columns of Arrival.buffers: position of the oldest write, writes held, the kind served last."""
WRITE_BANK, WRITE_ROW, WRITE_REQUEST, WRITE_CLOCK = range(4)
"""Columns of Arrival.writes."""


class Arrival(NamedTuple):
    """All state of a DRAM memory that serves in order of arrival, int64 throughout."""

    fixed: np.ndarray  # as Dram.fixed
    now: np.ndarray  # [13], as Dram.now, then NEXT_DUE and LAST_DATA
    mapping: np.ndarray  # as Dram.mapping
    levels: np.ndarray  # levels in use, without that of the command bus
    gaps: np.ndarray  # as Dram.gaps, without the rules of the command bus
    after: np.ndarray  # [command, command]: least gap at the same bank
    special: np.ndarray  # as Dram.special
    nodes: np.ndarray  # as Dram.nodes
    ready: np.ndarray  # as Dram.ready
    history: np.ndarray  # as Dram.history
    controllers: np.ndarray  # as Dram.controllers: counters alone are used
    rows: np.ndarray  # [bank]: the open row, -1: none
    ranks: np.ndarray  # as Dram.ranks
    buffers: np.ndarray  # [controller, 3]
    writes: np.ndarray  # [controller, write entry, 4]: waiting writes, a ring
    bus_use: np.ndarray  # [command, 2]
    slots: np.ndarray  # [2 * channel + bus, word, 2]: clocks in which the bus has a command
    queue: np.ndarray  # [2 * controller + kind, 1 + entry]: when its latest bursts left, a ring
    front: np.ndarray  # [channel]: no burst enters a queue before
    trace: np.ndarray  # as Dram.trace, in order of arrival


def arrival_state(
    device: Device,
    controller: Controller | None = None,
    *,
    cycle_hz: int | None = None,
    path_cycles: int = 0,
    max_trace: int = 0,
) -> Arrival:
    """Return the state of an idle memory; see :func:`~hwsim.components.dram.state.dram_state`.

    Of ``controller``, all but the scheduler is used.
    """
    controller = controller or Controller()
    base = dram_state(
        device,
        controller,
        1,
        cycle_hz=cycle_hz,
        path_cycles=path_cycles,
        max_trace=max_trace,
        fast_forward=False,
    )
    gaps = _gaps(device, base)
    entries = controller.read_entries + controller.write_entries
    due = base.ranks[:, 0].min()
    return Arrival(
        fixed=base.fixed,
        now=np.append(base.now, [due, 0]),
        mapping=base.mapping,
        levels=base.levels[base.levels != CHANNEL_LEVEL],
        gaps=gaps,
        after=np.ascontiguousarray(gaps.max(axis=1)[:, :N_COMMANDS]),
        special=base.special,
        nodes=base.nodes,
        ready=base.ready,
        history=base.history,
        controllers=base.controllers,
        rows=np.full(device.controllers * device.banks, -1, np.int64),
        ranks=base.ranks,
        buffers=np.tile(np.array([0, 0, -1], np.int64), (device.controllers, 1)),
        writes=np.zeros((device.controllers, controller.write_entries, 4), np.int64),
        bus_use=_bus_use(device),
        slots=np.full((2 * device.channels, _slot_words(device, entries), 2), -1, np.int64),
        queue=_queue(device, max(controller.read_entries, controller.write_entries)),
        front=np.full(device.channels, LONG_AGO),
        trace=base.trace,
    )


def _queue(device: Device, entries: int) -> np.ndarray:
    queue = np.full((2 * device.controllers, ENTRIES_FIRST + entries), LONG_AGO)
    queue[:, 0] = ENTRIES_FIRST
    return queue


def _gaps(device: Device, base: Dram) -> np.ndarray:
    """Return the least gaps between commands by level, those of the command bus left out."""
    gaps = np.full((N_COMMANDS, N_LEVELS, WIDTH), LONG_AGO, np.int64)
    for rule in device_rules(device):
        level = LEVELS.index(rule.level)
        if level == CHANNEL_LEVEL or rule.window > 1 or rule.is_sibling:
            continue
        while level not in base.levels:
            level += 1  # its nodes are the same
        at = COMMANDS.index(rule.preceding), level, COMMANDS.index(rule.following)
        gaps[at] = max(gaps[at], rule.latency)
    return gaps


def _bus_use(device: Device) -> np.ndarray:
    """Return the bus and the clocks that each command takes, from the rules of the channel.

    Column commands have a bus of their own if an activate holds up none of them.
    """
    length = np.ones(N_COMMANDS, np.int64)
    held_up = set()
    for rule in device_rules(device):
        if rule.level == LEVELS[CHANNEL_LEVEL]:
            first = COMMANDS.index(rule.preceding)
            length[first] = max(length[first], rule.latency)
            if first == ACT:
                held_up.add(rule.following)
    is_split = COMMANDS[RD] not in held_up
    bus = [is_split and name[:2] in ("RD", "WR") for name in COMMANDS]
    return np.stack([np.array(bus, np.int64), length], axis=1)


def _slot_words(device: Device, entries: int) -> int:
    """Return a power of two of words that hold all clocks in which a command may still be placed.

    The oldest is that at which a burst before the ``entries`` in the queues left, or BACK_CLOCKS
    before the newest arrival; each burst takes less than ``serial`` beyond the one before.
    """
    t = device.timings
    serial = t["RC"] + t["CWL"] + t["WR"] + t["RP_AB"] + t["RCD_RD"] + t["RCD_WR"] + t["CL"]
    serial += 2 * t["BL"] + t["WTR_L"] + t["RTW"] + 8 * t["CMD_ACT"]
    span = entries * serial * device.pseudo_channels + int(BACK_CLOCKS)
    span += (span // t["REFI"] + 2) * (t["RFC_AB"] + serial)
    return 1 << (2 * span // 64).bit_length()
