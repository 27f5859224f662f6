"""Serving in order of arrival: legal commands, answers as by hand and as a second model gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram.address import locate
from hwsim.components.dram.arrival import ArrivalDram, serve_in_order
from hwsim.components.dram.arrival_state import LAST_DATA
from hwsim.components.dram.checker import check_trace
from hwsim.components.dram.controller import REQUEST, count_events, read_trace, serve
from hwsim.components.dram.devices import Device, device_names, load_device
from hwsim.components.dram.limits import refresh_limit
from hwsim.components.dram.rules import COMMANDS, LEVELS, device_rules
from hwsim.components.dram.state import Controller
from hwsim.core.errors import InputError

DDR4, DDR5 = load_device("ddr4-2400", 1), load_device("ddr5-4400", 1)
T = DDR4.timings
EAGER = Controller(drain_high=1, drain_low=0)
"""Writes wait for nothing: everything is served in order of arrival."""
ROW, GROUP, BANK = 8192 * 16, 64, 64 * 4 * 128
"""Bytes from one row, bank group and bank of DDR4 to the next."""


def requests_of(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Return requests of (arrival, address, bytes, is_write)."""
    requests = np.zeros(len(rows), REQUEST)
    for name, column in zip(
        ("arrival", "address", "size_bytes", "is_write"), zip(*rows, strict=True), strict=True
    ):
        requests[name] = column
    return requests


def random_requests(device: Device, seed: int, n: int) -> np.ndarray:
    """Return bunches of requests of all sizes whose arrivals go back now and then."""
    rng = np.random.default_rng(seed)
    requests = np.zeros(n, REQUEST)
    spread = rng.choice([1 << 12, 1 << 18, 1 << 26])
    requests["address"] = rng.integers(0, spread, n)
    requests["size_bytes"] = rng.choice([1, 8, device.burst_bytes, 300], n)
    requests["is_write"] = rng.random(n) < rng.choice([0, 0.3, 1])
    arrivals = np.cumsum(rng.integers(0, 2 * rng.choice([0, 3, 40, 600]) + 1, n))
    requests["arrival"] = np.maximum(arrivals - rng.integers(0, 200, n), 0)
    return requests


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_command_obeys_every_rule(data: st.DataObject) -> None:
    device = load_device(data.draw(st.sampled_from(device_names()), label="device"))
    if data.draw(st.booleans(), label="one channel"):
        device = device.with_channels(1)
    if device.family == "ddr4" and data.draw(st.booleans(), label="two ranks"):
        device = device.model_copy(update={"ranks": 2})
    refreshes = ["all_bank", "none"] + ["per_bank"] * device.has_per_bank_refresh
    controller = Controller(
        page=data.draw(st.sampled_from(["open", "closed"]), label="page"),
        refresh=data.draw(st.sampled_from(refreshes), label="refresh"),
        is_hashed=data.draw(st.booleans(), label="hashed"),
        drain_high=data.draw(st.sampled_from([1, 24]), label="high"),
        drain_low=0,
        read_entries=data.draw(st.sampled_from([1, 32]), label="entries"),
    )
    requests = random_requests(device, data.draw(st.integers(0, 2**32 - 1)), 150)
    arrival = serve_in_order(device, requests, controller, max_trace=60_000)
    trace = [row[:4] for row in read_trace(arrival).tolist()]
    assert check_trace(device, trace) == []
    counts = count_events(arrival)
    first = requests["address"] // device.burst_bytes
    last = (requests["address"] + requests["size_bytes"] - 1) // device.burst_bytes
    bursts = int((last - first + 1).sum())
    assert counts.bytes_read + counts.bytes_written == bursts * device.burst_bytes
    assert counts.hits + counts.misses + counts.conflicts == bursts
    assert counts.commands["ACT"] == counts.misses + counts.conflicts
    assert counts.commands["RD"] + counts.commands["RDA"] == sum(c[1] in (2, 4) for c in trace)


# ---- by hand


def test_answer_of_one_read_is_its_three_latencies() -> None:
    requests = requests_of([(10, 0, 64, 0)])
    serve_in_order(DDR4, requests)
    assert requests["done"].tolist() == [10 + T["RCD_RD"] + T["CL"] + T["BL"]]


