"""A schedule's frames follow the published decays and cover every step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.sparsity import NM
from models.training import parse_schedule
from models.training.schedule import KINDS, Frame, TrainingSchedule


def nm(n: int, m: int) -> NM:
    return NM(nm_n=n, nm_m=m)


def patterns(text: str) -> list[tuple[int, int]]:
    frames = parse_schedule(text).frames()
    return [(f.nm.nm_n, f.nm.nm_m) for f in frames if f.nm is not None]


def test_stepwise_decay_halves_the_kept_values_in_equal_frames():
    # The example of the authors' code: 7:8, 4:8, 2:8, 1:8.
    assert patterns("sdgf-step:1:8:steps=40") == [(7, 8), (4, 8), (2, 8), (1, 8)]
    assert [f.steps for f in parse_schedule("sdgf-step:1:8:steps=40").frames()] == [10] * 4
    assert patterns("sdgf-step:1:4:steps=3") == [(3, 4), (2, 4), (1, 4)]
    # derived: floor(log2(8 / 3)) + 1 = 2 frames.
    assert patterns("sdgf-step:3:8:steps=2") == [(7, 8), (3, 8)]
    assert patterns("sdgf-step:8:8:steps=2") == [(8, 8)]


def test_geometric_decay_keeps_the_density_and_shrinks_the_groups():
    # The example of the authors' code: 8:64, 4:32, 2:16, 1:8.
    assert patterns("sdgf-geo:1:8:steps=4") == [(8, 64), (4, 32), (2, 16), (1, 8)]
    frames = parse_schedule("sdgf-geo:1:8:steps=10").frames()
    assert [f.steps for f in frames] == [3, 3, 2, 2]


def test_a_constant_mask_is_one_frame():
    assert parse_schedule("constant:2:8:steps=9").frames() == [Frame(9, nm(2, 8))]


def test_linear_mask_decay_is_dense_until_beta_is_zero():
    # derived: beta = 1, 0.75, 0.5, 0.25, then 0.
    schedule = parse_schedule("mdgf-linear:2:8:steps=10,c=0.25,dense=3,fine=5")
    assert schedule.frames() == [
        Frame(3, None),
        Frame(4, nm(2, 8), 1.0),
        Frame(6, nm(2, 8)),
        Frame(5, nm(2, 8)),
    ]
    assert [f.is_dense for f in schedule.frames()] == [True, True, False, False]
    assert [schedule.at(t)[1] for t in range(2, 9)] == [0.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert schedule.at(2)[0] is None


def test_exponential_mask_decay_is_binary_only_in_its_fine_steps():
    schedule = parse_schedule("mdgf-exp:1:32:steps=100,c=1e-4,fine=10")
    assert [(f.steps, f.is_dense) for f in schedule.frames()] == [(100, True), (10, False)]
    assert schedule.at(50)[1] == pytest.approx(math.exp(-0.005))
    assert schedule.at(100) == (nm(1, 32), 0.0)


def test_mean_cost_weighs_frames_by_their_steps():
    # derived: kept fractions 7/8, 4/8, 2/8, 1/8 in equal frames after as many dense steps.
    schedule = parse_schedule("sdgf-step:1:8:steps=4,dense=4")
    cost = schedule.mean_cost(lambda p: 1.0 if p is None else p.density())
    assert cost == pytest.approx((4 + (7 + 4 + 2 + 1) / 8) / 8)
    decaying = parse_schedule("mdgf-exp:1:8:steps=4,c=0.1")
    assert decaying.mean_cost(lambda p: 1.0 if p is None else p.density()) == 1.0


@given(st.sampled_from(KINDS), st.integers(8, 200), st.integers(0, 9), st.integers(0, 9), st.data())
def test_frames_cover_every_step_once(kind, steps, dense, fine, data):
    pattern = None if kind == "dense" else nm(data.draw(st.integers(1, 8)), 8)
    decay = data.draw(st.floats(1e-6, 10.0))
    schedule = TrainingSchedule(kind, pattern, steps, dense, fine, decay)
    frames = schedule.frames()
    assert sum(f.steps for f in frames) == steps + dense + fine
    flat = [f for f in frames for _ in range(f.steps)]
    for step, frame in enumerate(flat):
        found, beta = schedule.at(step)
        assert found == frame.nm
        # exp(-c t) may round to 0 late in a decay that is still paid for.
        assert beta >= 0.0
        assert (beta == 0.0) or frame.is_dense
    with pytest.raises(InputError, match="step: need 0 to"):
        schedule.at(len(flat))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sdgf:1:8:steps=4", "schedule: need one of .*did you mean sdgf-geo, sdgf-step"),
        ("sdgf-step:1:8", "need sdgf-step:N:M:steps=S"),
        ("dense:1:8:steps=4", "need dense:steps=S"),
        ("constant:1:8:stops=4", "did you mean steps"),
        ("constant:1:8:steps=four", "schedule.steps: need a whole number, found 'four'"),
        ("constant:1:8:dense=4", "schedule.steps: need a whole number, found ''"),
        ("constant:1:8:steps=4,steps=5", "schedule.steps: need one value"),
        ("constant:1:8:steps=0", "schedule.steps: need at least 1, found 0"),
        ("constant:9:8:steps=4", "pattern.nm_n: need 1 to 8, found 9"),
        ("constant:1:8:steps=4,c=1", "schedule.c: need a kind with mask decay"),
        ("mdgf-exp:1:8:steps=4", "schedule.c: need a positive decay per step, found 0.0"),
        ("mdgf-exp:1:8:steps=4,c=fast", "schedule.c: need a number, found 'fast'"),
        ("mdgf-exp:1:8:steps=4,c=nan", "schedule.c: need a positive decay"),
        ("sdgf-step:1:8:steps=3", "schedule.steps: need at least 4, one per pattern, found 3"),
    ],
)
def test_a_malformed_schedule_names_its_field(text, message):
    with pytest.raises(InputError, match=message):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("constant:2:8", 100),
        ("constant:2:8:dense=10,fine=5", 85),
        ("mdgf-exp:2:8:c=0.1,fine=30", 70),
        ("dense", 100),
        ("constant:2:8:steps=80,dense=20", 80),
    ],
)
def test_the_whole_run_s_length_fills_in_the_steps_left_out(text, steps):
    schedule = parse_schedule(text, total_steps=100)
    assert schedule.steps == steps
    assert sum(frame.steps for frame in schedule.frames()) == 100


@pytest.mark.parametrize(
    ("text", "total", "need"),
    [
        ("constant:2:8:steps=80,dense=19", 100, "99, the sum"),
        ("constant:2:8:steps=80,dense=21", 100, "101, the sum"),
        ("constant:2:8:dense=60,fine=40", 100, "more than the 100"),
        ("dense:steps=5", 6, "5, the sum"),
    ],
)
def test_steps_that_do_not_add_up_to_the_run_are_refused(text, total, need):
    with pytest.raises(InputError) as refusal:
        parse_schedule(text, total_steps=total)
    assert (refusal.value.field, refusal.value.found) == ("schedule.total", str(total))
    assert need in refusal.value.need


def test_steps_are_needed_where_no_length_is_given():
    for text in ("constant:2:8:dense=3", "constant:2:8", "dense"):
        with pytest.raises(InputError, match="schedule"):
            parse_schedule(text)
