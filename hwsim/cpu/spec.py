"""Describe a core with its caches and memory: one frozen parameter set.

Numbers without a source are assumptions of this project and listed in DEVIATIONS.md. Rule tables
of the pipelines, with a source per row, are in ``pipelines.toml``.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.components.dram.devices import Device, load_device
from hwsim.core.errors import SpecError
from hwsim.core.machine import Spec
from hwsim.core.units import ceil_div

__all__ = ["PRESETS", "CacheSpec", "CoreSpec", "CpuSpec", "MemorySpec", "TlbSpec"]

KIB = 1 << 10
MIB = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CoreSpec(_Part):
    """The pipeline of one core. ``rules`` names a table of ``pipelines.toml``."""

    rules: Literal["a53", "a55", "a57", "a73", "a75", "n1", "x86-sse"] = "a73"
    vector_registers: int = Field(32, ge=8, le=32, description="128-bit registers for kernels")
    store_queue: int = Field(
        24, ge=1, le=1024, description="stores between dispatch and the L1 (assumed)"
    )
    load_queue: int = Field(48, ge=1, le=1024, description="loads in flight (assumed)")
    predicted_trips: int = Field(
        24, ge=0, description="longest loop whose exit is predicted from its history (assumed)"
    )


class CacheSpec(_Part):
    """A set-associative cache with least-recently-used replacement, write-back, write-allocate.

    The core's spec checks that sizes make whole sets.
    """

    size_bytes: int = Field(ge=64)
    ways: int = Field(ge=1, le=32)
    latency_cycles: int = Field(ge=0, description="added to an access that misses above")

    @property
    def sets(self) -> int:
        """Return the number of sets (0 if the size is no whole number of them)."""
        return 0 if self.size_bytes % (64 * self.ways) else self.size_bytes // (64 * self.ways)


class TlbSpec(_Part):
    """Address translation: two levels of page entries, least recently used; none by default."""

    is_modelled: bool = False
    entries: int = Field(48, ge=1, description="first level, fully associative (assumed)")
    second_entries: int = Field(1024, ge=1, description="second level (assumed)")
    second_cycles: int = Field(6, ge=0, description="found in the second level only (assumed)")
    walk_cycles: int = Field(30, ge=0, description="found in neither (assumed)")
    page_bytes: int = Field(4096, ge=4096)


class MemorySpec(_Part):
    """Off-chip memory as one core sees it.

    ``simple`` is a fixed rate behind a latency, ``ideal`` neither; ``dram`` serves lines by the
    commands of ``device``, in order of arrival (docs/memory.md).
    """

    model: Literal["ideal", "simple", "dram"] = "simple"
    bandwidth_bytes_per_s: int = Field(12_000_000_000, ge=1, description="one core's (assumed)")
    latency_ns: int = Field(100, ge=0, description="load to use beyond the caches (assumed)")
    device: str = Field("lpddr4x-3733", description="of model dram")
    channels: int = Field(4, ge=1, description="of the device, model dram")

    @model_validator(mode="after")
    def _has_device(self) -> Self:
        if self.model == "dram":
            self.dram_device()
        return self

    def dram_device(self) -> Device:
        """Return the memory of model ``dram``; :class:`InputError` if it cannot be."""
        return load_device(self.device, self.channels)


class CpuSpec(Spec):
    """One core of a system on chip, with the caches it can use."""

    clock_hz: int = Field(2_450_000_000, ge=1)
    core: CoreSpec = CoreSpec()
    l1: CacheSpec
    l2: CacheSpec
    l3: CacheSpec | None = None
    misses_in_flight: int = Field(8, ge=1, description="lines the L1 can wait for (assumed)")
    prefetch_lines: int = Field(
        4, ge=0, description="how far the stride prefetcher of the L1 runs ahead (assumed)"
    )
    stream_lines: int = Field(
        16, ge=0, le=32, description="how far the prefetcher of the L2 runs ahead (assumed)"
    )
    memory: MemorySpec = MemorySpec()
    tlb: TlbSpec = TlbSpec()
    backend: Literal["aarch64", "wasm"] = "aarch64"
    has_avx: bool = Field(False, description="x86 with AVX: sparse kernels are never chosen")
    technology: Literal["mobile-7nm"] = "mobile-7nm"

    @model_validator(mode="after")
    def _has_whole_sets(self) -> Self:
        for name, cache in (("l1", self.l1), ("l2", self.l2), ("l3", self.l3)):
            if cache is not None and (cache.sets < 1 or cache.sets & (cache.sets - 1)):
                need = f"a power of two of sets of {cache.ways} lines of 64 bytes ({name}.ways)"
                raise SpecError(f"{name}.size_bytes", need, f"{cache.size_bytes} bytes")
        return self

    def capacities(self) -> dict[str, int]:
        return {"vector_registers": 16 * self.core.vector_registers}

    @property
    def memory_latency_cycles(self) -> int:
        """Return the cycles of a lone access beyond the caches, rounded up."""
        if self.memory.model == "ideal":
            return 0
        return ceil_div(self.memory.latency_ns * self.clock_hz, 1_000_000_000)

    @property
    def memory_path_cycles(self) -> int:
        """Return the part of that latency that model ``dram``'s own commands do not take."""
        device = self.memory.dram_device()
        clocks = sum(device.timings[name] for name in ("RCD_RD", "CL", "BL"))
        own = ceil_div(clocks * self.clock_hz, device.clock_hz)
        return max(0, self.memory_latency_cycles - own)

    @property
    def memory_bytes_per_s(self) -> int:
        """Return the rate that memory does not exceed, ideal ones aside."""
        if self.memory.model == "dram":
            return self.memory.dram_device().peak_bytes_per_s
        return self.memory.bandwidth_bytes_per_s

    def memory_transfer_cycles(self, parts: int = 1) -> int:
        """Return the ``parts``-th parts of a cycle in which the memory moves a line, rounded up."""
        if self.memory.model == "ideal":
            return 0
        return ceil_div(parts * 64 * self.clock_hz, self.memory_bytes_per_s)

    @property
    def memory_slowest_cycles(self) -> int:
        """Return the cycles that a line takes at most, waiting for others aside.

        With ``dram`` its bank is busy with another row, and as long again goes to refreshes.
        """
        if self.memory.model != "dram":
            return self.memory_transfer_cycles()
        device = self.memory.dram_device()
        names = ("RC", "CWL", "BL", "WR", "RP", "RCD_RD", "CL", "BL")
        clocks = 2 * sum(device.timings[name] for name in names)
        return ceil_div(clocks * self.clock_hz, device.clock_hz)