def test_hit_miss_conflict() -> None:
    """The second finds its row open, the third another bank closed, the fourth a row to close."""
    requests = requests_of([(0, 0, 8, 0), (200, 256, 8, 0), (400, GROUP, 8, 0), (600, ROW, 8, 0)])
    counts = count_events(serve_in_order(DDR4, requests))
    data, row = T["CL"] + T["BL"], T["RCD_RD"]
    assert requests["done"].tolist() == [
        *(row + data, 200 + data, 400 + row + data),
        600 + T["RP"] + row + data,
    ]
    assert (counts.hits, counts.misses, counts.conflicts) == (1, 2, 1)
    assert counts.commands["PRE"] == 1


def test_rows_of_later_bursts_open_while_earlier_data_move() -> None:
    """Four banks at once: activates tRRD apart, not one row cycle after the other."""
    requests = requests_of([(0, i * GROUP, 64, 0) for i in range(4)])
    serve_in_order(DDR4, requests)
    first = T["RCD_RD"] + T["CL"] + T["BL"]
    assert requests["done"].tolist() == [first + i * T["RRD_S"] for i in range(4)]


def test_command_bus_free_clocks_serve_later_rows() -> None:
    """An activate passes before a column command that was placed earlier, never at its clock."""
    requests = requests_of([(0, 0, 64, 0), (T["RCD_RD"], GROUP, 64, 0)])
    trace = read_trace(serve_in_order(DDR4, requests, max_trace=9)).tolist()
    assert [(clock, COMMANDS[command]) for clock, command, *_ in trace] == [
        (0, "ACT"),
        (T["RCD_RD"], "RD"),
        (T["RCD_RD"] + 1, "ACT"),
        (2 * T["RCD_RD"] + 1, "RD"),
    ]
    early = requests_of([(0, 0, 64, 0), (T["RCD_RD"] - 1, GROUP, 64, 0)])
    trace = read_trace(serve_in_order(DDR4, early, max_trace=9)).tolist()
    assert (T["RCD_RD"] - 1, "ACT") in [(row[0], COMMANDS[row[1]]) for row in trace]


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        ((0, 0), (ROW, 0), "RC"),
        ((0, 0), (ROW, 1), "RC"),
        ((0, 1), (ROW, 0), "written"),
        ((0, 0), (256, 0), "CCD_L"),
        ((0, 1), (256, 1), "CCD_L_WR"),
        ((0, 0), (256, 1), "RTW"),
        ((0, 1), (256, 0), "WTR_L"),
        ((0, 0), (GROUP, 0), "RRD_S"),
        ((0, 0), (BANK, 0), "RRD_L"),
    ],
)
def test_second_burst_waits_for_one_rule_and_no_clock_more(
    first: tuple[int, int], second: tuple[int, int], rule: str
) -> None:
    """Both at once: the gap between their column commands is the rule that binds."""
    rows = [(0, first[0], 64, first[1]), (0, second[0], 64, second[1])]
    trace = read_trace(serve_in_order(DDR4, requests_of(rows), EAGER, max_trace=9)).tolist()
    columns = [row[0] for row in trace if COMMANDS[row[1]] in ("RD", "WR")]
    gaps = {
        "written": T["CWL"] + T["BL"] + T["WR"] + T["RP"] + T["RCD_RD"],
        "WTR_L": T["CWL"] + T["BL"] + T["WTR_L"],
    }
    assert columns[1] - columns[0] == gaps.get(rule, T.get(rule, 0))


