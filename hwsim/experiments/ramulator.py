"""Compare the DRAM controller with recorded figures of Ramulator 2.1 on identical traces.

``ramulator.json`` holds what a build of Ramulator's public sources, reduced to the parts in use,
took for each case of :mod:`ramulator_cases`; ``benchmarks/ramulator.py`` measures them again.
Saturated traces are compared in clocks from the first arrival to the last data (bandwidth), the
others in clocks of a read from its arrival to its last data (latency).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hwsim.components.dram.controller import count_events, serve
from hwsim.core.result import Claim
from hwsim.experiments.ramulator_cases import (
    CASES,
    IN_FLIGHT,
    PRESETS,
    SATURATED,
    Case,
    case_device,
    controller,
    make_trace,
)

__all__ = ["RECORDED", "Figures", "claims", "recorded", "simulated"]

RECORDED = Path(__file__).with_name("ramulator.json")
_TOLERANCE = 0.05
_SOURCE = (
    "Ramulator 2.1, built from its public sources reduced to these parts; identical traces "
    "(hwsim/experiments/ramulator.json)"
)


@dataclass(frozen=True)
class Figures:
    """What one trace took: clocks until the last data, mean clocks of a read, commands issued."""

    cycles: int
    read_latency: float
    commands: dict[str, int]

    @property
    def issued(self) -> int:
        """Return all commands."""
        return sum(self.commands.values())


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    return document


def recorded(case: Case) -> Figures:
    """Return Ramulator's figures."""
    return Figures(**_document()["cases"][case.name])


def simulated(case: Case) -> Figures:
    """Return this project's figures; Ramulator's scheduler is all the same to them."""
    return _served(replace(case, scheduler=Case.scheduler))


@cache
def _served(case: Case) -> Figures:
    device = case_device(case.device)
    requests = make_trace(device, case.trace)
    dram = serve(device, requests, controller(case), in_flight=IN_FLIGHT)
    is_read = requests["is_write"] == 0
    latency = (requests["done"] - requests["arrival"])[is_read].mean()
    commands = {name: n for name, n in count_events(dram).commands.items() if n}
    return Figures(int(requests["done"].max()), float(latency), commands)


def claims() -> list[Claim]:
    """Return one claim per case, and one per device about the commands issued."""
    return [_case_claim(case) for case in CASES] + [_commands_claim(name) for name in PRESETS]


def _case_claim(case: Case) -> Claim:
    """Compare clocks of a saturated trace, read latency of another."""
    ours, theirs = simulated(case), recorded(case)
    is_saturated = case.trace in SATURATED
    what = "clocks until the last data" if is_saturated else "mean read latency"
    if case.is_exchanged:
        what += ", Ramulator with our two default decisions"
    elif not case.is_comparable:
        what += ", Ramulator's precharges apart and before all else (docs/memory.md)"
    return Claim(
        id=f"memory-ramulator-{case.name}",
        what=f"{case.trace}: {what}",
        simulated=ours.cycles if is_saturated else ours.read_latency,
        reference=theirs.cycles if is_saturated else theirs.read_latency,
        unit="clocks",
        tolerance=_TOLERANCE,
        basis="peer",
        gated=case.is_comparable,
        source=_SOURCE,
    )


def _commands_claim(device: str) -> Claim:
    """Compare the commands issued in all traces that scheduler and row policy serve alike.

    Ramulator precharges closed rows by a command of its own, and its plain FR-FCFS closes rows that
    queued requests hit.
    """
    chosen = [
        case
        for case in CASES
        if case.device == device
        and not case.is_exchanged
        and (case.scheduler, case.page) == ("FRFCFS-RowHit", "open")
    ]
    return Claim(
        id=f"memory-ramulator-{device}-commands",
        what="commands issued in all of its traces, FRFCFS-RowHit and open rows",
        simulated=sum(simulated(case).issued for case in chosen),
        reference=sum(recorded(case).issued for case in chosen),
        unit="commands",
        tolerance=_TOLERANCE,
        basis="peer",
        gated=True,
        source=_SOURCE,
    )
