"""Describe a FlightLLM accelerator: cores, buffers, HBM, and which rules time it.

``timing`` chooses between two conventions. ``artifact`` follows the profiler that the authors
published: one core's program times the whole model, and every time is divided by 3.2.
``independent`` divides nothing: the columns and heads of a layer are spread over the cores, a layer
takes as long as the core with the largest share, and units take what their RTL takes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.components.dram.devices import Device, load_device
from hwsim.core.formats.gqsa import GROUP, GROUP_BITS
from hwsim.core.machine import Spec
from hwsim.flightllm.unit_spec import (
    CsdChainSpec,
    DequantSpec,
    GqsaSpec,
    QMoeSpec,
    SfuSpec,
    TokenSpec,
)

__all__ = [
    "PRESETS",
    "BufferSpec",
    "ExpertSpec",
    "FlightSpec",
    "GroupSpec",
    "HbmSpec",
    "MemorySpec",
    "MpeSpec",
    "PowerSpec",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MpeSpec(_Part):
    """The matrix engine of a core (artifact).

    Its tiles have one size each: that of the blocks that lie side by side on eight channels and in
    the banks of the buffers (:mod:`hwsim.flightllm.places`).
    """

    block: Literal[16] = Field(16, description="weights per block along k and n")
    mv_columns: Literal[512] = Field(512, description="outputs of one MV instruction")
    mm_rows: Literal[128] = Field(128, description="rows of one MM instruction")
    mm_columns: Literal[16] = Field(16, description="outputs per row of one MM instruction")
    block_cycles: Literal[1, 2, 4, 8, 16, 32] = Field(
        8, description="cycles per k block, MM and MV, dense"
    )

    @property
    def mm_macs_per_cycle(self) -> int:
        """Return the multiply-accumulates per cycle of MM: 4096 at 8 cycles a block (artifact)."""
        return self.mm_rows * self.mm_columns * self.block // self.block_cycles

    @property
    def mv_macs_per_cycle(self) -> int:
        """Return the multiply-accumulates per cycle of MV: 1024 at 8 cycles a block (artifact)."""
        return self.mv_columns * self.block // self.block_cycles


class BufferSpec(_Part):
    """On-chip buffers of a core (artifact)."""

    a_depth: int = Field(4096, ge=2, description="addresses of the A buffer")
    a_block_addresses: int = Field(16, ge=1, description="addresses per k block of an MV tile")
    b_depth: int = Field(4096, ge=2)
    b_block_addresses: int = Field(8, ge=1, description="addresses per k block of an MM tile")
    a_bytes_per_cycle: int = Field(2048, ge=1, description="port of the A buffer, zero fill")
    b_bytes_per_cycle: int = Field(32, ge=1, description="port of the B buffer")
    a_bytes: int = Field(8 << 20, ge=1)
    b_bytes: int = Field(128 << 10, ge=1)
    global_bytes: int = Field(1 << 20, ge=1)


class HbmSpec(_Part):
    """High-bandwidth memory, its rate exact: the artifact's 25.6 GiB/s are 2^37 bytes in 5 s."""

    channels: int = Field(32, ge=1)
    channels_per_core: int = Field(8, ge=1, le=8, description="that weights and activations use")
    channel_bytes_per_5s: int = Field(ge=1, description="peak of one channel in five seconds")
    channel_capacity_bytes: int = Field(1 << 30, ge=1, description="32 GiB over 32 channels")
    same_channel_percent: int = Field(70, ge=1, le=100)
    cross_channel_percent: int = Field(35, ge=1, le=100)

    @property
    def channel_bytes_per_s(self) -> Fraction:
        """Return the peak rate of one channel."""
        return Fraction(self.channel_bytes_per_5s, 5)

    @property
    def bytes_per_s(self) -> Fraction:
        """Return the peak rate of all channels."""
        return self.channels * self.channel_bytes_per_s


class ExpertSpec(_Part):
    """How routed experts lie in memory, and what expands QMoE's codewords behind it."""

    format: Literal["plain", "qmoe"] = Field("plain", description="as other weights, or codewords")
    decoders_per_core: int = Field(6, ge=1, description="20 fit a U280's free URAM (estimate)")
    weights_per_codeword_x10: int = Field(
        217, ge=10, le=280, description="tenths; 21.7 at 88.5 % independent zeros (measured)"
    )
    codeword_bits: int = Field(16, ge=1)
    row_bits: int = Field(64, ge=0, description="minimum, maximum and offset of a row (artifact)")
    unit: QMoeSpec = QMoeSpec(entries=1 << 16)

    def bits_per_weight(self, columns: int) -> Fraction:
        """Return the bits that a weight takes in a row of ``columns``."""
        return self.codeword_bits / self.weights_per_codeword + Fraction(self.row_bits, columns)

    @property
    def weights_per_codeword(self) -> Fraction:
        """Return the mean number of weights of a codeword."""
        return Fraction(self.weights_per_codeword_x10, 10)


