"""Describe the units that a FlightLLM core is built of: widths and depths a bitstream fixes.

Simulator and RTL read the same numbers here. What FlightLLM (Zeng et al., FPGA 2024) states is
said so; everything else is this project's choice, with its reason in DEVIATIONS.md.
"""

from __future__ import annotations

from math import erf, exp, gcd, sqrt
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div

__all__ = [
    "DSP_A_BITS",
    "DSP_B_BITS",
    "DSP_P_BITS",
    "GATE_RANGE",
    "CsdChainSpec",
    "DequantSpec",
    "DspSpec",
    "GqsaSpec",
    "LaneSpec",
    "QMoeSpec",
    "SfuSpec",
    "TokenSpec",
]

DSP_A_BITS = 27
"""Signed multiplier port of a DSP48E2 that the pre-adder feeds (AMD, UG579)."""

DSP_B_BITS = 18

DSP_P_BITS = 48

GATE_RANGE = 8
"""Where the tables of silu's and gelu's gates end: beyond it both are 1 within 2**-11."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DspSpec(_Part):
    """One DSP48E2 as a multiply-accumulate step."""

    has_preadder: bool = Field(True, description="P = (A + D) * B + Z, else A * B + Z")


class LaneSpec(_Part):
    """Two products that share one weight in one DSP48E2 (INT8 packing, Zeng et al. 2024)."""

    operand_bits: int = Field(8, ge=2, le=8, description="signed activations and weights")
    lane_bits: int = Field(18, ge=6, le=18, description="width of the low lane in P")
    segment_dsps: int = Field(
        8, ge=1, description="products summed before overflow adjustment (Zeng et al. 2024: 8)"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.headroom < 1:
            raise ValueError(
                f"segment_dsps: need {self.segment_dsps} symmetric products and a carry within "
                f"{self.lane_bits} bits, found {self.bound} of {self.lane_max}"
            )
        return self

    @property
    def lane_max(self) -> int:
        """Return the largest sum that the low lane holds."""
        return (1 << (self.lane_bits - 1)) - 1

    @property
    def bound(self) -> int:
        """Return the largest magnitude of a segment's sum while weights are symmetric."""
        largest = 1 << (self.operand_bits - 1)
        return self.segment_dsps * largest * (largest - 1)

    @property
    def headroom(self) -> int:
        """Return what may be added to any segment's sum within the lane."""
        return self.lane_max - self.bound

    @property
    def lsp_bits(self) -> int:
        """Return the width of the unsigned part that overflow adjustment leaves in the cascade."""
        return (self.headroom + 1).bit_length() - 1

    @property
    def msp_bits(self) -> int:
        """Return the width of the signed part that leaves the cascade."""
        return self.lane_bits - self.lsp_bits


class CsdChainSpec(_Part):
    """A configurable sparse DSP chain: one vector processing unit (Zeng et al. 2024, 3.3)."""

    dsps: int = Field(16, ge=2, description="DSP48E2 in the chain (assumed: the block size 16)")
    dsps_per_group: int = Field(2, ge=2, le=2, description="fixed cascade (Zeng et al. 2024)")
    choices: int = Field(16, ge=2, description="M: inputs of a sparse multiplexer")
    sum_bits: int = Field(24, ge=8, le=30, description="width of an emitted sum")
    lane: LaneSpec = LaneSpec()

    @model_validator(mode="after")
    def _check(self) -> Self:
        groups = self.dsps // self.dsps_per_group
        if self.dsps % self.dsps_per_group or groups & (groups - 1):
            raise ValueError(f"dsps: need 2 times a power of two, found {self.dsps}")
        segment = self.lane.segment_dsps
        if segment % self.dsps_per_group or self.dsps not in (segment, 2 * segment):
            raise ValueError(f"dsps: need one or two segments of {segment}, found {self.dsps}")
        return self

    @property
    def groups(self) -> int:
        """Return the DSP groups, each with a reduction node at its end."""
        return self.dsps // self.dsps_per_group

    @property
    def modes(self) -> tuple[int, ...]:
        """Return N, the kept weights per block column, by mode: 2, 4, ... ``dsps``."""
        return tuple(self.dsps_per_group << code for code in range(self.groups.bit_length()))

    @property
    def mode_bits(self) -> int:
        """Return the width of a mode."""
        return max(1, (len(self.modes) - 1).bit_length())

    @property
    def select_bits(self) -> int:
        """Return the width of a sparse index."""
        return index_bits(self.choices)


class TokenSpec(_Part):
    """The instruction scheduler's tokens between units."""

    units: int = Field(6, ge=2, description="LD, ST, MM, MV, MISC, SYS (artifact)")
    depth: int = Field(15, ge=1, description="tokens that one pair of units may hold (assumed)")
    in_flight: int = Field(
        8, ge=1, description="instructions of a unit taken and not completed (assumed)"
    )

    @property
    def peers(self) -> int:
        """Return the width of a wait or release mask: the other units."""
        return self.units - 1


