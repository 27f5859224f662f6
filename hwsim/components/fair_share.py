"""Share links among flows by max-min fairness, for fluid models of a network.

A rate is max-min fair if no flow can get more without taking from one that has no more. It is
the unique allocation in which every flow has a bottleneck: a full link on which nobody gets more
(Bertsekas and Gallager, Data Networks, 1992, section 6.5.2). Progressive filling finds it: all
flows grow alike until a link is full, which fixes the flows on it.

Rates are float64. Whoever turns them into cycles rounds up once, at the end of a transfer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwsim.components.jit import njit_entry, njit_inline
from hwsim.core.errors import InputError

__all__ = ["fill_progressively", "max_min_rates"]


@njit_inline
def find_bottleneck(room, users):
    """Return the link that is full first if its users grow alike, and what each of them gets."""
    bottleneck, share = -1, np.inf
    for link in range(room.shape[0]):
        if users[link] > 0 and room[link] / users[link] < share:
            bottleneck, share = link, room[link] / users[link]
    return bottleneck, share


@njit_entry
def fill_progressively(first, links, room, users, rates):
    """Fill ``rates`` with the max-min fair rates.

    Parameters
    ----------
    first : int64[flow + 1]
        Flow f uses ``links[first[f]:first[f + 1]]``; a link named twice carries it twice.
    links : int64[use]
        Links, 0 and up.
    room : float64[link]
        Capacities; left with what remains unused.
    users : int64[link]
        Scratch.
    rates : float64[flow]
        Result; infinite for a flow that uses no link.
    """
    n_flows = rates.shape[0]
    for link in range(users.shape[0]):
        users[link] = 0
    for use in range(links.shape[0]):
        users[links[use]] += 1
    left = 0
    for flow in range(n_flows):
        rates[flow] = np.inf if first[flow] == first[flow + 1] else -1.0
        left += 1 if rates[flow] < 0 else 0
    while left > 0:
        bottleneck, share = find_bottleneck(room, users)
        for flow in range(n_flows):
            if rates[flow] >= 0:
                continue
            is_fixed = False
            for use in range(first[flow], first[flow + 1]):
                is_fixed = is_fixed or links[use] == bottleneck
            if not is_fixed:
                continue
            rates[flow] = share
            left -= 1
            for use in range(first[flow], first[flow + 1]):
                users[links[use]] -= 1
                room[links[use]] = max(room[links[use]] - share, 0.0)  # no debt by rounding


def max_min_rates(
    flows: Sequence[Sequence[int]], capacities: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the max-min fair rate of each flow, in the unit of the capacities.

    Parameters
    ----------
    flows : sequence of sequences of int
        The links that each flow uses; a flow limited on its own has a link on its own. One that
        uses none gets an infinite rate.
    capacities : float[link]
        At least 0; a link of capacity 0 stops its flows.

    Raises
    ------
    InputError
        If a link is unknown, or a capacity negative or not a finite number.
    """
    room = np.array(capacities, np.float64)
    for link, capacity in enumerate(room.tolist()):
        if not 0 <= capacity < np.inf:
            raise InputError(f"capacities[{link}]", "a finite number >= 0", str(capacity))
    links = np.array([link for flow in flows for link in flow], np.int64)
    for link in links.tolist():
        if not 0 <= link < len(room):
            raise InputError("flows", f"links from 0 below {len(room)}", str(link))
    first = np.cumsum([0, *(len(flow) for flow in flows)])
    rates = np.zeros(len(flows))
    fill_progressively(first, links, room, np.zeros(len(room), np.int64), rates)
    return rates
