"""Describe a PIUMA-style machine: one frozen parameter set for simulator, lowering, RTL and report.

Of PIUMA (Aananthakrishnan et al. 2020) and of the SMASH thesis (Shivdikar 2021) this project has
the abstracts; organisation and sizes come from HotTiles (Gerogiannis et al. 2024) and from press
reports of the silicon. Every other default is an assumption; DEVIATIONS.md says why it was chosen.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.components.dram.devices import Device, load_device
from hwsim.core.errors import SpecError
from hwsim.core.machine import Spec
from hwsim.core.units import ceil_div
from hwsim.piuma.workload_spec import GcnSpec, KhopSpec, MlpSpec, PprSpec, TeddySpec

__all__ = [
    "PRESETS",
    "CacheSpec",
    "DmaSpec",
    "DramSpec",
    "MemorySpec",
    "MtpSpec",
    "NocSpec",
    "PiumaSpec",
    "QueueSpec",
    "ScratchpadSpec",
    "SmashSpec",
    "SpmmSpec",
    "StpSpec",
    "SyncSpec",
]

HashName = Literal["auto", "plain", "high", "low", "low_xor_row", "mult"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _require_power_of_two(field: str, value: int) -> None:
    if value & (value - 1):
        raise SpecError(field, "a power of two", str(value))


class MtpSpec(_Part):
    """Multi-threaded pipelines: a barrel of threads, one instruction issued per cycle."""

    pipelines: int = Field(4, ge=0, le=64, description="per block (HotTiles 2024)")
    threads: int = Field(16, ge=1, le=64, description="per pipeline (third-party notes)")
    alu_cycles: int = Field(
        8,
        ge=1,
        description="from an instruction to the thread's next (assumed: press reports give a "
        "single-threaded pipeline 8 times the speed of one of these threads)",
    )


class StpSpec(_Part):
    """Single-threaded pipelines: in order, stalling on the use of a value that is on its way."""

    pipelines: int = Field(2, ge=0, le=64, description="per block (HotTiles 2024)")
    alu_cycles: int = Field(1, ge=1, description="from an instruction to the next (assumed)")
    outstanding: int = Field(
        8, ge=1, le=64, description="memory instructions in flight per pipeline (assumed)"
    )


class CacheSpec(_Part):
    """Data cache of each pipeline, write-back, least recently used, not coherent."""

    capacity_bytes: int = Field(
        16384, ge=64, description="assumed: half of 192 KB / 6 (press reports)"
    )
    ways: int = Field(4, ge=1, le=64, description="assumed")
    line_bytes: Literal[64] = 64
    hit_cycles: int = Field(3, ge=1, description="assumed")

    @property
    def sets(self) -> int:
        """Return the number of sets."""
        return self.capacity_bytes // (self.line_bytes * self.ways)

    @model_validator(mode="after")
    def _is_indexable(self) -> Self:
        if self.sets * self.line_bytes * self.ways != self.capacity_bytes:
            need = f"a multiple of {self.line_bytes * self.ways} (ways x line)"
            raise SpecError("cache.capacity_bytes", need, str(self.capacity_bytes))
        _require_power_of_two("cache.capacity_bytes / ways", self.sets)
        return self


class ScratchpadSpec(_Part):
    """Scratchpad of a block: word-interleaved banks, each with an atomic unit."""

    capacity_bytes: int = Field(4 << 20, ge=4096, description="per block (press reports)")
    banks: int = Field(16, ge=1, le=1024, description="assumed")
    load_cycles: int = Field(8, ge=1, description="load or store, from issue to answer (assumed)")
    atomic_cycles: int = Field(10, ge=1, description="atomic, from issue to answer (assumed)")

    @model_validator(mode="after")
    def _is_indexable(self) -> Self:
        _require_power_of_two("spad.banks", self.banks)
        if self.capacity_bytes % 64:
            raise SpecError("spad.capacity_bytes", "a multiple of 64", str(self.capacity_bytes))
        return self


class DramSpec(_Part):
    """Off-chip memory of a block, serving words and lines at a fixed rate."""

    bandwidth_bytes_per_s: int = Field(
        17_600_000_000,
        ge=1,
        description="per block (assumed: one 32-bit sub-channel of DDR5-4400)",
    )
    latency_cycles: int = Field(100, ge=0, description="beyond the data's own time (assumed)")
    min_access_bytes: Literal[8, 16, 32, 64] = Field(
        8, description="shortest burst (press reports: 8-byte granularity)"
    )
    atomic_cycles: int = Field(4, ge=0, description="added by an atomic at the memory (assumed)")
    interleave_bytes: int = Field(
        4096, ge=64, description="consecutive bytes in one block's memory (assumed)"
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        _require_power_of_two("dram.interleave_bytes", self.interleave_bytes)
        return self


class MemorySpec(_Part):
    """What stands behind a block's memory controller."""

    model: Literal["ideal", "simple", "dram"] = Field(
        "simple",
        description="ideal: answers in the next cycle; simple: the rate and latency of ``dram``; "
        "dram: commands to the banks of ``device``, in order of arrival (docs/memory.md)",
    )
    device: str = Field("ddr5-4400", description="device of model dram (docs/memory.md)")
    channels: int = Field(1, ge=1, description="of the device per block (assumed), model dram")
    latency_cycles: int = Field(
        68,
        ge=0,
        description="of the way there and back, on top of the device's own (assumed: a lone word "
        "takes as long as with simple)",
    )

    @model_validator(mode="after")
    def _has_device(self) -> Self:
        if self.model == "dram":
            _require_power_of_two("memory.channels", self.channels)
            self.dram_device(1)
        return self

    def dram_device(self, blocks: int) -> Device:
        """Return the memories of all blocks; :class:`InputError` if they cannot be."""
        return load_device(self.device, blocks * self.channels)


