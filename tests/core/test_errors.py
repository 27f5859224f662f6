"""Check that every error a user sees is one line with field, need and found."""

from __future__ import annotations

import pickle

import pytest

from hwsim.core.errors import (
    GraphError,
    HwsimError,
    InputError,
    MappingError,
    SpecError,
    nearest,
    unknown_name,
)


@pytest.mark.parametrize("kind", [HwsimError, InputError, SpecError, GraphError])
def test_errors_read_field_need_found(kind: type[HwsimError]) -> None:
    error = kind("--batch", "at least 1", "0")
    assert str(error) == "--batch: need at least 1, found 0"
    assert (error.field, error.need, error.found) == ("--batch", "at least 1", "0")


def test_mapping_errors_carry_amounts() -> None:
    error = MappingError("fc: weight", 300, 200)
    assert str(error) == "fc: weight: need 300 bytes, found 200 bytes"
    assert (error.resource, error.need_amount, error.have_amount) == ("fc: weight", 300, 200)
    assert isinstance(error, InputError)


@pytest.mark.parametrize("error", [InputError("a", "b", "c"), MappingError("r", 2, 1, "banks")])
def test_errors_survive_the_way_back_from_a_worker_process(error: HwsimError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_near_names_are_offered() -> None:
    assert nearest("resnet81", ["resnet18", "vgg16"]) == " (did you mean resnet18?)"
    assert nearest("zzz", ["resnet18"]) == ""
    text = str(unknown_name("MODEL", "restnet18", ["vgg16", "resnet18"]))
    assert text == "MODEL: need one of resnet18, vgg16, found 'restnet18' (did you mean resnet18?)"
