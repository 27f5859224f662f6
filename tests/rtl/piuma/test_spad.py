"""Do scratchpad banks and their crossbar answer right, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import C, Cat
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.spad import (
    atomic_spad_case,
    random_requests,
    spad_crossbar_case,
)
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import atomic_spad as model
from hwsim.piuma.atomic_spad import (
    ADD,
    CAS,
    LOAD,
    STORE,
    SWAP,
    Answer,
    Request,
    SpadCrossbarModel,
    apply_request,
    bank_of,
    first_by_turn,
)
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import AtomicSpadSpec, SpadCrossbarSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_spad import atomic_spad_properties, spad_crossbar_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import atomic_spad, spad_crossbar
from rtl.piuma.atomic_spad import AtomicSpad
from rtl.piuma.spad_crossbar import SpadCrossbar
from rtl.piuma.units import SPAD_PROOF_SPEC

BANK = AtomicSpadSpec(words=8, data_bits=4, tag_bits=3)
PROOF_BANK = AtomicSpadSpec(words=4, data_bits=3, tag_bits=2)


class ForgetsTheWrite(AtomicSpad):
    """Answers with what memory held before the write of the cycle before."""

    def _is_stale(self):
        return C(0)


class NeverTurns(SpadCrossbar):
    """Serves the lowest port first, always."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += Cat(self.request_turns).eq(0)
        return m


