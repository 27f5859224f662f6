"""Queue bursts at banks and list, per command they need next, the banks that want something.

State layout: :mod:`layout`. A bank with queued bursts of a kind is a candidate: it needs a read or
write for the oldest that hits the open row; else a precharge, or an activate if it is closed, for
the oldest. It is listed under that command with what a scan compares.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.layout import (
    ACT,
    BANK,
    BANK_LEVEL,
    BANK_READY,
    COUNT,
    FREE_ENTRY,
    GROUP_LEVEL,
    GROUP_NODE,
    HEAD,
    IS_CLOSED,
    IS_FCFS,
    KEY,
    LIST,
    LISTS,
    MISS,
    NEXT,
    NONE,
    OLDEST_HIT,
    OPEN_BANKS,
    OPEN_ROW,
    ORDER,
    OUTCOME,
    POSITION,
    PRE,
    PREVIOUS,
    QUEUED,
    RANK_SHIFT,
    RD,
    RDA,
    READ,
    REQUEST,
    ROW,
    SEQUENCE,
    TAIL,
    WRITE,
)
from hwsim.components.jit import as_index, njit_inline

__all__ = [
    "ROW_COMMAND",
    "close_bank",
    "command_of",
    "insert",
    "open_bank",
    "unlink",
    "update_needs",
]

ROW_COMMAND = np.int64(1) << 42
"""Added to the age in a candidate's key, so that column commands come first."""


@njit_inline
def command_of(at, kind):
    """Return the command that the candidates of list ``at`` of ``kind`` need."""
    which = at % LISTS
    return which if which <= PRE else 2 * which - 2 + kind


@njit_inline
def insert(d, g, kind, bank, row, request):
    """Append a burst to its bank's queue, with room; return whether the bank needs something else.

    It may also if the last access to a row is to close it.
    """
    controllers, banks, entries = d.controllers, d.banks, d.entries
    g, bank, kind = as_index(g), as_index(bank), as_index(kind)
    e = as_index(controllers[g, FREE_ENTRY])
    controllers[g, FREE_ENTRY] = entries[e, NEXT]
    tail = banks[bank, TAIL + kind]
    is_changed = banks[bank, QUEUED + kind] == 0
    if is_changed:
        banks[bank, HEAD + kind] = e
        tail = NONE
    else:
        entries[as_index(tail), NEXT] = e
    entries[e, ROW] = row
    entries[e, NEXT] = NONE
    entries[e, PREVIOUS] = tail
    entries[e, REQUEST] = request
    entries[e, ORDER] = d.now[SEQUENCE]
    entries[e, OUTCOME] = 0
    d.now[SEQUENCE] += 1
    banks[bank, TAIL + kind] = e
    banks[bank, QUEUED + kind] += 1
    controllers[g, COUNT + kind] += 1
    if banks[bank, OLDEST_HIT + kind] < 0 and banks[bank, OPEN_ROW] == row:
        banks[bank, OLDEST_HIT + kind] = e
        is_changed = True
    return is_changed or d.fixed[IS_CLOSED] != 0


@njit_inline
def update_needs(d, g, bank, first, end):
    """List ``bank`` under the command that its queue of each kind from ``first`` on needs next."""
    for kind in range(first, end):
        if d.banks[bank, QUEUED + kind] > 0:
            update_need(d, g, kind, bank)


@njit_inline
def update_need(d, g, kind, bank):
    """List ``bank`` under the command that its queue of ``kind`` needs next."""
    banks, entries, candidates = d.banks, d.entries, d.candidates
    bank, kind = as_index(bank), as_index(kind)
    e, key, need = banks[bank, OLDEST_HIT + kind], np.int64(0), RD + kind
    wanted = as_index(LISTS * (2 * g + kind) + 2)
    if d.fixed[IS_FCFS] != 0 and e != banks[bank, HEAD + kind]:
        e = NONE
    if e < 0:
        e, key = banks[bank, HEAD + kind], ROW_COMMAND
        need = ACT if banks[bank, OPEN_ROW] < 0 else PRE
        wanted = as_index(wanted + need - 2)
    elif d.fixed[IS_CLOSED] != 0 and is_last_hit(d, bank, kind, e):
        need += RDA - RD
        wanted += 1
    if banks[bank, LIST + kind] != wanted:
        withdraw(d, kind, bank)
        banks[bank, LIST + kind] = wanted
        banks[bank, POSITION + kind] = d.listed[wanted]
        d.listed[wanted] += 1
    k = as_index(banks[bank, POSITION + kind])
    candidates[wanted, k, KEY] = key + entries[as_index(e), ORDER]
    node = as_index(d.nodes[bank, BANK_LEVEL])
    candidates[wanted, k, BANK_READY] = d.ready[node, as_index(need)]
    candidates[wanted, k, BANK] = bank
    candidates[wanted, k, GROUP_NODE] = d.nodes[bank, GROUP_LEVEL]


