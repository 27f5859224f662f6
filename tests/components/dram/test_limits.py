"""Bandwidth reaches what the closed forms allow, and never more."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwsim.components.dram.controller import REQUEST, Counts, count_events, serve
from hwsim.components.dram.devices import Device, device_names, load_device
from hwsim.components.dram.limits import (
    binding_rule,
    random_limits,
    refresh_limit,
    slowest_bytes_per_s,
)
from hwsim.components.dram.state import Controller

NAMES = device_names()


def stream(device: Device, bursts: int, *, is_write: int = 0) -> np.ndarray:
    requests = np.zeros(1, REQUEST)
    requests["size_bytes"] = bursts * device.burst_bytes
    requests["is_write"] = is_write
    return requests


def random_bursts(device: Device, n: int) -> np.ndarray:
    requests = np.zeros(n, REQUEST)
    bursts = device.capacity_bytes // device.burst_bytes
    requests["address"] = np.random.default_rng(0).integers(0, bursts, n) * device.burst_bytes
    requests["size_bytes"] = device.burst_bytes
    return requests


def share_of_peak(device: Device, requests: np.ndarray) -> float:
    bursts = int(requests["size_bytes"].sum()) // device.burst_bytes
    return bursts * device.timings["BL"] / device.controllers / int(requests["done"].max())


def unrefreshed(device: Device, counts: Counts, end: int) -> int:
    """Return the clocks of ``end`` in which no rank was refreshing (all refresh together)."""
    per_rank = counts.commands["REFab"] // (device.controllers * device.ranks)
    return end - per_rank * device.timings["RFC_AB"]


@pytest.mark.parametrize("is_write", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_stream_reaches_95_percent_of_the_refresh_limited_peak(name: str, is_write: int) -> None:
    device = load_device(name)
    requests = stream(device, 4000 * device.controllers, is_write=is_write)
    counts = count_events(serve(device, requests))
    end = int(requests["done"].max())
    busy = 4000 * device.timings["BL"]
    assert counts.commands["REFab"] >= device.controllers
    assert 0.95 <= busy / unrefreshed(device, counts, end) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_random_bursts_stay_below_every_closed_form(name: str) -> None:
    """The share of the peak, refreshes as counted: the run is no whole number of intervals."""
    device = load_device(name)
    requests = random_bursts(device, 1500 * device.controllers)
    counts = count_events(serve(device, requests, in_flight=8192))
    end = int(requests["done"].max())
    scale = unrefreshed(device, counts, end) / end / float(refresh_limit(device))
    for rule, limit in random_limits(device).items():
        assert share_of_peak(device, requests) <= float(limit) * scale, rule


@pytest.mark.parametrize("name", NAMES)
def test_gap_to_the_binding_rule_is_uneven_queues(name: str) -> None:
    """With one data bus and a long queue nine tenths of the bound are reached.

    The rest is where rules of about the same bound meet (DDR5: bus, tRRD and the long gaps inside
    a bank group); where one rule binds alone (DDR4-3200: tFAW) it is below 4 %,
    the last bursts included, which have nothing left beside them.
    """
    device = load_device(name, 1).model_copy(update={"pseudo_channels": 1})
    requests = random_bursts(device, 6000)
    controller = Controller(read_entries=256, refresh="none")
    counts = count_events(serve(device, requests, controller, in_flight=512))
    limit = float(random_limits(device)[binding_rule(device)] / refresh_limit(device))
    least = 0.96 if name == "ddr4-3200" else 0.9
    assert least <= share_of_peak(device, requests) / limit <= 1
    assert counts.commands["ACT"] >= 0.99 * 6000  # each burst its own row, as the forms assume


def test_binding_rules_are_those_of_the_tables() -> None:
    found = {name: binding_rule(load_device(name)) for name in NAMES}
    assert found == {
        "ddr4-2400": "bus",
        "ddr4-3200": "tFAW",
        "ddr5-4400": "bus",
        "lpddr4x-3733": "tRRD",
        "hbm2-1800": "commands",
        "hbm2e-3200": "tRRD",
    }


def test_limits_follow_from_the_timings() -> None:
    """DDR4-3200: 4 bursts of 4 clocks per 34 clocks, 560 of 12480 clocks refreshing."""
    limits = random_limits(load_device("ddr4-3200"))
    left = Fraction(12480 - 560, 12480)
    assert limits["tFAW"] == Fraction(16, 34) * left
    assert limits["tRC"] == Fraction(16 * 4, 74) * left
    assert limits["bus"] == left


@pytest.mark.parametrize("name", NAMES)
def test_refresh_costs_what_its_share_says(name: str) -> None:
    device = load_device(name, 1)
    with_refresh, without = (stream(device, 20_000 * device.pseudo_channels) for _ in range(2))
    counts = count_events(serve(device, with_refresh))
    serve(device, without, Controller(refresh="none"))
    lost = int(with_refresh["done"].max() - without["done"].max())
    each = counts.commands["REFab"] // device.controllers
    t = device.timings
    # Beyond tRFC: rows are precharged before and activated again after it.
    overhead = t["RAS"] + t["RP_AB"] + t["RCD_RD"] + 4 * t["RRD_L"] + t["CL"] + t["BL"]
    assert each * t["RFC_AB"] <= lost <= each * (t["RFC_AB"] + overhead)


def test_per_bank_refresh_disturbs_a_stream_less_than_all_bank() -> None:
    device = load_device("hbm2-1800", 1)
    whole, single = (stream(device, 40_000) for _ in range(2))
    serve(device, whole)
    serve(device, single, Controller(refresh="per_bank"))
    assert single["done"].max() < whole["done"].max()


def test_mapping_without_group_interleave_pays_the_long_column_gap() -> None:
    """Consecutive bursts in one bank group are CCD_L apart: 4 of 6 clocks move data."""
    device = load_device("ddr4-2400", 1)
    requests = stream(device, 8000)
    counts = count_events(serve(device, requests, Controller(mapping="ChRaBaRoCo")))
    end = int(requests["done"].max())
    share = 8000 * 4 / unrefreshed(device, counts, end)
    assert 0.95 * 4 / 6 <= share <= 4 / 6 * 1.001


def test_one_bank_is_limited_by_its_row_cycle() -> None:
    device = load_device("ddr4-2400", 1)
    requests = np.zeros(300, REQUEST)
    requests["address"] = np.arange(300) * (64 * 4 * 128 * 4)
    requests["size_bytes"] = 64
    counts = count_events(serve(device, requests))
    end = int(requests["done"].max())
    assert counts.conflicts >= 290
    assert (
        299 * 56
        <= unrefreshed(device, counts, end)
        <= 300 * 56 + 17 * 4 + 30 * counts.conflicts // 100
    )


@pytest.mark.parametrize("name", NAMES)
def test_slowest_rate_is_slower_than_serving_one_by_one(name: str) -> None:
    """Alternating reads and writes in rows of one bank, each submitted when the last is done."""
    device = load_device(name)
    requests = np.zeros(400, REQUEST)
    row = device.capacity_bytes // device.rows
    requests["address"] = np.arange(400) % 7 * row
    requests["size_bytes"] = device.burst_bytes
    requests["is_write"] = np.arange(400) % 2
    serve(device, requests, in_flight=1)
    rate = 400 * device.burst_bytes * device.clock_hz / int(requests["done"].max())
    assert rate > slowest_bytes_per_s(device)
