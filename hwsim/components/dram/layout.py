"""Lay out the state of a DRAM memory: one bundle of int64 arrays and the names of their columns.

:mod:`state` makes it; the kernels of this package advance it in place. Times are clocks of the
device unless a name says cycle, which is the caller's clock. A controller is one data bus (channel
or pseudo channel); banks, ranks and queue entries of all controllers are numbered through.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.dram.rules import COMMANDS, LEVELS

__all__ = ["Dram"]

# As np.int64 the constants that are passed on are no literal types to numba, which would compile
# each function that takes one anew for each.
ACT, PRE, RD, WR, RDA, WRA, PREA, REFAB, REFPB = (np.int64(i) for i in range(len(COMMANDS)))
NONE = np.int64(-1)
READ, WRITE = np.int64(0), np.int64(1)
N_COMMANDS = len(COMMANDS)
WIDTH = 12
"""Columns per command, padded."""
PLAIN_COMMANDS = 8
"""All commands but the last, REFpb, which rules may forget without per-bank refresh."""
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
# Powers of two: bytes of a burst, banks of a rank and of a controller; controllers of a channel.
BURST_SHIFT, RANK_SHIFT, CONTROLLER_SHIFT, PSEUDO_CHANNELS = range(26, 30)
# Dram.now entries. PENDING_*: the next burst to enter the queues, already decoded, by kind.
NOW, LIVE, FREE_REQUESTS, SEQUENCE, HAS_ROOM, TRACED, BURSTS_DONE = range(7)
PENDING_BANK, PENDING_ROW = 7, 9
# Dram.controllers columns. COUNT by kind; plan: the command to issue at Dram.plan_time.
COUNT, DRAINING, WRITE_SINCE, PLAN_KEY, PLAN_COMMAND, PLAN_BANK = 0, 2, 3, 4, 5, 6
PLAN_ENTRY, FREE_ENTRY, TURNAROUNDS, DRAIN_LEFT, COUNTS = range(7, 12)
# COUNTS: issued commands by command; then bursts by outcome, by kind: hit, miss, conflict.
OUTCOMES = COUNTS + N_COMMANDS
CONTROLLER_COLUMNS = OUTCOMES + 6
HIT, MISS, CONFLICT = 0, 1, 2
# Dram.banks columns: the open row (-1: none); by kind, of its queued entries: oldest, newest, how
# many, the oldest that hits the open row (-1), the list of candidates and the position in it.
OPEN_ROW, HEAD, TAIL, QUEUED, OLDEST_HIT, LIST, POSITION = 0, 1, 3, 5, 7, 9, 11
BANK_COLUMNS = 13
# Dram.candidates: banks with queued entries, listed per controller, kind and command they need
# next (LISTS of them: ACT, PRE, the kind's column command without and with precharge). Columns:
# age of the burst (plus ROW_COMMAND), the clock at which the bank's own rules allow the command,
# the bank and its group's node.
LISTS = 4
KEY, BANK_READY, BANK, GROUP_NODE = range(4)
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

    fixed: np.ndarray  # [30]
    now: np.ndarray  # [11]
    mapping: (
        np.ndarray
    )  # [piece, 4]: 0 part of the bank's number or 1 of the row; shift, mask, shift
    levels: np.ndarray  # [level in use]: a level whose nodes are another's has its rules there
    gaps: np.ndarray  # [command, level, WIDTH]: least gap to each following command
    special: np.ndarray  # [rule, 7]
    nodes: np.ndarray  # [bank, level]: row of each level's node in ready
    ready: np.ndarray  # [node, WIDTH]: first clock at which the rules allow the command
    history: np.ndarray  # [windowed rule, node, 1 + window]: ring position, latest times
    plan_time: np.ndarray  # [controller]
    controllers: np.ndarray  # [controller, CONTROLLER_COLUMNS]
    banks: np.ndarray  # [bank, BANK_COLUMNS]
    ranks: np.ndarray  # [rank, 4]
    listed: np.ndarray  # [LISTS * (2 * controller + kind) + list]: candidates in each list
    candidates: np.ndarray  # [list, position, 4]
    entries: np.ndarray  # [entry, 6]
    requests: np.ndarray  # [capacity, 9]
    rings: np.ndarray  # [5, 2 + capacity]
    streams: np.ndarray  # [requester, 7]
    marks: np.ndarray  # [requester, MARKS]: cycle in which data moved
    trace: np.ndarray  # [events + 1, 5]; the last row is a dump
    skip: np.ndarray  # [9]
    saved: np.ndarray  # [2, longest snapshot]: saved and present state, see skip_kernels.py
    moves: np.ndarray  # [noted bursts, 2]: begin and end clock of data since the saved state
