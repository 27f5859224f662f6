"""Let the second, plain scheduler close rows as Ramulator's ``ClosedCAP`` of one access does.

The claims about closed rows compare a controller that precharges with the access itself. Ramulator
precharges by a command of its own, in the first clock that the rules allow, before all but
activated requests. ``python -m benchmarks.ramulator closed`` shows that this is what they differ
by: the plain scheduler of the tests takes that rule and comes to Ramulator's figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwsim.components.dram.devices import Device
from hwsim.components.dram.state import Controller
from hwsim.experiments.ramulator import recorded, simulated
from hwsim.experiments.ramulator_cases import (
    CASES,
    IN_FLIGHT,
    Case,
    case_device,
    controller,
    make_trace,
)
from tests.components.dram.test_plain_model import Burst, Bus, PlainDram

__all__ = ["ClosedCap", "print_closed"]

PRECHARGE, REFRESH = 0, 1


class ClosedCap(PlainDram):
    """One data bus of one rank whose rows are closed after an access, by commands of their own."""

    def __init__(self, device: Device, chosen: Controller) -> None:
        """Start idle."""
        super().__init__(device, chosen)
        self.accessed: set[int] = set()
        """Banks whose open row was read or written."""
        self.waiting: list[tuple[int, int]] = []
        """Precharges and refreshes with their bank, in order; nothing queued goes before them."""

    def issue_one(self, g: int, bus: Bus, t: int) -> bool:
        """Let precharges wait that may be issued now, then issue what comes first."""
        if self.due[0] <= t and (REFRESH, 0) not in self.waiting:
            self.waiting.append((REFRESH, 0))
        for bank in sorted(self.accessed):
            if (PRECHARGE, bank) not in self.waiting and self.may_issue("PRE", bank, t):
                self.waiting.append((PRECHARGE, bank))
        return super().issue_one(g, bus, t)

    def candidates(self, g: int, bus: Bus, t: int) -> list[tuple[int, int, str, int, Burst | None]]:
        """Return activated requests, then only the first that waits, else what is queued."""
        found = [entry for entry in super().candidates(g, bus, t) if entry[0] != 0]
        if self.waiting:
            found = [entry for entry in found if entry[0] < 0]
            kind, bank = self.waiting[0]
            if kind == PRECHARGE and bank not in bus.openers:
                found.append((0, 0, "PRE", bank, None))
            elif kind == REFRESH and not bus.openers:
                found.append((0, 0, "PREA" if self.open else "REFab", 0, None))
        return [
            (*entry[:2], self.column(entry[2], entry[3], t), *entry[3:])
            if entry[2][:2] in ("RD", "WR")
            else entry
            for entry in found
        ]

    def column(self, command: str, bank: int, t: int) -> str:
        """Return the command with a precharge if that is due anyway."""
        closing = command[:2] + "A"
        return (
            closing if bank in self.accessed and self.may_issue(closing, bank, t) else closing[:2]
        )

    def note(self, command: str, bank: int, t: int) -> None:
        """Keep what was accessed, and what no longer waits."""
        super().note(command, bank, t)
        if command in ("RD", "WR"):
            self.accessed.add(bank)
        elif command in ("PRE", "RDA", "WRA"):
            self.accessed.discard(bank)
            self.waiting = [entry for entry in self.waiting if entry != (PRECHARGE, bank)]
        elif command == "PREA":
            self.accessed.clear()
            self.waiting = [entry for entry in self.waiting if entry[0] == REFRESH]
        elif command == "REFab":
            self.waiting.remove((REFRESH, 0))


def print_closed() -> None:
    """Print clocks and read latency of Ramulator, of this project and of the plain scheduler."""
    print(f"{'':26}{'clocks':>8}{'ours':>9}{'plain':>9}{'latency':>11}{'ours':>9}{'plain':>9}")
    for case in CASES:
        if case.page == "closed":
            theirs, ours = recorded(case), simulated(case)
            clocks, latency = _play(case)
            parts = [
                f"{ours.cycles / theirs.cycles - 1:+9.2%}",
                f"{clocks / theirs.cycles - 1:+9.2%}",
            ]
            late = [f"{x / theirs.read_latency - 1:+9.2%}" for x in (ours.read_latency, latency)]
            print(
                f"{case.name:26}{theirs.cycles:8}",
                *parts,
                f"{theirs.read_latency:11.1f}",
                *late,
                sep="",
            )


def _play(case: Case) -> tuple[int, float]:
    """Return clocks until the last data and mean clocks of a read."""
    device = case_device(case.device)
    trace = make_trace(device, case.trace)
    fields = ("arrival", "address", "size_bytes", "is_write")
    requests: list[Any] = list(zip(*(trace[name].tolist() for name in fields), strict=True))
    done = np.array(ClosedCap(device, controller(case)).run(requests, IN_FLIGHT))
    return int(done.max()), float((done - trace["arrival"])[trace["is_write"] == 0].mean())
