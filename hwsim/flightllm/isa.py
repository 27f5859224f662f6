"""Define the instructions of a core: units, opcodes, bit layout, token masks, binary and text.

Layout and widths are those of the program generator that the authors published (profile of the
VHK158): 32-bit little-endian words, word 0 always opcode[31:28], wait[27:23], release[22:18].
``wait`` and ``release`` have one bit per *other* unit, in the order of ``UNITS``, first highest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = [
    "CODE",
    "FIELDS",
    "LD",
    "MISC",
    "MISC_OPS",
    "MM",
    "MV",
    "OPCODES",
    "ROW",
    "ST",
    "SPREAD",
    "STRIPED",
    "SYS",
    "TURNED",
    "UNITS",
    "WORDS",
    "Field",
    "assemble",
    "decode_mask",
    "disassemble",
    "encode_mask",
    "program_bytes",
]

UNITS = ["ld", "st", "mm", "mv", "misc", "sys"]
LD, ST, MM, MV, MISC, SYS = range(6)
OPCODES = {LD: 0b0001, ST: 0b0010, MM: 0b0011, MV: 0b0100, MISC: 0b0101, SYS: 0b1111}
WORDS = {LD: 7, ST: 3, MM: 4, MV: 4, MISC: 3, SYS: 1}
"""Words per instruction: 28, 12, 16, 16, 12 and 4 bytes."""
STRIPED = 2
"""Flag of a load or store: its address counts the bytes of all eight channels."""
SPREAD = 4
"""Flag of a load: from that address on each of the eight channels, the length of all together."""
TURNED = 8
"""Flag of a load from one channel: rows of its blocks become columns (keys, stored by token)."""
ROW = 16
"""Flag of a store: a row of blocks, 16 bytes in every 256 (field ``rs``)."""
TYPE_TURNED, TYPE_CHANNEL, TYPE_STRIPED, TYPE_SPREAD = 0, 1, 2, 3
"""Values of the field ``type``; what they mean in the artifact is not known."""
LD_MODES = ("b", "meta", "bias", "fsb", "a", "global")
MISC_OPS = ("add", "mul", "softmax", "layernorm", "rmsnorm", "silu", "gelu")
"""By code; gelu is this project's, the others are the artifact's."""

CODE = np.dtype(
    [
        ("unit", np.int8),
        ("wait", np.int8),  # bit p set: take a token of unit p
        ("release", np.int8),  # bit c set: put a token for unit c
        ("cost", np.int32),  # index into the costs of the program
        ("mode", np.int8),  # LD mode or MISC op
        ("channel", np.int8),
        ("k", np.int16),  # k blocks, or vector length in beats of the SFU's lanes
        (
            "flags",
            np.int8,
        ),  # output, bias, relu, sparse; LD, ST: 1 zero, 2 striped ... 16 row; MISC: mask
        ("length", np.int32),  # bytes of one row of a transfer
        ("loops", np.int32),  # LD: loop1 | loop2 << 8 | loop3 << 16; ST: loop
        ("address", np.int64),  # first byte in HBM
        ("stride", np.int64),  # bytes between rows
        ("bank", np.int16),  # first address in the buffer; result of compute
        ("a", np.int16),
        ("b", np.int16),
        ("operand", np.int8),  # what ``address`` counts from (places.py); not encoded
    ]
)
"""One instruction; what an opcode has no use for is 0."""


@dataclass(frozen=True)
class Field:
    """A field of an instruction: slices (word, low bit, bits), the first with the low bits."""

    name: str
    slices: tuple[tuple[int, int, int], ...]

    @property
    def bits(self) -> int:
        """Return the width."""
        return sum(bits for _, _, bits in self.slices)


def _f(name: str, *slices: tuple[int, int, int]) -> Field:
    return Field(name, slices)


_MATRIX = (
    _f("k", (0, 4, 14)),
    _f("flags", (0, 0, 4)),  # output 8, bias 4, relu 2, sparse 1
    _f("bias", (1, 24, 8), (2, 0, 4)),
    _f("meta", (1, 12, 12)),
    _f("fsb", (1, 0, 12)),
    _f("a", (2, 16, 12)),
    _f("b", (2, 4, 12)),
    _f("bank", (3, 0, 12)),
)
FIELDS: dict[int, tuple[Field, ...]] = {
    LD: (
        _f("mode", (0, 15, 3)),
        _f("channel", (0, 12, 3)),
        _f("bank", (0, 0, 12)),
        _f("stride", (1, 0, 32), (2, 0, 2)),
        _f("stride2", (2, 2, 30), (3, 0, 4)),
        _f("stride3", (3, 4, 28), (4, 0, 6)),
        _f("address", (4, 6, 26), (5, 0, 8)),
        _f("loop1", (5, 24, 8)),
        _f("loop2", (5, 16, 8)),
        _f("loop3", (5, 8, 8)),
        _f("zero", (6, 25, 1)),
        _f("type", (6, 23, 2)),
        _f("length", (6, 0, 23)),
    ),
    ST: (
        _f("bank", (0, 6, 12)),
        _f("loop1", (0, 1, 5)),
        _f("rs", (0, 0, 1)),
        _f("address", (1, 0, 32), (2, 0, 2)),
        _f("type", (2, 28, 2)),
        _f("channel", (2, 25, 3)),
        _f("length", (2, 2, 23)),
    ),
    MM: _MATRIX,
    MV: _MATRIX,
    MISC: (
        _f("a", (0, 6, 12)),
        _f("mask", (0, 4, 2)),
        _f("op", (0, 0, 4)),
        _f("b", (1, 20, 12)),
        _f("bank", (1, 8, 12)),
        _f("k", (2, 18, 14)),
    ),
    SYS: (),
}
"""Unit -> fields behind opcode, wait and release."""

_UNIT_OF = {opcode: unit for unit, opcode in OPCODES.items()}


def encode_mask(unit: int, units: int) -> int:
    """Return the 5-bit mask of ``unit`` for the set ``units`` (bit u: unit u), never itself."""
    others = [u for u in range(6) if u != unit]
    if units >> unit & 1 or units >> 6:
        raise InputError("mask", f"units other than {UNITS[unit]}", f"{units:06b}")
    return sum((units >> u & 1) << (4 - place) for place, u in enumerate(others))


def decode_mask(unit: int, mask: int) -> int:
    """Return the set of units (bit u: unit u) in the 5-bit ``mask`` of ``unit``."""
    others = [u for u in range(6) if u != unit]
    return sum(1 << u for place, u in enumerate(others) if mask >> (4 - place) & 1)


def program_bytes(counts: dict[str, int]) -> int:
    """Return the bytes of a program with ``counts`` instructions per unit."""
    return sum(4 * WORDS[UNITS.index(unit)] * count for unit, count in counts.items())


def pack(values: dict[str, int], unit: int, wait: int, release: int) -> list[int]:
    """Return the words of one instruction; raise :class:`InputError` for a value too wide."""
    words = [0] * WORDS[unit]
    words[0] = OPCODES[unit] << 28 | encode_mask(unit, wait) << 23
    words[0] |= encode_mask(unit, release) << 18
    for field in FIELDS[unit]:
        value = values.get(field.name, 0)
        if not 0 <= value < 1 << field.bits:
            need = f"0 to {(1 << field.bits) - 1}"
            raise InputError(f"{UNITS[unit]}.{field.name}", need, str(value))
        for word, low, bits in field.slices:
            words[word] |= (value & (1 << bits) - 1) << low
            value >>= bits
    return words


def unpack(words: list[int], unit: int) -> dict[str, int]:
    """Return the fields of one instruction's ``words``."""
    values = {}
    for field in FIELDS[unit]:
        value = shift = 0
        for word, low, bits in field.slices:
            value |= (words[word] >> low & (1 << bits) - 1) << shift
            shift += bits
        values[field.name] = value
    return values


