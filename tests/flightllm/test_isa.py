"""Check bit layouts, masks and the way from text to binary and back, also of damaged programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.flightllm.isa import (
    FIELDS,
    LD,
    MISC,
    MM,
    MV,
    OPCODES,
    ST,
    SYS,
    UNITS,
    WORDS,
    assemble,
    decode_mask,
    disassemble,
    encode_mask,
    pack,
    program_bytes,
    unpack,
)


def test_instructions_have_their_bytes() -> None:
    assert {UNITS[u]: 4 * words for u, words in WORDS.items()} == {
        "ld": 28, "st": 12, "mm": 16, "mv": 16, "misc": 12, "sys": 4,
    }  # fmt: skip
    assert program_bytes({"ld": 2, "sys": 1}) == 60


def test_masks_leave_out_the_unit_itself_and_put_the_first_unit_highest() -> None:
    # MV names LD, ST, MM, MISC, SYS by bits 4 to 0.
    assert encode_mask(MV, 1 << LD) == 0b10000
    assert encode_mask(MV, 1 << MM | 1 << SYS) == 0b00101
    assert encode_mask(LD, 1 << ST) == 0b10000
    assert encode_mask(SYS, 1 << ST) == 0b01000
    with pytest.raises(InputError, match="units other than mv"):
        encode_mask(MV, 1 << MV)


@given(st.integers(0, 5), st.integers(0, 31))
def test_masks_come_back(unit: int, mask: int) -> None:
    assert encode_mask(unit, decode_mask(unit, mask)) == mask


@pytest.mark.parametrize("unit", [LD, ST, MM, MV, MISC, SYS])
def test_fields_do_not_overlap_each_other_or_the_header(unit: int) -> None:
    used = {(0, bit) for bit in range(18, 32)}
    for field in FIELDS[unit]:
        for word, low, bits in field.slices:
            places = {(word, bit) for bit in range(low, low + bits)}
            assert not places & used, field.name
            assert max(places) < (WORDS[unit], 0)
            used |= places


@pytest.mark.parametrize(
    ("unit", "field", "value", "word", "bits"),
    [
        (LD, "mode", 7, 0, 7 << 15),
        (LD, "channel", 5, 0, 5 << 12),
        (LD, "stride2", (1 << 30) + 1, 2, 1 << 2),
        (LD, "address", 1 << 26, 5, 1),
        (LD, "loop3", 255, 5, 255 << 8),
        (LD, "length", (1 << 23) - 1, 6, (1 << 23) - 1),
        (ST, "loop1", 31, 0, 31 << 1),
        (ST, "length", 3, 2, 3 << 2),
        (MM, "k", (1 << 14) - 1, 0, (1 << 14) - 1 << 4),
        (MV, "bias", 0x100, 2, 1),
        (MV, "a", 0xFFF, 2, 0xFFF << 16),
        (MISC, "op", 2, 0, 2),
        (MISC, "k", 1, 2, 1 << 18),
    ],
)
def test_fields_lie_where_the_generator_puts_them(
    unit: int, field: str, value: int, word: int, bits: int
) -> None:
    words = pack({field: value}, unit, 0, 0)
    expected = bits | (OPCODES[unit] << 28 if word == 0 else 0)
    assert words[word] == expected


@given(st.data())
def test_every_value_of_every_field_comes_back(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([LD, ST, MM, MV, MISC, SYS]))
    values = {f.name: data.draw(st.integers(0, (1 << f.bits) - 1)) for f in FIELDS[unit]}
    masks = [decode_mask(unit, data.draw(st.integers(0, 31))) for _ in range(2)]
    words = pack(values, unit, *masks)
    assert unpack(words, unit) == values
    binary = np.array(words, "<u4").tobytes()
    assert assemble("\n".join(disassemble(binary))) == binary


def test_a_value_too_wide_is_refused() -> None:
    with pytest.raises(InputError, match=r"mv\.k: need 0 to 16383, found 16384"):
        pack({"k": 1 << 14}, MV, 0, 0)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"\x00\x00\x00\x60", "program offset 0"),
        (b"\x00\x00\x00\xf0\x00\x00\x00\x90", "program offset 4"),
        (b"\x00\x00\x00\x10" * 6, "program offset 0"),
        (b"\x00\x00\x00\xf0\x00", "program offset 4"),
    ],
)
def test_damaged_programs_name_the_offset(data: bytes, where: str) -> None:
    with pytest.raises(InputError) as caught:
        disassemble(data)
    assert caught.value.field == where


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("\nJUMP 3", "line 2: need one of LD"),
        ("LD mod=1", "line 1: need a field of LD"),
        ("LD mode=-1", "line 1: need mode as a decimal"),
        ("LD mode=8", "line 1: ld.mode: need 0 to 7"),
        ("MV wait=mv", "line 1: mask"),
        ("MV wait=xx", "line 1: need units"),
    ],
)
def test_bad_text_names_the_line(text: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        assemble(text)
    assert part in str(caught.value)


def test_comments_and_empty_lines_are_skipped() -> None:
    assert assemble("# start\n\nSYS wait=st  # end of a layer") == assemble("SYS wait=st")