class DequantSpec(_Part):
    """The unit that expands low-bit weights to INT8 before the DSPs."""

    word_bits: int = Field(64, ge=8, description="memory word (assumed)")
    lanes: int = Field(16, ge=1, description="INT8 values per cycle (assumed: one block row)")
    widths: tuple[int, ...] = Field((2, 3, 4, 5, 8), description="bits per weight, by code")
    count_bits: int = Field(16, ge=1, le=32, description="width of a job's vector counter")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.widths or min(self.widths) < 1 or max(self.widths) > 8:
            raise ValueError(f"widths: need some of 1 to 8 bits, found {self.widths}")
        return self

    @property
    def code_bits(self) -> int:
        """Return the width of a width's code."""
        return max(1, (len(self.widths) - 1).bit_length())

    @property
    def step_bits(self) -> int:
        """Return the largest power of two that divides a word and a vector of every width."""
        step = gcd(self.word_bits, *(self.lanes * width for width in self.widths))
        return step & -step

    @property
    def word_steps(self) -> int:
        """Return the steps of a word."""
        return self.word_bits // self.step_bits

    @property
    def window_bits(self) -> int:
        """Return the bits of the widest vector."""
        return self.lanes * max(self.widths)

    @property
    def kept_words(self) -> int:
        """Return the words that are kept: those of the widest vector, and one that arrives."""
        return ceil_div(self.window_bits, self.word_bits) + 1


class SfuSpec(_Part):
    """The vector unit for softmax, normalisation and element-wise operations, in fixed point."""

    lanes: int = Field(16, ge=1, description="elements per cycle (artifact)")
    max_beats: int = Field(
        16383, ge=1, description="longest vector: what 14 bits of MISC can say (artifact)"
    )
    scale_fraction_bits: int = Field(12, ge=8, le=15, description="of softmax's scale (assumed)")
    table_bits: int = Field(8, ge=2, le=8, description="log2 of the table of exp2 (assumed)")
    reciprocal_bits: int = Field(30, ge=16, le=30, description="numerator is 2**this (assumed)")
    norm_fraction_bits: int = Field(8, ge=0, le=9, description="of a normalised output (assumed)")

    @property
    def elems_bits(self) -> int:
        """Return the width of a vector's length."""
        return (self.lanes * self.max_beats).bit_length()

    @property
    def root_bits(self) -> int:
        """Return the width of the root of a length times a sum of squares."""
        # Squares are at most 2**14, their sum elems times that, and elems once more.
        return (14 + 2 * self.elems_bits + 1) // 2

    @property
    def output_bits(self) -> int:
        """Return the width of an output: 16, as norms are FP16 (Zeng et al. 2024)."""
        return 16

    @property
    def tail_bits(self) -> int:
        """Return the width of the number of lanes that a vector's last beat uses."""
        return max(1, (self.lanes - 1).bit_length())

    def exp2_table(self) -> tuple[int, ...]:
        """Return 2**15 * 2**(-f / entries), rounded, for every fraction f."""
        entries = 1 << self.table_bits
        return tuple(round(2 ** (15 - f / entries)) for f in range(entries))

    @property
    def gate_shift(self) -> int:
        """Return by how much a fixed-point t is shifted to index a gate's table."""
        return self.scale_fraction_bits + GATE_RANGE.bit_length() - 1 - self.table_bits

    def gate_table(self, op: Literal["silu", "gelu"]) -> tuple[int, ...]:
        """Return 2**15 times what multiplies x, in the middle of every step of t in 0 to 8.

        The gate is 1 / (1 + exp(-t)) in silu, the normal distribution's integral in gelu.
        """
        entries = 1 << self.table_bits
        middles = [(step + 0.5) * GATE_RANGE / entries for step in range(entries)]
        if op == "silu":
            return tuple(round(2**15 / (1 + exp(-t))) for t in middles)
        return tuple(round(2**14 * (1 + erf(t / sqrt(2)))) for t in middles)


class QMoeSpec(_Part):
    """The decoder of ternary dictionary codes (Frantar and Alistarh, QMoE)."""

    entries: int = Field(4096, ge=4, le=65536, description="codewords the table holds")
    max_pairs: int = Field(14, ge=1, le=14, description="weight pairs per codeword (artifact)")
    index_bits: int = Field(16, ge=4, le=24, description="width of a position in a row")
    columns: int = Field(4096, ge=2, description="activations the buffer holds (assumed)")
    sum_bits: int = Field(24, ge=16, le=40, description="width of a row's sums (assumed)")

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = self.columns
        if columns & (columns - 1) or not 2 * self.bank <= columns <= 1 << self.index_bits:
            limits = f"{2 * self.bank} to {1 << self.index_bits}"
            raise ValueError(f"columns: need a power of two, {limits}, found {columns}")
        return self

    @property
    def bank(self) -> int:
        """Return the activations in a word of the buffer: no fewer than a codeword's weights."""
        return 1 << (2 * self.max_pairs - 1).bit_length()


class GqsaSpec(_Part):
    """The engine for rows of non-zero INT4 groups."""

    group: int = Field(16, ge=2, description="weights per group (assumed: G = 16)")
    columns: int = Field(4096, ge=2, description="activations the buffer holds (assumed)")
    scale_bits: int = Field(16, ge=1, le=16, description="fixed-point scale of a group (assumed)")
    sum_bits: int = Field(48, ge=24, le=64, description="width of a row's sum")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.columns % self.group or self.columns // self.group < 2:
            raise ValueError(
                f"columns: need 2 or more groups of {self.group}, found {self.columns}"
            )
        return self

    @property
    def groups(self) -> int:
        """Return the activation groups that the buffer holds."""
        return self.columns // self.group
