"""Choose one of several requesters: round-robin, or oldest first.

A requester has a priority, and the least of those that ask wins; of equals the lowest index. The
caller keeps the state and changes it only for a grant that is used: an arbiter whose grant is
dropped must not move on, or it may starve somebody.

===============  =======================  ==========================================================
policy           state of an arbiter      a requester that keeps asking waits for at most
===============  =======================  ==========================================================
``round_robin``  the last one granted     n - 1 grants to others
``oldest``       none, but each arrival   the grants to what arrived before it, and as early with a
                                          lower index
===============  =======================  ==========================================================

Rotating priority and its fairness: Dally and Towles, Principles and Practices of Interconnection
Networks, 2004, chapter 18.
"""

from __future__ import annotations

from hwsim.components.jit import njit_inline

__all__ = ["OLDEST", "POLICIES", "ROUND_ROBIN", "priority_of"]

POLICIES = {"round_robin": 0, "oldest": 1}
"""Codes of the policies that the scratchpad and the network offer; a Spec names one."""
ROUND_ROBIN, OLDEST = POLICIES.values()


@njit_inline
def priority_of(policy, requester, n, last, arrival):
    """Return the priority of one of ``n`` requesters, that of the least wins.

    Round-robin: its place in the order that starts after ``last``, who was granted last (-1: nobody
    yet). Oldest: its ``arrival``.
    """
    if policy == OLDEST:
        return arrival
    rank = requester - last - 1
    return rank if rank >= 0 else rank + n
