"""Step a network of input-queued routers, flit by flit: wormhole switching with credits.

State layout: one :class:`Network` of int64 arrays, columns named below. A queue is a ring of slots
that remember when they were freed: a sender looks at the slot its next flit would take, and that
is its credit. A packet's row belongs to the caller from :func:`network_pop` to the next
:func:`network_submit`; between them it is the network's.

One cycle t: every source moves a flit into its router if it may; then every router matches inputs
and outputs and moves the flits that are matched. What moves in cycle t can be seen nowhere before
t + 1 (credits return after at least one cycle, a link takes at least one), so that the order in
which routers are looked at does not matter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.components.arbiter import priority_of
from hwsim.components.jit import njit_entry, njit_inline, njit_outline

NEVER = np.iinfo(np.int64).max

# Network.fixed entries; the last four change: flits in routers, packets on the way, packets
# delivered and those popped.
ROUTER_CYCLES, LINK_CYCLES, CREDIT_CYCLES, POLICY, ITERATIONS, NOW = range(6)
HELD, OPEN, DELIVERED_COUNT, POPPED_COUNT = range(6, 10)
FIXED = 10
# Network.ends columns: the router behind an output (NODE: a node, NOTHING: no link), and its input
# port or the node.
END_ROUTER, END_PORT = range(2)
NODE, NOTHING = -1, -2
# Network.slots columns.
PACKET, FLIT, READY, FREED = range(4)
# Network.outputs columns. OWNER: queue whose packet holds the output; LAST: input granted last;
# the scratch columns hold the cycle in which somebody wanted it, in which it was used, and the
# present iteration's best queue and its key.
OWNER, LAST, BUSY, STALL, WANTED, USED, BEST, BEST_KEY = range(8)
OUTPUT_COLUMNS = 8
# Network.inputs columns: output accepted last; scratch as above.
LAST_ACCEPTED, INPUT_USED, ACCEPT, ACCEPT_KEY = range(4)
INPUT_COLUMNS = 4
# Network.packets columns; NEXT is the source's next packet, ENTERED the cycle of the first flit's
# injection.
TIME, SOURCE, DESTINATION, FLITS, SENT, ENTERED, DELIVERED, NEXT = range(8)
PACKET_COLUMNS = 8
# Network.sources columns: list of packets not yet injected; where they enter; cycles.
FIRST_PACKET, LAST_PACKET, ENTRY_ROUTER, ENTRY_PORT, SOURCE_BUSY, SOURCE_STALL, SOURCE_WANTED = (
    range(7)
)
SOURCE_COLUMNS = 7


class Network(NamedTuple):
    """All state of a network, int64 throughout. A queue's row: (router * ports + port) * Q + q."""

    fixed: np.ndarray  # [FIXED]
    route: np.ndarray  # [router, node] output port
    ends: np.ndarray  # [router, port, 2]
    heads: np.ndarray  # [router * port * Q, 2] position of the oldest flit, number of flits
    slots: np.ndarray  # [router * port * Q, depth, 4]
    outputs: np.ndarray  # [router, port, OUTPUT_COLUMNS]
    inputs: np.ndarray  # [router, port, INPUT_COLUMNS]
    routers: np.ndarray  # [router] flits held
    sources: np.ndarray  # [node, SOURCE_COLUMNS]
    packets: np.ndarray  # [capacity, PACKET_COLUMNS]
    delivered: np.ndarray  # [capacity] ring of rows in order of delivery


@njit_inline
def network_submit(net, row, source, destination, flits, t):
    """Hand a packet over to ``source`` at cycle t, in the caller's free ``row`` of packets.

    A source's packets come in order of time.
    """
    packets, sources = net.packets, net.sources
    packets[row, TIME] = t
    packets[row, SOURCE] = source
    packets[row, DESTINATION] = destination
    packets[row, FLITS] = flits
    packets[row, SENT] = 0
    packets[row, ENTERED] = -1
    packets[row, DELIVERED] = -1
    packets[row, NEXT] = -1
    if sources[source, FIRST_PACKET] < 0:
        sources[source, FIRST_PACKET] = row
    else:
        packets[sources[source, LAST_PACKET], NEXT] = row
    sources[source, LAST_PACKET] = row
    net.fixed[OPEN] += 1


@njit_inline
def network_pop(net, until):
    """Return the row of the next packet delivered at or before ``until``, -1 if there is none.

    Valid up to the cycle to which the network was advanced.
    """
    fixed = net.fixed
    if fixed[POPPED_COUNT] == fixed[DELIVERED_COUNT]:
        return np.int64(-1)
    row = net.delivered[fixed[POPPED_COUNT] % net.delivered.shape[0]]
    if net.packets[row, DELIVERED] > until:
        return np.int64(-1)
    fixed[POPPED_COUNT] += 1
    return row


