"""Time a layer whose loads and stores are served by HBM command by command.

Each of a core's eight channels is a pseudo channel of its own, with addresses as the layout has
them, and serves in order of arrival. Units, tokens and completions are those of :mod:`kernels`;
costs are rounded up to cycles. A load takes a cycle to issue and completes, in order, when all of
its bytes have moved, a store when the controllers have taken it; a unit has ``tokens.in_flight`` of
them under way. Unpackers and decoders expand while bytes arrive, at their pace; their latency is
added. A layer's barrier waits until all stores have moved.

A layer finds its channels idle, all rows closed and the next refresh a whole interval away, as
equal layers are played once.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.devices import Device
from hwsim.components.dram.state import Controller
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import Body, pieces
from hwsim.flightllm.isa import ROW, SPREAD, ST, STRIPED, SYS, UNITS
from hwsim.flightllm.places import BLOCK, CHANNELS, NOWHERE
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.timing import LayerTime

if TYPE_CHECKING:
    from hwsim.flightllm.dram_kernels import DramPlay

__all__ = ["channel_bytes", "check_capacity", "dram_layer_time", "transfers"]

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


def transfers(code: NDArray[np.void]) -> NDArray[np.int64]:
    """Return what every instruction moves in memory, int64[n, 6]: first channel, channels, address
    on each, bytes of a piece, pieces and their stride; no pieces if it moves nothing there.

    A row is 16 bytes of every block, the last piece counted whole.
    """
    flags, length = code["flags"], code["length"].astype(np.int64)
    is_striped, is_row = flags & STRIPED > 0, flags & ROW > 0
    is_everywhere = is_striped | (flags & SPREAD > 0)
    is_move = (code["unit"] <= ST) & (code["operand"] != NOWHERE) & (length > 0)
    size = np.where(is_everywhere, -(-length // CHANNELS), length)
    count = np.where(is_row, -(-length // BLOCK), np.where(is_striped, 1, pieces(code)))
    found = np.zeros((len(code), 6), np.int64)
    found[:, 0] = np.where(is_everywhere, 0, code["channel"])
    found[:, 1] = np.where(is_everywhere, CHANNELS, 1)
    found[:, 2] = np.where(is_striped, code["address"] // CHANNELS, code["address"])
    found[:, 3] = np.where(is_row, np.minimum(size, BLOCK), size)
    found[:, 4] = count * is_move
    found[:, 5] = np.where(is_row, BLOCK * BLOCK, code["stride"])
    return found


def dram_layer_time(body: Body, code: NDArray[np.void], spec: FlightSpec) -> LayerTime:
    """Return the time of a layer whose instructions, addresses in place, are ``code``.

    Raises :class:`HwsimError` if an instruction waits for a token that never comes.
    """
    from hwsim.components.dram.controller import count_events
    from hwsim.components.dram.layout import Dram
    from hwsim.flightllm.dram_kernels import BUSY, play_dram

    play = _state(body, code, spec)
    end = int(play_dram(play))
    if end < 0:
        unit = int(code["unit"][-1 - end])
        need = f"tokens for instruction {-1 - end} of a layer, or room for its own"
        raise HwsimError(f"unit {UNITS[unit]}", need, "none that will come")
    busy = tuple(Fraction(t) for t in play.units[:, BUSY].tolist())
    lost = tuple(tuple(Fraction(t) for t in row) for row in play.lost.tolist())
    dram = tuple(count_events(Dram(words)) for words in play.words)
    return LayerTime(Fraction(end), busy, lost, dram)


def _state(body: Body, code: NDArray[np.void], spec: FlightSpec) -> DramPlay:
    from hwsim.components.dram.arrival_call import arrival_place
    from hwsim.flightllm.dram_kernels import BEFORE, LENGTH, DramPlay

    n, index, moves = len(code), code["cost"], transfers(code)
    busy, expand = (
        np.array([ceil_div(c.numerator, c.denominator) for c in cycles], np.int64)
        for cycles in (body.costs, body.expand)
    )
    # Of a transfer what comes behind memory: unpacking, and the way of its token.
    behind = np.array([int(t - c) for t, c in zip(body.told, body.costs, strict=True)], np.int64)
    is_moved = moves[:, 4] > 0
    units, queue = np.zeros((6, 9), np.int64), np.zeros((6, n), np.int64)
    for unit in range(6):
        own = np.flatnonzero(code["unit"] == unit)
        queue[unit, : len(own)], units[unit, LENGTH] = own, len(own)
    units[:, BEFORE] = -body.completion_gap_cycles
    pushed = np.zeros(36, np.int64)
    pushed[SYS * 6 : SYS * 6 + 6] = 1  # the barrier in front of the layer
    words = np.tile(_idle_channel(spec), (CHANNELS, 1))
    limits = (body.completion_gap_cycles, body.token_depth, body.in_flight)
    return DramPlay(
        wait=np.ascontiguousarray(code["wait"]),
        release=np.ascontiguousarray(code["release"]),
        ticks=busy[index],
        told=np.where(is_moved, 0, busy[index]) + behind[index],
        expand=expand[index],
        moves=moves,
        start=np.zeros(n, np.int64),
        told_at=np.zeros(n, np.int64),
        queue=queue,
        units=units,
        limits=np.array(limits, np.int64),
        pool=np.zeros((36, n + 1), np.int64),
        pushed=pushed,
        popped=np.zeros(36, np.int64),
        taken=np.zeros((36, max(1, body.token_depth)), np.int64),
        lost=np.zeros((6, 6), np.int64),
        words=words,
        places=np.stack([arrival_place(channel) for channel in words]),
    )


@lru_cache(maxsize=8)
def _idle_channel(spec: FlightSpec) -> NDArray[np.int64]:
    """Return the state of a channel on which nothing has been asked."""
    from hwsim.components.dram.arrival_state import arrival_state

    memory = spec.memory
    device = memory.dram_device().with_channels(1)
    options = {"cycle_hz": spec.clock_hz, "path_cycles": memory.path_cycles}
    return arrival_state(device, Controller(mapping=_MAPPING), **options).words
