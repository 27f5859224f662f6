"""Fast-forward gives what stepping gives: every completion, every count, the state afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram import layout
from hwsim.components.dram.controller import REQUEST, count_events, serve
from hwsim.components.dram.devices import Device, device_names, load_device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.state import Controller

DEVICES = [load_device(name) for name in device_names()] + [load_device("ddr4-2400", 1)]


def requests_of(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    requests = np.zeros(len(rows), REQUEST)
    for index, row in enumerate(rows):
        for name, value in zip(("arrival", "address", "size_bytes", "is_write"), row, strict=True):
            requests[name][index] = value
    return requests


def future(dram: Dram) -> dict[str, list]:
    """Return all of an idle memory's state that matters for what comes, relative to nothing."""
    words = dram.words
    now = int(words[layout.NOW])
    sections = (layout.AT_GROUPS, layout.AT_RANKS, layout.AT_BANKS)
    groups, ranks, banks = (dram.section(at) for at in sections)
    latest = ranks[:, layout.LATEST : layout.RANK_CONTROLLER]
    return {
        "ready": [
            np.maximum(nodes[:, : layout.N_COMMANDS] - now, 0).tolist()
            for nodes in (groups, ranks, banks)
        ],
        "rows": banks[:, layout.OPEN_ROW].tolist(),
        "ranks": ranks[:, layout.DUE : layout.LATEST].tolist(),
        "now": words[[layout.NOW, layout.SEQUENCE, layout.BURSTS_DONE]].tolist(),
        "counts": dram.controllers[:, layout.COUNTS :].tolist(),
        "drain": dram.controllers[:, [layout.DRAINING, layout.WRITE_SINCE]].tolist(),
        "left": dram.controllers[:, layout.DRAIN_LEFT].tolist(),
        "turnarounds": dram.controllers[:, layout.TURNAROUNDS].tolist(),
        "history": np.maximum(latest - now, -words[layout.SKIP_MARGIN]).tolist(),
    }


def skipped(
    device: Device,
    rows: list[tuple[int, int, int, int]],
    controller: Controller,
    in_flight: int = 1024,
) -> int:
    """Serve ``rows`` both ways, compare everything, and return the bursts that were skipped."""
    fast, plain = requests_of(rows), requests_of(rows)
    forwarded = serve(device, fast, controller, in_flight=in_flight)
    stepped = serve(device, plain, controller, in_flight=in_flight, fast_forward=False)
    assert fast["done"].tolist() == plain["done"].tolist()
    assert count_events(forwarded) == count_events(stepped)
    assert future(forwarded) == future(stepped)
    assert stepped.words[layout.SKIPPED] == 0
    return int(forwarded.words[layout.SKIPPED])


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"{d.name}-{d.channels}")
def test_a_long_stream_across_refreshes_is_the_same(device: Device, kind: int) -> None:
    size = device.peak_bytes_per_s * device.timings["REFI"] // device.clock_hz * 5 // 2
    count = skipped(device, [(100, 12345, size, kind)], Controller())
    assert count > 0.1 * size // device.burst_bytes


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_streams_mixed_with_other_requests_are_the_same(data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(DEVICES), label="device")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    rows = []
    arrival = data.draw(st.sampled_from([0, device.timings["REFI"] - 2000]), label="begin")
    for _ in range(data.draw(st.integers(1, 6), label="requests")):
        size = int(rng.choice([1, 64, 700, 1 << 14, 1 << 18, 3 << 18]))
        address = int(rng.integers(0, min(device.capacity_bytes, 1 << 32) - size))
        rows.append((arrival, address, size, int(rng.random() < 0.4)))
        arrival += int(rng.choice([0, 10, 500, 4000, 20000]))
    refreshes = ["all_bank", "none"] + ["per_bank"] * device.has_per_bank_refresh
    controller = Controller(
        scheduler=data.draw(st.sampled_from(["frfcfs", "fcfs"]), label="scheduler"),
        page=data.draw(st.sampled_from(["open", "closed"]), label="page"),
        refresh=data.draw(st.sampled_from(refreshes), label="refresh"),
        is_hashed=data.draw(st.booleans(), label="hashed"),
        mapping=data.draw(st.sampled_from(["", "RoBaRaCoChCo2", "ChRaBaRoCo"]), label="mapping"),
    )
    skipped(device, rows, controller, data.draw(st.sampled_from([1, 2, 1024]), label="in flight"))


def test_a_request_is_not_compared_with_the_last_one_in_its_place() -> None:
    """The third request passes through a state of the second, which had the same place.

    Rows are open and all rules passed. Taken for one request, the two would seem to have moved
    bursts backwards, and the third would never be done.
    """
    rows = [(0, 0, 8 * 64, 0), (1000, 0, 12 * 64, 0), (2000, 4 * 64, 24 * 64, 0)]
    skipped(load_device("ddr4-2400", 1), rows, Controller(read_entries=4), in_flight=1)


def test_most_of_a_stream_in_long_rows_is_skipped() -> None:
    device = load_device("ddr4-2400", 1)
    size = 1 << 22
    count = skipped(device, [(0, 0, size, 0)], Controller())
    assert count > 0.6 * size // device.burst_bytes


def test_small_requests_are_not_skipped() -> None:
    device = load_device("ddr4-2400", 1)
    assert skipped(device, [(0, 64 * i, 64, 0) for i in range(500)], Controller()) == 0


def test_a_recorded_run_is_stepped() -> None:
    device = load_device("ddr4-2400", 1)
    dram = serve(device, requests_of([(0, 0, 1 << 18, 0)]), max_trace=10)
    assert dram.words[layout.SKIPPED] == 0


def test_a_state_that_differs_is_found() -> None:
    """The comparison of this file can fail: another address leaves another state."""
    device = load_device("ddr4-2400", 1)
    one = serve(device, requests_of([(0, 0, 1 << 16, 0)]))
    other = serve(device, requests_of([(0, 1 << 20, 1 << 16, 0)]))
    assert future(one) != future(other)
