"""Queue bursts at banks, and keep for each bank what it needs next in a slot of its controller.

State layout: :mod:`layout`. A bank with queued bursts of the kind being served needs a read or
write for the oldest that hits the open row; else a precharge, or an activate if it is closed, for
the oldest. With ``ACTIVATED_FIRST`` the burst for which a row was opened is no longer queued, and
its bank needs no precharge before it was served.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    ACT,
    ACTIVATED_FIRST,
    BANK_GROUP,
    BANK_RANK,
    BANK_WIDTH,
    CONTROLLER_RANK,
    CONTROLLER_SHIFT,
    COUNT,
    DRAIN_LEFT,
    DRAINING,
    DRAINS_TO_LEVEL,
    FIRST_BANK,
    FIRST_OPENER,
    FIRST_SLOT,
    FREE_ENTRY,
    GROUP_WORD,
    HAS_ROOM,
    HEAD,
    IS_CLOSED,
    IS_FCFS,
    KEY,
    KIND,
    MISS,
    NEED,
    NEVER,
    NEXT,
    NONE,
    OLDEST_HIT,
    OPEN_BANKS,
    OPEN_ROW,
    OPENER,
    OPENER_AT,
    OPENERS,
    ORDER,
    OUTCOME,
    OWN_READY,
    PLACE_BITS,
    PRE,
    PREVIOUS,
    QUEUED,
    RANK_WORD,
    RD,
    RDA,
    READ,
    REQUEST,
    ROW,
    SEQUENCE,
    SLOT,
    SLOT_BANK,
    SLOT_ENTRY,
    SLOT_WIDTH,
    SLOTS,
    TAIL,
    WAITING,
    WRITE,
)
from hwsim.components.jit import as_index, njit_apart, njit_inline

__all__ = [
    "COLUMN_CLASS",
    "add_opener",
    "close_bank",
    "insert",
    "is_last_hit",
    "list_banks",
    "open_bank",
    "remove_opener",
    "unlink",
    "update_slot",
    "write_slot",
]

COLUMN_CLASS, ROW_CLASS = 2 << 38, 3 << 38
"""Added to the age in a key: of openers 0, of refreshes 1 << 38, see scheduler_kernels.py."""


@njit_inline
def insert(s, c, kind, bank, row, request):
    """Append a burst to its bank's queue, with room; return whether the bank needs something else.

    It may also if the last access to a row is to close it.
    """
    e = as_index(s[c + FREE_ENTRY])
    s[c + FREE_ENTRY] = s[e + NEXT]
    tail = s[bank + TAIL + kind]
    is_changed = s[bank + QUEUED + kind] == 0
    if is_changed:
        s[bank + HEAD + kind] = e
        tail = NONE
    else:
        s[as_index(tail) + NEXT] = e
    s[e + ROW] = row
    s[e + NEXT] = NONE
    s[e + PREVIOUS] = tail
    s[e + REQUEST] = request
    s[e + ORDER] = s[SEQUENCE]
    s[e + OUTCOME] = 0
    s[SEQUENCE] += 1
    s[bank + TAIL + kind] = e
    s[bank + QUEUED + kind] += 1
    s[c + COUNT + kind] += 1
    s[c + DRAIN_LEFT] += kind * s[DRAINS_TO_LEVEL]
    if s[bank + OLDEST_HIT + kind] < 0 and s[bank + OPEN_ROW] == row:
        s[bank + OLDEST_HIT + kind] = e
        is_changed = True
    return is_changed


@njit_apart
def update_slot(s, c, bank):
    """Do what :func:`write_slot` does, called."""
    write_slot(s, as_index(c), as_index(bank))


@njit_inline
def write_slot(s, c, bank):
    """Write what ``bank`` of controller ``c`` needs next into its slot, or give the slot back."""
    kind = as_index(s[c + DRAINING])
    if s[bank + QUEUED + kind] == 0:
        return give_back(s, c, bank)
    e, key, need = s[bank + OLDEST_HIT + kind], COLUMN_CLASS, RD + kind
    if s[IS_FCFS] != 0 and e != s[bank + HEAD + kind]:
        e = NONE
    if e < 0:
        e, key, need = s[bank + HEAD + kind], ROW_CLASS, ACT
        if s[bank + OPEN_ROW] >= 0:
            need = PRE
            if s[bank + OPENER] >= 0:
                return give_back(s, c, bank)
    elif s[IS_CLOSED] != 0 and is_last_hit(s, bank, kind, e):
        need += RDA - RD
    slot = s[bank + SLOT]
    if slot < 0:
        slot = s[c + FIRST_SLOT] + s[c + SLOTS] * SLOT_WIDTH
        s[c + SLOTS] += 1
        s[bank + SLOT] = slot
    slot, need = as_index(slot), as_index(need)
    place = (slot - s[c + FIRST_SLOT]) // SLOT_WIDTH
    s[slot + KEY] = (key + s[as_index(e) + ORDER]) << PLACE_BITS | place
    s[slot + OWN_READY] = s[bank + need]
    s[slot + GROUP_WORD] = s[bank + BANK_GROUP] + need
    s[slot + RANK_WORD] = s[bank + BANK_RANK] + need
    s[slot + SLOT_BANK] = bank
    s[slot + NEED] = need
    s[slot + SLOT_ENTRY] = e


@njit_inline
def give_back(s, c, bank):
    """Free the slot of ``bank``, if any: the controller's last one moves there."""
    slot = s[bank + SLOT]
    if slot < 0:
        return
    s[bank + SLOT] = NONE
    s[c + SLOTS] -= 1
    slot, last = as_index(slot), as_index(s[c + FIRST_SLOT] + s[c + SLOTS] * SLOT_WIDTH)
    if slot != last:
        for column in range(SLOT_ENTRY + 1):
            s[slot + column] = s[last + column]
        s[slot + KEY] -= (last - slot) // SLOT_WIDTH
        s[as_index(s[last + SLOT_BANK]) + SLOT] = slot
    s[last + KEY] = NEVER


