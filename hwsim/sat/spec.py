"""Describe a SAT accelerator: one frozen parameter set for simulator, mapper, RTL and report.

The paper's text is not available to this project beyond its abstract (Fang et al. 2023); every
default below is an assumption unless a source is named, and DEVIATIONS.md says why it was chosen.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.components.dram.devices import Device, load_device
from hwsim.core.machine import Spec
from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div

__all__ = [
    "PRESETS",
    "ArraySpec",
    "BufferSpec",
    "MemorySpec",
    "PackerSpec",
    "PreGenSpec",
    "SatSpec",
    "SorterSpec",
    "SoreSpec",
    "TileSpec",
    "VectorSpec",
    "WuveSpec",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArraySpec(_Part):
    """The sparse tensor computing engine (STCE): rows x cols value-serial processing elements.

    ``timing`` selects the cycle contract: ``sat`` is this project's microarchitecture
    (docs/sat_microarchitecture.md), ``scalesim`` reproduces SCALE-Sim's printed counts.
    """

    rows: int = Field(32, ge=1, description="PE rows (assumed: 32, consistent with 32 SORE lanes)")
    cols: int = Field(32, ge=1, description="PE columns (assumed: 32)")
    multiplier_latency_cycles: int = Field(2, ge=0, description="FP16 multiplier (assumed)")
    adder_latency_cycles: int = Field(6, ge=1, description="FP32 adder, L (assumed: 4 to 8)")
    interleave: int = Field(8, ge=1, description="independent partial sums per PE, I (assumed)")
    edge_elems_per_cycle: int = Field(
        8, ge=1, description="elements one west lane receives per cycle (assumed: feeds 2:16)"
    )
    has_double_buffered_weights: bool = Field(
        True, description="stationary registers have a shadow copy to load into"
    )
    overlap_skew: bool = Field(False, description="start a tile before the last one has left")
    overlap_drain: bool = Field(False, description="OS results drain under the next tile")
    timing: Literal["sat", "scalesim"] = "sat"


class TileSpec(_Part):
    """The array as built: what :class:`ArraySpec` says, and the widths a bitstream fixes."""

    array: ArraySpec = ArraySpec()
    nm_n: int = Field(2, ge=1, description="most kept values per group: weight registers of a PE")
    nm_m: int = Field(8, ge=2, description="longest group: inputs of the operand multiplexer")
    count_bits: int = Field(16, ge=1, le=32, description="width of the counters of a job")


class BufferSpec(_Part):
    """On-chip buffers in bytes; each is split in two halves for double buffering (assumed)."""

    activation_bytes: int = Field(4 << 20, ge=1)
    weight_bytes: int = Field(4 << 20, ge=1)
    output_bytes: int = Field(4 << 20, ge=1, description="FP32 partial sums and results")
    lane_bytes: int = Field(
        1 << 20, ge=16, description="operands and results of the lane-parallel units, in quarters"
    )


class MemorySpec(_Part):
    """Off-chip memory seen by the DMA engine."""

    model: Literal["ideal", "simple", "dram"] = "simple"
    bandwidth_bytes_per_s: int = Field(
        25_600_000_000,
        ge=1,
        description="assumed (recollection, unverified); with dram the device's peak counts",
    )
    efficiency_percent: int = Field(
        85, ge=1, le=100, description="share of the peak that long bursts reach (assumed), simple"
    )
    latency_cycles: int = Field(
        40, ge=0, description="first byte after the request (assumed); with dram on top of its own"
    )
    device: str = Field("ddr4-2400", description="device of model dram (docs/memory.md)")
    channels: int | None = Field(None, ge=1, description="channels of the device, its own if none")

    @model_validator(mode="after")
    def _has_device(self) -> Self:
        if self.model == "dram":
            self.dram_device()
        return self

    def dram_device(self) -> Device:
        """Return the device of model ``dram``; :class:`InputError` if it cannot be."""
        return load_device(self.device, self.channels)


class VectorSpec(_Part):
    """The vector path for elementwise, pooling, normalisation and softmax operators."""

    lanes: int = Field(32, ge=1, description="elements per cycle (assumed)")
    stages: int = Field(
        3, ge=1, description="chained ALUs per lane (assumed: a weight update chains three)"
    )


class WuveSpec(_Part):
    """The weight update vector engine: FP32 master weights and momentum, FP16 copy out."""

    lanes: int = Field(32, ge=1, description="weights per cycle (assumed)")


class SorterSpec(_Part):
    """One SORE lane: keeps the ``nm_n`` largest magnitudes of every ``nm_m`` values."""

    nm_n: int = Field(2, ge=1)
    nm_m: int = Field(8, ge=1)
    value_bits: Literal[16] = 16


class SoreSpec(_Part):
    """The sparse online reduction engine (third-party reading notes: 32 lanes, M cycles/group)."""

    lanes: int = Field(32, ge=1)
    sorter: SorterSpec = SorterSpec()


class PackerSpec(_Part):
    """What turns compact N:M groups into memory words, and words into groups."""

    sorter: SorterSpec = SorterSpec()
    word_bits: Literal[64, 128, 512] = Field(512, description="width of the memory port (assumed)")

    @property
    def group_bits(self) -> int:
        """Return the bits of one group: value and index per slot."""
        return self.sorter.nm_n * (self.sorter.value_bits + index_bits(self.sorter.nm_m))


class PreGenSpec(_Part):
    """The chain behind WUVE that selects the N:M groups of both directions of new weights."""

    sore: SoreSpec = SoreSpec()
    engines: Literal[1, 2] = Field(
        2, description="SOREs: one per direction, or one for both at half the rate (assumed)"
    )
    word_bits: Literal[64, 128, 512] = Field(
        64, description="words of the compact weights, per tile of nm_m lanes (assumed)"
    )


class SatSpec(Spec):
    """A whole SAT accelerator."""

    clock_hz: int = Field(200_000_000, ge=1, description="assumed (recollection, unverified)")
    array: ArraySpec = ArraySpec()
    buffers: BufferSpec = BufferSpec()
    memory: MemorySpec = MemorySpec()
    vector: VectorSpec = VectorSpec()
    wuve: WuveSpec = WuveSpec()
    sore: SoreSpec = SoreSpec()
    technology: Literal["fpga-16nm", "asic-45nm"] = Field(
        "fpga-16nm", description="energy table of hwsim.components.energy"
    )
    queue_depth: int = Field(8, ge=1, description="instructions waiting per unit (assumed)")

    def capacities(self) -> dict[str, int]:
        return {
            "activation": self.buffers.activation_bytes,
            "weight": self.buffers.weight_bytes,
            "output": self.buffers.output_bytes,
        }

    @property
    def peak_macs_per_cycle(self) -> int:
        """Return the multiply-accumulates the array can issue in one cycle."""
        return self.array.rows * self.array.cols

    @property
    def is_array_only(self) -> bool:
        """Return whether only the array is timed (SCALE-Sim's counts have no memory)."""
        return self.array.timing == "scalesim"

    @property
    def memory_bytes_per_cycle(self) -> Fraction:
        """Return the bytes the memory delivers per array cycle at most.

        That is the peak of the DRAM device, or the fixed rate with its efficiency included.
        """
        if self.memory.model == "dram":
            return Fraction(self.memory.dram_device().peak_bytes_per_s, self.clock_hz)
        peak = Fraction(self.memory.bandwidth_bytes_per_s, self.clock_hz)
        return peak * self.memory.efficiency_percent / 100

    def memory_cycles(self, size_bytes: int) -> int:
        """Return the cycles in which the memory moves ``size_bytes`` at its best."""
        if self.memory.model == "dram":
            rate = self.memory_bytes_per_cycle
            return ceil_div(size_bytes * rate.denominator, rate.numerator)
        # The same without a fraction: mappers ask this of every candidate.
        rate_percent = self.memory.bandwidth_bytes_per_s * self.memory.efficiency_percent
        return ceil_div(size_bytes * self.clock_hz * 100, rate_percent)


PRESETS: dict[str, SatSpec] = {
    "vcu1525": SatSpec(),
    "scalesim": SatSpec(
        array=ArraySpec(timing="scalesim"), memory=MemorySpec(model="ideal", latency_cycles=0)
    ),
}
"""Named parameter sets; the first is the default."""
