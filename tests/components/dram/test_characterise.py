"""Patterns are what their names say, and the measured shares and latencies are consistent."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.components.dram.characterise import (
    LOADS,
    PATTERNS,
    characterise,
    default_count,
    latencies,
    loaded_latency,
    pattern_requests,
)
from hwsim.components.dram.controller import REQUEST
from hwsim.components.dram.devices import device_names, load_device
from hwsim.components.dram.state import Controller
from hwsim.core.errors import InputError

DDR4 = load_device("ddr4-2400", 1)
T = DDR4.timings
HBM2 = "hbm2-1800"


def test_patterns_have_their_addresses() -> None:
    rng = np.random.default_rng(0)
    stream = pattern_requests(DDR4, "stream", 10, rng)
    assert np.diff(stream["address"]).tolist() == [64] * 9
    stride = pattern_requests(DDR4, "stride", 10, rng)
    assert np.diff(stride["address"]).tolist() == [4160] * 9
    mixed = pattern_requests(DDR4, "mixed", 9, rng)
    assert mixed["is_write"].tolist() == [0, 0, 1] * 3
    reads = mixed["address"][mixed["is_write"] == 0]
    writes = mixed["address"][mixed["is_write"] == 1]
    assert np.diff(reads).tolist() == [64] * 5
    assert np.diff(writes).tolist() == [64] * 2
    again = pattern_requests(DDR4, "random", 10, np.random.default_rng(1))
    assert again.tolist() == pattern_requests(DDR4, "random", 10, np.random.default_rng(1)).tolist()


@pytest.mark.parametrize("load", [0.1, 0.9])
def test_arrivals_offer_the_load(load: float) -> None:
    n = 20_000
    requests = pattern_requests(DDR4, "stream", n, np.random.default_rng(0), load)
    rate = n * 64 * DDR4.clock_hz / int(requests["arrival"][-1])
    assert rate / DDR4.peak_bytes_per_s == pytest.approx(load, rel=0.03)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_shares_stay_below_the_limit_and_outcomes_add_up(pattern: str) -> None:
    result = characterise(DDR4, pattern, n=8000)
    assert 0 < result.share <= result.limit * 1.02  # no whole number of refresh intervals
    assert result.hits + result.misses + result.conflicts == 8000
    assert result.bytes_per_s == pytest.approx(result.share * DDR4.peak_bytes_per_s)
    assert (result.turnarounds > 0) == (pattern == "mixed")


def test_refresh_share_is_that_of_the_timings() -> None:
    result = characterise(DDR4, "stream", n=200_000)
    assert result.refresh_share == pytest.approx(T["RFC_AB"] / T["REFI"], rel=0.02)
    without = characterise(DDR4, "stream", Controller(refresh="none"), n=8000)
    assert without.refresh_share == 0
    assert without.share > result.share


def test_latency_begins_at_the_unloaded_one_and_grows() -> None:
    """Alone a random read takes activate, latency and data, a conflict a precharge more."""
    points = loaded_latency(DDR4, "random", Controller(refresh="none"), n=4000)
    clock_ns = 1e9 / DDR4.clock_hz
    closed = (T["RCD_RD"] + T["CL"] + T["BL"]) * clock_ns
    assert closed <= points[0].read_mean_ns <= closed + (T["RP"] + 5) * clock_ns
    means = [point.read_mean_ns for point in points]
    assert means == sorted(means)
    assert all(point.read_p95_ns >= point.read_mean_ns for point in points)
    assert [point.offered for point in points] == list(LOADS[: len(points)])
    assert {point.write_mean_ns for point in points} == {None}


@pytest.mark.parametrize(
    ("name", "channels", "n"), [*((name, 1, 0) for name in device_names()), (HBM2, None, 24_576)]
)
def test_reads_of_mixed_traffic_wait_longer_the_more_is_offered(
    name: str, channels: int | None, n: int
) -> None:
    """Writes need not: the more come, the sooner enough are queued to be served together."""
    points = loaded_latency(load_device(name, channels), "mixed", n=n)
    reads = [point.read_mean_ns for point in points]
    writes = [point.write_mean_ns or 0.0 for point in points]
    assert reads == sorted(reads)
    assert min(writes) > 0
    if n:
        assert writes[LOADS.index(0.2)] > writes[LOADS.index(0.35)]


def test_latencies_of_reads_and_writes_are_apart() -> None:
    requests = np.zeros(5, REQUEST)
    requests["arrival"] = 10
    requests["done"] = 10 + DDR4.clock_hz // 10**8 * np.array([1, 2, 3, 5, 100])
    requests["is_write"] = [0, 0, 0, 0, 1]
    found = latencies(DDR4, requests)
    assert found["read"]["mean"] == pytest.approx(27.5)
    assert found["read"]["most"] == pytest.approx(50)
    assert found["write"] == pytest.approx({"mean": 1000, "p95": 1000, "most": 1000})
    assert set(latencies(DDR4, requests[:4])) == {"read"}


def test_two_streams_run_until_the_slower_one_was_in_all_banks() -> None:
    """Writes are a third of the requests; a row of each bank takes them."""
    device = load_device("lpddr4x-3733")
    requests = pattern_requests(
        device, "mixed", default_count(device, "mixed"), np.random.default_rng(0)
    )
    written = requests["address"][requests["is_write"] == 1]
    rows = device.row_bytes * device.banks * device.controllers
    assert (written.max() + 64 - written.min()) % rows == 0


def test_unknown_pattern_is_refused() -> None:
    with pytest.raises(InputError, match="--pattern: need one of mixed, random, stream, stride"):
        characterise(DDR4, "zigzag")