@njit_inline
def queue_of(net, router, port, destination):
    """Return the queue at an input port for packets to ``destination``."""
    ports = net.ends.shape[1]
    virtual = net.heads.shape[0] // (net.ends.shape[0] * ports)
    queue = (router * ports + port) * virtual
    return queue + net.route[router, destination] if virtual > 1 else queue


@njit_inline
def free_time(net, queue):
    """Return when the slot for the queue's next flit is free, NEVER while it is taken."""
    depth = net.slots.shape[1]
    return net.slots[queue, (net.heads[queue, 0] + net.heads[queue, 1]) % depth, FREED]


@njit_inline
def push_flit(net, queue, router, packet, flit, ready):
    """Append a flit; there must be a credit for it."""
    slot = (net.heads[queue, 0] + net.heads[queue, 1]) % net.slots.shape[1]
    net.heads[queue, 1] += 1
    net.slots[queue, slot, PACKET] = packet
    net.slots[queue, slot, FLIT] = flit
    net.slots[queue, slot, READY] = ready
    net.slots[queue, slot, FREED] = NEVER
    net.routers[router] += 1
    net.fixed[HELD] += 1


@njit_inline
def inject(net, t):
    """Let every source move a flit into its router; return (whether one did, next event)."""
    packets, sources = net.packets, net.sources
    moved, event = False, NEVER
    for source in range(sources.shape[0]):
        packet = sources[source, FIRST_PACKET]
        if packet < 0:
            continue
        if packets[packet, TIME] > t:
            event = min(event, packets[packet, TIME])
            continue
        router, port = sources[source, ENTRY_ROUTER], sources[source, ENTRY_PORT]
        queue = queue_of(net, router, port, packets[packet, DESTINATION])
        free = free_time(net, queue)
        if free > t:
            sources[source, SOURCE_WANTED] = t
            event = min(event, free)
            continue
        flit = packets[packet, SENT]
        if flit == 0:
            packets[packet, ENTERED] = t
        push_flit(net, queue, router, packet, flit, t + net.fixed[ROUTER_CYCLES])
        packets[packet, SENT] = flit + 1
        if flit + 1 == packets[packet, FLITS]:
            sources[source, FIRST_PACKET] = packets[packet, NEXT]
        sources[source, SOURCE_BUSY] += 1
        moved = True
    return moved, event


@njit_inline
def credit_time(net, router, port, destination):
    """Return from when on the far end of an output has room; a node always has."""
    end = net.ends[router, port, END_ROUTER]
    if end < 0:
        return np.int64(0)
    return free_time(net, queue_of(net, end, net.ends[router, port, END_PORT], destination))


@njit_inline
def request_outputs(net, router, t):
    """Let each output note the best queue that may use it now; return the next event."""
    fixed, outputs, inputs = net.fixed, net.outputs, net.inputs
    ports, depth = net.ends.shape[1], net.slots.shape[1]
    virtual = net.heads.shape[0] // (net.ends.shape[0] * ports)
    event = NEVER
    for port in range(ports):
        outputs[router, port, BEST] = -1
    for port in range(ports):
        if inputs[router, port, INPUT_USED] == t:
            continue
        first = (router * ports + port) * virtual
        for queue in range(first, first + virtual):
            if net.heads[queue, 1] == 0:
                continue
            slot = net.heads[queue, 0] % depth
            if net.slots[queue, slot, READY] > t:
                event = min(event, net.slots[queue, slot, READY])
                continue
            packet = net.slots[queue, slot, PACKET]
            out = net.route[router, net.packets[packet, DESTINATION]]
            outputs[router, out, WANTED] = t
            owner = outputs[router, out, OWNER]
            is_open = owner == queue or (owner < 0 and net.slots[queue, slot, FLIT] == 0)
            if not is_open or outputs[router, out, USED] == t:
                continue
            credit = credit_time(net, router, out, net.packets[packet, DESTINATION])
            if credit > t:
                event = min(event, credit)
                continue
            time, last = net.packets[packet, TIME], outputs[router, out, LAST]
            key = priority_of(fixed[POLICY], port, ports, last, time)
            if outputs[router, out, BEST] < 0 or key < outputs[router, out, BEST_KEY]:
                outputs[router, out, BEST] = queue
                outputs[router, out, BEST_KEY] = key
    return event


@njit_inline
def accept_grants(net, router):
    """Let each input keep one of the outputs that chose it."""
    outputs, inputs = net.outputs, net.inputs
    ports = net.ends.shape[1]
    virtual = net.heads.shape[0] // (net.ends.shape[0] * ports)
    for port in range(ports):
        inputs[router, port, ACCEPT] = -1
    for out in range(ports):
        queue = outputs[router, out, BEST]
        if queue < 0:
            continue
        port = queue // virtual - router * ports
        best, last = outputs[router, out, BEST_KEY], inputs[router, port, LAST_ACCEPTED]
        key = priority_of(net.fixed[POLICY], out, ports, last, best)
        if inputs[router, port, ACCEPT] < 0 or key < inputs[router, port, ACCEPT_KEY]:
            inputs[router, port, ACCEPT] = out
            inputs[router, port, ACCEPT_KEY] = key


