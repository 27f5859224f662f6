"""Execute a bound kernel on a pipeline, instruction by instruction, compiled.

One pass in program order computes when each instruction is dispatched, issued and retired:

- *dispatch*: in order, ``width`` slots per cycle, an instruction's slots in one cycle if they fit;
  it needs room in the window (until the instruction ``window`` slots before has retired) and in the
  load or store queue. An in-order core dispatches when it issues.
- *issue*: the first cycle after dispatch in which the operands are ready and the ports that the
  rule asks for are free, older instructions first. Ports are booked in a calendar, so that a
  younger instruction takes any cycle that older ones left free: what a scheduler does that picks
  the oldest ready instruction for every port each cycle. A
  test does that literally.
- *retire*: in order, when complete.

A loop that is left unpredicted (longer than the predictor's history, or other trips than last time)
refills the front end ``mispredict`` cycles after its last branch has issued.

``code`` has a row per instruction and the ``K_`` columns, ``params`` the ``P_`` entries, ``state``
the ``S_`` scalars that outlive a kernel (``pipeline_state.py``). ``lost[reason, used]`` counts
cycles that ended with ``used`` slots taken because of ``reason``. Register 64 is always ready and
65 takes what nobody reads. What the pipeline has met before is not stepped again
(``memo_kernels.py``).
"""

from __future__ import annotations

from hwsim.components.jit import njit_apart, njit_entry, njit_inline
from hwsim.core.result import STALL_REASONS
from hwsim.cpu.cache_kernels import C_MISS, W_AHEAD, W_MISS, access_lines, stride_prefetch
from hwsim.cpu.core_table import core_of
from hwsim.cpu.memo_kernels import (
    E_BRANCH,
    E_CYCLES,
    E_NEXT,
    E_OFFSETS,
    E_TIMES,
    G_ACTIONS,
    G_ACTIONS_END,
    G_END,
    M_EDGES,
    M_OFFSETS,
    M_TOUCHED,
    account_edges,
    add_edge,
    branch_key,
    find_edge,
    forget,
    keep_state,
    restore_state,
)
from hwsim.cpu.pipeline_state import (
    CALENDAR,
    K_ACCUMULATE,
    K_BASE,
    K_BASE_LATENCY,
    K_COUNT,
    K_CYCLES_A,
    K_CYCLES_B,
    K_CYCLES_C,
    K_DST0,
    K_DST1,
    K_HINT,
    K_IS_BRANCH,
    K_IS_FMA,
    K_KIND,
    K_LATENCY,
    K_MACS,
    K_MASK_A,
    K_MASK_B,
    K_MASK_C,
    K_MATCH,
    K_MEMORY,
    K_OFFSET,
    K_POINTER,
    K_SEGMENT,
    K_SIZE,
    K_SRC0,
    K_SRC1,
    K_SRC3,
    K_STEP,
    K_UOPS,
    K_UPDATE,
    K_UPDATED,
    LOAD,
    P_IDEAL,
    P_IS_IN_ORDER,
    P_LOADS,
    P_MEMO,
    P_MISPREDICT,
    P_STORES,
    P_TRIPS,
    P_WIDTH,
    P_WINDOW,
    PORT_BITS,
    PREFETCH,
    RING,
    S_ACCESS,
    S_BOOKED,
    S_CYCLE,
    S_DRAINED,
    S_ERROR,
    S_FLOOR,
    S_INSTRUCTIONS,
    S_LOADS,
    S_MACS,
    S_REPLAY,
    S_RETIRED,
    S_SLOTS,
    S_STORES,
    S_UOPS,
    S_USED,
    S_WHY,
    STORE,
)

__all__ = ["run_code"]

_RESOURCE = STALL_REASONS.index("resource")
_QUEUE = STALL_REASONS.index("queue_full")
_HAZARD = STALL_REASONS.index("hazard")
_FRONTEND = STALL_REASONS.index("frontend")
_DRAIN = STALL_REASONS.index("drain")
_CACHE = STALL_REASONS.index("cache")
_DRAM = STALL_REASONS.index("dram")

_LOOP, _END = -1, -2
_WHY_BITS = 5
_WHY = (1 << _WHY_BITS) - 1
_STEP, _STEP_STREAM, _REWIND, _MARK = 1, 2, 3, 4
_DEPTH = 8


@njit_inline
def _free(calendar, t, cycles, mask):
    """Return the ports of ``mask`` that are free in all of ``cycles`` cycles from ``t`` on.

    The search ends with the last port, so that LLVM makes no vector code of a loop of one or two.
    """
    end = t + cycles
    while mask != 0 and t < end:
        entry = calendar[t & (CALENDAR - 1)]
        if entry >> PORT_BITS == t:
            mask &= ~entry
        t += 1
    return mask


