"""Step a banked scratchpad: bank selection, arbitration per bank, completion.

State layout: one :class:`Sram` of int64 arrays, columns named below. One cycle ``t`` goes:

1. the caller presents at most one request per port (:func:`sram_present`), in cycle ``t``;
2. :func:`sram_cycle` lets every bank grant one of the requests for it through each of its ports
   that is free;
3. the caller finds GRANT_CYCLE = t and DONE_CYCLE in the rows of the ports that were granted, and
   may present their next requests from cycle t + 1 on. A port that was not granted keeps asking.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.arbiter import priority_of
from hwsim.components.jit import njit_entry, njit_inline, njit_outline

# Kinds of request.
READ, WRITE, ATOMIC = range(3)
# Ways to choose the bank of a word.
INTERLEAVE, XOR = range(2)

# Sram.fixed entries; LATENCY and INTERVAL are three each, one per kind.
WORD_BYTES, SELECTION, BANK_BITS, POLICY, LATENCY, INTERVAL = 0, 1, 2, 3, 4, 7
FIXED = 10
# Sram.ports columns. STATE: FREE or ASKING. LOST counts the cycles of asking in vain, DELAYED the
# requests that asked in vain at least once.
STATE, BANK, KIND, SINCE, GRANT_CYCLE, DONE_CYCLE, GRANTS, LOST, DELAYED = range(9)
PORT_COLUMNS = 9
FREE, ASKING = range(2)
# Sram.banks columns. BEST and BEST_KEY are scratch; CONFLICT_CYCLES counts the cycles in which a
# request for the bank went away empty (in LAST_CONFLICT the latest time); from FREE_CYCLE on, one
# column per port of the bank: the cycle from which it is free.
LAST, BEST, BEST_KEY, ACCESSES, CONFLICT_CYCLES, LAST_CONFLICT, FREE_CYCLE = range(7)

# Columns of a trace and of what became of it.
T_CYCLE, T_PORT, T_ADDRESS, T_KIND = range(4)


class Sram(NamedTuple):
    """All state of a scratchpad, int64 throughout."""

    fixed: np.ndarray  # [FIXED]
    ports: np.ndarray  # [port, PORT_COLUMNS]
    banks: np.ndarray  # [bank, FREE_CYCLE + ports per bank]


@njit_inline
def bank_of_word(word, banks, selection, bank_bits):
    """Return the bank of a word: its low-order part, or the exclusive or of all its digits.

    The digits are ``bank_bits`` wide; ``banks`` must be 2 ** bank_bits for XOR.
    """
    if selection == INTERLEAVE:
        return word % banks
    bank = word & (banks - 1)
    if bank_bits > 0:
        word >>= bank_bits
        while word > 0:
            bank ^= word & (banks - 1)
            word >>= bank_bits
    return bank


@njit_inline
def sram_present(sram, port, address, kind, t):
    """Let ``port``, which must be FREE, ask for the word at byte ``address`` from cycle t on."""
    fixed, row = sram.fixed, sram.ports[port]
    word = address // fixed[WORD_BYTES]
    row[BANK] = bank_of_word(word, sram.banks.shape[0], fixed[SELECTION], fixed[BANK_BITS])
    row[KIND] = kind
    row[SINCE] = t
    row[STATE] = ASKING


@njit_inline
def find_winners(sram, slot, t):
    """Note in every bank whose port ``slot`` is free the asking port that its arbiter prefers."""
    fixed, ports, banks = sram.fixed, sram.ports, sram.banks
    n_ports = ports.shape[0]
    for bank in range(banks.shape[0]):
        banks[bank, BEST] = -1
    for port in range(n_ports):
        if ports[port, STATE] != ASKING:
            continue
        bank = ports[port, BANK]
        if banks[bank, FREE_CYCLE + slot] > t:
            continue
        since, last = ports[port, SINCE], banks[bank, LAST]
        key = priority_of(fixed[POLICY], port, n_ports, last, since)
        if banks[bank, BEST] < 0 or key < banks[bank, BEST_KEY]:
            banks[bank, BEST] = port
            banks[bank, BEST_KEY] = key


@njit_inline
def grant_winners(sram, slot, t):
    """Serve the ports that :func:`find_winners` noted."""
    fixed, ports, banks = sram.fixed, sram.ports, sram.banks
    for bank in range(banks.shape[0]):
        port = banks[bank, BEST]
        if port >= 0:
            kind = ports[port, KIND]
            ports[port, STATE] = FREE
            ports[port, GRANT_CYCLE] = t
            ports[port, DONE_CYCLE] = t + fixed[LATENCY + kind]
            ports[port, GRANTS] += 1
            banks[bank, LAST] = port
            banks[bank, FREE_CYCLE + slot] = t + fixed[INTERVAL + kind]
            banks[bank, ACCESSES] += 1


@njit_outline
def sram_cycle(sram, t):
    """Grant the requests that win cycle ``t``; return how many ports still ask."""
    ports, banks = sram.ports, sram.banks
    for slot in range(banks.shape[1] - FREE_CYCLE):
        find_winners(sram, slot, t)
        grant_winners(sram, slot, t)
    asking = 0
    for port in range(ports.shape[0]):
        if ports[port, STATE] == ASKING:
            asking += 1
            ports[port, LOST] += 1
            if ports[port, SINCE] == t:
                ports[port, DELAYED] += 1
            bank = ports[port, BANK]
            if banks[bank, LAST_CONFLICT] != t:
                banks[bank, LAST_CONFLICT] = t
                banks[bank, CONFLICT_CYCLES] += 1
    return asking


@njit_inline
def present_heads(sram, trace, first, t):
    """Present each free port's next request if it is due; return (ports asking, next arrival)."""
    asking, soonest = 0, -1
    for port in range(sram.ports.shape[0]):
        request = first[port]
        if request < 0:
            continue
        if sram.ports[port, STATE] == FREE:
            arrival = trace[request, T_CYCLE]
            if arrival > t:
                if soonest < 0 or arrival < soonest:
                    soonest = arrival
                continue
            sram_present(sram, port, trace[request, T_ADDRESS], trace[request, T_KIND], t)
        asking += 1
    return asking, soonest


@njit_entry
def play_trace(sram, trace, first, following, grant, done):
    """Serve a whole trace, each port's requests in order; return the cycle after the last grant.

    Parameters
    ----------
    sram : Sram
        Idle state, advanced in place.
    trace : int64[request, 4]
        Cycle from which the port has the request, port, byte address, kind.
    first, following : int64[port], int64[request]
        Each port's first request and every request's successor on its port, -1 for none.
    grant, done : int64[request]
        Filled with the cycles of grant and completion.
    """
    ports = sram.ports
    t = 0
    while True:
        asking, soonest = present_heads(sram, trace, first, t)
        if asking == 0:
            if soonest < 0:
                return t
            t = soonest
            continue
        sram_cycle(sram, t)
        for port in range(ports.shape[0]):
            request = first[port]
            if request >= 0 and ports[port, STATE] == FREE and trace[request, T_CYCLE] <= t:
                grant[request] = ports[port, GRANT_CYCLE]
                done[request] = ports[port, DONE_CYCLE]
                first[port] = following[request]
        t += 1
