"""Encode the engine's records as Perfetto's protocol buffers (TracePacket of TrackEvent).

Field numbers are those of Perfetto's published ``trace_packet.proto`` and ``track_event.proto``.
Times are nanoseconds, each a difference to the packet before of the same sequence: events form one
sequence, counters another. All events leave in order of time, so that the k-th token of a channel
can be numbered when it is released and found again when it is taken.

State: ``state`` : int64, POSITION in the output and the latest EVENT_NS and COUNTER_NS; ``open_``
: int64[unit, 2 + lanes], the end and the instruction of a running computation (-1: none), then the
instruction of each lane's request; ``tokens`` : int64[channel, 2], released and taken so far;
``code`` : int64[instruction, 4], unit, wait, release, number of the name.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.simple import NEVER
from hwsim.components.engine_kernels import EVENT_END, EVENT_INSTR, EVENT_LANE, EVENT_TIME
from hwsim.components.jit import njit_entry, njit_inline, njit_outline

__all__ = ["encode_counters", "encode_events", "finish_events"]

POSITION, EVENT_NS, COUNTER_NS, CLOCK_HZ = range(4)
OPEN_END, OPEN_INSTR, OPEN_LANES = range(3)
RELEASED, TAKEN = range(2)
CODE_UNIT, CODE_WAIT, CODE_RELEASE, CODE_NAME = range(4)
NANOSECONDS = 10**9
EVENT_SEQUENCE, COUNTER_SEQUENCE = 1, 2
# Bytes that precede a value: field number and wire type.
TAG_PACKET, TAG_TIMESTAMP, TAG_SEQUENCE, TAG_FLAGS, TAG_TRACK_EVENT = 0x0A, 0x40, 0x50, 0x68, 0x5A
TAG_TYPE, TAG_TRACK, TAG_NAME = 0x48, 0x58, 0x50
TAG_DOUBLE, TAG_FLOW, TAG_LAST_FLOW = 0x02E1, 0x02F9, 0x0381  # two bytes, the low one first
NEEDS_STATE = 2
SLICE_BEGIN, SLICE_END, COUNTER = np.int64(1), np.int64(2), 4
FLOW_CHANNEL_BITS = 6
"""A program has at most 63 channels; a token's number is above them."""
MOST_BYTES = 32 + 10 * 63
"""Of one packet: a head, and a flow per channel."""


@njit_inline
def put_varint(out, at, value):
    """Write ``value`` in groups of seven bits, the lowest first; return the next position."""
    while value >= 128:
        out[at] = value & 127 | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@njit_inline
def put_fixed(out, at, tag, value):
    """Write a tag of two bytes and 64 bits; return the next position."""
    out[at] = tag & 255
    out[at + 1] = tag >> 8
    for byte in range(8):
        out[at + 2 + byte] = value >> 8 * byte & 255
    return at + 10


@njit_inline
def to_ns(state, cycle):
    """Return the nanosecond of a cycle, rounded down; no product overflows."""
    hz = state[CLOCK_HZ]
    return cycle // hz * NANOSECONDS + cycle % hz * NANOSECONDS // hz


@njit_inline
def begin_packet(out, at, ns, sequence):
    """Write a packet's head, leaving two bytes for each length; return where the event begins."""
    out[at] = TAG_PACKET  # the length follows in two bytes
    at += 3
    out[at] = TAG_TIMESTAMP
    at = put_varint(out, at + 1, ns)
    out[at] = TAG_SEQUENCE
    out[at + 1] = sequence
    out[at + 2] = TAG_FLAGS
    out[at + 3] = NEEDS_STATE
    out[at + 4] = TAG_TRACK_EVENT
    return at + 7


@njit_inline
def put_length(out, at, length):
    """Write a length below 2^14 in two bytes."""
    out[at] = length & 127 | 128
    out[at + 1] = length >> 7