@njit_inline
def _book(calendar, t, cycles, port):
    """Take ``port`` for ``cycles`` cycles from ``t`` on."""
    while cycles > 0:
        index = t & (CALENDAR - 1)
        entry = calendar[index]
        calendar[index] = (entry if entry >> PORT_BITS == t else t << PORT_BITS) | port
        t += 1
        cycles -= 1


@njit_inline
def _place(pc, ready, core):
    """Return the first cycle from ``ready`` on with free ports for row ``pc``, and book them."""
    state, calendar = core.state, core.calendar
    code, hints = core.code, core.hints
    hint = code[pc, K_HINT]
    t = ready
    if hints[hint, 0] <= t < hints[hint, 1]:
        t = hints[hint, 1]
    mask_a, cycles_a = code[pc, K_MASK_A], code[pc, K_CYCLES_A]
    mask_b, cycles_b = code[pc, K_MASK_B], code[pc, K_CYCLES_B]
    mask_c, cycles_c = code[pc, K_MASK_C], code[pc, K_CYCLES_C]
    while True:
        a = _free(calendar, t, cycles_a, mask_a)
        a &= -a
        if a != 0 or mask_a == 0:
            b = _free(calendar, t, cycles_b, mask_b & ~a)
            b &= -b
            if b != 0 or mask_b == 0:
                c = _free(calendar, t, cycles_c, mask_c & ~(a | b))
                c &= -c
                if c != 0 or mask_c == 0:
                    break
        t += 1
    if mask_a != 0:
        _book(calendar, t, cycles_a, a)
    if mask_b != 0:
        _book(calendar, t, cycles_b, b)
    if mask_c != 0:
        _book(calendar, t, cycles_c, c)
    state[S_BOOKED] = max(state[S_BOOKED], t + max(cycles_a, cycles_b, cycles_c))
    if hints[hint, 0] <= ready <= hints[hint, 1]:
        hints[hint, 1] = max(t, hints[hint, 1])
    elif t - ready > hints[hint, 1] - hints[hint, 0] or ready > hints[hint, 1]:
        hints[hint, 0] = ready
        hints[hint, 1] = t
    return t


@njit_inline
def _operands(pc, floor, core):
    """Return (cycle in which the operands of row ``pc`` are ready, why not before)."""
    code, registers = core.code, core.registers
    ready, why = floor, _HAZARD
    first = code[pc, K_SRC0]
    at = registers[1 if code[pc, K_IS_FMA] else 0, first]
    if at > ready:
        ready, why = at, registers[2, first]
    for column in range(K_SRC1, K_SRC3 + 1):
        source = code[pc, column]
        if registers[0, source] > ready:
            ready, why = registers[0, source], registers[2, source]
    return ready, why


@njit_apart
def _fetch(pc, t, core):
    """Access memory for row ``pc`` issued at ``t``; return its outcome.

    That is by how many cycles it is served later than a hit, and in the lowest bits why.
    """
    code, counts, walk = core.code, core.counts, core.walk
    kind = code[pc, K_MEMORY]
    address = core.pointers[code[pc, K_POINTER]] + code[pc, K_OFFSET]
    size = code[pc, K_SIZE]
    counts[0 if kind == LOAD else 1] += size if kind != PREFETCH else 0
    accepted, misses = core.miss_queue[walk[W_MISS]], counts[C_MISS]
    done, source = access_lines(address, size, t, 1 if kind == STORE else 0, core)
    if kind == LOAD and walk[W_AHEAD] > 0:
        stride_prefetch(pc, address, t, core)
    if kind == PREFETCH:  # holds its place in the load queue until a miss can be taken
        late = accepted - t if counts[C_MISS] > misses and accepted > t else 0
        return late << _WHY_BITS | _HAZARD
    if done <= t:
        return _HAZARD
    return (done - t) << _WHY_BITS | (_DRAM if source else _CACHE)


@njit_inline
def _update(pc, core):
    """Step the pointer, or rewind or mark the stream, that row ``pc`` names."""
    pointers, streams, stream_first = core.pointers, core.streams, core.stream_first
    code, stream_at = core.code, core.stream_at
    update = code[pc, K_UPDATE]
    if update == _STEP:
        pointers[code[pc, K_UPDATED]] += code[pc, K_STEP]
    elif update == _STEP_STREAM:
        stream = code[pc, K_STEP]
        if stream_at[stream] < len(streams):
            pointers[code[pc, K_UPDATED]] += streams[stream_at[stream]]
        stream_at[stream] += 1
    elif update == _REWIND:
        stream_at[code[pc, K_STEP]] = stream_first[code[pc, K_STEP]]
    elif update == _MARK:
        stream_first[code[pc, K_STEP]] = stream_at[code[pc, K_STEP]]


