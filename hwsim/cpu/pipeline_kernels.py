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

from hwsim.components.jit import njit_entry, njit_inline, njit_outline
from hwsim.core.result import STALL_REASONS
from hwsim.cpu.cache_kernels import C_MISS, W_AHEAD, W_MISS, access_lines, stride_prefetch
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
def _place(code, pc, ready, state, calendar, hints):
    """Return the first cycle from ``ready`` on with free ports for row ``pc``, and book them."""
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
def _operands(code, pc, registers, floor):
    """Return (cycle in which the operands of row ``pc`` are ready, why not before)."""
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


@njit_outline
def _fetch(code, pc, t, pointers, strides, memory):
    """Access memory for row ``pc`` issued at ``t``; return its outcome.

    That is by how many cycles it is served later than a hit, and in the lowest bits why.
    """
    miss_queue, walk, counts = memory[7], memory[8], memory[9]
    kind = code[pc, K_MEMORY]
    address = pointers[code[pc, K_POINTER]] + code[pc, K_OFFSET]
    size = code[pc, K_SIZE]
    counts[0 if kind == LOAD else 1] += size if kind != PREFETCH else 0
    accepted, misses = miss_queue[walk[W_MISS]], counts[C_MISS]
    done, source = access_lines(address, size, t, 1 if kind == STORE else 0, memory)
    if kind == LOAD and walk[W_AHEAD] > 0:
        stride_prefetch(pc, address, t, strides, memory)
    if kind == PREFETCH:  # holds its place in the load queue until a miss can be taken
        late = accepted - t if counts[C_MISS] > misses and accepted > t else 0
        return late << _WHY_BITS | _HAZARD
    if done <= t:
        return _HAZARD
    return (done - t) << _WHY_BITS | (_DRAM if source else _CACHE)


@njit_inline
def _update(code, pc, pointers, streams, stream_first, stream_at):
    """Step the pointer, or rewind or mark the stream, that row ``pc`` names."""
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
def _room(cycle, used, uops, width, code, pc, params, state, rings):
    """Return (cycle, why): when an out-of-order core has room for row ``pc``."""
    window, window_why, loads, stores = rings
    t, why = cycle, _FRONTEND
    if state[S_FLOOR] > t:
        t = state[S_FLOOR]
    slot = (state[S_SLOTS] + uops - 1 - params[P_WINDOW]) & (RING - 1)
    if window[slot] > t:
        t, why = window[slot], window_why[slot]
    kind = code[pc, K_MEMORY]
    if kind in (LOAD, PREFETCH):
        entry = loads[(state[S_LOADS] - params[P_LOADS]) & (RING - 1)]
        if entry > t:
            t, why = entry, _QUEUE
    elif kind == STORE:
        entry = stores[(state[S_STORES] - params[P_STORES]) & (RING - 1)]
        if entry > t:
            t, why = entry, _QUEUE
    if t == cycle and used > 0 and used + uops > width:
        t += 1
    return t, why


@njit_inline
def _advance(state, t, why, width, lost):
    """Move the dispatch stage to cycle ``t``; what is unused until then is lost for ``why``."""
    cycle, used = state[S_CYCLE], state[S_USED]
    lost[why, used] += 1
    lost[why, 0] += t - cycle - 1
    state[S_CYCLE] = t
    state[S_USED] = 0


