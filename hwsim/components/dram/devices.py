"""Describe DRAM devices as data: geometry, clocks and timings, each number with its source.

The numbers lie in ``devices.toml``. Nothing here needs numba, so that a machine's Spec may check
a device's name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hwsim.core.errors import InputError, unknown_name

__all__ = ["TIMING_NAMES", "Device", "device_names", "load_device"]

REQUIRED_TIMINGS = (
    *("CL", "CWL", "BL", "RCD_RD", "RCD_WR", "RP", "RP_AB", "RAS", "RC", "WR", "RTP"),
    *("CCD_S", "CCD_L", "CCD_L_WR", "RRD_S", "RRD_L", "FAW", "WTR_S", "WTR_L", "RTW"),
    *("RFC_AB", "REFI", "PPD", "CS", "CMD_ACT", "CMD_CAS", "CMD_PRE"),
)
PER_BANK_TIMINGS = ("RFC_PB", "REFI_PB", "REFPB_NEXT")
TIMING_NAMES = REQUIRED_TIMINGS + PER_BANK_TIMINGS
"""Names of timings, explained in ``devices.toml``; those of per-bank refresh may lack."""

MAX_TIMING_CLOCKS = 1 << 17
"""A rule's latency, a sum of four timings at most, stays below 2^20 (see scheduler_kernels)."""
MAX_BANKS = 256
"""Banks per controller; bounds the scan of a scheduling step."""
MAX_BUSES = 256
"""Data buses; each clock looks at all of them."""

# (smaller, greater): the left side, a sum, must not exceed the right side.
_ORDER: tuple[tuple[tuple[str, ...], str], ...] = (
    (("RAS", "RP"), "RC"),
    (("RCD_RD", "RTP"), "RAS"),
    (("CCD_S",), "CCD_L"),
    (("CCD_S",), "CCD_L_WR"),
    (("BL",), "CCD_S"),
    (("RRD_S",), "RRD_L"),
    (("RRD_S",), "FAW"),
    (("WTR_S",), "WTR_L"),
    (("RP",), "RP_AB"),
    (("CWL",), "CL"),
    (("CMD_CAS",), "CCD_S"),
    (("CMD_ACT",), "RRD_S"),
    (("CMD_PRE",), "PPD"),
    (("RC",), "RFC_AB"),
    (("RFC_AB", "RP_AB", "RAS"), "REFI"),
)
_PER_BANK_ORDER: tuple[tuple[tuple[str, ...], str], ...] = (
    (("RFC_PB",), "RFC_AB"),
    (("REFI_PB",), "REFI"),
    (("REFPB_NEXT",), "REFI_PB"),
)