@njit_inline
def _room(cycle, used, uops, width, pc, core):
    """Return (cycle, why): when an out-of-order core has room for row ``pc``."""
    window = core.window
    state, params = core.state, core.params
    t, why = cycle, _FRONTEND
    if state[S_FLOOR] > t:
        t = state[S_FLOOR]
    slot = (state[S_SLOTS] + uops - 1 - params[P_WINDOW]) & (RING - 1)
    if window[slot] > t:
        t, why = window[slot], core.window_why[slot]
    kind = core.code[pc, K_MEMORY]
    if kind in (LOAD, PREFETCH):
        entry = core.loads[(state[S_LOADS] - params[P_LOADS]) & (RING - 1)]
        if entry > t:
            t, why = entry, _QUEUE
    elif kind == STORE:
        entry = core.stores[(state[S_STORES] - params[P_STORES]) & (RING - 1)]
        if entry > t:
            t, why = entry, _QUEUE
    if t == cycle and used > 0 and used + uops > width:
        t += 1
    return t, why


@njit_inline
def _advance(t, why, width, core):
    """Move the dispatch stage to cycle ``t``; what is unused until then is lost for ``why``."""
    lost = core.lost
    state = core.state
    cycle, used = state[S_CYCLE], state[S_USED]
    lost[why, used] += 1
    lost[why, 0] += t - cycle - 1
    state[S_CYCLE] = t
    state[S_USED] = 0


@njit_inline
def _dispatch(pc, core):
    """Return the first cycle in which row ``pc`` may issue; an out-of-order core dispatches it."""
    params = core.params
    state, width, uops = core.state, params[P_WIDTH], core.code[pc, K_UOPS]
    if params[P_IS_IN_ORDER] != 0:
        floor = max(state[S_CYCLE], state[S_FLOOR])
        is_full = state[S_USED] + uops > width and state[S_USED] > 0
        return floor + 1 if is_full and floor == state[S_CYCLE] else floor
    t, why = _room(state[S_CYCLE], state[S_USED], uops, width, pc, core)
    if t > state[S_CYCLE]:
        _advance(t, why, width, core)
    return state[S_CYCLE] + 1


@njit_inline
def _execute(pc, core):
    """Dispatch, issue and retire row ``pc``; return the cycle it issues in."""
    outcomes = core.outcomes
    code, state, params = core.code, core.state, core.params
    width, uops = params[P_WIDTH], code[pc, K_UOPS]
    is_in_order = params[P_IS_IN_ORDER] != 0
    floor = _dispatch(pc, core)
    ready, why = _operands(pc, floor, core)
    if is_in_order:
        if ready == floor:
            why = _FRONTEND
        if code[pc, K_MEMORY] == STORE:
            entry = core.stores[(state[S_STORES] - params[P_STORES]) & (RING - 1)]
            if entry > ready:
                ready, why = entry, _QUEUE
    t = _place(pc, ready, core)
    why = _RESOURCE if t > ready else why
    if is_in_order:
        if t > state[S_CYCLE]:
            _advance(t, why, width, core)
    elif t - state[S_CYCLE] >= CALENDAR - 64:
        state[S_ERROR] = 1
    state[S_USED] += uops
    while state[S_USED] > width:  # wider than the machine: the rest follows cycle by cycle
        core.lost[_FRONTEND, width] += 1
        state[S_CYCLE] += 1
        state[S_USED] -= width
    latency = code[pc, K_LATENCY]
    complete, missed = t + latency, _HAZARD
    kind = code[pc, K_MEMORY]
    if kind != 0 and not params[P_IDEAL]:
        access = state[S_ACCESS]
        state[S_ACCESS] = access + 1
        core.times[access] = t
        if access >= state[S_REPLAY]:
            outcomes[access] = _fetch(pc, t, core)
        outcome = outcomes[access]
        complete, missed = complete + (outcome >> _WHY_BITS), outcome & _WHY
    data_at = complete
    if kind in (STORE, PREFETCH):  # both leave the window without waiting for data
        complete = t + latency
    elif missed != _HAZARD:
        why = missed
    _write(pc, t, complete, missed, core)
    _retire(pc, complete, data_at, why, core)
    return t


