"""Check how a spec is read, overlaid and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from hwsim.core.errors import InputError, SpecError
from hwsim.core.machine import Spec, known_keys, load_spec_values, machine_class, make_machine


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int = Field(8, ge=1)
    name: str = "part"


class Toy(Spec):
    clock_hz: int = Field(100, ge=1)
    part: Part = Part()


def test_keys_are_dotted() -> None:
    assert known_keys(Toy) == ["clock_hz", "part.size_bytes", "part.name"]


def test_settings_are_applied_in_order_with_toml_values() -> None:
    toy = Toy().override(["part.size_bytes=16", "part.name = 'a b'", "part.size_bytes=1_024"])
    assert (toy.part.size_bytes, toy.part.name) == (1024, "a b")
    assert Toy().override(["part.name=bare"]).part.name == "bare"
    assert Toy().override(["part.name=a=b"]).part.name == "a=b"
    assert Toy().override([]) == Toy()


def test_merging_keeps_what_is_not_named() -> None:
    toy = Toy().merge({"part": {"name": "other"}})
    assert (toy.clock_hz, toy.part.size_bytes, toy.part.name) == (100, 8, "other")


def test_specs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Toy().clock_hz = 5


def test_the_hash_changes_with_every_field() -> None:
    hashes = {
        toy.spec_hash()
        for toy in (Toy(), *(Toy().override([s]) for s in ("clock_hz=1", "part.size_bytes=9")))
    }
    assert len(hashes) == 3
    assert Toy().spec_hash() == Toy(clock_hz=100).spec_hash()


@pytest.mark.parametrize(
    ("setting", "field", "found"),
    [
        ("part.size_byte=1", "--set", "did you mean part.size_bytes"),
        ("size_bytes=1", "--set", "did you mean part.size_bytes"),
        ("part.size_bytes.deep=1", "--set", "part.size_bytes.deep"),
        ("clock_hz", "--set", "clock_hz"),
        ("part.size_bytes=0", "part.size_bytes", "0"),
        ("part.size_bytes=lots", "part.size_bytes", "'lots'"),
        ("part=3", "part", "3"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(setting: str, field: str, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        Toy().override([setting])
    assert caught.value.field == field
    assert found in caught.value.found
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_a_file_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean part.size_bytes"):
        Toy().merge({"part": {"size_byts": 3}})


def test_spec_files_are_toml_or_json(tmp_path: Path) -> None:
    values: dict[str, Any] = {"clock_hz": 5, "part": {"name": "x"}}
    toml, as_json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('clock_hz = 5\n[part]\nname = "x"\n')
    as_json.write_text(json.dumps(values))
    assert load_spec_values(toml) == load_spec_values(as_json) == values


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"clock_hz = = 5"),
        ("a.json", b"{"),
        ("a.json", b"[1, 2]"),
        ("a.toml", b"\xff\xfe"),
        ("missing.toml", None),
    ],
)
def test_an_unreadable_spec_file_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="--spec: need") as caught:
        load_spec_values(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_preset_then_file_then_settings() -> None:
    file = {"array": {"rows": 16, "cols": 16}}
    machine = make_machine("sat", "scalesim", file, ["array.cols=8"])
    array = machine.spec.array
    assert (array.timing, array.rows, array.cols) == ("scalesim", 16, 8)
    assert machine.preset == "scalesim"


def test_unknown_machines_and_presets_name_their_neighbours() -> None:
    with pytest.raises(InputError, match="--machine: need one of .*sat.* found 'sta'"):
        machine_class("sta")
    with pytest.raises(InputError, match=r"--preset: .*did you mean vcu1525"):
        make_machine("sat", "vcu1526")
