"""Does the intersection unit find what both lists hold, one step per cycle?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.intersect import intersect_case, random_pair
from hwsim.core.machine import UnitTiming
from hwsim.piuma import intersect as model
from hwsim.piuma.intersect import Block, Match, blocks_of
from hwsim.piuma.unit_spec import IntersectSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_intersect import intersect_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import intersect
from rtl.piuma.intersect import Intersect
from rtl.piuma.units import INTERSECT_PROOF_SPEC

MODES = ("skip_ahead", "leader_follower")


def _spec(block: int, mode: str = "skip_ahead") -> IntersectSpec:
    return IntersectSpec(coordinate_bits=8, position_bits=8, block=block, mode=mode)


def _steps(spec: IntersectSpec, a: list[int], b: list[int]) -> int:
    """Return the cycles from the first blocks to the end mark, on pysim, checked."""
    vectors, schedule = intersect_case(spec, [(a, b)])
    observed = run_pysim(Intersect(spec), vectors)
    check(observed, vectors, schedule)
    return int(observed.emit_cycles["o"][-1])


class SkipsTooFar(Intersect):
    """Drops the coordinate that it looks for, if the other list has more."""

    def _below(self, side, head):
        return super()._below(side, head + (side is self.sides[1]))


def test_golden_finds_places_in_both_lists():
    matches = model.intersect(_spec(2), [1, 4, 6, 9], [4, 5, 9])
    assert matches == [Match(False, 4, 1, 0), Match(False, 9, 3, 2), Match(True, 0, 0, 0)]
    assert blocks_of(_spec(2), [1, 4, 6]) == [Block(False, (1, 4)), Block(True, (6,))]
    assert blocks_of(_spec(2), []) == [Block(True, ())]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    block=st.sampled_from([1, 2, 3, 8]),
    mode=st.sampled_from(MODES),
    sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=3),
    width=st.sampled_from([4, 20, 256]),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_and_cycle_model(block, mode, sizes, width, stall_share, seed):
    spec = _spec(block, mode)
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng, size, width) for size in sizes]
    vectors, schedule = intersect_case(spec, pairs, stall_share=stall_share, seed=seed)
    check(run_pysim(Intersect(spec), vectors), vectors, schedule)


def test_two_fingers_take_a_step_per_coordinate_that_is_not_shared_twice():
    a, b = list(range(0, 40, 2)), list(range(0, 40, 5))
    # Every coordinate is dropped once, common ones together; the end takes one step more.
    assert _steps(_spec(1), a, b) == len(set(a) | set(b)) + 1


def test_a_skip_takes_one_step_per_block():
    a, b = [100], list(range(100))
    # 12 whole blocks of eight and one of four lie below; then list a is alone.
    assert _steps(_spec(8), a, b) == 13 + 1 + 1
    assert _steps(_spec(1), a, b) == 100 + 1 + 1


def test_a_leader_takes_one_look_up_per_coordinate():
    a, b = list(range(0, 60, 3)), list(range(0, 60))
    # 20 look-ups; seven of eight blocks of b are dropped by a step of their own.
    spec = _spec(8, "leader_follower")
    own = sum(1 for k in range(7) if 8 * k + 7 not in a)
    assert _steps(spec, a, b) == len(a) + own + 1 + 1


def test_matches_leave_one_per_cycle_behind_their_heads():
    same = list(range(20))
    vectors, schedule = intersect_case(_spec(1), [(same, same)])
    observed = run_pysim(Intersect(_spec(1)), vectors)
    check(observed, vectors, schedule)
    accepts, emits = observed.accept_cycles["a"], observed.emit_cycles["o"]
    [latency] = set((emits[:20] - accepts).tolist())
    [interval] = set(np.diff(emits).tolist())
    measured = UnitTiming(latency, interval)
    assert intersect.timing(_spec(1)) == model.timing(_spec(1)) == measured


def test_a_skip_too_far_is_found():
    spec = _spec(4)
    vectors, schedule = intersect_case(spec, [([5, 9], [1, 5, 9])])
    with pytest.raises(CosimError) as found:
        check(run_pysim(SkipsTooFar(spec), vectors), vectors, schedule)
    assert found.value.category == "outputs"


@pytest.mark.parametrize("block", [1, 2])
def test_matches_are_proved(block):
    spec = INTERSECT_PROOF_SPEC.model_copy(update={"block": block})
    result = prove_rtlil(proof_rtlil(Intersect(spec), intersect_properties))
    assert result.is_proved, result.log


def test_a_skip_too_far_is_refuted():
    text = proof_rtlil(SkipsTooFar(INTERSECT_PROOF_SPEC), intersect_properties)
    assert prove_rtlil(text, 6).status == "refuted"