class GroupSpec(_Part):
    """What multiplies kept groups of INT4 weights (``--sparsity block:16x1:S``)."""

    engines_per_core: int = Field(64, ge=1, description="as many products as MV (assumed)")
    scale_fraction_bits: int = Field(15, ge=0, le=30, description="of a group's scale (assumed)")
    unit: GqsaSpec = GqsaSpec()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scale_fraction_bits >= self.unit.scale_bits:
            need = f"below the {self.unit.scale_bits} bits of a scale"
            raise ValueError(f"scale_fraction_bits: need {need}, found {self.scale_fraction_bits}")
        return self

    def bits_per_weight(self, density: Fraction, columns: int) -> Fraction:
        """Return the bits of a weight in a row of ``columns``, of whose groups a share is kept.

        With the row's pointer; as :func:`hwsim.core.formats.gqsa.group_sparse_bits`.
        """
        return density * Fraction(GROUP_BITS, GROUP) + Fraction(32, columns)


class MemorySpec(_Part):
    """How HBM is timed: not at all, by rate and efficiency, or command by command."""

    model: Literal["ideal", "simple", "dram"] = "simple"
    device: str = Field("hbm2e-3200", description="device of model dram (docs/memory.md)")
    path_cycles: int = Field(16, ge=0, description="to the controller and back, dram (assumed)")

    def dram_device(self) -> Device:
        """Return the device; :class:`InputError` if there is none of that name."""
        return load_device(self.device)


class PowerSpec(_Part):
    """Energy table of the chip, power of the card at rest, and of the board under load.

    At rest: a U50 with its shell and nothing running, sensors of both supplies (12.213 V x 1.363 A
    and 3.3 V x 0.223 A; output in XRT's pull request 5184): leakage, shell, clocks, idle HBM and
    regulators. Assumed for cards whose die is larger: no reading of an idle one is at hand.
    """

    technology: Literal["fpga-16nm"] = "fpga-16nm"
    static_w: float = Field(17.38, ge=0, description="the card at rest (assumed: that of a U50)")
    board_w: float | None = Field(
        None, gt=0, description="under load, where it was measured; what counts leave is the rest's"
    )


class FlightSpec(Spec):
    """A FlightLLM accelerator."""

    clock_hz: int = Field(225_000_000, ge=1)
    cores: int = Field(4, ge=1, description="one per super logic region")
    timing: Literal["artifact", "independent"] = "artifact"
    speed_num: int = Field(16, ge=1, description="artifact: times are divided by num / den")
    speed_den: int = Field(5, ge=1)
    weight_bits_x10: int = Field(40, ge=10, le=80, description="tenths of a bit per kept weight")
    query_key_percent: int = Field(
        70, ge=1, le=100, description="density of query and key projections left dense by the user"
    )
    max_tokens: int = Field(2048, ge=128, description="longest length compiled for (artifact)")
    mask_block: int = Field(64, ge=1, description="granularity of the causal mask")
    is_fused: bool = Field(True, description="vectors stay on chip between the ops of a layer")
    mpe: MpeSpec = MpeSpec()
    chain: CsdChainSpec = CsdChainSpec()
    dequant: DequantSpec = DequantSpec()
    tokens: TokenSpec = TokenSpec()
    sfu: SfuSpec = SfuSpec()
    buffers: BufferSpec = BufferSpec()
    hbm: HbmSpec
    experts: ExpertSpec = ExpertSpec()
    groups: GroupSpec = GroupSpec()
    memory: MemorySpec = MemorySpec()
    power: PowerSpec = PowerSpec()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cores * self.hbm.channels_per_core > self.hbm.channels:
            need = self.cores * self.hbm.channels_per_core
            raise ValueError(
                f"hbm.channels: need {need} for {self.cores} cores, found {self.hbm.channels}"
            )
        if self.memory.model == "dram":
            self._check_dram()
        return self

    def _check_dram(self) -> None:
        if self.timing != "independent":
            raise ValueError("timing: need independent for memory.model dram, found artifact")
        device = self.memory.dram_device()
        if device.controllers < self.hbm.channels:
            need, found = self.hbm.channels, device.controllers
            raise ValueError(f"memory.device: need {need} channels, found {found} on {device.name}")

    def capacities(self) -> dict[str, int]:
        return {
            "a_buffer": self.buffers.a_bytes,
            "b_buffer": self.buffers.b_bytes,
            "global_buffer": self.buffers.global_bytes,
        }

    @property
    def speed(self) -> Fraction:
        """Return what every time is divided by."""
        if self.timing == "independent":
            return Fraction(1)
        return Fraction(self.speed_num, self.speed_den)

    @property
    def shares(self) -> int:
        """Return over how many cores a layer's columns and heads are spread by the timing."""
        return self.cores if self.timing == "independent" else 1

    @property
    def peak_macs_per_cycle(self) -> int:
        """Return the dense multiply-accumulates per cycle of all cores."""
        return self.cores * self.mpe.mm_macs_per_cycle


PRESETS: dict[str, Spec] = {
    # 460 GB/s over 32 channels; weights of the published package take 4.1 bits and metadata.
    "u280": FlightSpec(
        cores=3,
        timing="independent",
        weight_bits_x10=41,
        memory=MemorySpec(device="hbm2-1800"),
        power=PowerSpec(board_w=45.0),  # third-party notes on a board run
        hbm=HbmSpec(channel_bytes_per_5s=460_000_000_000 * 5 // 32, channel_capacity_bytes=1 << 28),
    ),
    # 819.2 GiB/s over 32 channels, as the authors' configuration has it.
    "vhk158": FlightSpec(hbm=HbmSpec(channel_bytes_per_5s=1 << 37)),
}
