"""Apply the timing rules: when a command may be issued, and what its issue forbids until when.

State layout: :mod:`layout`. The functions know rules as data only. Commands are recorded here too.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    ACT,
    AT_TRACE,
    BANK_CONTROLLER,
    BANK_GROUP,
    BANK_RANK,
    BUS_MATES,
    CHANNEL_RANK,
    GAP_WIDTH,
    GAPS,
    IS_CLOSED,
    IS_PER_BANK,
    LATEST,
    MAX_TRACE,
    NUMBER,
    OTHER_BUS,
    OTHER_RANK,
    OWN_BANK,
    OWN_GROUP,
    OWN_RANK,
    PREA,
    RANK_CONTROLLER,
    RANK_WIDTH,
    RD,
    RDA,
    REFPB,
    RELATIONS,
    TRACE_BANK,
    TRACE_CLOCK,
    TRACE_COMMAND,
    TRACE_REQUEST,
    TRACE_ROW,
    TRACE_WIDTH,
    TRACED,
    WINDOW_CLOCKS,
)
from hwsim.components.jit import as_index, njit_apart, njit_inline

__all__ = ["apply_rules", "earliest", "record_command"]


@njit_inline
def earliest(s, command, bank):
    """Return the first clock at which every rule allows ``command`` at ``bank``."""
    bank, command = as_index(bank), as_index(command)
    outer = max(
        s[as_index(s[bank + BANK_GROUP]) + command], s[as_index(s[bank + BANK_RANK]) + command]
    )
    return max(s[bank + command], outer)


@njit_inline
def apply_rules(s, command, bank, t):
    """Note what the issue of ``command`` at ``bank`` at clock ``t`` forbids."""
    bank, gap = as_index(bank), GAPS + as_index(command) * (RELATIONS * GAP_WIDTH)
    rank, group = as_index(s[bank + BANK_RANK]), as_index(s[bank + BANK_GROUP])
    own_bank, own_group = gap + OWN_BANK * GAP_WIDTH, gap + OWN_GROUP * GAP_WIDTH
    hold_back(s, bank + ACT, own_bank + ACT, t)
    hold_back_rank(s, rank, gap + OWN_RANK * GAP_WIDTH, t)
    # Only an activate holds back column commands of its bank and row commands of its group.
    if command == ACT:
        hold_back(s, bank + RD, own_bank + RD, t)
        hold_back(s, group + ACT, own_group + ACT, t)
        since = s[rank + LATEST + 2]  # with this one the fourth latest
        s[rank + LATEST + 2] = s[rank + LATEST + 1]
        s[rank + LATEST + 1] = s[rank + LATEST]
        s[rank + LATEST] = t
        s[rank + ACT] = max(s[rank + ACT], since + s[WINDOW_CLOCKS])
    else:
        hold_back(s, group + RD, own_group + RD, t)
    if s[IS_CLOSED] != 0:
        hold_back(s, bank + RDA, own_bank + RDA, t)
        hold_back(s, group + RDA, own_group + RDA, t)
    if s[IS_PER_BANK] != 0:
        s[bank + REFPB] = max(s[bank + REFPB], t + s[own_bank + REFPB])
    if s[BUS_MATES] > 1:
        apply_to_others(s, gap, bank, t)


@njit_inline
def hold_back_rank(s, rank, gap, t):
    """Move the first clocks at ``rank`` of all commands that are in use."""
    hold_back(s, rank + ACT, gap + ACT, t)
    hold_back(s, rank + RD, gap + RD, t)
    hold_back(s, rank + PREA, gap + PREA, t)
    if s[IS_CLOSED] != 0:
        hold_back(s, rank + RDA, gap + RDA, t)
    if s[IS_PER_BANK] != 0:
        s[rank + REFPB] = max(s[rank + REFPB], t + s[gap + REFPB])


@njit_inline
def hold_back(s, node, gap, t):
    """Move the first clocks of two commands from ``node`` on behind ``t`` and the gaps at ``gap``.

    All are read before any is written, so that LLVM may take them together.
    """
    first, second = max(s[node], t + s[gap]), max(s[node + 1], t + s[gap + 1])
    s[node], s[node + 1] = first, second


@njit_inline
def apply_to_others(s, gap, bank, t):
    """Do the same at the other ranks of the channel."""
    bus = s[bank + BANK_CONTROLLER]
    rank = as_index(s[as_index(bus) + CHANNEL_RANK])
    for _ in range(s[BUS_MATES]):
        if rank != s[bank + BANK_RANK]:
            relation = OTHER_RANK if s[rank + RANK_CONTROLLER] == bus else OTHER_BUS
            other = gap + relation * GAP_WIDTH
            hold_back_rank(s, rank, other, t)
        rank = as_index(rank + RANK_WIDTH)


@njit_apart
def record_command(s, command, bank, row, request, t):
    """Append a command to the trace; beyond the bound, to the dump row."""
    at = as_index(s[AT_TRACE] + min(s[TRACED], s[MAX_TRACE]) * TRACE_WIDTH)
    s[TRACED] += 1
    s[at + TRACE_CLOCK] = t
    s[at + TRACE_COMMAND] = command
    s[at + TRACE_BANK] = s[bank + NUMBER]
    s[at + TRACE_ROW] = row
    s[at + TRACE_REQUEST] = request