def _columns(code: NDArray[np.void], unit: int) -> dict[str, NDArray[np.int64]]:
    """Return the fields of ``code``, all of ``unit``."""
    names = ("k", "channel", "bank", "address", "length", "a", "b", "stride", "flags", "mode")
    values = {name: code[name].astype(np.int64) for name in names}
    values["op"] = values["mode"]
    if unit in (LD, ST):
        loops, flags = code["loops"].astype(np.int64), values["flags"]
        values |= {f"loop{i + 1}": loops >> 8 * i & 255 for i in range(3)}
        values["stride2"] = np.where(values["loop2"] > 1, values["stride"] * values["loop1"], 0)
        values["zero"] = flags & 1
        kinds = np.where(flags & SPREAD > 0, TYPE_SPREAD, TYPE_CHANNEL)
        kinds = np.where(flags & TURNED > 0, TYPE_TURNED, kinds)
        values["rs"] = (flags & ROW > 0).astype(np.int64)
        values["type"] = np.where(flags & STRIPED > 0, TYPE_STRIPED, kinds)
    if unit == MISC:
        values["mask"] = values["flags"]
    return values


def encode(code: NDArray[np.void]) -> bytes:
    """Return the binary program of ``code`` : CODE[n].

    Raises :class:`InputError` for the first value that its field cannot hold.
    """
    sizes = np.array([WORDS[unit] for unit in range(len(UNITS))])[code["unit"]]
    first = np.cumsum(sizes) - sizes
    words = np.zeros(int(sizes.sum()), np.int64)
    for unit in range(len(UNITS)):
        rows = np.flatnonzero(code["unit"] == unit)
        if len(rows):
            _encode_unit(code[rows], unit, words, first[rows])
    return words.astype("<u4").tobytes()