class Device(BaseModel):
    """One memory system: its channels and what each of their chips can do.

    A channel has one command bus and ``pseudo_channels`` independent data buses; each of these
    has ``ranks`` of ``bank_groups`` x ``banks_per_group`` banks with ``rows`` of ``row_bytes``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    source: str = Field(min_length=1)
    family: Literal["ddr4", "ddr5", "lpddr4", "hbm"]
    data_rate_mtps: int = Field(ge=1, description="million transfers per second and pin")
    channels: int
    pseudo_channels: int
    ranks: int
    bank_groups: int
    banks_per_group: int
    rows: int
    row_bytes: int
    bus_bits: int
    burst_length: int
    mapping: str
    timings: Mapping[str, int]
    timing_sources: Mapping[str, str]

    @field_validator(
        *("channels", "pseudo_channels", "ranks", "bank_groups", "banks_per_group", "rows"),
        *("row_bytes", "bus_bits", "burst_length"),
    )
    @classmethod
    def _is_power_of_two(cls, value: int) -> int:
        if value < 1 or value & (value - 1):
            raise ValueError("a power of two, at least 1")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        """Check that the timings can belong to one device; each rule names its numbers."""
        t = self.timings
        missing = [name for name in REQUIRED_TIMINGS if name not in t]
        unknown = sorted(set(t) - set(TIMING_NAMES))
        lacking = [name for name in PER_BANK_TIMINGS if name not in t]
        if missing or unknown or 0 < len(lacking) < len(PER_BANK_TIMINGS):
            raise _inconsistent(
                "timings", "every timing of the standard", missing + unknown or lacking
            )
        for name, clocks in t.items():
            if not 1 <= clocks <= MAX_TIMING_CLOCKS:
                raise _inconsistent(name, f"1 to {MAX_TIMING_CLOCKS} clocks", clocks)
        for parts, whole in _ORDER + (() if lacking else _PER_BANK_ORDER):
            total = sum(t[part] for part in parts)
            if total > t[whole]:
                raise _inconsistent(whole, f"at least {' + '.join(parts)} = {total}", t[whole])
        if t["BL"] * 2 != self.burst_length:
            raise _inconsistent("BL", f"burst_length / 2 = {self.burst_length // 2}", t["BL"])
        if t["RTW"] < t["CL"] + t["BL"] - t["CWL"]:
            need = f"at least CL + BL - CWL = {t['CL'] + t['BL'] - t['CWL']}"
            raise _inconsistent("RTW", need, t["RTW"])
        if self.row_bytes < self.burst_bytes:
            raise _inconsistent("row_bytes", f"a burst of {self.burst_bytes}", self.row_bytes)
        if self.controllers > MAX_BUSES:
            most = MAX_BUSES // self.pseudo_channels
            raise _inconsistent("channels", f"at most {most}", self.channels)
        if self.banks > MAX_BANKS:
            raise _inconsistent("banks", f"at most {MAX_BANKS} per controller", self.banks)
        return self

    @property
    def clock_hz(self) -> int:
        """Return the clock of commands: half the data rate."""
        return self.data_rate_mtps * 500_000

    @property
    def controllers(self) -> int:
        """Return the independent data buses: channels times pseudo channels."""
        return self.channels * self.pseudo_channels

    @property
    def banks(self) -> int:
        """Return the banks behind one data bus."""
        return self.ranks * self.bank_groups * self.banks_per_group

    @property
    def burst_bytes(self) -> int:
        """Return the bytes of one read or write command."""
        return self.bus_bits * self.burst_length // 8

    @property
    def capacity_bytes(self) -> int:
        """Return the bytes of all channels."""
        return self.controllers * self.banks * self.rows * self.row_bytes

    @property
    def peak_bytes_per_s(self) -> int:
        """Return what all data buses move when none ever waits."""
        return self.controllers * self.bus_bits // 8 * self.data_rate_mtps * 1_000_000

    @property
    def has_per_bank_refresh(self) -> bool:
        """Return whether the tables know the timings of per-bank refresh."""
        return "RFC_PB" in self.timings

    def with_channels(self, channels: int | None) -> Device:
        """Return the same device with another number of channels (None: as it is).

        Raises
        ------
        InputError
            If it is not a power of two, at least 1.
        """
        if channels is None or channels == self.channels:
            return self
        return make_device({**self.model_dump(), "channels": channels})

    def with_timings(self, clocks: Mapping[str, int]) -> Device:
        """Return the same device with some timings, in clocks, given by the user.

        Raises
        ------
        InputError
            If there is no such timing, or if the timings contradict each other.
        """
        for name in clocks:
            if name not in self.timings:
                raise unknown_name(f"dram.{self.name}.timings", name, self.timings)
        sources = {**self.timing_sources, **dict.fromkeys(clocks, "given by the user")}
        timings = {**self.timings, **clocks}
        return make_device({**self.model_dump(), "timings": timings, "timing_sources": sources})


def _inconsistent(field: str, need: str, found: object) -> ValueError:
    return ValueError(f"{field}|{need}|{found}")


def make_device(fields: Mapping[str, object]) -> Device:
    """Return the device of ``fields``; :class:`InputError` names the first one that is wrong."""
    try:
        return Device.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        text = str(first["msg"]).removeprefix("Value error, ")
        where = f"dram.{fields.get('name', '?')}"
        field, bar, rest = text.partition("|")
        if bar:
            need, _, found = rest.partition("|")
            raise InputError(f"{where}.{field}", need, found) from None
        path = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}.{path}", text, repr(first["input"])) from None


@cache
def _tables() -> dict[str, dict[str, object]]:
    text = (Path(__file__).parent / "devices.toml").read_text("utf-8")
    document = tomllib.loads(text)
    tables = {}
    for name, entry in document["devices"].items():
        timings: dict[str, int] = {}
        sources: dict[str, str] = {}
        for key, numbers in entry["timings"].items():
            for timing, clocks in numbers.items():
                if timing in timings:
                    raise InputError(f"dram.{name}.{timing}", "one source", "two")
                timings[timing] = clocks
                sources[timing] = document["sources"][key]
        tables[name] = {**entry, "name": name, "timings": timings, "timing_sources": sources}
    return tables


def device_names() -> tuple[str, ...]:
    """Return the names of the known devices."""
    return tuple(_tables())


@cache
def load_device(name: str, channels: int | None = None) -> Device:
    """Return the device called ``name``, with ``channels`` instead of its own if given.

    Raises
    ------
    InputError
        If there is no such device, or if ``channels`` is not a power of two.
    """
    if name not in _tables():
        raise unknown_name("memory.device", name, _tables())
    return make_device(_tables()[name]).with_channels(channels)
