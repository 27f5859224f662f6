# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the DMA engine move elements right, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.gather_dma import gather_dma_case, random_descriptors
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import gather_dma as model
from hwsim.piuma.gather_dma import (
    BROADCAST,
    COPY,
    GATHER,
    SCATTER,
    SCATTER_ADD,
    Descriptor,
    Write,
    move,
    place_cycles,
)
from hwsim.piuma.unit_spec import GatherDmaSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_gather_dma import gather_dma_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import gather_dma
from rtl.piuma.gather_dma import GatherDma
from rtl.piuma.units import DMA_PROOF_SPEC

SPEC = GatherDmaSpec(address_bits=8, data_bits=8, count_bits=6, outstanding=4)


class TakesOldIndices(GatherDma):
    """Reads by whatever index a slot holds, that of an earlier element too."""

    def _is_fetched(self, slot):
        return self.has_index.bit_select(slot, 1)


def test_operations_move_what_their_names_say():
    data = {10: 70, 11: 71, 12: 72, 13: 73}
    indices = {20: 3, 21: 0, 22: 1}

    def moved(operation: int) -> list[Write]:
        return move(SPEC, Descriptor(operation, 10, 40, 20, 3), data, indices)

    assert moved(COPY) == [(False, 40, 70), (False, 41, 71), (False, 42, 72)]
    assert moved(GATHER) == [(False, 40, 73), (False, 41, 70), (False, 42, 71)]
    assert moved(SCATTER) == [(False, 43, 70), (False, 40, 71), (False, 41, 72)]
    assert moved(SCATTER_ADD) == [(True, 43, 70), (True, 40, 71), (True, 41, 72)]
    assert moved(BROADCAST) == [(False, 40, 70), (False, 41, 70), (False, 42, 70)]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    outstanding=st.sampled_from([2, 4, 8]),
    slowest=st.sampled_from([1, 5, 30]),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_and_cycle_model_whatever_memory_does(
    outstanding, slowest, stall_share, seed
):
    spec = SPEC.model_copy(update={"outstanding": outstanding})
    rng = np.random.default_rng(seed)
    vectors, schedule = gather_dma_case(
        spec,
        random_descriptors(spec, rng, 6, 12),
        read_cycles=lambda: int(rng.integers(1, slowest + 1)),
        fetch_cycles=lambda: int(rng.integers(1, slowest + 1)),
        stall_share=stall_share,
        seed=seed,
    )
    check(run_pysim(GatherDma(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("operation", [COPY, GATHER, SCATTER])
@pytest.mark.parametrize("latency", [1, 5, 20])
def test_elements_pass_at_one_per_cycle_or_as_fast_as_places_come_free(operation, latency):
    descriptor = Descriptor(operation, 3, 90, 40, 40)
    vectors, schedule = gather_dma_case(
        SPEC, [descriptor], read_cycles=lambda: latency, fetch_cycles=lambda: latency
    )
    observed = run_pysim(GatherDma(SPEC), vectors)
    check(observed, vectors, schedule)
    writes = observed.emit_cycles["write"]
    held = {COPY: latency + 3, GATHER: 2 * latency + 5, SCATTER: 2 * latency + 5}[operation]
    assert place_cycles(descriptor, latency, latency) == held
    assert set((writes[4:] - writes[:-4]).tolist()) == {max(4, held)}


def test_a_write_is_offered_two_cycles_after_its_data():
    vectors, _ = gather_dma_case(
        SPEC, [Descriptor(COPY, 0, 0, 0, 20)], read_cycles=lambda: 1, fetch_cycles=lambda: 1
    )
    observed = run_pysim(GatherDma(SPEC), vectors)
    answers, writes = observed.accept_cycles["data"], observed.emit_cycles["write"]
    [latency] = set((writes - answers).tolist())
    [interval] = set(np.diff(writes).tolist())
    measured = UnitTiming(latency, interval)
    assert gather_dma.timing(SPEC) == model.timing(SPEC) == measured


def test_an_empty_descriptor_is_done_without_a_request():
    vectors, schedule = gather_dma_case(
        SPEC,
        [Descriptor(kind, 0, 0, 0, 0) for kind in range(5)],
        read_cycles=lambda: 1,
        fetch_cycles=lambda: 1,
    )
    assert vectors.expected["done"] == [0] * 5
    assert not vectors.expected["read"] and not vectors.expected["fetch"]
    check(run_pysim(GatherDma(SPEC), vectors), vectors, schedule)


def test_a_broadcast_reads_once():
    vectors, schedule = gather_dma_case(
        SPEC, [Descriptor(BROADCAST, 9, 0, 0, 30)], read_cycles=lambda: 7, fetch_cycles=lambda: 1
    )
    assert len(vectors.expected["read"]) == 1
    assert len(vectors.expected["write"]) == 30
    check(run_pysim(GatherDma(SPEC), vectors), vectors, schedule)


def test_old_indices_are_found():
    rng = np.random.default_rng(3)
    vectors, schedule = gather_dma_case(
        SPEC,
        [Descriptor(GATHER, 0, 0, 30, 30)],
        read_cycles=lambda: int(rng.integers(1, 20)),
        fetch_cycles=lambda: int(rng.integers(1, 20)),
    )
    with pytest.raises(CosimError) as found:
        check(run_pysim(TakesOldIndices(SPEC), vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_every_element_is_proved_to_be_written_once_at_its_place():
    text = proof_rtlil(GatherDma(DMA_PROOF_SPEC), gather_dma_properties)
    result = prove_rtlil(text)
    assert result.is_proved, result.log


def test_old_indices_are_refuted():
    text = proof_rtlil(TakesOldIndices(DMA_PROOF_SPEC), gather_dma_properties)
    assert prove_rtlil(text, 8).status == "refuted"


@pytest.mark.parametrize(
    ("values", "need"),
    [
        ({"outstanding": 3}, "a power of two"),
        ({"outstanding": 1}, "at least 2"),
        ({"count_bits": 1}, "at least 2"),
    ],
)
def test_an_engine_that_cannot_be_built_is_refused(values, need):
    with pytest.raises(SpecError, match=need):
        GatherDmaSpec(**{**SPEC.model_dump(), **values})
