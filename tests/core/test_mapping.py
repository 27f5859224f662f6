"""Check that a mapping is held to the buffers it names."""

from __future__ import annotations

import pytest

from hwsim.core.errors import MappingError
from hwsim.core.machine import Spec
from hwsim.core.mapping import Mapping


class Two(Spec):
    def capacities(self) -> dict[str, int]:
        return {"left": 10, "right": 20}


@pytest.mark.parametrize("buffers", [{}, {"left": 10}, {"left": 0, "right": 20}])
def test_what_fits_passes(buffers: dict[str, int]) -> None:
    Mapping(op="fc", dataflow="ws", buffer_bytes=buffers).check(Two())


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"left": 11}, "fc: left: need 11 bytes, found 10 bytes"),
        ({"left": 10, "right": 21}, "fc: right: need 21 bytes, found 20 bytes"),
        ({"middle": 1}, "fc: middle: need 1 bytes, found 0 bytes"),
    ],
)
def test_what_does_not_fit_is_named(buffers: dict[str, int], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        Mapping(op="fc", dataflow="ws", buffer_bytes=buffers).check(Two())
