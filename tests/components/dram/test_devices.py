"""Devices are consistent, have a source for each number, and wrong ones are named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hwsim.components.dram.devices import (
    TIMING_NAMES,
    Device,
    device_names,
    load_device,
    make_device,
)
from hwsim.core.errors import InputError

DDR4 = load_device("ddr4-2400")


def changed(**fields: Any) -> dict[str, Any]:
    return {**DDR4.model_dump(), **fields}


def with_timing(**timings: int) -> dict[str, Any]:
    return changed(timings={**DDR4.timings, **timings})


@pytest.mark.parametrize("name", device_names())
def test_every_timing_has_a_source(name: str) -> None:
    device = load_device(name)
    assert set(device.timings) == set(device.timing_sources) <= set(TIMING_NAMES)
    assert all(len(source) > 10 for source in device.timing_sources.values())


@pytest.mark.parametrize(
    ("name", "published_gb_per_s"),
    [
        ("ddr4-2400", 4 * 19.2),  # UG1393: 77 GB/s
        ("ddr4-3200", 25.6),
        ("ddr5-4400", 16 * 17.6),
        ("lpddr4x-3733", 29.9),
        ("hbm2-1800", 460.8),  # UG1393: 460 GB/s
        ("hbm2e-3200", 819.2),
    ],
)
def test_peak_is_the_published_bandwidth(name: str, published_gb_per_s: float) -> None:
    assert load_device(name).peak_bytes_per_s / 1e9 == pytest.approx(published_gb_per_s, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("ddr4-2400", 64),
        ("ddr4-3200", 8),
        ("lpddr4x-3733", 8),
        ("hbm2-1800", 8),
        ("hbm2e-3200", 32),
    ],
)
def test_capacity_is_the_boards(name: str, gib: int) -> None:
    assert load_device(name).capacity_bytes == gib << 30


def test_peak_follows_from_bursts() -> None:
    """Two routes: bus width times rate, and bursts back to back."""
    for name in device_names():
        device = load_device(name)
        per_clock = device.controllers * device.burst_bytes / device.timings["BL"]
        assert device.peak_bytes_per_s == pytest.approx(per_clock * device.clock_hz)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (with_timing(RAS=60), r"RC: need at least RAS \+ RP = 77, found 56"),
        (with_timing(RCD_RD=40), r"RAS: need at least RCD_RD \+ RTP = 49, found 39"),
        (with_timing(CCD_L=3), "CCD_L: need at least CCD_S = 4, found 3"),
        (with_timing(FAW=3), "FAW: need at least RRD_S = 4, found 3"),
        (with_timing(BL=3), "BL: need burst_length / 2 = 4, found 3"),
        (with_timing(REFI=400), "REFI: need at least RFC_AB"),
        (with_timing(RTW=5), r"RTW: need at least CL \+ BL - CWL = 9, found 5"),
        (with_timing(RP=0), "RP: need 1 to 131072 clocks, found 0"),
        (with_timing(RFC_PB=100), "timings: need every timing"),
        (with_timing(XYZ=1), r"timings: need every timing of the standard, found \['XYZ'\]"),
        (changed(timings={"CL": 1}), "timings: need every timing"),
        (changed(channels=0), "channels: need .*power of two.*, found 0|channels: need a power"),
        (changed(bank_groups=3), "bank_groups"),
        (changed(row_bytes=32), "row_bytes: need a burst of 64, found 32"),
        (changed(banks_per_group=512), "banks: need at most 256"),
        (changed(family="sram"), "family"),
    ],
)
def test_inconsistent_device_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        make_device(fields)
    assert str(caught.value).startswith("dram.ddr4-2400.")


def test_consistent_change_is_accepted() -> None:
    device = make_device(with_timing(RAS=40, RC=57))
    assert isinstance(device, Device)
    assert device.timings["RC"] == 57


def test_unknown_device_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"memory.device: need one of .*did you mean ddr4-2400"):
        load_device("ddr4-2440")


@pytest.mark.parametrize("channels", [0, 3, -4])
def test_wrong_number_of_channels_is_refused(channels: int) -> None:
    with pytest.raises(InputError, match="channels"):
        load_device("ddr4-2400", channels)


def test_channels_scale_peak_and_capacity() -> None:
    one = load_device("ddr4-2400", 1)
    assert 4 * one.peak_bytes_per_s == DDR4.peak_bytes_per_s
    assert 4 * one.capacity_bytes == DDR4.capacity_bytes


def test_names_of_devices_come_without_numba() -> None:
    code = "import sys, hwsim.components.dram.devices as d; d.load_device('ddr4-2400')"
    code += "; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
