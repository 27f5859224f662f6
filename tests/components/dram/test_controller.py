"""The controller keeps every rule, serves every request once, and its schedule is as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram import (
    layout,
    memory_kernels,
    queue_kernels,
    scheduler_kernels,
    skip_kernels,
    timing_kernels,
    transfer_kernels,
)
from hwsim.components.dram.checker import check_trace
from hwsim.components.dram.controller import (
    CHECKED_AT_ONCE,
    REQUEST,
    AddressedRequest,
    DramMemory,
    check_requests,
    count_events,
    read_trace,
    serve,
)
from hwsim.components.dram.devices import Device, device_names, load_device
from hwsim.components.dram.rules import COMMANDS
from hwsim.components.dram.state import Controller, Stream
from hwsim.core.errors import InputError

DDR4 = load_device("ddr4-2400", 1)
T = DDR4.timings
ROW = 64 * 4 * 128 * 4  # bytes to the next row of the same bank of one channel


def build(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """Return requests of (arrival, address, bytes, is_write)."""
    requests = np.zeros(len(rows), REQUEST)
    for request, row in zip(requests, rows, strict=True):
        for name, value in zip(REQUEST.names[:4], row, strict=True):
            request[name] = value
    return requests


def violations(device: Device, dram: Any) -> list:
    return check_trace(device, [row[:4] for row in read_trace(dram).tolist()])


def commands(dram: Any) -> list[tuple[int, str]]:
    return [(row[0], COMMANDS[row[1]]) for row in read_trace(dram).tolist()]


def test_single_read_takes_activate_read_and_data() -> None:
    requests = build((5, 0, 64, 0))
    dram = serve(DDR4, requests, max_trace=9)
    assert commands(dram) == [(5, "ACT"), (5 + T["RCD_RD"], "RD")]
    assert requests["done"].tolist() == [5 + T["RCD_RD"] + T["CL"] + T["BL"]]


def test_single_write_is_done_when_its_data_have_moved() -> None:
    requests = build((0, 0, 64, 1))
    serve(DDR4, requests)
    assert requests["done"].tolist() == [T["RCD_WR"] + T["CWL"] + T["BL"]]


def test_hit_follows_after_the_column_gap_and_conflict_after_precharge() -> None:
    """Bytes 0 and 4 * 64 share bank and row; ROW is another row of the bank."""
    requests = build((0, 0, 64, 0), (0, 256, 64, 0), (0, ROW, 64, 0))
    dram = serve(DDR4, requests, max_trace=9)
    first = T["RCD_RD"]
    second = first + T["CCD_L"]
    precharge = max(T["RAS"], second + T["RTP"])
    last = precharge + T["RP"] + T["RCD_RD"]
    assert commands(dram) == [
        *((0, "ACT"), (first, "RD"), (second, "RD"), (precharge, "PRE")),
        *((precharge + T["RP"], "ACT"), (last, "RD")),
    ]
    counts = count_events(dram)
    assert (counts.hits, counts.misses, counts.conflicts) == (1, 1, 1)


def test_fr_fcfs_serves_hits_before_older_conflicts_and_fcfs_does_not() -> None:
    rows = [(0, 0, 64, 0), (0, ROW, 64, 0), (0, 256, 64, 0)]
    hit_first, in_order = build(*rows), build(*rows)
    serve(DDR4, hit_first, Controller(scheduler="frfcfs"))
    serve(DDR4, in_order, Controller(scheduler="fcfs"))
    assert hit_first["done"][2] < hit_first["done"][1]
    assert in_order["done"].tolist() == sorted(in_order["done"].tolist())
    assert in_order["done"].max() > hit_first["done"].max()


def test_fr_fcfs_beats_fcfs_on_mixed_traffic() -> None:
    rng = np.random.default_rng(3)
    requests = np.zeros(2000, REQUEST)
    requests["address"] = rng.integers(0, 64, 2000) * ROW // 4 + rng.integers(0, 8, 2000) * 256
    requests["size_bytes"] = 64
    last = {}
    for scheduler in ("frfcfs", "fcfs"):
        copy = requests.copy()
        dram = serve(DDR4, copy, Controller(scheduler=scheduler))
        last[scheduler] = (int(copy["done"].max()), count_events(dram).hits)
    assert last["frfcfs"][0] < last["fcfs"][0]
    assert last["frfcfs"][1] > last["fcfs"][1]


def test_closed_page_precharges_with_the_last_queued_access() -> None:
    requests = build((0, 0, 64, 0), (0, 256, 64, 0), (500, 0, 64, 1))
    dram = serve(DDR4, requests, Controller(page="closed"), max_trace=9)
    names = [name for _, name in commands(dram)]
    assert names == ["ACT", "RD", "RDA", "ACT", "WRA"]


def test_open_page_keeps_the_row_for_a_later_hit() -> None:
    requests = build((0, 0, 64, 0), (500, 256, 64, 0))
    dram = serve(DDR4, requests, max_trace=9)
    assert [name for _, name in commands(dram)] == ["ACT", "RD", "RD"]


def test_refresh_is_issued_when_due_and_holds_up_requests() -> None:
    """All banks are closed, so the refresh comes at once and the read waits for it."""
    requests = build((T["REFI"], 0, 64, 0))
    dram = serve(DDR4, requests, max_trace=9)
    activate = T["REFI"] + T["RFC_AB"]
    assert commands(dram)[:2] == [(T["REFI"], "REFab"), (activate, "ACT")]
    assert requests["done"].tolist() == [activate + T["RCD_RD"] + T["CL"] + T["BL"]]


def test_refresh_precharges_open_rows_first() -> None:
    requests = build((T["REFI"] - 100, 0, 64, 0), (T["REFI"] + 10, 256, 64, 0))
    dram = serve(DDR4, requests, max_trace=9)
    assert commands(dram)[2:4] == [(T["REFI"], "PREA"), (T["REFI"] + T["RP_AB"], "REFab")]


def test_request_before_the_refresh_is_due_is_not_held_up() -> None:
    requests = build((T["REFI"] - 100, 0, 64, 0))
    serve(DDR4, requests)
    assert requests["done"][0] == T["REFI"] - 100 + T["RCD_RD"] + T["CL"] + T["BL"]


def test_idle_refreshes_are_counted_though_not_stepped() -> None:
    """All but the latest are skipped; the schedule after them is that of stepping."""
    n = 1000
    requests = build((0, 0, 64, 0), (n * T["REFI"] + 7, 0, 64, 0))
    dram = serve(DDR4, requests, max_trace=99)
    counts = count_events(dram)
    assert counts.commands["REFab"] == n
    assert len(read_trace(dram)) < 20
    activate = n * T["REFI"] + T["RFC_AB"]
    assert requests["done"][1] == activate + T["RCD_RD"] + T["CL"] + T["BL"]


def test_writes_wait_for_the_watermark_while_reads_come() -> None:
    """Below the watermark reads go first; at it all but the low mark are drained together."""
    rows = [(0, 4096 * i, 64, 0) for i in range(30)] + [(0, 4096 * i, 64, 1) for i in range(10)]
    few = build(*rows)
    serve(DDR4, few, Controller(drain_high=24))
    assert few["done"][30:].min() > few["done"][:30].max()
    many = build(*rows)
    serve(DDR4, many, Controller(drain_high=8, drain_low=2))
    assert many["done"][30:].min() < many["done"][:30].max()


def test_old_writes_are_drained_below_the_watermark() -> None:
    rng = np.random.default_rng(0)
    requests = np.zeros(600, REQUEST)
    requests["address"] = rng.integers(0, 1 << 20, 600) * 64
    requests["size_bytes"] = 64
    requests["is_write"][20] = 1
    young, old = requests.copy(), requests.copy()
    serve(DDR4, young, Controller(write_age_clocks=1000))
    serve(DDR4, old, Controller(write_age_clocks=100_000))
    assert young["done"][20] < 1500
    assert old["done"][20] > np.delete(old["done"], 20)[:500].max()


def test_reads_that_end_a_drain_early_do_not_make_its_writes_young_again() -> None:
    """A write to a bank that is read every 24 clocks is never served in between.

    Precharge and activate take longer than that. Once it has waited 1000 clocks it is drained.
    """
    assert T["RP"] + T["RCD_WR"] > 24
    rows = [(24 * i, 0, 64, 0) for i in range(200)]
    requests = build(*rows[:5], (100, DDR4.capacity_bytes // 2, 64, 1), *rows[5:])
    endless = requests.copy()
    serve(DDR4, requests, Controller(refresh="none"))
    conflict = T["RAS"] + T["RP"] + T["RCD_WR"] + T["CWL"] + T["BL"]
    assert 1000 < requests["done"][5] - 100 <= 1000 + conflict
    serve(DDR4, endless, Controller(refresh="none", write_age_clocks=10_000))
    assert endless["done"][5] > rows[-1][0]


traffic = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 7, 300, 30_000]),  # gap
        st.integers(0, (1 << 22) - 1),  # address
        st.sampled_from([1, 32, 64, 65, 200, 1000]),  # bytes
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)
controllers = st.builds(
    Controller,
    scheduler=st.sampled_from(["frfcfs", "fcfs"]),
    page=st.sampled_from(["open", "closed"]),
    mapping=st.sampled_from(["", "RoBaRaCoCh", "ChRaBaRoCo"]),
    is_hashed=st.booleans(),
    read_entries=st.sampled_from([1, 4, 32]),
    write_entries=st.just(8),
    drain_high=st.sampled_from([1, 4, 8]),
    drain_low=st.just(0),
    write_age_clocks=st.sampled_from([1, 50, 1000]),
)


@given(st.sampled_from(device_names()), traffic, controllers, st.booleans(), st.integers(1, 40))
@settings(max_examples=120, deadline=None)
def test_any_traffic_keeps_all_rules_and_is_served_once(
    name: str, rows: list, controller: Controller, is_per_bank: bool, in_flight: int
) -> None:
    device = load_device(name)
    if is_per_bank and device.has_per_bank_refresh:
        controller = Controller(**{**vars(controller), "refresh": "per_bank"})
    arrivals = np.cumsum([gap for gap, *_ in rows]).tolist()
    requests = build(*((t, *row[1:]) for t, row in zip(arrivals, rows, strict=True)))
    dram = serve(device, requests, controller, in_flight=in_flight, max_trace=100_000)
    assert violations(device, dram) == []
    latency = T["BL"]  # no device is faster
    assert (requests["done"] >= requests["arrival"] + latency).all()
    unit = device.burst_bytes
    bursts = (requests["address"] + requests["size_bytes"] - 1) // unit
    bursts = bursts - requests["address"] // unit + 1
    is_write = requests["is_write"] == 1
    counts = count_events(dram)
    assert counts.bytes_read == bursts[~is_write].sum() * unit
    assert counts.bytes_written == bursts[is_write].sum() * unit
    assert counts.hits + counts.misses + counts.conflicts == bursts.sum()
    columns = [row for row in read_trace(dram).tolist() if COMMANDS[row[1]][:2] in ("RD", "WR")]
    served = np.bincount([COMMANDS[row[1]][0] == "W" for row in columns], minlength=2)
    assert served.tolist() == [bursts[~is_write].sum(), bursts[is_write].sum()]
    assert dram.words[layout.LIVE] == 0  # nothing is left inside
    free, request = [], int(dram.words[layout.FREE])
    while request:
        free.append((request - int(dram.words[layout.AT_REQUESTS])) // layout.REQUEST_WIDTH)
        request = int(dram.words[request + layout.NEXT_REQUEST])
    assert sorted(free) == list(range(in_flight))


@given(traffic)
@settings(max_examples=20, deadline=None)
def test_two_runs_are_identical(rows: list) -> None:
    arrivals = np.cumsum([gap for gap, *_ in rows]).tolist()
    a = build(*((t, *row[1:]) for t, row in zip(arrivals, rows, strict=True)))
    b = a.copy()
    serve(DDR4, a)
    serve(DDR4, b)
    assert a.tolist() == b.tolist()


@pytest.mark.parametrize("refresh", ["all_bank", "per_bank"])
def test_interpreted_kernels_agree_with_compiled_ones(
    interpret: Callable[..., None], refresh: str
) -> None:
    device = load_device("lpddr4x-3733", 2)
    rng = np.random.default_rng(5)
    requests = np.zeros(150, REQUEST)
    requests["arrival"] = np.cumsum(rng.integers(0, 200, 150))
    requests["address"] = rng.integers(0, 1 << 16, 150) * 32
    requests["size_bytes"] = rng.integers(1, 100, 150)
    requests["is_write"] = rng.random(150) < 0.3
    plain = requests.copy()
    controller = Controller(refresh=refresh, page="closed")
    compiled = serve(device, requests, controller, in_flight=20, max_trace=5000)
    interpret(timing_kernels, queue_kernels, transfer_kernels)
    interpret(scheduler_kernels, skip_kernels, memory_kernels)
    interpreted = serve(device, plain, controller, in_flight=20, max_trace=5000)
    assert plain.tolist() == requests.tolist()
    assert (compiled.words == interpreted.words).all()


def test_memory_object_serves_as_the_batch_does() -> None:
    """One request at a time through the contract gives the times of :func:`serve`."""
    rng = np.random.default_rng(7)
    n = 80
    requests = np.zeros(n, REQUEST)
    requests["arrival"] = np.cumsum(rng.integers(0, 40, n))
    requests["address"] = rng.integers(0, 1 << 14, n) * 64
    requests["size_bytes"] = rng.integers(1, 300, n)
    requests["is_write"] = rng.random(n) < 0.4
    serve(DDR4, requests)
    memory = DramMemory(DDR4, capacity=n)
    done = {}
    for tag, row in enumerate(requests.tolist()):
        done |= {c.tag: c.cycle for c in memory.advance(row[0])}
        memory.submit(AddressedRequest(0, tag, row[1], row[2], bool(row[3])), row[0])
    done |= {c.tag: c.cycle for c in memory.advance(1 << 40)}
    assert [done[tag] for tag in range(n)] == requests["done"].tolist()
    assert memory.next_time(1 << 41) is None


@pytest.mark.parametrize(("cycle_hz", "path"), [(200_000_000, 0), (2_400_000_000, 3), (7, 0)])
def test_completions_are_converted_to_the_callers_clock(cycle_hz: int, path: int) -> None:
    """The first cycle at or after the last data, and the way back."""
    memory = DramMemory(DDR4, cycle_hz=cycle_hz, path_cycles=path)
    memory.submit(AddressedRequest(0, 9, 0, 64), 0)
    clocks = T["RCD_RD"] + T["CL"] + T["BL"]
    expected = -(-clocks * cycle_hz // DDR4.clock_hz) + path
    assert memory.advance(expected - 1) == []
    assert [c.cycle for c in memory.advance(expected)] == [expected]


@pytest.mark.parametrize("cycle_hz", [200_000_000, 1_200_000_000, 3_000_000_000])
def test_data_cycles_cover_the_bursts_and_are_counted_once(cycle_hz: int) -> None:
    """One read's data lie in clocks [RCD + CL, + BL); every way of asking sums to their cycles."""
    begin, end = T["RCD_RD"] + T["CL"], T["RCD_RD"] + T["CL"] + T["BL"]
    first = begin * cycle_hz // DDR4.clock_hz
    last = -(-end * cycle_hz // DDR4.clock_hz)
    streams = [Stream(0, 1 << 20)]
    for step in (1, 7, 1000):
        memory = DramMemory(DDR4, cycle_hz=cycle_hz, streams=streams)
        memory.submit(AddressedRequest(0, 0, 0, 64), 0)
        moved = {}
        for until in range(step, last + 2 * step, step):
            memory.next_time(until)
            moved[until] = memory.data_cycles(0, until)
        assert sum(moved.values()) == last - first
        if step == 1:
            assert [t for t, n in moved.items() if n] == list(range(first + 1, last + 1))


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([(0, 0, 0, 0)], r"requests\[0\].size_bytes: need at least 1, found 0"),
        ([(0, 0, 8, 0), (0, DDR4.capacity_bytes - 4, 8, 0)], r"requests\[1\].address"),
        ([(0, -1, 8, 0)], r"requests\[0\].address"),
        ([(5, 0, 8, 0), (4, 0, 8, 0)], r"requests\[1\].arrival"),
        ([(0, 0, 8, 2)], r"requests\[0\].is_write"),
        ([(0, 64, 2**63 - 1, 0)], r"requests\[0\].address"),
        ([(1 << 56, 0, 8, 0)], r"requests\[0\].arrival: need 0 to 72057594037927935"),
    ],
)
def test_wrong_requests_are_refused(rows: list, named: str) -> None:
    with pytest.raises(InputError, match=named):
        serve(DDR4, build(*rows))