def test_fifth_activate_waits_for_the_window_of_four() -> None:
    """The window ends at clock 34, at which the fourth read, 12 after the first, has the bus."""
    wide = load_device("ddr4-3200")
    requests = requests_of([(0, i % 4 * GROUP + i // 4 * BANK, 64, 0) for i in range(5)])
    trace = read_trace(serve_in_order(wide, requests, max_trace=20)).tolist()
    activates = [row[0] for row in trace if COMMANDS[row[1]] == "ACT"]
    t = wide.timings
    assert t["RCD_RD"] + 3 * t["CCD_S"] == t["FAW"]
    assert activates == [*(i * t["RRD_S"] for i in range(4)), t["FAW"] + 1]


@pytest.mark.parametrize("arrival", [-1, 0])
def test_burst_beyond_a_refresh_comes_after_it(arrival: int) -> None:
    """A read whose command is due one clock before the refresh passes, one at it waits."""
    due = T["REFI"]
    requests = requests_of([(due + arrival - T["RCD_RD"], 0, 64, 0)])
    arrival_memory = serve_in_order(DDR4, requests)
    in_time = due + arrival + T["CL"] + T["BL"]
    refreshed = due + T["RFC_AB"] + T["RCD_RD"] + T["CL"] + T["BL"]
    assert requests["done"].tolist() == [in_time if arrival < 0 else refreshed]
    assert count_events(arrival_memory).commands["REFab"] == int(arrival == 0)


def test_closed_page_precharges_each_access() -> None:
    requests = requests_of([(0, 0, 64, 0), (500, 0, 64, 0)])
    counts = count_events(serve_in_order(DDR4, requests, Controller(page="closed")))
    assert (counts.misses, counts.commands["RDA"], counts.commands["PRE"]) == (2, 2, 0)


def test_writes_wait_and_go_together() -> None:
    """Alternating reads and writes turn the bus once per drain instead of every time."""
    requests = requests_of([(i * 8, i // 2 * 64 + i % 2 * ROW // 4, 64, i % 2) for i in range(400)])
    together = count_events(serve_in_order(DDR4, requests.copy()))
    apart = count_events(serve_in_order(DDR4, requests.copy(), EAGER))
    assert apart.turnarounds == 399
    drains = 1 + (200 - 24) // 16  # the last by the last write
    assert together.turnarounds == 2 * drains - 1
    assert together.bytes_written == apart.bytes_written == 200 * 64


def test_waiting_writes_go_when_the_oldest_is_old() -> None:
    for clock, served in ((1000, 1), (999, 0)):
        memory = ArrivalDram(DDR4)
        assert memory.access(0, 64, 0, is_write=True) == 0
        memory.access(GROUP, 64, clock)
        assert count_events(memory.state).commands["WR"] == served


def test_full_queue_holds_up_what_comes() -> None:
    """With one read entry a burst's row opens only after the read command before it."""
    requests = requests_of([(0, 0, 64, 0), (0, GROUP, 64, 0)])
    serve_in_order(DDR4, requests, Controller(read_entries=1))
    again = T["RCD_RD"] + 1 + T["RCD_RD"] + T["CL"] + T["BL"]
    assert requests["done"].tolist() == [T["RCD_RD"] + T["CL"] + T["BL"], again]


def test_clocks_convert_by_exact_fractions() -> None:
    """At 1 GHz against 1.2: cycle 1 is seen at clock 2, 38 clocks later is 33.3 cycles: 34."""
    memory = ArrivalDram(DDR4, cycle_hz=1_000_000_000, path_cycles=5)
    assert T["RCD_RD"] + T["CL"] + T["BL"] == 38
    assert memory.access(0, 8, 1) == 34 + 5


def test_long_idle_time_counts_its_refreshes() -> None:
    """Skipped or replayed one by one (with a trace), the next access is the same."""
    for device in (DDR4, load_device("hbm2-1800", 1), load_device("lpddr4x-3733", 1)):
        for refresh in ["all_bank"] + ["per_bank"] * device.has_per_bank_refresh:
            end = 1000 * device.timings["REFI"] + device.timings["REFI"] // 2
            rows = [(0, 0, 64, 0), (end, 0, 64, 0), (end, 1 << 20, 64, 0)]
            both = [requests_of(rows), requests_of(rows)]
            states = [
                serve_in_order(device, r, Controller(refresh=refresh), max_trace=n)
                for r, n in zip(both, (0, 60_000), strict=True)
            ]
            assert both[0]["done"].tolist() == both[1]["done"].tolist()
            assert count_events(states[0]) == count_events(states[1])
            assert max(count_events(states[0]).commands.values()) >= 1000


def test_bad_access_is_refused_by_name() -> None:
    memory = ArrivalDram(DDR4)
    with pytest.raises(InputError, match=r"size_bytes: need at least 1, found 0"):
        memory.access(0, 0, 0)
    with pytest.raises(InputError, match="address"):
        memory.access(DDR4.capacity_bytes, 1, 0)


# ---- against a second model, and against the scheduler that reorders


@dataclass
class PlainArrival:
    """The same service from the rules alone: all commands kept, every clock tried in turn."""

    device: Device
    entries: int
    issued: list[tuple[int, str, int]] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    due: int = 0

    def __post_init__(self) -> None:
        self.due = self.device.timings["REFI"]
        self.rules = list(device_rules(self.device))

    def path(self, bank: int) -> tuple[int, ...]:
        group = bank // self.device.banks_per_group
        return (0, 0, 0, group, bank)

    def may(self, command: str, bank: int, t: int) -> bool:
        """Say whether all rules from and to every command placed so far hold at ``t``."""
        for rule in self.rules:
            level = LEVELS.index(rule.level)
            node = self.path(bank)[level]
            if rule.following == command:
                times = sorted(
                    c
                    for c, name, other in self.issued
                    if name == rule.preceding
                    and self.path(other)[level] == node
                    # Later commands on the command bus alone do not precede.
                    and (level > 0 or c <= t)
                )
                if len(times) >= rule.window and t - times[-rule.window] < rule.latency:
                    return False
            if rule.preceding == command and level == 0:
                for c, name, _ in self.issued:
                    if name == rule.following and t <= c < t + rule.latency:
                        return False
        return True

    def first(self, command: str, bank: int, t: int) -> int:
        while not self.may(command, bank, t):
            t += 1
        return t

    def place(self, command: str, bank: int, t: int) -> int:
        t = self.first(command, bank, t)
        self.issued.append((t, command, bank))
        return t

    def refresh(self) -> None:
        if self.rows:
            self.place("PREA", 0, self.due)
            self.rows.clear()
        self.place("REFab", 0, self.due)
        self.due += self.device.timings["REFI"]

    def access(self, address: int, is_write: int, clock: int) -> int:
        """Place one burst; a copy of the state undoes what a refresh comes before."""
        where = locate(self.device, self.device.mapping, address)
        bank = where["Bg"] * self.device.banks_per_group + where["Ba"]
        while self.due <= clock:
            self.refresh()
        if len(self.left) >= self.entries:
            clock = max(clock, self.left[-self.entries] + 1)
        while True:
            kept = list(self.issued)
            t = clock
            if self.rows.get(bank, where["Ro"]) != where["Ro"]:
                t = self.place("PRE", bank, t)
            if self.rows.get(bank) != where["Ro"]:
                t = self.place("ACT", bank, t)
            t = self.place("WR" if is_write else "RD", bank, t)
            if t < self.due:
                break
            self.issued = kept
            self.refresh()
        self.rows[bank] = where["Ro"]
        self.left.append(t)
        timings = self.device.timings
        return t + timings["CWL" if is_write else "CL"] + timings["BL"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([DDR4, DDR5]), st.sampled_from([3, 32]))
def test_reads_equal_a_second_model(seed: int, device: Device, entries: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    begin = int(rng.choice([0, device.timings["REFI"] - 150]))
    arrivals = begin + np.cumsum(rng.integers(0, int(rng.choice([1, 8, 60])), n))
    addresses = rng.integers(0, int(rng.choice([1 << 12, 1 << 19])), n) // 64 * 64
    requests = requests_of(
        [(int(a), int(b), 64, 0) for a, b in zip(arrivals, addresses, strict=True)]
    )
    serve_in_order(device, requests, Controller(read_entries=entries))
    plain = PlainArrival(device, entries)
    expected = [plain.access(int(r["address"]), 0, int(r["arrival"])) for r in requests]
    assert requests["done"].tolist() == expected


def test_a_timing_that_is_off_by_one_is_found() -> None:
    other = DDR4.model_copy(update={"timings": {**T, "RRD_S": T["RRD_S"] + 1}})
    requests = requests_of([(0, i * GROUP, 64, 0) for i in range(4)])
    serve_in_order(DDR4, requests)
    plain = PlainArrival(other, 32)
    assert requests["done"].tolist() != [plain.access(i * GROUP, 0, 0) for i in range(4)]


@pytest.mark.parametrize("name", device_names())
def test_stream_is_within_the_closed_form_and_random_below_the_reordering_scheduler(
    name: str,
) -> None:
    device = load_device(name)
    n = 2500 * device.controllers
    stream = np.zeros(n, REQUEST)
    stream["size_bytes"] = device.burst_bytes
    stream["address"] = np.arange(n) * device.burst_bytes
    end = int(serve_in_order(device, stream).words[LAST_DATA])
    peak = n * device.timings["BL"] / device.controllers
    refreshes = end // device.timings["REFI"]
    assert 0.95 <= peak / (end - refreshes * device.timings["RFC_AB"]) <= 1
    assert refresh_limit(device) < 1
    scattered = stream[: n // 5].copy()
    bursts = device.capacity_bytes // device.burst_bytes
    scattered["address"] = np.random.default_rng(0).integers(0, bursts, n // 5) * device.burst_bytes
    arrival_end = int(serve_in_order(device, scattered.copy()).words[LAST_DATA])
    serve(device, scattered, in_flight=64 * device.controllers)
    assert arrival_end > int(scattered["done"].max())
    oldest = scattered.copy()
    serve(device, oldest, Controller(scheduler="fcfs"), in_flight=64 * device.controllers)
    assert arrival_end < int(oldest["done"].max())