@njit_inline
def _write(pc, t, complete, missed, core):
    """Say when the results of row ``pc``, issued at ``t``, are there, and what they wait for."""
    code, registers = core.code, core.registers
    for column in (K_DST0, K_DST1):
        target = code[pc, column]
        registers[0, target] = complete
        registers[1, target] = t + code[pc, K_ACCUMULATE] if code[pc, K_IS_FMA] else complete
        registers[2, target] = missed
    if code[pc, K_BASE] < 64:
        base = code[pc, K_BASE]
        registers[0, base] = registers[1, base] = t + code[pc, K_BASE_LATENCY]
        registers[2, base] = _HAZARD


@njit_inline
def _retire(pc, complete, data_at, why, core):
    """Retire row ``pc`` in order, after ``complete``; its data move until ``data_at``."""
    code = core.code
    state, uops, kind = core.state, code[pc, K_UOPS], code[pc, K_MEMORY]
    if complete > state[S_RETIRED]:
        state[S_RETIRED] = complete
        state[S_WHY] = why
    for _ in range(uops):
        slot = state[S_SLOTS] & (RING - 1)
        core.window[slot] = state[S_RETIRED] + 1
        core.window_why[slot] = state[S_WHY]
        state[S_SLOTS] += 1
    if kind in (LOAD, PREFETCH):
        core.loads[state[S_LOADS] & (RING - 1)] = data_at
        state[S_LOADS] += 1
    elif kind == STORE:
        state[S_DRAINED] = max(state[S_DRAINED], state[S_RETIRED], data_at)
        core.stores[state[S_STORES] & (RING - 1)] = state[S_DRAINED]
        state[S_STORES] += 1
    state[S_MACS] += code[pc, K_MACS]
    state[S_INSTRUCTIONS] += 1
    state[S_UOPS] += uops


@njit_inline
def _follow(edge, segment, base, core):
    """Make the accesses of ``edge``, branching off where outcomes differ.

    Return (edge, row, accesses made): the row is -1, or the one whose outcome no edge has.
    """
    code, segments = core.code, core.segments
    edges, offsets = core.edges, core.offsets
    place = edges[edge, E_OFFSETS]
    access = 0
    for i in range(segments[segment, G_ACTIONS], segments[segment, G_ACTIONS_END]):
        pc = core.actions[i]
        if code[pc, K_MEMORY] != 0 and core.params[P_IDEAL] == 0:
            t = base + offsets[place + access, 0]
            outcome = _fetch(pc, t, core)
            core.outcomes[access] = outcome
            if outcome != offsets[place + access, 1]:
                number, label = branch_key(edge, access, outcome)
                other = find_edge(number, label, core)
                if other < 0:
                    return edge, pc, access + 1
                edge = other
                place = edges[edge, E_OFFSETS]
            access += 1
        if code[pc, K_UPDATE] != 0:
            _update(pc, core)
    return edge, -1, access


@njit_inline
def _enter_loop(pc, depth, core):
    """Enter the loop at row ``pc``, or skip it; return (next row, depth)."""
    code, streams, stream_at, loop_left = core.code, core.streams, core.stream_at, core.loop_left
    last_trips = core.last_trips
    trips = code[pc, K_COUNT]
    if trips < 0:
        stream = -1 - trips
        is_there = stream_at[stream] < len(streams)
        trips = streams[stream_at[stream]] if is_there else 0
        stream_at[stream] += 1
    if trips <= 0:
        return code[pc, K_MATCH] + 1, depth
    core.loop_start[depth] = pc
    loop_left[depth] = trips
    depth += 1
    is_known = trips <= core.params[P_TRIPS]
    if code[pc, K_COUNT] < 0:
        is_known = is_known and last_trips[pc] == trips
        last_trips[pc] = trips
    loop_left[_DEPTH + depth] = 0 if is_known else 1
    return pc + 1, depth


@njit_inline
def _end_turn(pc, depth, branch, refill, core):
    """Go back to the start of a loop, or leave it at row ``pc``; return (next row, depth, refill).

    ``branch`` is the cycle in which the last branch has issued.
    """
    loop_left = core.loop_left
    loop_left[depth - 1] -= 1
    if loop_left[depth - 1] > 0:
        return core.loop_start[depth - 1] + 1, depth, refill
    if loop_left[_DEPTH + depth] and branch > 0:
        refill = max(refill, branch + core.params[P_MISPREDICT])
    return pc + 1, depth - 1, refill


@njit_inline
def _take(edge, base, core):
    """Move the clock over ``edge``, whose accesses have been made; return the state behind it."""
    edges, memo = core.edges, core.memo
    if edges[edge, E_TIMES] == 0:
        core.touched[memo[M_TOUCHED]] = edge
        memo[M_TOUCHED] += 1
    edges[edge, E_TIMES] += 1
    core.state[S_CYCLE] = base + edges[edge, E_CYCLES]
    return edges[edge, E_NEXT]