@njit_inline
def _execute(
    code, pc, params, state, registers, calendar, hints, rings, lost, pointers, strides, memory,
    times, outcomes,
):  # fmt: skip
    """Dispatch, issue and retire row ``pc``; return the cycle it issues in."""
    window, window_why, loads, stores = rings
    width, uops = params[P_WIDTH], code[pc, K_UOPS]
    is_in_order = params[P_IS_IN_ORDER] != 0
    if is_in_order:
        floor = max(state[S_CYCLE], state[S_FLOOR])
        if state[S_USED] + uops > width and floor == state[S_CYCLE] and state[S_USED] > 0:
            floor += 1
    else:
        t, why = _room(state[S_CYCLE], state[S_USED], uops, width, code, pc, params, state, rings)
        if t > state[S_CYCLE]:
            _advance(state, t, why, width, lost)
        floor = state[S_CYCLE] + 1
    ready, why = _operands(code, pc, registers, floor)
    if is_in_order:
        if ready == floor:
            why = _FRONTEND
        if code[pc, K_MEMORY] == STORE:
            entry = stores[(state[S_STORES] - params[P_STORES]) & (RING - 1)]
            if entry > ready:
                ready, why = entry, _QUEUE
    t = _place(code, pc, ready, state, calendar, hints)
    why = _RESOURCE if t > ready else why
    if is_in_order:
        if t > state[S_CYCLE]:
            _advance(state, t, why, width, lost)
    elif t - state[S_CYCLE] >= CALENDAR - 64:
        state[S_ERROR] = 1
    state[S_USED] += uops
    while state[S_USED] > width:  # wider than the machine: the rest follows cycle by cycle
        lost[_FRONTEND, width] += 1
        state[S_CYCLE] += 1
        state[S_USED] -= width
    latency = code[pc, K_LATENCY]
    complete, missed = t + latency, _HAZARD
    kind = code[pc, K_MEMORY]
    if kind != 0 and not params[P_IDEAL]:
        access = state[S_ACCESS]
        state[S_ACCESS] = access + 1
        times[access] = t
        if access >= state[S_REPLAY]:
            outcomes[access] = _fetch(code, pc, t, pointers, strides, memory)
        complete, missed = complete + (outcomes[access] >> _WHY_BITS), outcomes[access] & _WHY
    data_at = complete
    if kind in (STORE, PREFETCH):  # both leave the window without waiting for data
        complete = t + latency
    elif missed != _HAZARD:
        why = missed
    for column in (K_DST0, K_DST1):
        target = code[pc, column]
        registers[0, target] = complete
        registers[1, target] = t + code[pc, K_ACCUMULATE] if code[pc, K_IS_FMA] else complete
        registers[2, target] = missed
    if code[pc, K_BASE] < 64:
        base = code[pc, K_BASE]
        registers[0, base] = registers[1, base] = t + code[pc, K_BASE_LATENCY]
        registers[2, base] = _HAZARD
    if complete > state[S_RETIRED]:
        state[S_RETIRED] = complete
        state[S_WHY] = why
    for _ in range(uops):
        slot = state[S_SLOTS] & (RING - 1)
        window[slot] = state[S_RETIRED] + 1
        window_why[slot] = state[S_WHY]
        state[S_SLOTS] += 1
    if kind in (LOAD, PREFETCH):
        loads[state[S_LOADS] & (RING - 1)] = data_at
        state[S_LOADS] += 1
    elif kind == STORE:
        state[S_DRAINED] = max(state[S_DRAINED], state[S_RETIRED], data_at)
        stores[state[S_STORES] & (RING - 1)] = state[S_DRAINED]
        state[S_STORES] += 1
    state[S_MACS] += code[pc, K_MACS]
    state[S_INSTRUCTIONS] += 1
    state[S_UOPS] += uops
    return t


@njit_inline
def _follow(
    code, edge, segment, base, outcomes, tables, segments, actions, is_ideal, pointers, streams,
    stream_first, stream_at, strides, memory,
):  # fmt: skip
    """Make the accesses of ``edge``, branching off where outcomes differ.

    Return (edge, row, accesses made): the row is -1, or the one whose outcome no edge has.
    """
    edges, offsets = tables[3], tables[5]
    place = edges[edge, E_OFFSETS]
    access = 0
    for i in range(segments[segment, G_ACTIONS], segments[segment, G_ACTIONS_END]):
        pc = actions[i]
        if code[pc, K_MEMORY] != 0 and not is_ideal:
            t = base + offsets[place + access, 0]
            outcome = _fetch(code, pc, t, pointers, strides, memory)
            outcomes[access] = outcome
            if outcome != offsets[place + access, 1]:
                number, label = branch_key(edge, access, outcome)
                other = find_edge(number, label, tables)
                if other < 0:
                    return edge, pc, access + 1
                edge = other
                place = edges[edge, E_OFFSETS]
            access += 1
        if code[pc, K_UPDATE] != 0:
            _update(code, pc, pointers, streams, stream_first, stream_at)
    return edge, -1, access


