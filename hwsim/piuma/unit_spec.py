"""Describe PIUMA's hardware units one by one: what simulator, cycle models and RTL share.

Neither widths nor structure of these units are published; all defaults are choices (DEVIATIONS.md).
Numbers are integers or fixed point: sums wrap modulo two to the width.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwsim.core.errors import SpecError

__all__ = [
    "AtomicSpadSpec",
    "BarrelSpec",
    "GatherDmaSpec",
    "HashKind",
    "HashSpec",
    "IntersectSpec",
    "MergeSpec",
    "TokenQueueSpec",
    "SpadCrossbarSpec",
    "WindowSpec",
]

HashKind = Literal["high", "low", "low_xor_row", "mult"]
"""Which bits of a key choose its first slot."""


class _Unit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _need_power_of_two(where: str, value: int, least: int = 1) -> None:
    if value < least or value & (value - 1):
        raise SpecError(where, f"a power of two, at least {least}", str(value))


class HashSpec(_Unit):
    """A table that sums values by key: linear probing, ``comparators`` slots per cycle.

    A key is row * 2^column_bits + column.
    """

    slots: int = Field(1024, description="places of the table, a power of two")
    key_bits: int = Field(28, ge=1, le=32, description="width of a key, at least log2(slots)")
    column_bits: int = Field(14, ge=0, le=32, description="low bits of a key: the column")
    data_bits: int = Field(32, ge=1, description="width of a sum; integer or fixed point")
    hash: HashKind = "mult"
    comparators: int = Field(1, description="slots compared per cycle, a power of two")
    epoch_bits: int = Field(4, ge=1, description="2^epoch_bits - 1 clears between two sweeps")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _need_power_of_two("hash.slots", self.slots, 2)
        _need_power_of_two("hash.comparators", self.comparators)
        if 2 * self.comparators > self.slots:
            raise SpecError("hash.comparators", f"at most {self.slots // 2}", str(self.comparators))
        if self.key_bits < self.slot_bits:
            raise SpecError("hash.key_bits", f"at least {self.slot_bits}", str(self.key_bits))
        return self

    @property
    def slot_bits(self) -> int:
        """Return the width of a slot's number."""
        return self.slots.bit_length() - 1


class AtomicSpadSpec(_Unit):
    """One bank of the scratchpad with its read-modify-write pipeline."""

    words: int = Field(512, ge=2, description="words of the bank")
    data_bits: int = Field(64, ge=1, description="width of a word; sums wrap")
    tag_bits: int = Field(6, ge=1, description="width of what a response carries back")

    @property
    def address_bits(self) -> int:
        """Return the width of an address within the bank."""
        return (self.words - 1).bit_length()


class SpadCrossbarSpec(_Unit):
    """Ports that share banks; the bank of a word is the low bits of its address."""

    bank: AtomicSpadSpec = AtomicSpadSpec()
    banks: int = Field(4, description="a power of two")
    ports: int = Field(4, ge=1)
    has_xor: bool = Field(False, description="fold the next address bits into the bank's number")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _need_power_of_two("spad.banks", self.banks)
        _need_power_of_two("spad.bank.words", self.bank.words, 2)
        return self

    @property
    def bank_bits(self) -> int:
        """Return how many address bits choose the bank."""
        return self.banks.bit_length() - 1

    @property
    def address_bits(self) -> int:
        """Return the width of an address over all banks."""
        return self.bank_bits + self.bank.address_bits


class BarrelSpec(_Unit):
    """Issue of one multi-threaded pipeline."""

    threads: int = Field(16, ge=1, description="contexts (third-party: 16)")
    counter_bits: int = Field(32, ge=1, description="width of the performance counters")

    @property
    def thread_bits(self) -> int:
        """Return the width of a thread's number."""
        return max(1, (self.threads - 1).bit_length())


