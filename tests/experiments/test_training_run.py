"""A whole training run is the sum of its frames' steps, each simulated once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.experiments import training_run
from hwsim.experiments.pipeline import RunRequest, dense_request, execute
from hwsim.experiments.training_run import execute_schedule, read_schedule, schedule_document
from models.training import TrainingSchedule, parse_schedule


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    """Return one BDWP iteration of two small layers."""
    rng = np.random.default_rng(3)
    path = tmp_path / "two.npz"
    np.savez(path, a=rng.standard_normal((128, 64)), b=rng.standard_normal((64, 128)))
    return RunRequest(str(path), phase="train", training="bdwp", batch=256)


def step_cycles(request: RunRequest, nm: str | None) -> int:
    """Return the cycles of one step by a run of its own."""
    given = dense_request(request) if nm is None else replace(request, sparsity=f"nm:{nm}")
    return execute(given).cycles


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("constant:2:8:steps=7", [("2:8", 7)]),
        ("constant:2:8:steps=7,dense=3,fine=2", [(None, 3), ("2:8", 7), ("2:8", 2)]),
        ("sdgf-step:2:8:steps=6", [("7:8", 2), ("4:8", 2), ("2:8", 2)]),
        ("sdgf-geo:1:4:steps=4", [("8:32", 1), ("4:16", 1), ("2:8", 1), ("1:4", 1)]),
        # beta = 1 - t / 4 for t = 0 … 3 is positive: four steps at dense time.
        ("mdgf-linear:2:8:steps=10,c=0.25", [(None, 4), ("2:8", 6)]),
        ("mdgf-exp:2:8:steps=10,c=0.25,fine=1", [(None, 10), ("2:8", 1)]),
        ("dense:steps=5", [(None, 5)]),
    ],
)
def test_the_run_takes_steps_times_cycles_of_every_frame(request_, text, frames):
    found = execute_schedule(request_, parse_schedule(text)).extra["schedule"]
    cycles = {nm: step_cycles(request_, nm) for nm in {nm for nm, _ in frames} | {None}}
    assert found["cycles"] == sum(steps * cycles[nm] for nm, steps in frames)
    assert [f["steps"] for f in found["frames"]] == [steps for _, steps in frames]
    assert [f["cycles_per_step"] for f in found["frames"]] == [cycles[nm] for nm, _ in frames]
    steps = sum(steps for _, steps in frames)
    assert found["steps"] == steps
    assert found["dense_cycles"] == steps * cycles[None]
    assert found["speedup"] == steps * cycles[None] / found["cycles"]
    assert found["time_s"] == found["cycles"] / 200_000_000
    assert sum(f["share"] for f in found["frames"]) == pytest.approx(1.0)


def test_frames_say_where_they_start_and_what_masked_weights_count():
    schedule = parse_schedule("mdgf-linear:2:8:steps=10,c=0.25,dense=5")
    frames = schedule_document(schedule, [9, 9, 3], 9, 100)["frames"]
    keys = ("from_step", "nm", "beta", "is_dense")
    assert [tuple(frame[key] for key in keys) for frame in frames] == [
        (0, None, 0.0, True),
        (5, "2:8", 1.0, True),
        (9, "2:8", 0.0, False),
    ]


def test_each_distinct_frame_is_simulated_once(request_, monkeypatch):
    asked: list[tuple[str, str]] = []

    def counting(request, *rest):
        asked.append((request.training, request.sparsity))
        return execute(request, *rest)

    monkeypatch.setattr(training_run, "execute", counting)
    text = "sdgf-step:2:8:steps=30,dense=4,fine=9"
    execute_schedule(request_, parse_schedule(text))
    assert sorted(asked) == [
        ("bdwp", "nm:2:8"),
        ("bdwp", "nm:4:8"),
        ("bdwp", "nm:7:8"),
        ("dense", "dense"),
    ]


def test_the_document_is_one_step_of_the_last_frame_against_dense(request_):
    result = execute_schedule(request_, parse_schedule("constant:2:8:steps=7,dense=3"))
    assert result.cycles == step_cycles(request_, "2:8")
    assert result.baseline["dense_cycles"] == step_cycles(request_, None)
    assert result.extra["training"] == "bdwp"
    assert any("one step of the last frame" in note for note in result.notes)
    dense = execute_schedule(request_, parse_schedule("mdgf-exp:2:8:steps=7,c=1"))
    assert dense.cycles == step_cycles(request_, None)
    assert dense.extra["schedule"]["speedup"] == dense.baseline["speedup"] == 1.0


def test_only_the_last_frame_s_step_is_verified(request_):
    asked = replace(request_, is_verified=True)
    result = execute_schedule(asked, parse_schedule("constant:2:8:steps=7,dense=3"))
    assert result.verification
    assert all(record["equal"] for record in result.verification)


@pytest.mark.parametrize(
    ("changes", "text", "field"),
    [
        ({"phase": "infer", "training": "dense"}, "dense:steps=3", "--schedule"),
        ({"sparsity": "nm:2:8"}, "constant:2:8:steps=3", "--sparsity"),
        ({"training": "dense"}, "constant:2:8:steps=3", "--training"),
        ({}, "sdgf-geo:2:8:steps=8", "--schedule"),  # 16:64 exceeds the operand multiplexer
    ],
)
def test_requests_that_a_schedule_cannot_run_are_refused(request_, changes, text, field):
    with pytest.raises(InputError) as refusal:
        execute_schedule(replace(request_, **changes), parse_schedule(text))
    assert refusal.value.field == field


def test_a_bad_text_is_refused_by_the_flag_and_its_field():
    with pytest.raises(InputError, match="--schedule: need c: a number, found 'x' in 'mdgf-exp"):
        read_schedule("mdgf-exp:2:8:steps=3,c=x")
    with pytest.raises(InputError, match="--steps: need 4, the sum of the schedule's own, found 5"):
        read_schedule("constant:2:8:steps=4", 5)
    assert read_schedule("constant:2:8", 5) == TrainingSchedule(
        "constant", parse_schedule("constant:2:8:steps=5").nm, 5
    )
