"""Does the queue hand tokens out in order, in the cycles that are predicted?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.token_queue import random_operations, token_queue_case
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import token_queue as model
from hwsim.piuma.token_queue import Answer, Operation, TokenQueueModel, pair_up
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import TokenQueueSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_token_queue import token_queue_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import token_queue
from rtl.piuma.token_queue import TokenQueue
from rtl.piuma.units import QUEUE_PROOF_SPEC

SPEC = TokenQueueSpec(entries=4, waiters=4, token_bits=8, tag_bits=3, ports=3)


def _push(token: int) -> Operation:
    return Operation(True, 0, token)


def _pop(tag: int) -> Operation:
    return Operation(False, tag, 0)


class TakesTheLatest(TokenQueue):
    """Hands out what came last, as a stack would."""

    def _first(self, at, count):
        return at + count - 1


def test_golden_pairs_pops_and_pushes_by_number():
    operations = [(1, _pop(5)), (2, _pop(6)), (0, _push(70)), (0, _push(71)), (0, _push(72))]
    assert pair_up(operations) == [Answer(1, 5, 70), Answer(2, 6, 71)]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    entries=st.sampled_from([2, 8]),
    waiters=st.sampled_from([2, 8]),
    ports=st.integers(1, 4),
    tokens=st.integers(1, 30),
    shares=st.tuples(*[st.sampled_from([0.0, 0.5, 0.9])] * 2, st.sampled_from([0.0, 0.5])),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_and_cycle_model(entries, waiters, ports, tokens, shares, seed):
    spec = TokenQueueSpec(entries=entries, waiters=waiters, token_bits=8, tag_bits=3, ports=ports)
    operations = random_operations(spec, np.random.default_rng(seed), tokens)
    push, pop, stall = shares
    vectors, schedule = token_queue_case(
        spec,
        operations,
        push_gap_share=push,
        pop_gap_share=pop,
        stall_share=stall,
        seed=seed,
    )
    check(run_pysim(TokenQueue(spec), vectors), vectors, schedule)


def test_an_answer_follows_the_later_of_pop_and_push_by_one_cycle():
    spec = SPEC.model_copy(update={"ports": 1})
    operations = [_push(1), _pop(2), _pop(3), _push(4), _push(5), _pop(6)]
    vectors, schedule = token_queue_case(spec, [operations])
    observed = run_pysim(TokenQueue(spec), vectors)
    check(observed, vectors, schedule)
    accepts, emits = observed.accept_cycles["i__0"], observed.emit_cycles["o"]
    assert accepts.tolist() == [0, 1, 2, 3, 4, 5]
    assert emits.tolist() == [2, 4, 6]
    measured = UnitTiming(int(emits[0] - accepts[1]), int(np.diff(accepts).max()))
    assert token_queue.timing(SPEC) == model.timing(SPEC) == measured


def test_a_full_queue_refuses_pushes_and_serves_pops_past_them():
    pushes, pops = [_push(k) for k in range(6)], [_pop(k) for k in range(6)]
    queue = TokenQueueModel(SPEC)
    late = {"i__1": np.arange(30) < 20}
    played = play(queue, {"i__0": pushes, "i__1": pops}, gaps=late)
    assert played.cycles["i__0"][:4] == [0, 1, 2, 3]
    assert played.cycles["i__1"][0] == 20
    assert played.cycles["i__0"][4] == 21  # room from the cycle after the pop


def test_waiting_pops_are_answered_in_order_of_arrival():
    spec = SPEC.model_copy(update={"ports": 1})
    operations = [*[_pop(tag) for tag in (5, 1, 7)], *[_push(token) for token in (9, 8, 6)]]
    vectors, schedule = token_queue_case(spec, [operations])
    assert vectors.expected["o"] == [5 << 8 | 9, 1 << 8 | 8, 7 << 8 | 6]
    check(run_pysim(TokenQueue(spec), vectors), vectors, schedule)
    with pytest.raises(CosimError) as found:
        check(run_pysim(TakesTheLatest(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_pairing_and_turns_are_proved():
    result = prove_rtlil(proof_rtlil(TokenQueue(QUEUE_PROOF_SPEC), token_queue_properties))
    assert result.is_proved, result.log


def test_a_stack_is_refuted():
    text = proof_rtlil(TakesTheLatest(QUEUE_PROOF_SPEC), token_queue_properties)
    assert prove_rtlil(text, 5).status == "refuted"


@pytest.mark.parametrize("field", ["entries", "waiters"])
def test_rings_that_do_not_wrap_by_themselves_are_refused(field):
    with pytest.raises(SpecError, match="a power of two"):
        TokenQueueSpec(**{field: 6})
