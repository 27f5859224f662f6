"""What ``hwsim validate memory`` claims holds, and would be noticed if it did not."""

from __future__ import annotations

import pytest

from hwsim.components.dram.characterise import characterise
from hwsim.components.dram.devices import device_names, load_device
from hwsim.components.dram.state import Controller
from hwsim.experiments import memory, ramulator


def test_every_device_has_its_claims_and_all_gated_ones_hold() -> None:
    claims = {claim.id: claim for claim in memory.claims()}
    for name in device_names():
        for kind in ("stream", "refresh", "random-gap"):
            assert f"memory-{kind}-{name}" in claims
    assert [claim.id for claim in claims.values() if claim.gated and not claim.passed] == []
    assert len(claims) == 3 * len(device_names()) + 1 + len(ramulator.claims())


def test_a_mapping_that_changes_rows_at_every_burst_fails_the_stream_claim() -> None:
    device = load_device("ddr4-2400", 1)
    stream = characterise(device, "stream", Controller(mapping="RaBgBaCoRoCh"), n=4000)
    assert stream.conflicts > 3000
    assert not memory._stream_claim("ddr4-2400", stream).passed


def test_what_is_not_compared_is_said() -> None:
    text = " ".join(memory.unchecked())
    assert "DRAMsim3" in text and "reduced to the parts in use" in text


@pytest.mark.parametrize("name", device_names())
def test_deeper_queues_close_most_of_the_gap_of_random_reads(name: str) -> None:
    shallow, deep = (memory._measured(name, "random", entries) for entries in (32, 512))
    assert shallow.share <= deep.share * 1.001 <= deep.limit * 1.001
