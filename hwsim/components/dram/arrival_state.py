"""Lay out and make the state of a DRAM memory that serves bursts in order of arrival.

What is the same as in :mod:`layout` has the same names and columns there, so that rules, address
mapping and counters are shared. Times are clocks of the device unless a name says cycle.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram import layout
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import (
    ACT,
    GAPS,
    LONG_AGO,
    MORE,
    MORE_COLUMNS,
    N_COMMANDS,
    OTHER_RANK,
    PARAMETERS,
    RD,
    Dram,
)
from hwsim.components.dram.records import allocate, fill_gaps, fill_machine
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules
from hwsim.components.dram.state import Controller, check_refresh

__all__ = ["arrival_state"]

# Sections: waiting writes; commands' buses; clocks in which buses have commands; when the latest
# bursts left a queue; channels; least gaps at the same bank, by both commands. Then the first
# refresh due, the end of all data, words of a bus.
AT_WRITES, AT_BUS_USE, AT_BUSES, AT_LEFT, AT_CHANNELS, AT_AFTER = MORE[0:12:2]
NEXT_DUE, LAST_DATA, BUS_WORDS = MORE[12:15]
# Controllers, behind the columns of layout.py: the oldest write, writes held, the kind served last,
# the first write's place; by kind, the ring of the clocks when bursts left; the channel.
OLDEST, HELD, SERVED, FIRST_WRITE = range(MORE_COLUMNS, MORE_COLUMNS + 4)
LEFT_RING, CHANNEL = MORE_COLUMNS + 4, MORE_COLUMNS + 6
# Channels: no burst enters a queue before FRONT; the words of the buses.
FRONT, FIRST_BUS = range(2)
BACK_CLOCKS = np.int64(4096)
"""Clocks that an access may be older than the newest one; one that is still older is moved up."""
BUS, LENGTH = range(2)
"""Columns of commands' buses (row and column commands may have one each)."""
BITS, WORD = range(2)
"""Parts of a bus word: 64 clocks' bits, and which 64 clocks they are."""
WRITE_BANK, WRITE_ROW, WRITE_REQUEST, WRITE_CLOCK, WRITE_WIDTH = range(5)
AFTER_WIDTH = 16


def arrival_state(
    device: Device,
    controller: Controller | None = None,
    *,
    cycle_hz: int | None = None,
    path_cycles: int = 0,
    max_trace: int = 0,
) -> Dram:
    """Return the state of an idle memory; see :func:`~hwsim.components.dram.state.dram_state`.

    Of ``controller``, all but the scheduler, the end of a drain and openers is used.
    """
    controller = controller or Controller()
    check_refresh(device, controller)
    entries = max(controller.read_entries, controller.write_entries)
    bus_words = _bus_words(device, controller.read_entries + controller.write_entries)
    widths = {
        **layout.WIDTHS,
        **{AT_WRITES: WRITE_WIDTH, AT_BUS_USE: 2, AT_BUSES: 2 * bus_words, AT_LEFT: 1 + entries},
        **{AT_CHANNELS: 2, AT_AFTER: AFTER_WIDTH},
    }
    counts = {
        layout.AT_TRACE: max_trace + 1,
        AT_WRITES: device.controllers * controller.write_entries,
        AT_BUS_USE: N_COMMANDS,
        AT_BUSES: 2 * device.channels,
        AT_LEFT: 2 * device.controllers,
        AT_CHANNELS: device.channels,
        AT_AFTER: N_COMMANDS,
    }
    words = allocate(device, controller, counts, widths)
    fill_machine(words, device, controller, cycle_hz, path_cycles, max_trace)
    bus = LEVELS[0]
    fill_gaps(words, device, (rule for rule in device_rules(device) if rule.level != bus))
    sections = {at: _section(words, at, widths[at]) for at in counts}
    sections[AT_BUS_USE][:] = _bus_use(device)
    sections[AT_BUSES][:] = -1
    sections[AT_LEFT][:] = LONG_AGO
    first = words[AT_LEFT] + np.arange(2 * device.controllers) * (1 + entries)
    sections[AT_LEFT][:, 0] = first + 1
    gaps = words[GAPS:PARAMETERS].reshape(N_COMMANDS, -1, layout.GAP_WIDTH)
    sections[AT_AFTER][:] = gaps[:, :OTHER_RANK].max(axis=1)
    channels = np.arange(device.channels)
    sections[AT_CHANNELS][:, FRONT] = LONG_AGO
    sections[AT_CHANNELS][:, FIRST_BUS] = words[AT_BUSES] + channels * 4 * bus_words
    words[BUS_WORDS] = bus_words
    dram = Dram(words)
    words[NEXT_DUE] = dram.section(layout.AT_RANKS)[:, layout.DUE].min()
    rows, index = dram.controllers, np.arange(device.controllers)
    rows[:, FIRST_WRITE] = words[AT_WRITES] + index * controller.write_entries * WRITE_WIDTH
    rows[:, OLDEST] = rows[:, FIRST_WRITE]
    rows[:, SERVED] = -1
    rows[:, LEFT_RING : LEFT_RING + 2] = first.reshape(-1, 2)
    rows[:, CHANNEL] = words[AT_CHANNELS] + index // device.pseudo_channels * 2
    return dram


def _section(words: np.ndarray, at: int, width: int) -> np.ndarray:
    first, count = words[at : at + 2].tolist()
    return words[first : first + count * width].reshape(count, width)


def _bus_use(device: Device) -> np.ndarray:
    """Return the bus and the clocks that each command takes, from the rules of the channel.

    Column commands have a bus of their own if an activate holds up none of them.
    """
    length = np.ones(N_COMMANDS, np.int64)
    held_up = set()
    for rule in device_rules(device):
        if rule.level == LEVELS[0]:
            first = COMMANDS.index(rule.preceding)
            length[first] = max(length[first], rule.latency)
            if first == ACT:
                held_up.add(rule.following)
    is_split = COMMANDS[RD] not in held_up
    bus = [is_split and name[:2] in ("RD", "WR") for name in COMMANDS]
    return np.stack([np.array(bus, np.int64), length], axis=1)


def _bus_words(device: Device, entries: int) -> int:
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
