"""Apply the timing rules: when a command may be issued, and what its issue forbids until when.

State layout: :mod:`state`. The functions know rules as data only. Commands are recorded here too.
"""

from __future__ import annotations

from hwsim.components.dram.layout import (
    BANK_LEVEL,
    FOLLOWING,
    GROUP_LEVEL,
    HISTORY,
    IS_PER_BANK,
    IS_SIBLING,
    LATENCY,
    LEVEL,
    MAX_TRACE,
    PLAIN_COMMANDS,
    PRECEDING,
    RANK_LEVEL,
    RANK_SHIFT,
    RANKS,
    REFPB,
    TRACE_BANK,
    TRACE_CLOCK,
    TRACE_COMMAND,
    TRACE_REQUEST,
    TRACE_ROW,
    TRACED,
    WINDOW,
)
from hwsim.components.jit import as_index, njit_inline

__all__ = ["apply_rules", "earliest", "earliest_outside", "record_command"]


@njit_inline
def earliest(d, command, bank):
    """Return the first clock at which every rule allows ``command`` at ``bank``."""
    ready, nodes, bank, command = d.ready, d.nodes, as_index(bank), as_index(command)
    node, group = as_index(nodes[bank, BANK_LEVEL]), as_index(nodes[bank, GROUP_LEVEL])
    own = max(ready[node, command], ready[group, command])
    return max(own, earliest_outside(d, command, bank))


@njit_inline
def earliest_outside(d, command, bank):
    """Return the first clock that the rules of channel, data bus and rank of ``bank`` allow."""
    ready, nodes, bank, command = d.ready, d.nodes, as_index(bank), as_index(command)
    first = ready[as_index(bank >> d.fixed[RANK_SHIFT]), command]  # the nodes of ranks come first
    for i in range(d.levels.shape[0] - 3):
        first = max(first, ready[as_index(nodes[bank, as_index(d.levels[i])]), command])
    return first


@njit_inline
def apply_rules(d, command, bank, t):
    """Note what the issue of ``command`` at ``bank`` at clock ``t`` forbids."""
    ready, gaps, levels = d.ready, d.gaps, d.levels
    bank, command = as_index(bank), as_index(command)
    for i in range(levels.shape[0]):
        level = as_index(levels[i])
        node = as_index(d.nodes[bank, level])
        for following in range(PLAIN_COMMANDS):
            time = t + gaps[command, level, following]
            ready[node, following] = max(ready[node, following], time)
        if d.fixed[IS_PER_BANK] != 0:
            ready[node, REFPB] = max(ready[node, REFPB], t + gaps[command, level, REFPB])
    for k in range(d.special.shape[0]):
        if d.special[k, PRECEDING] == command:
            apply_special(d, k, bank, t)


@njit_inline
def apply_special(d, k, bank, t):
    """Apply a rule with a window, or one that holds at the other ranks."""
    ready, history, rule = d.ready, d.history, d.special[k]
    node = as_index(d.nodes[as_index(bank), as_index(rule[LEVEL])])
    following, since = as_index(rule[FOLLOWING]), t
    if rule[WINDOW] > 1:
        h = as_index(rule[HISTORY])
        position = as_index(history[h, node, 0])
        history[h, node, position] = t
        position = position + 1 if position < rule[WINDOW] else 1
        history[h, node, 0] = position
        since = history[h, node, position]  # the window-th latest, this one included
    if rule[IS_SIBLING] == 0:
        ready[node, following] = max(ready[node, following], since + rule[LATENCY])
        return
    ranks, first = d.fixed[RANKS], d.nodes[0, RANK_LEVEL]
    first += (node - first) // ranks * ranks
    for other in range(first, first + ranks):
        if other != node:
            ready[other, following] = max(ready[other, following], since + rule[LATENCY])


@njit_inline
def record_command(d, command, bank, row, request, t):
    """Append a command to the trace; beyond the bound, to the dump row."""
    trace = d.trace
    at = min(d.now[TRACED], d.fixed[MAX_TRACE])
    d.now[TRACED] += 1
    trace[at, TRACE_CLOCK] = t
    trace[at, TRACE_COMMAND] = command
    trace[at, TRACE_BANK] = bank
    trace[at, TRACE_ROW] = row
    trace[at, TRACE_REQUEST] = request
