"""Lay out the state of a DRAM memory: one int64 array, read and written by position.

:mod:`state` makes it; the kernels of this package advance it in place. They call it ``s``. It
holds parameters, then records of fixed width: ``s[bank + OPEN_ROW]`` is a column of the record at
position ``bank``. Records name each other by position, so that none needs to be looked up; one
array costs a kernel's caller what any other array does. Times are clocks of the device unless a
name says cycle, which is the caller's clock. A controller is one data bus (channel or pseudo
channel); banks, ranks and entries of all controllers lie one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.rules import COMMANDS

__all__ = ["Dram"]

# As np.int64 the constants that are passed on are no literal types to numba, which would compile
# each function that takes one anew for each.
ACT, PRE, RD, WR, RDA, WRA, PREA, REFAB, REFPB = (np.int64(i) for i in range(len(COMMANDS)))
NONE = np.int64(-1)
READ, WRITE = np.int64(0), np.int64(1)
N_COMMANDS = len(COMMANDS)
MOST_MOVES = 4096
"""Bursts noted of one period, above what a column of all channels has."""
LONG_AGO = -(1 << 62)
NEVER = np.iinfo(np.int64).max
"""The time of an event that is not going to happen."""
HIT, MISS, CONFLICT = 0, 1, 2

# Parameters, which never change.
CLOCK_NUM, CLOCK_DEN, PATH_CYCLES, CL, CWL, BL, REFRESH_INTERVAL, IS_PER_BANK = range(8)
IS_FCFS, IS_CLOSED, HIGH, LOW, WRITE_AGE, IS_HASHED, HAS_TRACE, MAX_TRACE = range(8, 16)
RANKS, GROUPS, BANKS, BANKS_PER_RANK, BURST_BYTES, BURSTS, MARKS, HAS_REFRESH = range(16, 24)
READ_ENTRIES, WRITE_ENTRIES = 24, 25  # capacity of each controller's queues, by kind
BURST_SHIFT, CONTROLLER_SHIFT, PSEUDO_CHANNELS = 26, 28, 29
DRAINS_TO_LEVEL, ACTIVATED_FIRST, WINDOW_CLOCKS, BUS_MATES = range(30, 34)  # ranks of a channel
# What changes as a whole. PENDING_*: the next burst to enter the queues, already decoded, by kind.
NOW, LIVE, FREE_REQUESTS, SEQUENCE, HAS_ROOM, TRACED, BURSTS_DONE = range(34, 41)
PENDING_BANK, PENDING_ROW = 41, 43
# Requests in lines by their NEXT_REQUEST (0: none): to feed by kind, done by kind, free (a stack).
FEED, DONE, FEED_LAST, DONE_LAST, FREE = 45, 47, 49, 51, 53
# Fast-forward (skip_kernels.py): bursts from one column to the next and of all columns that a
# mapping runs through without another row or bank (0: no fast-forward); clocks that a plan may
# reach ahead; request, column and number of the latest comparison; length of the saved state (0:
# none), bursts noted since then; bursts skipped in all.
SKIP_PERIOD, SKIP_RUN, SKIP_MARGIN, SKIP_REQUEST, SKIP_BLOCK, SKIP_ATTEMPTS = range(54, 60)
SKIP_LENGTH, SKIP_MARKED, SKIPPED = range(60, 63)
LENGTH = 63  # of all words
# Sections: first position, records.
SECTIONS = range(64, 92, 2)
AT_PIECES, AT_GROUPS, AT_RANKS, AT_BANKS, AT_CONTROLLERS, AT_ENTRIES, AT_REQUESTS = SECTIONS[:7]
AT_SLOTS, AT_OPENERS, AT_STREAMS, AT_MARKS, AT_TRACE, AT_SAVED, AT_MOVES = SECTIONS[7:]
MORE = range(92, 112)
"""Words for what arrival_state.py has beyond these."""
GAPS = 112
"""Least gap to each following command, by command and how the other node is related."""
OWN_BANK, OWN_GROUP, OWN_RANK, OTHER_RANK, OTHER_BUS = range(5)
RELATIONS, GAP_WIDTH = 5, 16
PARAMETERS = GAPS + N_COMMANDS * RELATIONS * GAP_WIDTH
"""Words in front of all sections."""

# A node's record begins with the first clock at which its rules allow each command.
NODE_WIDTH = 16
# Ranks: then when a refresh is due, its open banks, those whose opener was not served, the first
# bank, the next to refresh; clocks of the latest three activates, latest first; the controller.
RANK_WIDTH = 32
DUE, OPEN_BANKS, WAITING, FIRST_BANK, NEXT_BANK, LATEST, RANK_CONTROLLER = 9, 10, 11, 12, 13, 14, 17
# Banks: then the open row (-1: none); by kind, of its queued entries: oldest, newest, how many, the
# oldest that hits the open row (-1); the slot of what it needs next (-1); the entry that opened the
# row and was not served, with ACTIVATED_FIRST (-1), and its position among them; its number; nodes.
BANK_WIDTH = 32
OPEN_ROW, HEAD, TAIL, QUEUED, OLDEST_HIT, SLOT, OPENER, OPENER_AT, NUMBER = (
    *(9, 10, 12, 14, 16, 18, 19, 20),
    21,
)
BANK_GROUP, BANK_RANK, BANK_CONTROLLER = 22, 23, 24
# Controllers. COUNT by kind; plan: the command to issue at PLAN_TIME; SLOTS, OPENERS: how many of
# its banks need something for the kind being served, how many openers wait; where their lists are.
CONTROLLER_WIDTH = 48
COUNT, DRAINING, WRITE_SINCE, DRAIN_LEFT, PLAN_KEY, PLAN_COMMAND, PLAN_BANK = 0, 2, 3, 4, 5, 6, 7
PLAN_ENTRY, PLAN_TIME, FREE_ENTRY, SLOTS, OPENERS, FIRST_SLOT, FIRST_OPENER = range(8, 15)
CONTROLLER_RANK, SOONEST_DUE, CHANNEL_RANK, TURNAROUNDS, COUNTS = range(15, 20)
# COUNTS: issued commands by command; then bursts by outcome, by kind: hit, miss, conflict.
OUTCOMES = COUNTS + N_COMMANDS
MORE_COLUMNS = OUTCOMES + 6
"""Columns from here on are those of arrival_state.py."""
# Slots: banks with queued entries. Age of the burst with the class of the command, below it the
# slot's place (NEVER: the slot is free); the clock at which the bank's own rules allow it; where
# group and rank say when theirs do; bank, command, entry.
SLOT_WIDTH = 8
PLACE_BITS = 7  # the place below KEY
KEY, OWN_READY, GROUP_WORD, RANK_WORD, SLOT_BANK, NEED, SLOT_ENTRY = range(7)
# Entries.
ENTRY_WIDTH = 8
ROW, NEXT, PREVIOUS, REQUEST, ORDER, OUTCOME = range(6)
# Requests: CURSOR is the next burst's address in bursts, TO_FEED and LEFT count.
REQUEST_WIDTH = 16
REQUESTER, TAG, CURSOR, TO_FEED, LEFT, KIND, DONE_CLOCK, SUBMITTED, DONE_CYCLE = range(9)
NEXT_REQUEST = 9
# Streams, in bursts: first address, length, next offset; then the requester's data cycles: marked
# so far, charged so far, clocks covered by the latest mark; where its marks are.
STREAM_WIDTH = 8
STREAM_FIRST, STREAM_LENGTH, STREAM_OFFSET, MARKED, CHARGED, MARK_FROM, MARK_TO = range(7)
STREAM_MARKS = 7
# Pieces of the address mapping: shift, mask, shift into the bank's number, or the row from 2^32 on.
PIECE_WIDTH = 3
# Commands recorded; the last record is a dump.
TRACE_WIDTH = 5
TRACE_CLOCK, TRACE_COMMAND, TRACE_BANK, TRACE_ROW, TRACE_REQUEST = range(TRACE_WIDTH)
MOVE_WIDTH = 2

WIDTHS = {
    **{AT_PIECES: PIECE_WIDTH, AT_GROUPS: NODE_WIDTH, AT_RANKS: RANK_WIDTH, AT_BANKS: BANK_WIDTH},
    **{AT_CONTROLLERS: CONTROLLER_WIDTH, AT_ENTRIES: ENTRY_WIDTH, AT_REQUESTS: REQUEST_WIDTH},
    **{AT_SLOTS: SLOT_WIDTH, AT_OPENERS: 1, AT_STREAMS: STREAM_WIDTH, AT_MARKS: 1},
    **{AT_TRACE: TRACE_WIDTH, AT_SAVED: 2, AT_MOVES: MOVE_WIDTH},
}
"""Words of a record by section."""


class Dram:
    """All state of a DRAM memory: ``words`` for kernels, its sections as views for Python."""

    def __init__(self, words: NDArray[np.int64]) -> None:
        """Look at ``words``, without copying."""
        self.words = words

    def section(self, at: int) -> NDArray[np.int64]:
        """Return the records of a section : int64[record, column]."""
        first, count = self.words[at : at + 2].tolist()
        return self.words[first : first + count * WIDTHS[at]].reshape(count, WIDTHS[at])

    @property
    def controllers(self) -> NDArray[np.int64]:
        """Return the records of the controllers."""
        return self.section(AT_CONTROLLERS)

    @property
    def trace(self) -> NDArray[np.int64]:
        """Return the records of the commands."""
        return self.section(AT_TRACE)
