# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the hash accumulator add up, in the cycles the simulator predicts?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from amaranth.hdl import C
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.hash_accumulate import hash_accumulate_case, random_requests
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.core.units import ceil_div
from hwsim.piuma import hash_accumulate as model
from hwsim.piuma.hash_accumulate import (
    ACCUMULATE,
    CLEAR,
    DRAIN,
    HashAccumulateModel,
    HashTable,
    Request,
    first_slot,
)
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import HashSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_hash_accumulate import hash_accumulate_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import hash_accumulate
from rtl.piuma.hash_accumulate import HashAccumulate
from rtl.piuma.units import HASH_PROOF_SPEC

HASHES = ("high", "low", "low_xor_row", "mult")
SMALL = HashSpec(slots=16, key_bits=8, column_bits=4, data_bits=8, hash="low", epoch_bits=2)


def _spec(**values) -> HashSpec:
    return HashSpec(**{**SMALL.model_dump(), **values})


def _colliding(count: int) -> list[Request]:
    """Return one accumulation for each of ``count`` keys of slot 3 under SMALL."""
    return [Request(ACCUMULATE, 3 + 16 * number, 1) for number in range(count)]


class ForgetsTheWrite(HashAccumulate):
    """Compares what memory held before the write of the cycle before."""

    def _is_stale(self, place):
        return C(0)


class StaleForOneLaneOnly(HashAccumulate):
    """Forwards to whatever slot is compared next."""

    def _is_stale(self, place):
        return self.was_written


@pytest.mark.parametrize("comparators", [1, 2, 4])
@pytest.mark.parametrize("kind", HASHES)
def test_rtl_equals_golden_and_cycle_model_on_pysim(kind, comparators):
    spec = _spec(hash=kind, comparators=comparators)
    requests = random_requests(spec, np.random.default_rng(3), 100, 20)
    vectors, schedule = hash_accumulate_case(
        spec, [*requests, Request(DRAIN)], stall_share=0.3, seed=comparators
    )
    check(run_pysim(HashAccumulate(spec), vectors), vectors, schedule)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_rtl_equals_golden_for_any_requests_and_stalls(data):
    spec = _spec(
        slots=8,
        key_bits=5,
        column_bits=2,
        hash=data.draw(st.sampled_from(HASHES)),
        comparators=data.draw(st.sampled_from([1, 2, 4])),
        epoch_bits=data.draw(st.integers(1, 2)),
    )
    operation = st.sampled_from([ACCUMULATE] * 12 + [DRAIN, CLEAR])
    request = st.builds(Request, operation, st.integers(0, 31), st.integers(0, 255))
    vectors, schedule = hash_accumulate_case(
        spec,
        data.draw(st.lists(request, min_size=1, max_size=30)),
        stall_share=data.draw(st.sampled_from([0.0, 0.5])),
        seed=data.draw(st.integers(0, 1000)),
    )
    check(run_pysim(HashAccumulate(spec), vectors), vectors, schedule)


def test_golden_sums_are_those_of_a_dictionary():
    rng = np.random.default_rng(5)
    spec = HashSpec(slots=64, data_bits=32)
    requests = [
        Request(ACCUMULATE, int(key), int(value))
        for key, value in zip(rng.integers(0, 40, 500), rng.integers(0, 1000, 500), strict=True)
    ]
    totals: Counter[int] = Counter()
    for request in requests:
        totals[request.key] += request.value
    answers, drained = HashTable(spec).answer([*requests, Request(DRAIN)])
    assert dict(drained) == dict(totals)
    assert len(drained) == len(totals) == answers[-1].probes
    assert sum(answer.is_new for answer in answers) == len(totals)


@pytest.mark.parametrize("kind", HASHES)
def test_first_slots_follow_the_named_bits(kind):
    spec = HashSpec(slots=16, key_bits=12, column_bits=6, hash=kind)
    row, column = 0b101101, 0b110010
    key = row << 6 | column
    expected = {
        "high": 0b1011,
        "low": 0b0010,
        "low_xor_row": (key ^ (row * 2654435761)) & 15,
        "mult": (key * 2654435761 & 0xFFFFFFFF) >> 28,
    }
    assert first_slot(spec, key) == expected[kind]