@njit_inline
def move_flit(net, router, out, queue, t):
    """Send the oldest flit of ``queue`` through an output."""
    fixed, slots, packets = net.fixed, net.slots, net.packets
    slot = net.heads[queue, 0] % slots.shape[1]
    packet, flit = slots[queue, slot, PACKET], slots[queue, slot, FLIT]
    slots[queue, slot, FREED] = t + fixed[CREDIT_CYCLES]
    net.heads[queue, 0] = slot + 1
    net.heads[queue, 1] -= 1
    net.routers[router] -= 1
    fixed[HELD] -= 1
    is_tail = flit + 1 == packets[packet, FLITS]
    net.outputs[router, out, OWNER] = -1 if is_tail else queue
    net.outputs[router, out, BUSY] += 1
    net.outputs[router, out, USED] = t
    end, port = net.ends[router, out, END_ROUTER], net.ends[router, out, END_PORT]
    arrival = t + fixed[LINK_CYCLES]
    if end >= 0:
        following = queue_of(net, end, port, packets[packet, DESTINATION])
        push_flit(net, following, end, packet, flit, arrival + fixed[ROUTER_CYCLES])
    elif is_tail:
        packets[packet, DELIVERED] = arrival
        net.delivered[fixed[DELIVERED_COUNT] % net.delivered.shape[0]] = packet
        fixed[DELIVERED_COUNT] += 1
        fixed[OPEN] -= 1


@njit_outline
def route_flits(net, router, t):
    """Match inputs and outputs of a router, in rounds, and move; return (moved, next event).

    A pointer moves only for a grant that is accepted in the first round (McKeown's iSLIP), which
    keeps every queue from starving and makes the pointers spread.
    """
    outputs, inputs = net.outputs, net.inputs
    ports = net.ends.shape[1]
    moved, event = False, NEVER
    for iteration in range(net.fixed[ITERATIONS]):
        found = request_outputs(net, router, t)
        if iteration == 0:
            event = found
        accept_grants(net, router)
        has_match = False
        for port in range(ports):
            out = inputs[router, port, ACCEPT]
            if out < 0:
                continue
            move_flit(net, router, out, outputs[router, out, BEST], t)
            inputs[router, port, INPUT_USED] = t
            if iteration == 0:
                outputs[router, out, LAST] = port
                inputs[router, port, LAST_ACCEPTED] = out
            has_match = True
        if not has_match:
            break
        moved = True
    return moved, event


@njit_inline
def charge_stalls(net, t, length):
    """Charge ``length`` cycles of stall to what was wanted in cycle t and not used."""
    for router in range(net.ends.shape[0]):
        for port in range(net.ends.shape[1]):
            if net.outputs[router, port, WANTED] == t and net.outputs[router, port, USED] != t:
                net.outputs[router, port, STALL] += length
    for source in range(net.sources.shape[0]):
        if net.sources[source, SOURCE_WANTED] == t:
            net.sources[source, SOURCE_STALL] += length


@njit_outline
def network_advance(net, until):
    """Step cycles NOW .. until - 1, leaving out those in which nothing can happen.

    Returns the first cycle not stepped: ``until``, or earlier if everything has been delivered
    (nothing is left to do), or NEVER if packets are left that can never move (deadlock).
    """
    fixed = net.fixed
    while fixed[NOW] < until and fixed[OPEN] > 0:
        t = fixed[NOW]
        moved, event = inject(net, t)
        if fixed[HELD] > 0:
            for router in range(net.ends.shape[0]):
                if net.routers[router] > 0:
                    has_moved, found = route_flits(net, router, t)
                    moved = moved or has_moved
                    event = min(event, found)
        if moved:
            event = t + 1
        elif event == NEVER:
            return NEVER
        after = min(event, until)
        charge_stalls(net, t, after - t)
        fixed[NOW] = after
    return fixed[NOW]


@njit_entry
def submit_packets(net, sources, destinations, flits, times):
    """Submit packets 0, 1, ... in the rows of their number."""
    for row in range(sources.shape[0]):
        network_submit(net, row, sources[row], destinations[row], flits[row], times[row])


@njit_entry
def advance_network(net, until):
    """Call :func:`network_advance` from Python."""
    return network_advance(net, until)


@njit_entry
def pop_delivered(net, until):
    """Call :func:`network_pop` from Python."""
    return network_pop(net, until)
