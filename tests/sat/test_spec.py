"""Check what a SAT description accepts and derives."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from hwsim.core.errors import SpecError
from hwsim.core.machine import known_keys
from hwsim.sat.spec import PRESETS, SatSpec


def test_the_first_preset_is_the_default_description() -> None:
    assert next(iter(PRESETS.values())) == SatSpec()


def test_derived_rates_are_exact() -> None:
    spec = SatSpec().merge({"clock_hz": 300_000_000, "memory": {"efficiency_percent": 85}})
    assert spec.memory_bytes_per_cycle == Fraction(25_600_000_000, 300_000_000) * Fraction(85, 100)
    assert SatSpec().peak_macs_per_cycle == 32 * 32


@pytest.mark.parametrize("settings", [[], ["memory.model=dram"], ["clock_hz=333333333"]])
@pytest.mark.parametrize("size", [0, 1, 108, 109, 10**12 + 7])
def test_memory_cycles_are_the_rounded_up_quotient(settings: list[str], size: int) -> None:
    spec = SatSpec().override(settings)
    assert spec.memory_cycles(size) == math.ceil(size / spec.memory_bytes_per_cycle)


def test_capacities_are_the_buffers_a_mapping_names() -> None:
    spec = SatSpec().override(["buffers.weight_bytes=77"])
    assert spec.capacities()["weight"] == 77
    assert set(spec.capacities()) == {"activation", "weight", "output"}


@pytest.mark.parametrize(
    "key",
    [
        "clock_hz",
        "array.rows",
        "array.cols",
        "array.interleave",
        "array.adder_latency_cycles",
        "array.edge_elems_per_cycle",
        "buffers.activation_bytes",
        "buffers.weight_bytes",
        "buffers.output_bytes",
        "memory.bandwidth_bytes_per_s",
        "memory.efficiency_percent",
        "vector.lanes",
        "vector.stages",
        "queue_depth",
    ],
)
def test_sizes_of_zero_are_refused_naming_the_key(key: str) -> None:
    assert SatSpec().override([f"{key}=1"])
    with pytest.raises(SpecError) as caught:
        SatSpec().override([f"{key}=0"])
    assert caught.value.field == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["array.timing=other", "memory.model=magic"])
def test_names_outside_their_list_are_refused(setting: str) -> None:
    with pytest.raises(SpecError, match="need one of"):
        SatSpec().override([setting])


def test_field_names_end_in_their_unit() -> None:
    for key in known_keys(SatSpec):
        last = key.rsplit(".", 1)[-1]
        for word in ("latency", "bandwidth", "clock", "activation", "weight", "output"):
            if last.startswith(word):
                assert last != word, f"{key} has no unit"