@pytest.mark.parametrize("comparators", [1, 2, 4])
def test_latency_and_interval_grow_with_the_probes(comparators):
    spec = _spec(comparators=comparators)
    requests = _colliding(12)
    vectors, schedule = hash_accumulate_case(spec, requests)
    observed = run_pysim(HashAccumulate(spec), vectors)
    check(observed, vectors, schedule)
    compares = np.array([ceil_div(probes, comparators) for probes in range(1, 13)])
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    assert (emits - accepts).tolist() == (1 + compares).tolist()
    assert np.diff(accepts).tolist() == compares[:-1].tolist()
    best = UnitTiming(int((emits - accepts)[0]), int(np.diff(accepts)[0]))
    assert hash_accumulate.timing(spec) == model.timing(spec) == best


def test_a_drain_shows_one_slot_per_cycle():
    requests = [*_colliding(16), Request(DRAIN)]
    played = play(HashAccumulateModel(SMALL), {"i": requests})
    drain = played.cycles["i"][-1]
    assert [cycle - drain for cycle in played.cycles["drained"]] == list(range(3, 19))
    assert played.cycles["o"][-1] - drain == SMALL.slots + 3


def test_a_full_table_refuses_another_key_and_takes_a_known_one():
    requests = [*_colliding(16), Request(ACCUMULATE, 4, 9), Request(ACCUMULATE, 3, 5)]
    vectors, schedule = hash_accumulate_case(SMALL, [*requests, Request(DRAIN)])
    probes_over, probes_known = vectors.expected["o"][16:18]
    assert probes_over == 16 << 2 | 1
    assert probes_known == 1 << 2
    assert sum(word & 0xFF for word in vectors.expected["drained"]) == 16 + 5
    check(run_pysim(HashAccumulate(SMALL), vectors), vectors, schedule)


def test_a_clear_takes_one_cycle_until_epochs_run_out():
    requests = [Request(CLEAR)] * 7
    played = play(HashAccumulateModel(SMALL), {"i": requests})
    # Three epochs of two bits: the third, sixth, … clear is followed by a sweep of 16 cycles.
    assert np.diff(played.cycles["i"]).tolist() == [2, 2, 18, 2, 2, 18]


@pytest.mark.parametrize("mutant", [ForgetsTheWrite, StaleForOneLaneOnly])
def test_a_forgotten_hazard_is_found(mutant):
    spec = _spec(comparators=2)
    requests = [*_colliding(5), *_colliding(2), *_colliding(2)[:1] * 4, Request(DRAIN)]
    vectors, schedule = hash_accumulate_case(spec, requests)
    check(run_pysim(HashAccumulate(spec), vectors), vectors, schedule)
    with pytest.raises(CosimError) as found:
        check(run_pysim(mutant(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


@pytest.mark.parametrize("comparators", [1, 2])
def test_every_sum_is_proved(comparators):
    spec = HASH_PROOF_SPEC.model_copy(update={"comparators": comparators})
    result = prove_rtlil(proof_rtlil(HashAccumulate(spec), hash_accumulate_properties))
    assert result.is_proved, result.log


def test_a_forgotten_hazard_is_refuted():
    text = proof_rtlil(ForgetsTheWrite(HASH_PROOF_SPEC), hash_accumulate_properties)
    assert prove_rtlil(text, 7).status == "refuted"


@pytest.mark.parametrize(
    ("values", "need"),
    [
        ({"slots": 12}, "a power of two"),
        ({"comparators": 3}, "a power of two"),
        ({"comparators": 16}, "at most 8"),
        ({"key_bits": 3}, "at least 4"),
    ],
)
def test_a_table_that_cannot_be_built_is_refused(values, need):
    with pytest.raises(SpecError, match=need):
        _spec(**values)
