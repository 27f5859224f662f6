"""The contract of a network once more: every router looked at in every cycle."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from hwsim.components.noc import (
    NetworkSpec,
    packet_flits,
)
from tests.components.noc.traffic import Packet


class PlainNetwork:
    """Messages for flits and credits in a calendar."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec, self.plan = spec, spec.topology()
        routers, ports = self.plan.ends.shape[:2]
        inputs = [(r, p) for r in range(routers) for p in range(ports)]
        self.queue: dict[tuple[int, int], deque[Any]] = {key: deque() for key in inputs}
        self.credits = dict.fromkeys(inputs, spec.queue_flits)
        self.owner: dict[tuple[int, int], tuple[int, int] | None] = dict.fromkeys(inputs)
        self.last = dict.fromkeys(inputs, -1)
        self.mail: dict[int, list[tuple[str, Any]]] = {}
        self.busy = np.zeros((routers, ports), np.int64)

    def post(self, t: int, kind: str, value: Any) -> None:
        self.mail.setdefault(t, []).append((kind, value))

    def far_end(self, router: int, out: int) -> tuple[int, int] | None:
        end, port = self.plan.ends[router, out].tolist()
        return (end, port) if end >= 0 else None

    def choose(self, packets: list[Packet], router: int, out: int) -> tuple[int, int] | None:
        """Return the input that output ``out`` of ``router`` serves now."""
        far = self.far_end(router, out)
        if far is not None and self.credits[far] == 0:
            return None
        asking = []
        for port in range(self.plan.ends.shape[1]):
            if not self.queue[router, port] or self.queue[router, port][0][2] > self.now:
                continue
            packet, flit, _ = self.queue[router, port][0]
            owner = self.owner[router, out]
            may = owner == (router, port) or (owner is None and flit == 0)
            if self.plan.route[router, packets[packet][2]] == out and may:
                asking.append(port)
        ports = self.plan.ends.shape[1]
        if self.spec.policy == "oldest":
            key = {p: (packets[self.queue[router, p][0][0]][0], p) for p in asking}
        else:
            key = {p: ((p - self.last[router, out] - 1) % ports, p) for p in asking}
        return (router, min(asking, key=key.__getitem__)) if asking else None

    def deliver(self, packets: list[Packet]) -> list[int]:
        flits = [packet_flits(self.spec, size) for *_, size in packets]
        waiting: list[deque[int]] = [deque() for _ in self.plan.entries]
        for index in sorted(range(len(packets)), key=lambda i: packets[i][0]):
            waiting[packets[index][1]].append(index)
        sent, arrived = [0] * len(packets), [-1] * len(packets)
        self.now = 0
        while min(arrived, default=0) < 0:
            for kind, value in self.mail.pop(self.now, []):
                if kind == "credit":
                    self.credits[value] += 1
                else:
                    key, packet, flit = value
                    self.queue[key].append((packet, flit, self.now + self.spec.router_cycles))
            for source, line in enumerate(waiting):
                entry = tuple(self.plan.entries[source].tolist())
                if line and packets[line[0]][0] <= self.now and self.credits[entry] > 0:
                    packet = line[0]
                    self.credits[entry] -= 1
                    ready = self.now + self.spec.router_cycles
                    self.queue[entry].append((packet, sent[packet], ready))
                    sent[packet] += 1
                    if sent[packet] == flits[packet]:
                        line.popleft()
            moves = [
                (key, out, router)
                for router in range(self.plan.ends.shape[0])
                for out in range(self.plan.ends.shape[1])
                if (key := self.choose(packets, router, out)) is not None
            ]
            for key, out, router in moves:
                packet, flit, _ = self.queue[key].popleft()
                self.last[router, out] = key[1]
                self.busy[router, out] += 1
                is_tail = flit + 1 == flits[packet]
                self.owner[router, out] = None if is_tail else key
                self.post(self.now + self.spec.credit_cycles, "credit", key)
                arrival = self.now + self.spec.link_cycles
                far = self.far_end(router, out)
                if far is not None:
                    self.credits[far] -= 1
                    self.post(arrival, "flit", (far, packet, flit))
                elif is_tail:
                    arrived[packet] = arrival
            self.now += 1
        return arrived