@njit_apart
def list_banks(s, c):
    """Write the slots of all banks of ``c`` anew, for another kind."""
    first = as_index(s[as_index(s[c + CONTROLLER_RANK]) + FIRST_BANK])
    for bank in range(first, first + (BANK_WIDTH << s[CONTROLLER_SHIFT]), BANK_WIDTH):
        update_slot(s, c, bank)


@njit_apart
def is_last_hit(s, bank, kind, e):
    """Return whether no other queued burst hits the row that entry ``e`` hits."""
    row, after = s[as_index(e) + ROW], s[as_index(e) + NEXT]
    if s[bank + OPENER] >= 0:
        if e != s[bank + OPENER]:
            return False
        after = s[bank + OLDEST_HIT + kind]
    while after >= 0 and s[as_index(after) + ROW] != row:
        after = s[as_index(after) + NEXT]
    return after < 0 and s[bank + OLDEST_HIT + 1 - kind] < 0


@njit_inline
def unlink(s, c, kind, bank, e):
    """Remove entry ``e`` from its bank's queue and find the next hit behind it."""
    before, after = s[e + PREVIOUS], s[e + NEXT]
    if before >= 0:
        s[as_index(before) + NEXT] = after
    else:
        s[bank + HEAD + kind] = after
    if after >= 0:
        s[as_index(after) + PREVIOUS] = before
    else:
        s[bank + TAIL + kind] = before
    s[bank + QUEUED + kind] -= 1
    s[c + COUNT + kind] -= 1
    s[bank + OLDEST_HIT + kind] = next_hit(s, after, s[bank + OPEN_ROW])


@njit_inline
def next_hit(s, e, row):
    """Return the first entry from ``e`` on that is of ``row``, -1 if none is."""
    while e >= 0 and s[as_index(e) + ROW] != row:
        e = s[as_index(e) + NEXT]
    return e


@njit_inline
def open_bank(s, c, bank, e):
    """Open the row of entry ``e`` and find which bursts of each kind hit it."""
    row = s[e + ROW]
    s[as_index(s[bank + BANK_RANK]) + OPEN_BANKS] += 1
    s[bank + OPEN_ROW] = row
    s[e + OUTCOME] = max(s[e + OUTCOME], MISS)
    if s[ACTIVATED_FIRST] != 0:
        add_opener(s, c, bank, e)
    s[bank + OLDEST_HIT + READ] = next_hit(s, s[bank + HEAD + READ], row)
    s[bank + OLDEST_HIT + WRITE] = next_hit(s, s[bank + HEAD + WRITE], row)


@njit_apart
def add_opener(s, c, bank, e):
    """Take the oldest entry ``e`` out of its bank's queue, for its row is being opened."""
    kind = s[as_index(s[e + REQUEST]) + KIND]
    unlink(s, c, as_index(kind), bank, e)
    s[HAS_ROOM] = 1
    s[c + DRAIN_LEFT] -= kind
    s[bank + OPENER] = e
    s[bank + OPENER_AT] = s[c + FIRST_OPENER] + s[c + OPENERS]
    s[as_index(s[bank + OPENER_AT])] = bank
    s[c + OPENERS] += 1
    s[as_index(s[bank + BANK_RANK]) + WAITING] += 1


@njit_apart
def remove_opener(s, c, bank):
    """Note that the entry that opened the row of ``bank`` was served."""
    s[bank + OPENER] = NONE
    s[c + OPENERS] -= 1
    last = s[as_index(s[c + FIRST_OPENER] + s[c + OPENERS])]
    s[as_index(s[bank + OPENER_AT])] = last
    s[as_index(last) + OPENER_AT] = s[bank + OPENER_AT]
    s[as_index(s[bank + BANK_RANK]) + WAITING] -= 1


@njit_inline
def close_bank(s, bank):
    """Note that no row of ``bank`` is open."""
    if s[bank + OPEN_ROW] >= 0:
        s[as_index(s[bank + BANK_RANK]) + OPEN_BANKS] -= 1
    s[bank + OPEN_ROW] = NONE
    s[bank + OLDEST_HIT + READ] = NONE
    s[bank + OLDEST_HIT + WRITE] = NONE
