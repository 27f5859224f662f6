"""Integrate simulated time over a training run whose N:M or mask decay changes on the way.

A schedule's frames are runs of steps with one mask. While masked weights still count (beta > 0) no
product can be skipped: such a frame costs dense iterations, and choosing and scaling the masked
weights is not charged. Each distinct frame is simulated once; time is the sum over frames of steps
times cycles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hwsim.core.errors import InputError, MappingError
from hwsim.core.result import Result
from hwsim.core.sparsity import NM
from hwsim.experiments.pipeline import RunRequest, attach_baseline, dense_request, execute
from models.training import Frame, TrainingSchedule, parse_schedule

__all__ = ["execute_schedule", "read_schedule", "schedule_document"]

log = logging.getLogger("hwsim")


def read_schedule(text: str, total_steps: int | None = None) -> TrainingSchedule:
    """Return the schedule of ``--schedule`` and ``--steps``.

    Raises
    ------
    InputError
        Naming the flag, and the schedule's field where one is to blame.
    """
    try:
        return parse_schedule(text, total_steps)
    except InputError as error:
        if error.field == "schedule.total":
            raise InputError("--steps", error.need, f"{error.found} with {text!r}") from None
        part = error.field.rpartition(".")[2]
        need = error.need if error.field == "schedule" else f"{part}: {error.need}"
        found = error.found if repr(text) == error.found else f"{error.found} in {text!r}"
        raise InputError("--schedule", need, found) from None


def execute_schedule(
    request: RunRequest,
    schedule: TrainingSchedule,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Return one iteration of the schedule's last frame, with the whole run in ``schedule``.

    Parameters
    ----------
    request : RunRequest
        One training iteration; its pattern is left dense, the schedule has one per frame. Trace
        and verification are those of the last frame's iteration.
    schedule : TrainingSchedule
        Of the whole run.
    progress : callable, optional
        Told the name of each step.

    Raises
    ------
    InputError
        If the request is no training, names a pattern of its own or a method that prunes nothing.
    """
    _check(request, schedule)
    tell = progress or log.info
    frames = schedule.frames()
    results: dict[NM | None, Result] = {}
    tell("dense iteration")
    last = None if frames[-1].is_dense else frames[-1].nm
    dense = execute(_iteration(request, None, is_reported=last is None), log.info)
    for frame in frames:
        key = None if frame.is_dense else frame.nm
        if key is not None and key not in results:
            tell(f"iteration at {_name(key)}")
            results[key] = _sparse_step(_iteration(request, key, is_reported=key == last), key)
    results[None] = dense
    result = results[last]
    attach_baseline(result, dense)
    cycles = [results[None if frame.is_dense else frame.nm].cycles for frame in frames]
    result.extra["training"] = request.training
    result.extra["schedule"] = schedule_document(schedule, cycles, dense.cycles, dense.clock_hz)
    result.notes.insert(0, "Cycles, units and layers are those of one step of the last frame.")
    return result


def _sparse_step(request: RunRequest, nm: NM) -> Result:
    """Return the result of one step; the schedule is to blame for groups the machine lacks."""
    try:
        return execute(request, log.info)
    except MappingError as error:
        need = f"frames that {request.machine} can run"
        short = f"{error.field}: {error.found} of the {error.need} it takes"
        raise InputError("--schedule", need, f"{_name(nm)} ({short})") from None


def _check(request: RunRequest, schedule: TrainingSchedule) -> None:
    if request.phase != "train":
        raise InputError("--schedule", "--phase train", repr(request.phase))
    if request.sparsity != "dense":
        need = "no pattern beside --schedule, which names N:M itself"
        raise InputError("--sparsity", need, repr(request.sparsity))
    if request.training == "dense" and schedule.nm is not None:
        need = "sr-ste, sdgp, sdwp or bdwp for a --schedule with N:M"
        raise InputError("--training", need, repr(request.training))


def _iteration(request: RunRequest, nm: NM | None, *, is_reported: bool) -> RunRequest:
    """Return the request for one step at ``nm`` (None: dense), without a baseline of its own."""
    if nm is None:
        given = dense_request(request)
    else:
        given = replace(request, sparsity=f"nm:{_name(nm)}", has_baseline=False)
    return replace(
        given,
        is_traced=request.is_traced and is_reported,
        trace_file=request.trace_file if is_reported else None,
        is_verified=request.is_verified and is_reported,
    )


def _name(nm: NM) -> str:
    return f"{nm.nm_n}:{nm.nm_m}"


def schedule_document(
    schedule: TrainingSchedule, cycles: list[int], dense_cycles: int, clock_hz: int
) -> dict[str, Any]:
    """Return the run JSON's ``schedule``.

    Parameters
    ----------
    schedule : TrainingSchedule
        Of the whole run.
    cycles : list of int
        Cycles of one step in each frame.
    dense_cycles : int
        Cycles of one dense step.
    clock_hz : int
        Of the machine.
    """
    frames = schedule.frames()
    steps = sum(frame.steps for frame in frames)
    total = sum(frame.steps * each for frame, each in zip(frames, cycles, strict=True))
    entries: list[dict[str, Any]] = []
    start = 0
    for frame, each in zip(frames, cycles, strict=True):
        entries.append(_frame_entry(schedule, frame, start, each, total))
        start += frame.steps
    return {
        "kind": schedule.kind,
        "steps": steps,
        "cycles": total,
        "time_s": total / clock_hz,
        "dense_cycles": steps * dense_cycles,
        "speedup": steps * dense_cycles / total if total else 1.0,
        "frames": entries,
    }


def _frame_entry(
    schedule: TrainingSchedule, frame: Frame, start: int, cycles: int, total: int
) -> dict[str, Any]:
    return {
        "from_step": start,
        "steps": frame.steps,
        "nm": _name(frame.nm) if frame.nm is not None else None,
        "beta": schedule.at(start)[1],
        "is_dense": frame.is_dense,
        "cycles_per_step": cycles,
        "share": frame.steps * cycles / total if total else 0.0,
    }