_LPDDR4X_835 = MemorySpec(bandwidth_bytes_per_s=12_000_000_000, latency_ns=120)

PRESETS: dict[str, CpuSpec] = {
    # Kryo 280 Gold is an A73 at 2.45 GHz (WikiChip, AnandTech). The clock is 77 % of that, the one
    # calibrated number: dense MobileNet v1 then takes the published 86 ms. It stands for what the
    # model lacks: throttling, interrupts, and the A73's pipeline where it is not the A57's.
    # L1 64 KiB, 3 cycles, shared L2 2 MiB: AnandTech; 16 ways and the L2's latency are assumed.
    "sd835": CpuSpec(
        clock_hz=1_886_500_000,
        core=CoreSpec(rules="a73"),
        l1=CacheSpec(size_bytes=64 * KIB, ways=16, latency_cycles=0),
        l2=CacheSpec(size_bytes=2 * MIB, ways=16, latency_cycles=20),
        memory=_LPDDR4X_835,
    ),
    # Kryo 385 Gold is an A75: private L2 256 KiB, L3 2 MiB (AnandTech, WikiChip).
    "sd845": CpuSpec(
        clock_hz=2_800_000_000,
        core=CoreSpec(rules="a75"),
        l1=CacheSpec(size_bytes=64 * KIB, ways=16, latency_cycles=0),
        l2=CacheSpec(size_bytes=256 * KIB, ways=8, latency_cycles=9),
        l3=CacheSpec(size_bytes=2 * MIB, ways=16, latency_cycles=30),
        memory=_LPDDR4X_835,
    ),
    # Kryo 485 prime is an A76: L1 64 KiB 4 ways, private L2 512 KiB 8 ways, L3 2 MiB (WikiChip).
    "sd855": CpuSpec(
        clock_hz=2_840_000_000,
        core=CoreSpec(rules="n1", store_queue=72, load_queue=68),
        l1=CacheSpec(size_bytes=64 * KIB, ways=4, latency_cycles=0),
        l2=CacheSpec(size_bytes=512 * KIB, ways=8, latency_cycles=6),
        l3=CacheSpec(size_bytes=2 * MIB, ways=16, latency_cycles=26),
        misses_in_flight=20,
        memory=MemorySpec(bandwidth_bytes_per_s=14_000_000_000, latency_ns=110),
    ),
    # Cortex-A72 at 1.5 GHz, L1 32 KiB 2 ways, L2 1 MiB 16 ways (Raspberry Pi 4; assumed).
    "rpi4": CpuSpec(
        clock_hz=1_500_000_000,
        core=CoreSpec(rules="a57"),
        l1=CacheSpec(size_bytes=32 * KIB, ways=2, latency_cycles=0),
        l2=CacheSpec(size_bytes=1 * MIB, ways=16, latency_cycles=18),
        memory=MemorySpec(bandwidth_bytes_per_s=4_000_000_000, latency_ns=140, channels=2),
    ),
    # The small cores of the same chips (clocks: WikiChip; caches assumed).
    "sd835-little": CpuSpec(
        clock_hz=1_900_000_000,
        core=CoreSpec(rules="a53", store_queue=8, load_queue=8),
        l1=CacheSpec(size_bytes=32 * KIB, ways=4, latency_cycles=0),
        l2=CacheSpec(size_bytes=1 * MIB, ways=16, latency_cycles=15),
        misses_in_flight=3,
        memory=MemorySpec(bandwidth_bytes_per_s=5_000_000_000, latency_ns=130),
    ),
    "sd855-little": CpuSpec(
        clock_hz=1_800_000_000,
        core=CoreSpec(rules="a55", store_queue=8, load_queue=8),
        l1=CacheSpec(size_bytes=32 * KIB, ways=4, latency_cycles=0),
        l2=CacheSpec(size_bytes=128 * KIB, ways=4, latency_cycles=6),
        l3=CacheSpec(size_bytes=2 * MIB, ways=16, latency_cycles=25),
        misses_in_flight=4,
        memory=MemorySpec(bandwidth_bytes_per_s=6_000_000_000, latency_ns=120),
    ),
    # WebAssembly SIMD128 on a current x86 core; 16 XMM registers (assumed throughout).
    "wasm-x86": CpuSpec(
        clock_hz=3_660_000_000,
        core=CoreSpec(
            rules="x86-sse",
            vector_registers=16,
            store_queue=64,
            load_queue=88,
            predicted_trips=64,
        ),
        l1=CacheSpec(size_bytes=32 * KIB, ways=8, latency_cycles=0),
        l2=CacheSpec(size_bytes=1 * MIB, ways=8, latency_cycles=10),
        l3=CacheSpec(size_bytes=32 * MIB, ways=16, latency_cycles=40),
        misses_in_flight=24,
        memory=MemorySpec(
            bandwidth_bytes_per_s=25_000_000_000, latency_ns=90, device="ddr4-3200", channels=1
        ),
        backend="wasm",
    ),
}
"""Named parameter sets; the first is the default."""

_CORES = {
    "cortex-a53": "sd835-little",
    "cortex-a55": "sd855-little",
    "cortex-a72": "rpi4",
    "cortex-a73": "sd835",
    "cortex-a75": "sd845",
    "cortex-a76": "sd855",
}
"""Core -> the chip it is taken from."""

PRESETS |= {core: PRESETS[chip] for core, chip in _CORES.items()}