class GatherDmaSpec(_Unit):
    """A descriptor-driven engine that moves elements one by one."""

    address_bits: int = Field(32, ge=1, description="addresses count elements")
    data_bits: int = Field(64, ge=1, description="an element; 8 bytes by default")
    count_bits: int = Field(16, ge=1, description="width of a descriptor's element count")
    outstanding: int = Field(16, description="elements in flight, a power of two")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _need_power_of_two("dma.outstanding", self.outstanding, 2)
        if 1 << self.count_bits < self.outstanding:
            need = f"at least {self.slot_bits}"
            raise SpecError("dma.count_bits", need, str(self.count_bits))
        return self

    @property
    def slot_bits(self) -> int:
        """Return the width of the number of an element in flight."""
        return self.outstanding.bit_length() - 1


class MergeSpec(_Unit):
    """A tree that merges ``ways`` sorted lists into one."""

    ways: int = Field(64, description="lists, a power of two (64: Gamma's merger)")
    coordinate_bits: int = Field(32, ge=1)
    value_bits: int = Field(32, ge=1, description="integer or fixed point; sums wrap")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _need_power_of_two("merge.ways", self.ways, 2)
        return self

    @property
    def levels(self) -> int:
        """Return the ranks of two-way cells."""
        return self.ways.bit_length() - 1


class WindowSpec(_Unit):
    """Packing of rows into windows by their bound of partial products."""

    column_bits: int = Field(16, ge=1, description="a column of A, a row of B")
    pointer_bits: int = Field(32, ge=1, description="a row pointer of B")
    row_bits: int = Field(16, ge=1, description="a row of A")
    bound_bits: int = Field(32, ge=1, description="width of a bound; it saturates")
    budget_elems: int = Field(1 << 17, ge=1, description="most partial products of a window")
    columns: int = Field(1 << 16, ge=1, description="of B: the most entries of a row of C")
    window_rows: int = Field(2048, ge=1, description="most rows of a window")
    outstanding: int = Field(8, ge=1, description="inputs between acceptance and sum")

    @model_validator(mode="after")
    def _check(self) -> Self:
        top = (1 << self.bound_bits) - 1
        if max(self.budget_elems, self.columns) > top:
            need = f"bounds of at most {top}"
            raise SpecError("window.bound_bits", need, str(max(self.budget_elems, self.columns)))
        if self.window_rows >= 1 << self.row_bits:
            need = f"at most {(1 << self.row_bits) - 1}"
            raise SpecError("window.window_rows", need, str(self.window_rows))
        return self


class TokenQueueSpec(_Unit):
    """A queue of tokens that several ports push to and pop from."""

    entries: int = Field(64, description="tokens held, a power of two")
    waiters: int = Field(64, description="pops that wait for a token, a power of two")
    token_bits: int = Field(32, ge=1)
    tag_bits: int = Field(6, ge=1, description="width of what an answer carries back")
    ports: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _need_power_of_two("queue.entries", self.entries, 2)
        _need_power_of_two("queue.waiters", self.waiters, 2)
        return self

    @property
    def port_bits(self) -> int:
        """Return the width of a port's number."""
        return max(1, (self.ports - 1).bit_length())


class IntersectSpec(_Unit):
    """Intersection of two sorted coordinate lists that arrive in blocks.

    ``skip_ahead``: either list skips to the other's head within its block, in one cycle; blocks of
    one coordinate make it the plain merge of two fingers. ``leader_follower``: one look-up of a
    coordinate of list a in a block of list b per cycle.
    """

    coordinate_bits: int = Field(32, ge=1)
    position_bits: int = Field(32, ge=1, description="width of a place in a list; it wraps")
    block: int = Field(8, ge=1, description="coordinates per transfer of a list")
    mode: Literal["skip_ahead", "leader_follower"] = "skip_ahead"

    @property
    def count_bits(self) -> int:
        """Return the width of a number of coordinates of a block."""
        return self.block.bit_length()