def test_operations_do_what_their_names_say():
    memory = {5: 7}
    done = [
        apply_request(memory, Request(*request), 4)
        for request in [
            (LOAD, 1, 5),
            (ADD, 2, 5, 12),  # 7 + 12 = 3 modulo 16
            (CAS, 3, 5, 9, 7),  # the word is not 7
            (CAS, 4, 5, 9, 3),
            (SWAP, 5, 5, 2),
            (STORE, 6, 5, 1),
            (7, 7, 5, 8, 1),
        ]
    ]
    olds = [7, 7, 3, 3, 9, 2, 1]
    assert done == [Answer(tag, old) for tag, old in zip(range(1, 8), olds, strict=True)]
    assert memory == {5: 1}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    words=st.integers(1, 8),
    count=st.integers(1, 60),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_a_bank_equals_golden_and_cycle_model(words, count, stall_share, seed):
    rng = np.random.default_rng(seed)
    requests = random_requests(BANK, rng, count, words)
    vectors, schedule = atomic_spad_case(BANK, requests, stall_share=stall_share, seed=seed)
    check(run_pysim(AtomicSpad(BANK), vectors), vectors, schedule)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    banks=st.sampled_from([1, 2, 4]),
    ports=st.integers(1, 4),
    has_xor=st.booleans(),
    stall_share=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 1000),
)
def test_a_crossbar_equals_the_cycle_model(banks, ports, has_xor, stall_share, seed):
    spec = SpadCrossbarSpec(bank=BANK, banks=banks, ports=ports, has_xor=has_xor)
    rng = np.random.default_rng(seed)
    requests = [random_requests(BANK, rng, 30, 8) for _ in range(ports)]
    vectors, schedule = spad_crossbar_case(spec, requests, stall_share=stall_share, seed=seed)
    check(run_pysim(SpadCrossbar(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("has_xor", [False, True])
def test_answers_of_the_crossbar_are_those_of_one_memory_in_order_of_acceptance(has_xor):
    spec = SpadCrossbarSpec(bank=BANK, banks=4, ports=3, has_xor=has_xor)
    rng = np.random.default_rng(8)
    requests = [
        # A tag per request of a port, so that answers can be told apart; all words are known.
        [r._replace(tag=k) for k, r in enumerate(random_requests(BANK, rng, 8, 6))]
        for _ in range(3)
    ]
    crossbar = SpadCrossbarModel(spec)
    played = play(crossbar, dict(zip(crossbar.inputs, requests, strict=True)))
    accepted = sorted(
        (cycle, port, request)
        for port in range(3)
        for cycle, request in zip(
            played.cycles[f"i__{port}"], played.words[f"i__{port}"], strict=True
        )
    )
    memory: dict[int, int] = {}
    expected = {port: {} for port in range(3)}
    for _, port, request in accepted:
        expected[port][request.tag] = apply_request(memory, request, 4).old
    for port in range(3):
        assert {word.tag: word.old for word in played.words[f"o__{port}"]} == expected[port]


def test_atomics_on_one_word_leave_one_per_cycle():
    requests = [Request(STORE, 0, 3, 0), *[Request(ADD, 1, 3, 1)] * 30]
    vectors, schedule = atomic_spad_case(BANK, requests)
    observed = run_pysim(AtomicSpad(BANK), vectors)
    check(observed, vectors, schedule)
    assert [word & 15 for word in observed.outputs["o"][1:31]] == [k % 16 for k in range(30)]
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    [latency] = set((emits - accepts).tolist())
    [interval] = set(np.diff(accepts).tolist())
    measured = UnitTiming(latency, interval)
    assert atomic_spad.timing(BANK) == model.bank_timing(BANK) == measured


def test_a_lone_request_crosses_in_three_cycles():
    spec = SpadCrossbarSpec(bank=BANK, banks=2, ports=2)
    vectors, schedule = spad_crossbar_case(spec, [[], [Request(LOAD, 5, 1)]])
    observed = run_pysim(SpadCrossbar(spec), vectors)
    check(observed, vectors, schedule)
    [accept], [emit] = observed.accept_cycles["i__1"], observed.emit_cycles["o__1"]
    # Port 0 clears both words behind it.
    [interval] = np.diff(observed.accept_cycles["i__0"])
    measured = UnitTiming(int(emit - accept), int(interval))
    assert spad_crossbar.timing(spec) == model.crossbar_timing(spec) == measured


def test_ports_that_want_one_bank_take_turns_and_others_do_not_wait():
    spec = SpadCrossbarSpec(bank=BANK, banks=4, ports=4)
    same = SpadCrossbarModel(spec)
    loads = [Request(LOAD, 0, 4)] * 10
    played = play(same, dict.fromkeys(same.inputs, loads))
    for port in range(4):
        assert played.cycles[f"i__{port}"] == list(range(port, 40, 4))
    apart = SpadCrossbarModel(spec)
    inputs = {f"i__{port}": [Request(LOAD, 0, port)] * 10 for port in range(4)}
    played = play(apart, inputs)
    assert all(played.cycles[name] == list(range(10)) for name in apart.inputs)


def test_folding_spreads_a_stride_of_the_banks():
    plain = SpadCrossbarSpec(bank=BANK, banks=4, ports=1)
    folded = SpadCrossbarSpec(bank=BANK, banks=4, ports=1, has_xor=True)
    stride = range(0, 32, 4)
    assert {bank_of(plain, address)[0] for address in stride} == {0}
    assert [bank_of(folded, address)[0] for address in stride] == [0, 1, 2, 3, 0, 1, 2, 3]
    # Every address keeps a place of its own.
    assert len({bank_of(folded, address) for address in range(32)}) == 32


def test_the_turn_goes_around_the_end():
    assert first_by_turn([True, False, True], 1) == 2
    assert first_by_turn([True, True, False], 2) == 0
    assert first_by_turn([False, False], 1) is None


def test_a_forgotten_hazard_is_found():
    rng = np.random.default_rng(2)
    requests = random_requests(BANK, rng, 60, 2)
    vectors, schedule = atomic_spad_case(BANK, requests)
    with pytest.raises(CosimError) as found:
        check(run_pysim(ForgetsTheWrite(BANK), vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_ports_that_never_take_turns_are_found():
    spec = SpadCrossbarSpec(bank=BANK, banks=2, ports=3)
    requests = [[Request(LOAD, port, 0)] * 10 for port in range(3)]
    vectors, schedule = spad_crossbar_case(spec, requests)
    with pytest.raises(CosimError) as found:
        check(run_pysim(NeverTurns(spec), vectors), vectors, schedule)
    assert found.value.category == "schedule"


def test_atomicity_of_a_bank_is_proved():
    result = prove_rtlil(proof_rtlil(AtomicSpad(PROOF_BANK), atomic_spad_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize("has_xor", [False, True])
def test_conservation_and_fairness_of_the_crossbar_are_proved(has_xor):
    spec = SPAD_PROOF_SPEC.model_copy(update={"has_xor": has_xor})
    result = prove_rtlil(proof_rtlil(SpadCrossbar(spec), spad_crossbar_properties))
    assert result.is_proved, result.log


@pytest.mark.parametrize(
    ("unit", "properties"),
    [
        (lambda: ForgetsTheWrite(PROOF_BANK), atomic_spad_properties),
        (lambda: NeverTurns(SPAD_PROOF_SPEC), spad_crossbar_properties),
    ],
)
def test_a_forgotten_hazard_and_a_starving_port_are_refuted(unit, properties):
    assert prove_rtlil(proof_rtlil(unit(), properties), 6).status == "refuted"


@pytest.mark.parametrize(
    ("values", "need"), [({"banks": 3}, "a power of two"), ({"bank": {"words": 6}}, "a power")]
)
def test_a_crossbar_that_cannot_be_built_is_refused(values, need):
    with pytest.raises(SpecError, match=need):
        SpadCrossbarSpec(**values)
