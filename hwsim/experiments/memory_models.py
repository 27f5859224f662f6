"""Run one request with every model of off-chip memory that its machine has: ``--memories``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from pydantic import BaseModel

from hwsim.core.errors import InputError
from hwsim.core.machine import Machine
from hwsim.core.result import Result
from hwsim.experiments.pipeline import RunRequest, prepare

__all__ = ["memory_rows", "run_memory_models"]


def run_memory_models(request: RunRequest, machine: Machine) -> dict[str, Result | None]:
    """Return the run of ``request`` with each model; None for the model that it names itself.

    Raises :class:`InputError` if the machine has no models, or naming the one that cannot be had.
    """
    part = getattr(machine.spec, "memory", None)
    memory = part.model_dump() if isinstance(part, BaseModel) else {}
    if "model" not in memory:
        have = f"{machine.name} without memory.model"
        raise InputError("--memories", "a machine whose memory has models", have)
    found: dict[str, Result | None] = {}
    for model in get_args(type(part).model_fields["model"].annotation):
        found[model] = None
        if memory["model"] == model:
            continue
        setting = f"memory.model={model}"
        try:
            session = prepare(replace(request, settings=(*request.settings, setting)))
            found[model] = session.machine.run(session.program, detail=request.detail)
        except InputError as error:
            field = f"--memories: {setting}: {error.field}"
            raise InputError(field, error.need, error.found) from None
    return found


def memory_rows(others: dict[str, Result | None], own: Result, unit: str) -> list[dict[str, Any]]:
    """Return what the run takes with each model: ``others``, or ``own`` where there is none.

    ``unit`` is the compute unit whose stalls by off-chip memory are counted.
    """
    rows = []
    for model, other in others.items():
        result = other or own
        account = result.stats.units.get(unit)
        rows.append(
            {
                "model": model,
                "cycles": result.cycles,
                "time_s": result.cycles / result.clock_hz,
                "dram_stall_cycles": account.stall["dram"] if account else 0,
                "is_this_run": other is None,
            }
        )
    return rows
