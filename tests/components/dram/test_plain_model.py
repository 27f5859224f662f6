"""The scheduler against a second one, clock by clock and written from the rules alone.

The plain model shares the tables of rules and the address mapping with the simulator, and nothing
else: it keeps every command ever issued, looks at every clock, and knows no plans, no lists of
banks and no cached times. Both must finish every request in the same clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram.address import locate
from hwsim.components.dram.controller import REQUEST, serve
from hwsim.components.dram.devices import Device, load_device
from hwsim.components.dram.rules import LEVELS, Rule, device_rules
from hwsim.components.dram.state import Controller

READ, WRITE = 0, 1
NEVER = 1 << 62
Request = tuple[int, int, int, int]  # arrival, address, bytes, kind


@dataclass
class Burst:
    order: int
    request: int
    kind: int
    bank: int
    row: int


@dataclass
class Bus:
    """One data bus: its queues and what it is serving."""

    queues: tuple[list[Burst], list[Burst]] = field(default_factory=lambda: ([], []))
    serving: int = READ
    writes_since: int = 0
    """When the queue of writes was empty last or a drain ended that reads cannot end early."""
    writes_left: int = 0
    level: int = 0
    openers: dict[int, Burst] = field(default_factory=dict)
    """By bank: bursts that left their queue when a row was opened for them."""
    must_choose: bool = True


class PlainDram:
    """A DRAM memory that looks at everything at every clock."""

    def __init__(self, device: Device, controller: Controller) -> None:
        self.device, self.controller = device, controller
        self.rules: dict[str, list[Rule]] = {}
        for rule in device_rules(device):
            self.rules.setdefault(rule.following, []).append(rule)
        self.issued: dict[tuple[int, int, str], list[int]] = {}
        self.open: dict[int, int] = {}
        self.buses = [Bus() for _ in range(device.controllers)]
        per_bank = controller.refresh == "per_bank"
        self.interval = device.timings["REFI_PB" if per_bank else "REFI"]
        self.per_rank = device.bank_groups * device.banks_per_group
        ranks = device.controllers * device.ranks
        self.due = [
            self.interval * (rank % device.ranks + 1) // device.ranks for rank in range(ranks)
        ]
        if controller.refresh == "none":
            self.due = [NEVER] * ranks
        self.refresh_bank = [rank * self.per_rank for rank in range(ranks)]
        self.lines: tuple[list[list[int]], list[list[int]]] = ([], [])
        self.orders = 0
        self.left: dict[int, int] = {}
        self.done: dict[int, int] = {}
        self.inside: list[int] = []
        """Clocks in which requests that have not left are done, as far as known: a heap."""

    def nodes(self, bank: int) -> tuple[int, int, int, int, int]:
        d = self.device
        group = bank // d.banks_per_group
        rank = group // d.bank_groups
        pseudo = rank // d.ranks
        return pseudo // d.pseudo_channels, pseudo, rank, group, bank

    def may_issue(self, command: str, bank: int, t: int) -> bool:
        path = self.nodes(bank)
        for rule in self.rules.get(command, []):
            level = LEVELS.index(rule.level)
            nodes = [path[level]]
            if rule.is_sibling:
                first = path[level] // self.device.ranks * self.device.ranks
                nodes = [n for n in range(first, first + self.device.ranks) if n != path[level]]
            for node in nodes:
                times = self.issued.get((level, node, rule.preceding), ())
                if len(times) >= rule.window and t < times[-rule.window] + rule.latency:
                    return False
        return True

    def note(self, command: str, bank: int, t: int) -> None:
        for level, node in enumerate(self.nodes(bank)):
            self.issued.setdefault((level, node, command), []).append(t)

    def run(self, requests: list[Request], in_flight: int) -> list[int]:
        """Return the clock in which each request is done."""
        t, submitted, finished = 0, 0, 0
        while len(self.done) < len(requests):
            while self.inside and self.inside[0] <= t:
                heappop(self.inside)
                finished += 1
            while submitted < len(requests) and requests[submitted][0] <= t:
                if submitted - finished >= in_flight:
                    break
                _, address, size, kind = requests[submitted]
                unit = self.device.burst_bytes
                bursts = range(address // unit, (address + size - 1) // unit + 1)
                self.lines[kind].append([submitted, *bursts])
                self.left[submitted] = len(bursts)
                submitted += 1
            self.feed(READ, t)
            self.feed(WRITE, t)
            for g, bus in enumerate(self.buses):
                while self.issue_one(g, bus, t):
                    pass
            t += 1
        return [self.done[index] for index in range(len(requests))]

    def feed(self, kind: int, t: int) -> None:
        """Move bursts from the line of requests into queues, in order, until one is full."""
        line = self.lines[kind]
        most = (self.controller.read_entries, self.controller.write_entries)[kind]
        while line:
            request, burst = line[0][:2]
            word = self.controller.mapping or self.device.mapping
            address = burst * self.device.burst_bytes
            at = locate(self.device, word, address, is_hashed=self.controller.is_hashed)
            bus = self.buses[at["Ch"]]
            if len(bus.queues[kind]) == most:
                return
            rank = at["Ch"] * self.device.ranks + at["Ra"]
            group = rank * self.device.bank_groups + at["Bg"]
            bank = group * self.device.banks_per_group + at["Ba"]
            bus.queues[kind].append(Burst(self.orders, request, kind, bank, at["Ro"]))
            self.orders += 1
            if kind == WRITE and len(bus.queues[WRITE]) == 1:
                bus.writes_since = t
            bus.must_choose |= kind != bus.serving
            del line[0][1]
            if len(line[0]) == 1:
                del line[0]

    def choose_kind(self, bus: Bus, t: int) -> None:
        """Go over from reads to writes or back."""
        reads, writes = (len(queue) for queue in bus.queues)
        c = self.controller
        is_old = writes > 0 and t - bus.writes_since >= c.write_age_clocks
        if not bus.must_choose and not (bus.serving == READ and is_old):
            return
        bus.must_choose = False
        is_drained = writes <= bus.level if c.drain_end == "level" else bus.writes_left <= 0
        if bus.serving == WRITE and (writes == 0 or (is_drained and reads > 0)):
            bus.serving = READ
            bus.writes_since = min(bus.writes_since, t)
        elif bus.serving == READ and writes and (writes >= c.drain_high or not reads or is_old):
            bus.serving, bus.level = WRITE, 0 if is_old else c.drain_low
            bus.writes_left = writes - bus.level
            if is_old or writes >= c.drain_high:
                bus.writes_since = NEVER

    def candidates(self, g: int, bus: Bus, t: int) -> list[tuple[int, int, str, int, Burst | None]]:
        """Return (class, age, command, bank, burst) of everything that is wanted."""
        found: list[tuple[int, int, str, int, Burst | None]] = []
        for bank, burst in bus.openers.items():
            command = ("RD", "WR")[burst.kind] + "A" * self.is_last_hit(bus, burst)
            found.append((-1, burst.order, command, bank, burst))
        blocked: set[int] = set()
        for rank in range(g * self.device.ranks, (g + 1) * self.device.ranks):
            if self.due[rank] > t:
                continue
            banks = range(rank * self.per_rank, (rank + 1) * self.per_rank)
            if self.controller.refresh == "per_bank":
                target = self.refresh_bank[rank]
                blocked.add(target)
                if target not in bus.openers:
                    found.append((0, rank, "PRE" if target in self.open else "REFpb", target, None))
            else:
                blocked |= set(banks)
                is_open = any(bank in self.open for bank in banks)
                if not set(banks) & set(bus.openers):
                    found.append((0, rank, "PREA" if is_open else "REFab", banks[0], None))
        queue = bus.queues[bus.serving]
        for bank in {burst.bank for burst in queue} - blocked:
            mine = [burst for burst in queue if burst.bank == bank]
            hits = [burst for burst in mine if self.open.get(bank) == burst.row]
            if self.controller.scheduler == "fcfs":
                mine = [burst for burst in mine if burst is queue[0]]
                hits = [burst for burst in hits if burst is queue[0]]
            if hits:
                command = ("RD", "WR")[bus.serving] + "A" * self.is_last_hit(bus, hits[0])
                found.append((1, hits[0].order, command, bank, hits[0]))
            elif mine and bank not in bus.openers:
                found.append(
                    (2, mine[0].order, "PRE" if bank in self.open else "ACT", bank, mine[0])
                )
        return found

    def is_last_hit(self, bus: Bus, hit: Burst) -> bool:
        waiting = [b for queue in bus.queues for b in queue] + list(bus.openers.values())
        others = [b for b in waiting if b is not hit and b.bank == hit.bank]
        return self.controller.page == "closed" and all(b.row != hit.row for b in others)

    def issue_one(self, g: int, bus: Bus, t: int) -> bool:
        """Issue the first wanted command that is allowed at ``t``; return whether there was one."""
        self.choose_kind(bus, t)
        wanted = sorted(self.candidates(g, bus, t), key=lambda entry: entry[:2])
        allowed = [entry for entry in wanted if self.may_issue(entry[2], entry[3], t)]
        if not allowed:
            return False
        _, _, command, bank, burst = allowed[0]
        self.note(command, bank, t)
        bus.must_choose = True
        if command == "ACT":
            assert burst is not None and bank not in self.open
            self.open[bank] = burst.row
            if self.controller.is_activated_first:
                bus.queues[burst.kind].remove(burst)
                bus.writes_left -= burst.kind
                bus.openers[bank] = burst
        elif command in ("PRE", "RDA", "WRA"):
            del self.open[bank]
        elif command == "PREA":
            for other in range(bank, bank + self.per_rank):
                self.open.pop(other, None)
        elif command.startswith("REF"):
            rank = bank // self.per_rank
            self.due[rank] += self.interval
            first = rank * self.per_rank
            self.refresh_bank[rank] = first + (bank - first + 1) % self.per_rank
        if command[:2] in ("RD", "WR") and burst is not None:
            self.transfer(bus, burst, t)
        return True

    def transfer(self, bus: Bus, burst: Burst, t: int) -> None:
        if bus.openers.get(burst.bank) is burst:
            del bus.openers[burst.bank]
        else:
            bus.queues[burst.kind].remove(burst)
            bus.writes_left -= burst.kind
        self.left[burst.request] -= 1
        if self.left[burst.request] == 0:
            timings = self.device.timings
            latency = timings["CWL" if burst.kind == WRITE else "CL"]
            self.done[burst.request] = t + latency + timings["BL"]
            heappush(self.inside, self.done[burst.request])


def compare(
    device: Device, controller: Controller, requests: list[Request], in_flight: int
) -> None:
    rows = np.zeros(len(requests), REQUEST)
    for name, column in zip(
        ("arrival", "address", "size_bytes", "is_write"), zip(*requests, strict=True), strict=True
    ):
        rows[name] = column
    serve(device, rows, controller, in_flight=in_flight)
    assert rows["done"].tolist() == PlainDram(device, controller).run(requests, in_flight)


DDR4, DDR4_TWO, HBM2, LPDDR4X = (
    load_device("ddr4-2400", 1),
    load_device("ddr4-2400", 2),
    load_device("hbm2-1800", 1),
    load_device("lpddr4x-3733", 1),
)


@st.composite
def traces(draw: st.DrawFn, device: Device) -> list[Request]:
    """Draw requests on few rows and banks, in bunches, after a stretch that may hold a refresh."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 70))
    spread = draw(st.sampled_from([device.burst_bytes * 64, 1 << 18, 1 << 26]))
    gap = draw(st.sampled_from([0, 3, 40]))
    begin = draw(st.sampled_from([0, device.timings["REFI"] - 150]))
    writes = draw(st.sampled_from([0.0, 0.3, 0.6, 1.0]))
    arrivals = begin + np.cumsum(rng.integers(0, gap + 1, count))
    sizes = rng.choice([1, device.burst_bytes, 4 * device.burst_bytes, 600], count)
    addresses = rng.integers(0, spread, count)
    kinds = (rng.random(count) < writes).astype(int)
    return list(zip(*(part.tolist() for part in (arrivals, addresses, sizes, kinds)), strict=True))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_both_finish_every_request_in_the_same_clock(data: st.DataObject) -> None:
    device = data.draw(st.sampled_from([DDR4, DDR4_TWO, HBM2, LPDDR4X]), label="device")
    refreshes = ["all_bank", "none"] + ["per_bank"] * device.has_per_bank_refresh
    entries = data.draw(st.sampled_from([4, 32]), label="entries")
    scheduler = data.draw(st.sampled_from(["frfcfs", "fcfs"]), label="scheduler")
    controller = Controller(
        scheduler=scheduler,
        drain_end=data.draw(st.sampled_from(["count", "level"]), label="drain end"),
        is_activated_first=scheduler == "frfcfs" and data.draw(st.booleans(), label="activated"),
        page=data.draw(st.sampled_from(["open", "closed"]), label="page"),
        refresh=data.draw(st.sampled_from(refreshes), label="refresh"),
        is_hashed=data.draw(st.booleans(), label="hashed"),
        read_entries=entries,
        write_entries=entries,
        drain_high=entries * 3 // 4,
        drain_low=entries // 4,
        write_age_clocks=data.draw(st.sampled_from([50, 1000]), label="age"),
    )
    requests = data.draw(traces(device), label="requests")
    compare(device, controller, requests, data.draw(st.sampled_from([2, 64]), label="in flight"))


@pytest.mark.parametrize("timing", ["RCD_RD", "CCD_L", "RRD_S", "FAW", "CL", "RP"])
def test_a_timing_that_is_off_by_one_is_found(timing: str) -> None:
    rng = np.random.default_rng(7)
    requests: list[Request] = [
        (0, int(address) * 64, 64, int(kind))
        for address, kind in zip(rng.integers(0, 1 << 16, 60), rng.random(60) < 0.3, strict=True)
    ]
    compare(DDR4, Controller(), requests, 64)
    timings = {**DDR4.timings, timing: DDR4.timings[timing] + 1}
    timings["RC"] += timing == "RP"
    other = DDR4.model_copy(update={"timings": timings})
    rows = np.zeros(len(requests), REQUEST)
    rows["address"], rows["is_write"] = [r[1] for r in requests], [r[3] for r in requests]
    rows["size_bytes"] = 64
    serve(DDR4, rows, in_flight=64)
    assert rows["done"].tolist() != PlainDram(other, Controller()).run(requests, 64)
