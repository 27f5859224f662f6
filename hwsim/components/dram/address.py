"""Map byte addresses to banks, rows and columns by a word of two-letter fields.

``RoRaBaCoBgCh`` lists the fields from the highest address bits to the lowest: row, rank, bank
(inside its group), column, bank group, channel (pseudo channels included). A number behind a
field takes so many of its lowest bits not yet placed (``RoBaRaCoChCo2`` keeps four bursts of a row
together on a channel); the field's other bits go where it is named without a number. A word
without ``Bg`` puts the bank group right below the bank, as tools without bank groups do. Addresses
count bursts: the bytes inside a burst are below the lowest field.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram.devices import Device
from hwsim.core.errors import InputError

__all__ = ["FIELDS", "Location", "field_bits", "locate", "parse_mapping"]

FIELDS = ("Ch", "Ra", "Bg", "Ba", "Ro", "Co")
"""Channel (controller), rank, bank group, bank in its group, row, column (in bursts)."""

Location = dict[str, int]
"""A value per field."""


def field_bits(device: Device) -> dict[str, int]:
    """Return the address bits of each field."""
    sizes = (
        *(device.controllers, device.ranks, device.bank_groups, device.banks_per_group),
        *(device.rows, device.row_bytes // device.burst_bytes),
    )
    return {field: size.bit_length() - 1 for field, size in zip(FIELDS, sizes, strict=True)}


def parse_mapping(device: Device, word: str) -> NDArray[np.int64]:
    """Return the pieces of ``word`` : int64[piece, 4], lowest bits first.

    Columns: field (index into FIELDS), shift in the burst address, mask, shift in the field.

    Raises
    ------
    InputError
        If ``word`` is no sequence of fields, or does not place every bit exactly once.
    """
    parts = re.findall(r"([A-Z][a-z])(\d{0,4})", word)
    if "".join(field + count for field, count in parts) != word or not parts:
        raise InputError("memory.mapping", "fields like RoRaBaCoBgCh", repr(word))
    if "Bg" not in word:
        parts = [
            p for f, c in parts for p in ([(f, c), ("Bg", "")] if f == "Ba" and not c else [(f, c)])
        ]
    left = field_bits(device)
    numbered = {f: sum(int(c) for g, c in parts if g == f and c) for f in FIELDS}
    placed = dict.fromkeys(FIELDS, 0)
    pieces, shift = [], 0
    for field, count in reversed(parts):
        if field not in FIELDS or [f for f, c in parts if not c].count(field) > 1:
            need = f"each of {', '.join(FIELDS)} once without a number"
            raise InputError("memory.mapping", need, f"{field}{count} in {word!r}")
        bits = int(count) if count else left[field] - numbered[field]
        if bits < 0 or placed[field] + bits > left[field]:
            need = f"at most {left[field]} bits of {field}"
            raise InputError("memory.mapping", need, repr(word))
        pieces.append((FIELDS.index(field), shift, (1 << bits) - 1, placed[field]))
        placed[field] += bits
        shift += bits
    lacking = [field for field in FIELDS if placed[field] != left[field]]
    if lacking:
        raise InputError("memory.mapping", f"a place for {', '.join(lacking)}", repr(word))
    return np.array(pieces, np.int64)


def locate(device: Device, word: str, address: int, *, is_hashed: bool = False) -> Location:
    """Return where the byte ``address`` lies.

    With ``is_hashed`` the bank group is exclusive-ored with the lowest bits of the row and the
    bank with the next ones (permutation-based interleaving, Zhang, Zhu and Zhang 2000), so that
    rows of equal bank bits spread over the banks.

    Raises
    ------
    InputError
        If the address is negative or beyond the device's capacity.
    """
    if not 0 <= address < device.capacity_bytes:
        need = f"0 to {device.capacity_bytes - 1} on {device.name}"
        raise InputError("request.address", need, str(address))
    burst = address // device.burst_bytes
    found = dict.fromkeys(FIELDS, 0)
    for field, shift, mask, into in parse_mapping(device, word).tolist():
        found[FIELDS[field]] |= (burst >> shift & mask) << into
    if is_hashed:
        found["Bg"] ^= found["Ro"] & device.bank_groups - 1
        row = found["Ro"] // device.bank_groups
        found["Ba"] ^= row & device.banks_per_group - 1
    return found