class DmaSpec(_Part):
    """DMA engine of a block: descriptors in order, several lines in flight."""

    outstanding: int = Field(8, ge=1, le=64, description="lines or elements in flight (assumed)")
    setup_cycles: int = Field(20, ge=0, description="before a descriptor's first line (assumed)")
    queue_entries: int = Field(64, ge=1, le=65536, description="descriptors waiting (assumed)")


class QueueSpec(_Part):
    """Queue engine of a block: hardware FIFOs, one operation per cycle."""

    queues: int = Field(8, ge=1, le=64, description="per block (assumed)")
    entries: int = Field(1024, ge=1, le=1 << 20, description="per queue (assumed)")
    latency_cycles: int = Field(20, ge=1, description="from issue to answer (assumed)")


class SyncSpec(_Part):
    """Collective engine: barriers and sums over threads."""

    barrier_cycles: int = Field(
        20, ge=1, description="last arrival to release, one block (assumed)"
    )


class NocSpec(_Part):
    """Mesh between blocks, cut-through, dimension order."""

    hop_cycles: int = Field(4, ge=1, description="per router and link (assumed)")
    link_bytes_per_cycle: int = Field(16, ge=1, description="per direction (assumed)")


class SmashSpec(_Part):
    """Choices of the SMASH kernels that the texts at hand leave open."""

    hash: HashName = Field(
        "auto",
        description="plain: a tag's high bits for V1, its low ones for V2 and V3; auto: the same, "
        "but V2 and V3 lay the row over the low bits (low_xor_row)",
    )
    tag: Literal["window", "global"] = Field(
        "window", description="rows in a tag count from the window's first, or from 0 (assumed)"
    )
    slots: int = Field(0, ge=0, description="of a hash table; 0: as many as the scratchpad holds")
    load_percent: int = Field(
        12,
        ge=1,
        le=95,
        description="most partial products of a window, of its slots (assumed: an eighth, where "
        "plain bits of a tag probe few times)",
    )
    window_rows: int = Field(2048, ge=1, le=1 << 20, description="most rows of a window (assumed)")
    is_sorted: bool = Field(True, description="V1 sorts each thread's slots before it stores them")
    token_nonzeros: int = Field(1, ge=1, le=1 << 20, description="of A per token (assumed)")
    b_access: Literal["uncached", "cached"] = Field(
        "uncached", description="how threads read rows of B (assumed)"
    )

    @model_validator(mode="after")
    def _is_maskable(self) -> Self:
        _require_power_of_two("smash.slots", self.slots)
        return self


