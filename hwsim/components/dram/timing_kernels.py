"""Apply the timing rules: when a command may be issued, and what its issue forbids until when.

State layout: :mod:`state`. Both functions know rules as data only.
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
    PLAIN_COMMANDS,
    PRECEDING,
    RANK_LEVEL,
    RANK_SHIFT,
    RANKS,
    REFPB,
    WINDOW,
)
from hwsim.components.jit import njit_inline

__all__ = ["apply_rules", "earliest", "earliest_outside"]


@njit_inline
def earliest(d, command, bank):
    """Return the first clock at which every rule allows ``command`` at ``bank``."""
    ready, nodes = d.ready, d.nodes
    own = max(ready[nodes[bank, BANK_LEVEL], command], ready[nodes[bank, GROUP_LEVEL], command])
    return max(own, earliest_outside(d, command, bank))


@njit_inline
def earliest_outside(d, command, bank):
    """Return the first clock that the rules of channel, data bus and rank of ``bank`` allow."""
    ready, nodes = d.ready, d.nodes
    first = ready[bank >> d.fixed[RANK_SHIFT], command]  # the nodes of ranks come first
    for i in range(d.levels.shape[0] - 3):
        first = max(first, ready[nodes[bank, d.levels[i]], command])
    return first


@njit_inline
def apply_rules(d, command, bank, t):
    """Note what the issue of ``command`` at ``bank`` at clock ``t`` forbids."""
    ready, gaps, levels = d.ready, d.gaps, d.levels
    for i in range(levels.shape[0]):
        level = levels[i]
        node = d.nodes[bank, level]
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
    node, following, since = d.nodes[bank, rule[LEVEL]], rule[FOLLOWING], t
    if rule[WINDOW] > 1:
        h, position = rule[HISTORY], history[rule[HISTORY], node, 0]
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