@njit_inline
def withdraw(d, kind, bank):
    """Remove ``bank`` from its list of candidates, if any: the list's last takes its place."""
    banks, candidates = d.banks, d.candidates
    bank, kind = as_index(bank), as_index(kind)
    at = banks[bank, LIST + kind]
    if at < 0:
        return
    at = as_index(at)
    position, last = as_index(banks[bank, POSITION + kind]), as_index(d.listed[at] - 1)
    d.listed[at] = last
    banks[bank, LIST + kind] = NONE
    moved = as_index(candidates[at, last, BANK])
    banks[moved, POSITION + kind] = position
    candidates[at, position, KEY] = candidates[at, last, KEY]
    candidates[at, position, BANK_READY] = candidates[at, last, BANK_READY]
    candidates[at, position, BANK] = moved
    candidates[at, position, GROUP_NODE] = candidates[at, last, GROUP_NODE]


@njit_inline
def is_last_hit(d, bank, kind, e):
    """Return whether no other queued burst hits the row that entry ``e`` hits."""
    e = as_index(e)
    after = d.entries[e, NEXT]
    row = d.entries[e, ROW]
    while after >= 0 and d.entries[as_index(after), ROW] != row:
        after = d.entries[as_index(after), NEXT]
    return after < 0 and d.banks[bank, OLDEST_HIT + 1 - kind] < 0


@njit_inline
def unlink(d, g, kind, bank, e):
    """Remove entry ``e`` from its bank's queue and find the next hit."""
    controllers, banks, entries = d.controllers, d.banks, d.entries
    g, bank, kind, e = as_index(g), as_index(bank), as_index(kind), as_index(e)
    before, after = entries[e, PREVIOUS], entries[e, NEXT]
    if before >= 0:
        entries[as_index(before), NEXT] = after
    else:
        banks[bank, HEAD + kind] = after
    if after >= 0:
        entries[as_index(after), PREVIOUS] = before
    else:
        banks[bank, TAIL + kind] = before
    banks[bank, QUEUED + kind] -= 1
    controllers[g, COUNT + kind] -= 1
    entries[e, NEXT] = controllers[g, FREE_ENTRY]
    controllers[g, FREE_ENTRY] = e
    row = banks[bank, OPEN_ROW]
    while after >= 0 and entries[as_index(after), ROW] != row:
        after = entries[as_index(after), NEXT]
    banks[bank, OLDEST_HIT + kind] = after
    if banks[bank, QUEUED + kind] == 0:
        withdraw(d, kind, bank)


@njit_inline
def open_bank(d, bank, e):
    """Open the row of entry ``e`` and find which bursts of each kind hit it."""
    banks, entries, bank, e = d.banks, d.entries, as_index(bank), as_index(e)
    row = entries[e, ROW]
    d.ranks[as_index(bank >> d.fixed[RANK_SHIFT]), OPEN_BANKS] += 1
    banks[bank, OPEN_ROW] = row
    entries[e, OUTCOME] = max(entries[e, OUTCOME], MISS)
    for kind in range(2):
        hit = banks[bank, HEAD + kind] if banks[bank, QUEUED + kind] > 0 else NONE
        while hit >= 0 and entries[as_index(hit), ROW] != row:
            hit = entries[as_index(hit), NEXT]
        banks[bank, OLDEST_HIT + kind] = hit


@njit_inline
def close_bank(d, bank):
    """Note that no row of ``bank`` is open."""
    bank = as_index(bank)
    rank = as_index(bank >> d.fixed[RANK_SHIFT])
    if d.banks[bank, OPEN_ROW] >= 0:
        d.ranks[rank, OPEN_BANKS] -= 1
    d.banks[bank, OPEN_ROW] = NONE
    d.banks[bank, OLDEST_HIT + READ] = NONE
    d.banks[bank, OLDEST_HIT + WRITE] = NONE