@pytest.mark.parametrize(("field", "wrong"), [("arrival", 4), ("size_bytes", 0)])
def test_a_wrong_request_behind_those_checked_first_is_named(field: str, wrong: int) -> None:
    requests = build(*[(5, 0, 8, 0)] * (CHECKED_AT_ONCE + 1))
    check_requests(DDR4, requests)
    requests[field][-1] = wrong
    with pytest.raises(InputError, match=rf"requests\[{CHECKED_AT_ONCE}\].{field}"):
        check_requests(DDR4, requests)


def test_the_latest_arrival_is_served_as_any_other() -> None:
    requests = build(((1 << 56) - 1, 0, 64, 0))
    serve(DDR4, requests, Controller(refresh="none"))
    assert requests["done"][0] == (1 << 56) - 1 + T["RCD_RD"] + T["CL"] + T["BL"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scheduler": "magic"}, "memory.scheduler: need one of frfcfs, fcfs, found 'magic'"),
        ({"page": "ajar"}, "memory.page"),
        ({"read_entries": 0}, "memory.read_entries: need 1"),
        ({"drain_low": 24}, "memory.drain_high: need 0 <= drain_low < drain_high"),
    ],
)
def test_wrong_controller_is_refused(fields: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Controller(**fields)


def test_refresh_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="memory.refresh: need all_bank or none on ddr4-2400"):
        DramMemory(DDR4, Controller(refresh="per_bank"))


def test_timings_and_banks_beyond_the_plans_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="dram.ddr4-2400: need timings below 16384 clocks, found"):
        DramMemory(DDR4.with_timings({"RFC_AB": 1 << 14, "REFI": 1 << 17}))
    more = DDR4.model_copy(update={"ranks": 16})
    with pytest.raises(InputError, match="need at most 128 banks on a data bus, found 256"):
        DramMemory(more)


def test_wrong_submissions_are_refused() -> None:
    memory = DramMemory(DDR4, capacity=1)
    with pytest.raises(InputError, match="request.size_bytes"):
        memory.submit(AddressedRequest(0, 0, 0, 0), 0)
    with pytest.raises(InputError, match="request.address"):
        memory.submit(AddressedRequest(0, 0, DDR4.capacity_bytes, 1), 0)
    memory.submit(AddressedRequest(0, 0, 0, 1), 5)
    with pytest.raises(InputError, match="request.t: need 5 to 72057594037927935, found 4"):
        memory.submit(AddressedRequest(0, 0, 0, 1), 4)
    with pytest.raises(InputError, match="memory.capacity"):
        memory.submit(AddressedRequest(0, 0, 0, 1), 5)
