"""Choose one of several requesters: round-robin, oldest first, or least recently granted.

Pure functions for compiled callers (call :func:`~hwsim.components.jit.interpreted` of them from
Python). Requests are int64[n], non-zero where a requester asks. The caller keeps the state and
changes it only for a grant that is used: an arbiter whose grant is dropped must not move on, or it
may starve somebody.

=================  =====================  =====================================================
policy             state                  a requester that keeps asking waits for at most
=================  =====================  =====================================================
``round_robin``    int64, last granted    n - 1 grants to others
``oldest``         int64[n], arrival      the grants to what arrived before it, and as early
                                          with a lower index
``matrix``         int64[n, n], priority  n - 1 grants to others; the least recently granted wins
=================  =====================  =====================================================

Rotating and matrix priority and their fairness: Dally and Towles, Principles and Practices of
Interconnection Networks, 2004, chapter 18.
"""

from __future__ import annotations

import numpy as np

from hwsim.components.jit import njit_inline

__all__ = [
    "NOBODY",
    "POLICIES",
    "grant_matrix",
    "grant_oldest",
    "grant_round_robin",
    "matrix_state",
    "rotating_rank",
    "update_matrix",
]

NOBODY = np.int64(-1)
"""The grant when nobody asks."""

POLICIES = ("round_robin", "oldest")
"""Policies that the scratchpad and the network offer; a Spec names one."""


@njit_inline
def rotating_rank(requester, last, n):
    """Return the place of ``requester`` in the order that starts after ``last``, 0 the first.

    ``last`` is -1 before the first grant. The requester of the lowest rank wins a round-robin
    arbitration, so a caller that walks its requesters anyway needs no second loop.
    """
    rank = requester - last - 1
    return rank if rank >= 0 else rank + n


@njit_inline
def grant_round_robin(requests, last):
    """Return the first requester after ``last`` in cyclic order, NOBODY if none asks.

    The state is ``last``, -1 at first; set it to the grant when the grant is used.
    """
    n = requests.shape[0]
    for rank in range(1, n + 1):
        requester = last + rank
        if requester >= n:
            requester -= n
        if requests[requester] != 0:
            return np.int64(requester)
    return NOBODY


@njit_inline
def grant_oldest(requests, arrival):
    """Return the requester of the least ``arrival`` : int64[n], NOBODY if none asks.

    Of equals the lowest index wins: arrivals in the same cycle are served in a fixed order.
    """
    best = NOBODY
    for requester in range(requests.shape[0]):
        if requests[requester] != 0 and (best < 0 or arrival[requester] < arrival[best]):
            best = np.int64(requester)
    return best


def matrix_state(n: int) -> np.ndarray:
    """Return the priorities int64[n, n] before the first grant: lower indices win.

    ``priority[i, j]`` is 1 if i beats j; the diagonal is 0.
    """
    return np.triu(np.ones((n, n), np.int64), 1)


@njit_inline
def grant_matrix(requests, priority):
    """Return the requester that no other requester beats, NOBODY if none asks."""
    n = requests.shape[0]
    for requester in range(n):
        if requests[requester] == 0:
            continue
        is_beaten = False
        for other in range(n):
            if requests[other] != 0 and priority[other, requester] != 0:
                is_beaten = True
        if not is_beaten:
            return np.int64(requester)
    return NOBODY


@njit_inline
def update_matrix(priority, granted):
    """Make ``granted`` the requester that everybody beats."""
    for other in range(priority.shape[0]):
        priority[granted, other] = 0
        if other != granted:
            priority[other, granted] = 1
