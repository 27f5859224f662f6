"""Check that stepping replaces cycles only if they agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.errors import HwsimError
from hwsim.core.machine import make_machine
from hwsim.sat.detail import stepped_program
from mappers.greedy import map_graph

ARRAY = ("array.rows=4", "array.cols=4")


@pytest.mark.parametrize("detail", ["tile", "pe"])
def test_a_stepped_program_equals_the_program(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], detail: str
) -> None:
    machine, program = lower_plan(linear(20, 40, 12, (2, 4)), (8, 12, 40), ARRAY, nm=(2, 4))
    stepped = stepped_program(program, machine.spec.array, detail)
    assert stepped.program_hash() == program.program_hash()


@pytest.mark.evidence("sat", "T2")
@pytest.mark.parametrize("detail", ["tile", "pe"])
@pytest.mark.parametrize("off_by", [-1, 1])
def test_cycles_off_by_one_are_refused(
    linear: Callable[..., Any], lower_plan: Callable[..., Any], detail: str, off_by: int
) -> None:
    machine, program = lower_plan(linear(20, 40, 12), (8, 12, 40), ARRAY)
    worker = int(program.instructions["cycles"].argmax())
    program.instructions["cycles"][worker] += off_by
    with pytest.raises(HwsimError, match=f"{detail} stepping of ws"):
        machine.run(program, detail=detail)


def test_scalesims_counts_are_not_stepped(linear: Callable[..., Any]) -> None:
    machine = make_machine("sat", "scalesim")
    graph = linear(20, 40, 12)
    program = machine.lower(graph, map_graph(graph, machine))
    assert stepped_program(program, machine.spec.array, "tile") is program