@njit_outline
def put_slice(code, tokens, state, out, kind, i, track, cycle):
    """Write the begin or the end of a slice with the tokens that it takes or releases."""
    first = state[POSITION]
    ns = to_ns(state, cycle)
    inside = begin_packet(out, first, ns - state[EVENT_NS], EVENT_SEQUENCE)
    state[EVENT_NS] = ns
    out[inside] = TAG_TYPE
    out[inside + 1] = kind
    out[inside + 2] = TAG_TRACK
    at = put_varint(out, inside + 3, track)
    if kind == SLICE_BEGIN:
        out[at] = TAG_NAME
        at = put_varint(out, at + 1, code[i, CODE_NAME])
        mask, tag, count = code[i, CODE_WAIT], TAG_LAST_FLOW, TAKEN
    else:
        mask, tag, count = code[i, CODE_RELEASE], TAG_FLOW, RELEASED
    channel = 0
    while mask != 0:
        if mask & 1:
            number = tokens[channel, count]
            tokens[channel, count] += 1
            if number >= 0:  # tokens that were there from the start come from nobody
                flow = (number + 1) << FLOW_CHANNEL_BITS | channel
                at = put_fixed(out, at, tag, flow)
        mask >>= 1
        channel += 1
    put_length(out, inside - 2, at - inside)
    put_length(out, first + 1, at - first - 3)
    state[POSITION] = at


@njit_inline
def track_of(open_, u, lane):
    """Return the track of a unit's lane; 1 is the process."""
    return 2 + u * (open_.shape[1] - OPEN_LANES) + lane


@njit_outline
def flush_ends(code, open_, tokens, state, out, until):
    """Write the ends of computations due at or before ``until``, in order of end, then unit."""
    while True:
        first, end = np.int64(-1), until
        for u in range(open_.shape[0]):
            due = open_[u, OPEN_END]
            if due >= 0 and (due < end or (due == end and first < 0)):
                first, end = u, due
        if first < 0:
            return
        i = open_[first, OPEN_INSTR]
        open_[first, OPEN_END] = -1
        put_slice(code, tokens, state, out, SLICE_END, i, track_of(open_, first, 0), end)


@njit_entry
def finish_events(code, open_, tokens, state, out):
    """Write the ends of all computations that are still running."""
    flush_ends(code, open_, tokens, state, out, NEVER)


@njit_entry
def encode_events(events, at, code, open_, tokens, state, out):
    """Encode ``events`` from row ``at`` on while there is room; return the row reached."""
    room = (open_.shape[0] + 2) * MOST_BYTES
    while at < events.shape[0] and state[POSITION] + room <= out.shape[0]:
        time, i, lane = events[at, EVENT_TIME], events[at, EVENT_INSTR], events[at, EVENT_LANE]
        end = events[at, EVENT_END]
        at += 1
        flush_ends(code, open_, tokens, state, out, time)
        if i < 0:
            i = ~i
            track = track_of(open_, code[i, CODE_UNIT], lane)
            put_slice(code, tokens, state, out, SLICE_END, i, track, time)
            continue
        u = code[i, CODE_UNIT]
        track = track_of(open_, u, lane)
        put_slice(code, tokens, state, out, SLICE_BEGIN, i, track, time)
        if end == time:
            put_slice(code, tokens, state, out, SLICE_END, i, track, time)
        elif end > time:
            open_[u, OPEN_END] = end
            open_[u, OPEN_INSTR] = i
    return at


@njit_entry
def encode_counters(changes, at, first_track, state, out):
    """Encode counter values from row ``at`` on while there is room; return the row reached.

    ``changes`` : int64[n, 3] cycle, counter, bits of the float64 value; cycles not decreasing.
    """
    while at < changes.shape[0] and state[POSITION] + MOST_BYTES <= out.shape[0]:
        first = state[POSITION]
        ns = to_ns(state, changes[at, 0])
        inside = begin_packet(out, first, ns - state[COUNTER_NS], COUNTER_SEQUENCE)
        state[COUNTER_NS] = ns
        out[inside] = TAG_TYPE
        out[inside + 1] = COUNTER
        out[inside + 2] = TAG_TRACK
        end = put_varint(out, inside + 3, first_track + changes[at, 1])
        end = put_fixed(out, end, TAG_DOUBLE, changes[at, 2])
        put_length(out, inside - 2, end - inside)
        put_length(out, first + 1, end - first - 3)
        state[POSITION] = end
        at += 1
    return at