@njit_apart
def _step(pc, end, made_until, core):
    """Step rows ``pc`` to ``end``; return the cycle in which the last branch issues, or -1.

    Rows before ``made_until`` have already stepped their pointers.
    """
    code = core.code
    branch = -1
    while pc < end:
        if code[pc, K_KIND] >= 0:
            t = _execute(pc, core)
            if code[pc, K_IS_BRANCH]:
                branch = t
        if code[pc, K_UPDATE] != 0 and pc >= made_until:
            _update(pc, core)
        pc += 1
    return branch


@njit_inline
def _note_losses(core):
    """Remember what has been lost so far."""
    lost = core.lost
    for reason in range(lost.shape[0]):
        for used in range(lost.shape[1]):
            core.lost_before[reason, used] = lost[reason, used]


@njit_apart
def _remember(known, number, label, base, branch, segment, core):
    """Keep the state behind a stepped segment, and an edge to it; return its number or -1.

    ``known`` is the state before, -1 if that is not kept; (``number``, ``label``) name the edge.
    """
    state, lost, memo = core.state, core.lost, core.memo
    following = keep_state(core)
    room = len(core.offsets) - memo[M_OFFSETS]
    if following == -2 or memo[M_EDGES] + 1 >= len(core.edges) or room < core.code.shape[0]:
        account_edges(core)
        forget(core)
        return -1
    if known >= 0 and following >= 0:
        for access in range(state[S_ACCESS]):
            core.times[access] -= base
        for reason in range(lost.shape[0]):
            for used in range(lost.shape[1]):
                gained = lost[reason, used] - core.lost_before[reason, used]
                core.edge_lost[memo[M_EDGES], reason, used] = gained
        cycles, accesses = state[S_CYCLE] - base, state[S_ACCESS]
        after = branch - base if branch >= 0 else -1
        add_edge(number, label, following, cycles, after, segment, accesses, core)
    return following


@njit_inline
def _catch_up(known, is_behind, refill, core):
    """Put the present state into the pipeline's arrays if it is not there, and the refill."""
    state = core.state
    if is_behind:
        restore_state(known, core)
    state[S_FLOOR] = max(state[S_FLOOR], refill)


@njit_entry
def run_code(table):
    """Run a kernel from ``state[S_CYCLE]`` on until all its instructions have retired.

    ``table`` : int64[:, 4], the places of a core's arrays (``core_table.py``).
    """
    core = core_of(table)
    known = -1  # number of the pipeline's state, if it is one that is kept
    is_behind = False  # the pipeline's arrays do not hold the state yet
    refill = 0  # cycle before which nothing is dispatched, not in ``state`` yet
    depth = 0
    branch = 0  # cycle in which the last branch has issued
    pc = 0
    while pc < core.code.shape[0]:
        kind = core.code[pc, K_KIND]
        if kind == _LOOP:
            pc, depth = _enter_loop(pc, depth, core)
            continue
        if kind == _END:
            pc, depth, refill = _end_turn(pc, depth, branch, refill, core)
            continue
        segment = core.code[pc, K_SEGMENT]
        base = core.state[S_CYCLE]
        label = segment << 20 | (refill - base if refill > base else 0)
        number, missed = known, -1
        core.state[S_ACCESS] = core.state[S_REPLAY] = 0
        edge = find_edge(known, label, core) if known >= 0 else -1
        if edge >= 0:
            edge, missed, replayed = _follow(edge, segment, base, core)
            if missed < 0:
                known = _take(edge, base, core)
                if core.edges[edge, E_BRANCH] >= 0:
                    branch = base + core.edges[edge, E_BRANCH]
                is_behind, refill = True, 0
                pc = core.segments[segment, G_END]
                continue
            core.state[S_REPLAY] = replayed
            number, label = branch_key(edge, replayed - 1, core.outcomes[replayed - 1])
        _catch_up(known, is_behind, refill, core)
        is_behind, refill = False, 0
        if known >= 0:
            _note_losses(core)
        last = _step(pc, core.segments[segment, G_END], missed, core)
        pc = core.segments[segment, G_END]
        if last >= 0:
            branch = last
        if core.params[P_MEMO] != 0:
            known = _remember(known, number, label, base, last, segment, core)
    _catch_up(known, is_behind, refill, core)
    account_edges(core)
    end = max(core.state[S_RETIRED], core.state[S_CYCLE] + 1)
    _advance(end, _DRAIN, core.params[P_WIDTH], core)
