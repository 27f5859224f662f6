"""Name the columns and scalars of the arrays that the compiled pipeline works on."""

from __future__ import annotations

# Columns of ``code``: one row per instruction, bound to a pipeline's rules.
(
    K_KIND,
    K_UOPS,
    K_LATENCY,
    K_ACCUMULATE,
    K_MASK_A,
    K_CYCLES_A,
    K_MASK_B,
    K_CYCLES_B,
    K_MASK_C,
    K_CYCLES_C,
    K_HINT,
    K_DST0,
    K_DST1,
    K_SRC0,
    K_SRC1,
    K_SRC2,
    K_SRC3,
    K_IS_FMA,
    K_MEMORY,
    K_POINTER,
    K_OFFSET,
    K_SIZE,
    K_BASE,
    K_BASE_LATENCY,
    K_UPDATE,
    K_UPDATED,
    K_STEP,
    K_COUNT,
    K_MATCH,
    K_MACS,
    K_IS_BRANCH,
    K_SEGMENT,
    CODE_COLUMNS,
) = range(33)

# Entries of ``params``.
(P_WIDTH, P_WINDOW, P_IS_IN_ORDER, P_MISPREDICT, P_TRIPS, P_LOADS, P_STORES, P_IDEAL, P_MEMO) = (
    range(9)
)

# Scalars of ``state``, which outlive a kernel.
(
    S_CYCLE,
    S_USED,
    S_FLOOR,
    S_RETIRED,
    S_WHY,
    S_SLOTS,
    S_LOADS,
    S_STORES,
    S_DRAINED,
    S_MACS,
    S_INSTRUCTIONS,
    S_UOPS,
    S_ERROR,
    S_BOOKED,
    S_ACCESS,
    S_REPLAY,
    STATES,
) = range(17)
"""Dispatch cycle and slots used in it; cycle before which nothing is dispatched; cycle in which all
so far have retired and what they waited for; slots, loads and stores so far; cycle in which stores
have reached the L1; multiply-accumulates, instructions, slots; a wait too long for the calendar;
first cycle after all booked ones; accesses of the segment so far, and how many of its first ones
have been made already."""

LOAD, STORE, PREFETCH = 1, 2, 3
CALENDAR = 1 << 13
"""Cycles that the calendar of ports reaches ahead."""
RING = 1 << 10
"""Entries kept of the window and of the load and store queues; none may be larger."""
PORT_BITS = 16
"""An entry of the calendar: cycle above, taken ports below."""
ALWAYS_READY, SINK = 64, 65
"""Registers beyond those of the code: never written, never read."""
