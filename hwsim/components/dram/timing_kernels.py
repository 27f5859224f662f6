"""Apply the timing rules: when a command may be issued, and what its issue forbids until when.

State layout: :mod:`state`. Both functions know rules as data only.
"""

from __future__ import annotations

from hwsim.components.dram.state import (
    CHANNEL_LEVEL,
    FOLLOWING,
    HISTORY,
    IS_SIBLING,
    LATENCY,
    LEVEL,
    N_LEVELS,
    PRECEDING,
    PSEUDO_LEVEL,
    RANK_LEVEL,
    RANKS,
    WIDTH,
    WINDOW,
)
from hwsim.components.jit import njit_inline

__all__ = ["apply_rules", "earliest", "gather_shared"]


@njit_inline
def earliest(d, command, bank):
    """Return the first clock at which every rule allows ``command`` at ``bank``."""
    first = d.ready[d.nodes[bank, 0], command]
    for level in range(1, N_LEVELS):
        first = max(first, d.ready[d.nodes[bank, level], command])
    return first


@njit_inline
def gather_shared(d, bank):
    """Write the first clocks that the rules of channel, data bus and rank allow."""
    ready, shared = d.ready, d.shared
    channel, pseudo = d.nodes[bank, CHANNEL_LEVEL], d.nodes[bank, PSEUDO_LEVEL]
    rank = d.nodes[bank, RANK_LEVEL]
    for command in range(WIDTH):
        first = max(ready[channel, command], ready[pseudo, command])
        shared[command] = max(first, ready[rank, command])


@njit_inline
def apply_rules(d, command, bank, t):
    """Note what the issue of ``command`` at ``bank`` at clock ``t`` forbids."""
    ready, gaps = d.ready, d.gaps
    for level in range(N_LEVELS):
        node = d.nodes[bank, level]
        for following in range(WIDTH):
            time = t + gaps[command, level, following]
            ready[node, following] = max(ready[node, following], time)
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