def _encode_unit(
    code: NDArray[np.void], unit: int, words: NDArray[np.int64], at: NDArray[np.int64]
) -> None:
    """Write the instructions of one unit, each from its place in ``words`` on."""
    head = OPCODES[unit] << 28
    masks = np.array([encode_mask(unit, units & ~(1 << unit)) for units in range(64)])
    waits, releases = (code[name].astype(np.int64) for name in ("wait", "release"))
    words[at] |= head | masks[waits] << 23 | masks[releases] << 18
    values = _columns(code, unit)
    for field in FIELDS[unit]:
        value = values.get(field.name)
        if value is None:
            continue
        bad = (value < 0) | (value >> field.bits != 0)
        if bad.any():
            need = f"0 to {(1 << field.bits) - 1}"
            raise InputError(f"{UNITS[unit]}.{field.name}", need, str(value[bad][0]))
        for word, low, bits in field.slices:
            words[at + word] |= (value & (1 << bits) - 1) << low
            value = value >> bits


def disassemble(data: bytes) -> list[str]:
    """Return one line per instruction of a binary program.

    Raises :class:`InputError` naming the byte offset of an unknown opcode or a cut instruction.
    """
    lines = []
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").tolist()
    position = 0
    while position < len(words):
        unit = _UNIT_OF.get(words[position] >> 28)
        where = f"program offset {4 * position}"
        if unit is None:
            known = ", ".join(f"{opcode:04b}" for opcode in sorted(_UNIT_OF))
            raise InputError(where, f"an opcode of {known}", f"{words[position] >> 28:04b}")
        here = words[position : position + WORDS[unit]]
        if len(here) < WORDS[unit]:
            need = f"{4 * WORDS[unit]} bytes of {UNITS[unit].upper()}"
            raise InputError(where, need, f"{len(data) - 4 * position}")
        lines.append(_line(here, unit))
        position += WORDS[unit]
    if len(data) % 4:
        raise InputError(f"program offset {4 * position}", "whole words", f"{len(data) % 4} bytes")
    return lines


def _line(words: list[int], unit: int) -> str:
    masks = {"wait": words[0] >> 23 & 31, "rel": words[0] >> 18 & 31}
    parts = [UNITS[unit].upper()]
    for name, mask in masks.items():
        units = decode_mask(unit, mask)
        if units:
            parts.append(f"{name}={'+'.join(UNITS[u] for u in range(6) if units >> u & 1)}")
    parts += [f"{name}={value}" for name, value in unpack(words, unit).items() if value]
    return " ".join(parts)


def assemble(text: str) -> bytes:
    """Return the binary program of the lines that :func:`disassemble` writes.

    Empty lines and text behind ``#`` are skipped. Raises :class:`InputError` naming the line.
    """
    words: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        tokens = line.partition("#")[0].split()
        if tokens:
            words += _assembled(tokens, f"line {number}")
    return np.array(words, "<u4").tobytes()


def _assembled(tokens: list[str], where: str) -> list[int]:
    name = tokens[0].lower()
    if name not in UNITS:
        raise InputError(where, f"one of {', '.join(UNITS).upper()}", repr(tokens[0]))
    unit = UNITS.index(name)
    known = {field.name for field in FIELDS[unit]}
    masks, values = {"wait": 0, "rel": 0}, {}
    for token in tokens[1:]:
        key, separator, value = token.partition("=")
        if not separator or (key not in masks and key not in known):
            raise InputError(where, f"a field of {name.upper()}", repr(token))
        if key in masks:
            masks[key] = _units(value, where)
        elif not value.isascii() or not value.isdigit():
            raise InputError(where, f"{key} as a decimal number", repr(value))
        else:
            values[key] = int(value)
    try:
        return pack(values, unit, masks["wait"], masks["rel"])
    except InputError as error:
        raise InputError(f"{where}: {error.field}", error.need, error.found) from None


def _units(text: str, where: str) -> int:
    names = text.split("+")
    if any(name not in UNITS for name in names):
        raise InputError(where, f"units of {', '.join(UNITS)} joined by +", repr(text))
    return sum(1 << UNITS.index(name) for name in set(names))
