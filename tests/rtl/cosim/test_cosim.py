# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Does the comparison see what it must see, on both simulators?"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.cli.rtl_cases.fifo import fifo_case
from hwsim.cli.rtl_cases.sorter import random_groups, topn_sorter_case
from hwsim.core.errors import InputError
from hwsim.sat.spec import SorterSpec
from rtl.common.fifo import Fifo, FifoSpec
from rtl.cosim.check import CosimError, check, stream_rules
from rtl.cosim.faults import FAULTS, Faulty
from rtl.cosim.harness import Harness
from rtl.cosim.observed import Observed
from rtl.cosim.ports import PortMap, StreamPort
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls
from rtl.cosim.verilator import build_verilator, run_verilator
from rtl.sat.topn_sorter import TopNSorter

SPEC = SorterSpec(nm_n=2, nm_m=8)
FOUND_BY = {
    "flip": "outputs",
    "drop": "outputs",
    "retract": "stream rules",
    "late": "schedule",
}


def _case(stall_share: float, seed: int = 5):
    bits = random_groups(np.random.default_rng(seed), 40, SPEC.nm_m)
    return topn_sorter_case(SPEC, bits, stall_share=stall_share, seed=seed)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_its_own_check_on_pysim(fault):
    vectors, schedule = _case(0.4 if fault == "retract" else 0.0)
    observed = run_pysim(Faulty(TopNSorter(SPEC), fault), vectors)
    with pytest.raises(CosimError) as found:
        check(observed, vectors, schedule)
    assert found.value.category == FOUND_BY[fault]


def test_a_late_unit_passes_when_no_schedule_is_claimed():
    vectors, _ = _case(0.0)
    check(run_pysim(Faulty(TopNSorter(SPEC), "late"), vectors), vectors)


@pytest.mark.parametrize("fault", ["flip", "retract", "late"])
def test_each_check_fails_on_verilator_too(fault):
    vectors, schedule = _case(0.4 if fault == "retract" else 0.0)
    [observed] = run_verilator(Faulty(TopNSorter(SPEC), fault), [vectors])
    with pytest.raises(CosimError) as found:
        check(observed, vectors, schedule)
    assert found.value.category == FOUND_BY[fault]


def test_both_simulators_show_the_same_in_every_cycle():
    batches = [_case(share, seed)[0] for seed, share in enumerate((0.0, 0.5, 0.9))]
    compiled = run_verilator(TopNSorter(SPEC), batches)
    for vectors, there in zip(batches, compiled, strict=True):
        here = run_pysim(TopNSorter(SPEC), vectors)
        assert here.streams.keys() == there.streams.keys()
        for name, trace in here.streams.items():
            other = there.streams[name]
            np.testing.assert_array_equal(trace.valid, other.valid)
            np.testing.assert_array_equal(trace.ready, other.ready)
            offered = trace.valid.nonzero()[0].tolist()
            assert [trace.payload[c] for c in offered] == [other.payload[c] for c in offered]


def test_a_swapped_expected_output_is_reported_with_its_place():
    vectors, schedule = _case(0.0)
    swapped = list(vectors.expected["o"])
    swapped[3] ^= 1
    wrong = Vectors(vectors.inputs, {"o": swapped}, seed=5, name="swapped")
    with pytest.raises(CosimError, match=r"pysim swapped seed 5 o transfer 3: need 0x"):
        check(run_pysim(TopNSorter(SPEC), wrong), wrong, schedule)


def test_a_schedule_off_by_one_cycle_in_one_transfer_is_reported():
    vectors, schedule = _case(0.0)
    emits = schedule.emit_cycles["o"].copy()
    emits[7] += 1
    with pytest.raises(CosimError, match="transfer 7"):
        check(run_pysim(TopNSorter(SPEC), vectors), vectors, Schedule({}, {"o": emits}))


def test_a_surplus_output_is_reported():
    spec = FifoSpec(depth=2)
    vectors = Vectors({"i": [1, 2, 3]}, {"o": [1, 2]})
    with pytest.raises(CosimError, match="transfer 2: need nothing, found 0x3"):
        check(run_pysim(Fifo(spec), vectors), vectors)


def test_a_missing_output_ends_the_run_and_is_reported():
    vectors = Vectors({"i": [1, 2]}, {"o": [1, 2, 3]})
    with pytest.raises(CosimError, match="transfer 2: need 0x3, found nothing"):
        check(run_pysim(Fifo(FifoSpec(depth=2)), vectors), vectors)


PORTS = PortMap((), (StreamPort("o", 4),))
"""One output: seen = payload << 1 | valid, stim = ready."""


def _seen(*cycles: tuple[int, int, int]) -> Observed:
    """Return a record of cycles (valid, payload, ready) after three quiet cycles of reset."""
    cycles = ((0, 0, 0),) * 3 + cycles
    return Observed.from_words(
        "hand", PORTS, [ready for *_, ready in cycles], [p << 1 | v for v, p, _ in cycles]
    )


def test_an_offer_held_until_accepted_obeys_the_rules():
    stream_rules(_seen((1, 5, 0), (1, 5, 0), (1, 5, 1), (0, 0, 1), (1, 6, 1)))


@pytest.mark.parametrize(
    ("cycles", "message"),
    [
        ([(1, 5, 0), (0, 5, 0)], "valid dropped in cycle 1"),
        ([(1, 5, 0), (1, 6, 1)], "payload changed in cycle 1"),
        ([(1, 5, 1), (1, 6, 0), (1, 7, 1)], "payload changed in cycle 2"),
    ],
)
def test_an_offer_not_held_breaks_the_rules(cycles, message):
    with pytest.raises(CosimError, match=message):
        stream_rules(_seen(*cycles))


def test_an_offer_in_reset_breaks_the_rules():
    observed = Observed.from_words("hand", PORTS, [0] * 4, [0, 1, 0, 0])
    with pytest.raises(CosimError, match="no offer in reset"):
        stream_rules(observed)


def test_an_unknown_bit_breaks_the_rules():
    observed = Observed.from_words("hand", PORTS, [0] * 5, [0, 0, 0, 0, -1])
    with pytest.raises(CosimError, match="X in cycle 1"):
        stream_rules(observed)


def test_packed_words_hold_the_first_field_lowest():
    words = pack_words([(np.array([1, 2]), 4), (np.array([3, 15]), 4)])
    assert words == [0x31, 0xF2]


def test_random_stalls_have_about_the_share_asked_for():
    pattern = random_stalls(np.random.default_rng(0), 20_000, 0.4)
    # Two independent halves of 0.2: 1 - 0.8 * 0.8.
    assert abs(pattern.mean() - 0.36) < 0.03
    assert not random_stalls(np.random.default_rng(0), 100, 0.0).any()


def test_an_unknown_fault_is_refused():
    with pytest.raises(InputError, match="need one of flip, drop, retract, late"):
        Faulty(TopNSorter(SPEC), "typo")


def test_fifo_case_claims_cycles_only_without_stalls():
    assert fifo_case(FifoSpec(), [1, 2, 3])[1] is not None
    assert fifo_case(FifoSpec(), [1, 2, 3], stall_share=0.9)[1] is None


def test_a_program_is_not_shared_by_environments_at_other_paths(monkeypatch):
    keys = []
    monkeypatch.setattr("rtl.cosim.verilator.cached_folder", lambda _, key, build: keys.append(key))
    for prefix in ("/a", "/a", "/b"):
        monkeypatch.setattr("sys.prefix", prefix)
        build_verilator(Harness(Fifo(FifoSpec())))
    assert keys[0] == keys[1] != keys[2]