@njit_entry
def run_code(
    code, params, state, registers, calendar, hints, window, window_why, loads, stores, lost,
    pointers, streams, stream_first, stream_at, strides, loop_start, loop_left, last_trips,
    segments, actions, words, first, state_slots, edges, edge_slots, offsets, edge_lost, touched,
    memo, lost_before, times, outcomes,
    geometry, tags, stamps, fill, flags, written, recent, miss_queue, walk, counts, pages,
    page_stamps, followed, dram,
):  # fmt: skip
    """Run a kernel from ``state[S_CYCLE]`` on until all its instructions have retired."""
    rings = (window, window_why, loads, stores)
    memory = (
        geometry, tags, stamps, fill, flags, written, recent, miss_queue, walk, counts, pages,
        page_stamps, followed, dram,
    )  # fmt: skip
    tables = (
        words, first, state_slots, edges, edge_slots, offsets, edge_lost, touched, memo
    )  # fmt: skip
    is_ideal = params[P_IDEAL] != 0
    known = -1  # number of the pipeline's state, if it is one that is kept
    is_behind = False  # the pipeline's arrays do not hold the state yet
    refill = 0  # cycle before which nothing is dispatched, not in ``state`` yet
    depth = 0
    branch = 0
    pc = 0
    rows = code.shape[0]
    while pc < rows:
        kind = code[pc, K_KIND]
        if kind == _LOOP:
            trips = code[pc, K_COUNT]
            if trips < 0:
                stream = -1 - trips
                trips = streams[stream_at[stream]] if stream_at[stream] < len(streams) else 0
                stream_at[stream] += 1
            if trips <= 0:
                pc = code[pc, K_MATCH] + 1
            else:
                loop_start[depth] = pc
                loop_left[depth] = trips
                depth += 1
                is_known = trips <= params[P_TRIPS]
                if code[pc, K_COUNT] < 0:
                    is_known = is_known and last_trips[pc] == trips
                    last_trips[pc] = trips
                loop_left[_DEPTH + depth] = 0 if is_known else 1
                pc += 1
            continue
        if kind == _END:
            loop_left[depth - 1] -= 1
            if loop_left[depth - 1] > 0:
                pc = loop_start[depth - 1] + 1
            else:
                if loop_left[_DEPTH + depth] and branch > 0:
                    refill = max(refill, branch + params[P_MISPREDICT])
                depth -= 1
                pc += 1
            continue
        segment = code[pc, K_SEGMENT]
        base = state[S_CYCLE]
        label = segment << 20 | (refill - base if refill > base else 0)
        number, missed = known, -1
        state[S_ACCESS] = state[S_REPLAY] = 0
        if known >= 0:
            edge = find_edge(known, label, tables)
            if edge >= 0:
                edge, missed, replayed = _follow(
                    code,
                    edge,
                    segment,
                    base,
                    outcomes,
                    tables,
                    segments,
                    actions,
                    is_ideal,
                    pointers,
                    streams,
                    stream_first,
                    stream_at,
                    strides,
                    memory,
                )
                if missed < 0:
                    if edges[edge, E_TIMES] == 0:
                        touched[memo[M_TOUCHED]] = edge
                        memo[M_TOUCHED] += 1
                    edges[edge, E_TIMES] += 1
                    state[S_CYCLE] = base + edges[edge, E_CYCLES]
                    known = edges[edge, E_NEXT]
                    if edges[edge, E_BRANCH] >= 0:
                        branch = base + edges[edge, E_BRANCH]
                    is_behind, refill = True, 0
                    pc = segments[segment, G_END]
                    continue
                state[S_REPLAY] = replayed
                number, label = branch_key(edge, replayed - 1, outcomes[replayed - 1])
        if is_behind:
            restore_state(known, params, state, registers, calendar, hints, rings, tables)
            is_behind = False
        state[S_FLOOR] = max(state[S_FLOOR], refill)
        refill = 0
        if known >= 0:
            for reason in range(lost.shape[0]):
                for used in range(lost.shape[1]):
                    lost_before[reason, used] = lost[reason, used]
        last_branch = -1
        while pc < segments[segment, G_END]:
            if code[pc, K_KIND] >= 0:
                t = _execute(
                    code,
                    pc,
                    params,
                    state,
                    registers,
                    calendar,
                    hints,
                    rings,
                    lost,
                    pointers,
                    strides,
                    memory,
                    times,
                    outcomes,
                )
                if code[pc, K_IS_BRANCH]:
                    branch, last_branch = t, t - base
            if code[pc, K_UPDATE] != 0 and pc >= missed:
                _update(code, pc, pointers, streams, stream_first, stream_at)
            pc += 1
        if params[P_MEMO] == 0:
            continue
        following = keep_state(params, state, registers, calendar, rings, tables)
        room = len(offsets) - memo[M_OFFSETS]
        if following == -2 or memo[M_EDGES] + 1 >= len(edges) or room < code.shape[0]:
            account_edges(segments, state, lost, tables)
            forget(tables)
            following = -1
        elif known >= 0 and following >= 0:
            for access in range(state[S_ACCESS]):
                times[access] -= base
            for reason in range(lost.shape[0]):
                for used in range(lost.shape[1]):
                    gained = lost[reason, used] - lost_before[reason, used]
                    edge_lost[memo[M_EDGES], reason, used] = gained
            add_edge(
                number,
                label,
                following,
                state[S_CYCLE] - base,
                last_branch,
                segment,
                state[S_ACCESS],
                times,
                outcomes,
                tables,
            )
        known = following
    if is_behind:
        restore_state(known, params, state, registers, calendar, hints, rings, tables)
    state[S_FLOOR] = max(state[S_FLOOR], refill)
    account_edges(segments, state, lost, tables)
    end = max(state[S_RETIRED], state[S_CYCLE] + 1)
    _advance(state, end, _DRAIN, params[P_WIDTH], lost)
