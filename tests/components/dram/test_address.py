"""Addresses map to banks one to one, as the mapping's word says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.components.dram.address import FIELDS, field_bits, locate, parse_mapping
from hwsim.components.dram.controller import REQUEST, read_trace, serve
from hwsim.components.dram.devices import load_device, make_device
from hwsim.components.dram.state import Controller
from hwsim.core.errors import InputError

DDR4 = load_device("ddr4-2400")
SMALL = make_device(
    {**DDR4.model_dump(), "channels": 2, "rows": 4, "row_bytes": 256, "bank_groups": 2}
)
WORDS = (
    "RoBaRaCoCh",
    "ChRaBaRoCo",
    "RoRaBaCoBgCh",
    "RoBaRaCoChCo2",
    "RoCoBaBgRaCh",
    "CoRoBa1ChBaBgRa",
)


def test_fields_lie_where_the_word_says() -> None:
    """RoRaBaCoBgCh on four channels, four groups, 128 columns, four banks."""
    address = 64 * (1 + 4 * (2 + 4 * (100 + 128 * (3 + 4 * 77))))
    found = locate(DDR4, "RoRaBaCoBgCh", address + 5)
    assert found == {"Ch": 1, "Bg": 2, "Co": 100, "Ba": 3, "Ra": 0, "Ro": 77}


def test_numbered_part_takes_the_low_bits() -> None:
    found = locate(DDR4, "RoBaBgRaCoChCo2", 64 * (3 + 4 * (2 + 4 * 5)))
    assert (found["Co"], found["Ch"]) == (3 + 4 * 5, 2)


def test_word_without_bank_group_puts_it_below_the_bank() -> None:
    assert (parse_mapping(DDR4, "RoBaRaCoCh") == parse_mapping(DDR4, "RoBaBgRaCoCh")).all()


@pytest.mark.parametrize("is_hashed", [False, True])
@pytest.mark.parametrize("word", WORDS)
def test_every_burst_has_a_place_of_its_own(word: str, is_hashed: bool) -> None:
    bursts = SMALL.capacity_bytes // SMALL.burst_bytes
    places = {
        tuple(locate(SMALL, word, burst * SMALL.burst_bytes, is_hashed=is_hashed).values())
        for burst in range(bursts)
    }
    assert len(places) == bursts
    limits = [1 << field_bits(SMALL)[field] for field in FIELDS]
    assert all(0 <= v < n for place in places for v, n in zip(place, limits, strict=True))


@given(word=st.sampled_from(WORDS), is_hashed=st.booleans(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_memory_activates_the_located_bank_and_row(
    word: str, is_hashed: bool, data: st.DataObject
) -> None:
    """The kernel's decoding against :func:`locate`, through the commands it issues."""
    address = data.draw(st.integers(0, DDR4.capacity_bytes - 1))
    requests = np.zeros(1, REQUEST)
    requests["address"], requests["size_bytes"] = address, 1
    dram = serve(DDR4, requests, Controller(mapping=word, is_hashed=is_hashed), max_trace=4)
    place = locate(DDR4, word, address, is_hashed=is_hashed)
    bank = ((place["Ch"] * DDR4.ranks + place["Ra"]) * 4 + place["Bg"]) * 4 + place["Ba"]
    activate, read = read_trace(dram).tolist()
    assert activate[2:4] == read[2:4] == (bank, place["Ro"])


def test_hashing_spreads_rows_of_one_bank() -> None:
    step = 64 * 4 * 4 * 128 * 4  # the next row of the same bank
    plain = {locate(DDR4, DDR4.mapping, i * step)["Bg"] for i in range(4)}
    hashed = {locate(DDR4, DDR4.mapping, i * step, is_hashed=True)["Bg"] for i in range(4)}
    assert (len(plain), len(hashed)) == (1, 4)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("", "fields like"),
        ("rorabaco", "fields like"),
        ("RoRaBaCo", "a place for Ch"),
        ("RoRaBaCoChCh", "once without a number"),
        ("RoRaBaCoChXx", "each of Ch, Ra"),
        ("RoRaBaCoChCo9", "at most 7 bits of Co"),
        ("RoRaBaCh", "a place for Co"),
    ],
)
def test_wrong_mapping_is_refused(word: str, named: str) -> None:
    with pytest.raises(InputError, match=f"memory.mapping: need .*{named}"):
        parse_mapping(DDR4, word)


@pytest.mark.parametrize("address", [-1, DDR4.capacity_bytes])
def test_address_beyond_the_capacity_is_refused(address: int) -> None:
    with pytest.raises(InputError, match="request.address"):
        locate(DDR4, DDR4.mapping, address)