class SpmmSpec(_Part):
    """Tiles of the SpMM kernels that stream dense rows through the scratchpad."""

    tile_rows: int = Field(
        8192, ge=1, description="at most; less if pipelines would be idle (HotTiles 2024)"
    )
    tile_cols: int = Field(
        8192, ge=1, description="at most; less if the scratchpad is full (HotTiles 2024)"
    )


class PiumaSpec(Spec):
    """A whole machine of one or more blocks."""

    clock_hz: int = Field(1_000_000_000, ge=1, description="assumed (no published clock)")
    blocks: int = Field(1, ge=1, le=256)
    mtp: MtpSpec = MtpSpec()
    stp: StpSpec = StpSpec()
    cache: CacheSpec = CacheSpec()
    spad: ScratchpadSpec = ScratchpadSpec()
    dram: DramSpec = DramSpec()
    memory: MemorySpec = MemorySpec()
    dma: DmaSpec = DmaSpec()
    queue: QueueSpec = QueueSpec()
    sync: SyncSpec = SyncSpec()
    noc: NocSpec = NocSpec()
    smash: SmashSpec = SmashSpec()
    spmm: SpmmSpec = SpmmSpec()
    ppr: PprSpec = PprSpec()
    teddy: TeddySpec = TeddySpec()
    gcn: GcnSpec = GcnSpec()
    khop: KhopSpec = KhopSpec()
    mlp: MlpSpec = MlpSpec()

    @model_validator(mode="after")
    def _has_pipelines(self) -> Self:
        if self.mtp.pipelines + self.stp.pipelines == 0:
            raise SpecError("mtp.pipelines", "at least one pipeline", "none")
        _require_power_of_two("blocks", self.blocks)
        return self

    def capacities(self) -> dict[str, int]:
        return {"spad": self.spad.capacity_bytes}

    @property
    def mtp_threads(self) -> int:
        """Return the threads of all multi-threaded pipelines."""
        return self.blocks * self.mtp.pipelines * self.mtp.threads

    @property
    def threads(self) -> int:
        """Return all threads."""
        return self.mtp_threads + self.blocks * self.stp.pipelines

    @property
    def peak_macs_per_cycle(self) -> int:
        """Return the multiplications that can be issued in one cycle: one per pipeline."""
        return self.blocks * (self.mtp.pipelines + self.stp.pipelines)

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        """Return the bytes that one block's memory delivers per cycle at most, ideal ones aside."""
        if self.memory.model == "dram":
            return Fraction(self.memory.dram_device(1).peak_bytes_per_s, self.clock_hz)
        return Fraction(self.dram.bandwidth_bytes_per_s, self.clock_hz)

    @property
    def dram_latency_cycles(self) -> int:
        """Return the cycles from a lone access to its answer beyond the data's own time."""
        if self.memory.model == "ideal":
            return 1
        if self.memory.model == "simple":
            return self.dram.latency_cycles
        device = self.memory.dram_device(1)
        clocks = device.timings["RCD_RD"] + device.timings["CL"]
        return self.memory.latency_cycles + ceil_div(clocks * self.clock_hz, device.clock_hz)

    @property
    def mesh(self) -> tuple[int, int]:
        """Return rows and columns of the mesh, as square as powers of two allow."""
        rows = 1 << (self.blocks.bit_length() - 1) // 2
        return rows, self.blocks // rows


PRESETS: dict[str, PiumaSpec] = {
    "block": PiumaSpec(),
    "die": PiumaSpec(blocks=8),
}
"""Named parameter sets; the first is the default. A die has 8 blocks (press reports)."""
