"""Say where the SMASH kernels keep what in a scratchpad, and how large their windows are.

A window is a run of rows of the product whose bound of partial products fits the table's load, or
one row's columns of a range narrow enough. V1 and V2 interleave tag and sum in a slot; V3's slots
hold tag and offset, and values and columns lie in fragments, dense per row, in two halves of the
scratchpad that windows use in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.piuma.spec import PiumaSpec

__all__ = ["FACTOR", "SmashLayout", "smash_layout"]

FACTOR = 0x9E3779B1
"""Odd number next to 2^32 / golden ratio (Knuth, TAOCP vol. 3, 6.4: multiplicative hashing)."""

_RANGE_PERCENT = 75
"""Most columns of one row's range, of a table's slots (assumed)."""

# Words of a window's header.
ROW_LO, ROW_HI, COL_LO, COL_HI, SHIFT, IS_SPLIT, BOUND = range(0, 56, 8)
HEADER_BYTES = 64
FLAGS = 2 * HEADER_BYTES  # two counters of fills, one per half
COUNTS = 256  # per row of the window: entries so far, later where the next one goes


@dataclass(frozen=True)
class SmashLayout:
    """Offsets in bytes from the scratchpad's (half's) beginning, and sizes.

    Attributes
    ----------
    version : int
        1 to 3.
    slots : int
        Of the table, a power of two.
    budget : int
        Most entries that a window of rows may bring.
    range_columns : int
        Columns of a range of a row that is split: most entries that such a window may bring.
    column_bits : int
        Low bits of a tag that hold the column.
    hash : str
        ``high``, ``low``, ``low_xor_row`` or ``mult``.
    half_bytes : int
        Distance between the halves, 0 if there is one table.
    counts, bases, table, columns, values : int
        Counters and first entries per row, slots, fragments.
    """

    version: int
    slots: int
    budget: int
    range_columns: int
    rows: int
    column_bits: int
    hash: str
    half_bytes: int
    counts: int
    bases: int
    table: int
    columns: int
    values: int

    @property
    def slot_bits(self) -> int:
        """Return the bits of a slot's number."""
        return self.slots.bit_length() - 1


def smash_layout(spec: PiumaSpec, version: int, columns: int) -> SmashLayout:
    """Return the layout of SMASH ``version`` for a product of ``columns``.

    Raises
    ------
    InputError
        If the scratchpad is too small for the slots asked for, or for any.
    """
    rows = spec.smash.window_rows
    halves = 2 if version == 3 else 1
    counters = (2 if version == 3 else 1) * 8 * rows
    room = spec.spad.capacity_bytes - COUNTS
    slots = spec.smash.slots or _most_slots(spec, room, counters, halves)
    need = halves * _half_bytes(spec, slots, counters, halves)
    if slots < 2 or need > room:
        field = "smash.slots" if spec.smash.slots else "spad.capacity_bytes"
        raise InputError(field, f"room for {max(need, 1)} bytes", f"{room} bytes")
    budget = max(1, slots * spec.smash.load_percent // 100)
    held = max(budget, _range_columns(spec, version, slots, room // halves - counters))
    counts = COUNTS
    bases = counts + 8 * rows
    table = counts + counters
    fragments = table + 16 * slots
    return SmashLayout(
        version=version,
        slots=slots,
        budget=budget,
        range_columns=held,
        rows=rows,
        column_bits=max(1, (columns - 1).bit_length()),
        hash=_hash_name(spec, version),
        half_bytes=room // 2 // 64 * 64 if halves == 2 else 0,
        counts=counts,
        bases=bases,
        table=table,
        values=fragments,
        columns=fragments + 8 * held,
    )


def _hash_name(spec: PiumaSpec, version: int) -> str:
    """Return which bits ``version`` hashes: V1 the high ones, the others the low ones."""
    if spec.smash.hash not in ("auto", "plain"):
        return spec.smash.hash
    low = "low" if spec.smash.hash == "plain" else "low_xor_row"
    return "high" if version == 1 else low


def _range_columns(spec: PiumaSpec, version: int, slots: int, room: int) -> int:
    """Return how many neighbouring columns of one row fit a table of ``room`` bytes.

    They begin in slots of their own by low bits and spread by others, so that more of the table may
    be filled than by whole rows; high bits would give several columns one slot.
    """
    if _hash_name(spec, version) == "high":
        return 0
    most = slots * _RANGE_PERCENT // 100
    # Fragments are columns and sums, in whole lines.
    return min(most, (room - 16 * slots - 64) // 12) if version == 3 else most


def _half_bytes(spec: PiumaSpec, slots: int, counters: int, halves: int) -> int:
    """Return the bytes of counters, table and fragments, whole lines."""
    fragments = 12 * max(1, slots * spec.smash.load_percent // 100) if halves == 2 else 0
    return 64 * ceil_div(counters + 16 * slots + fragments, 64)


def _most_slots(spec: PiumaSpec, room: int, counters: int, halves: int) -> int:
    slots = 1
    while halves * _half_bytes(spec, 2 * slots, counters, halves) <= room:
        slots *= 2
    return slots
