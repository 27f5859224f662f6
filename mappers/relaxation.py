"""Bound from below what placing deferred products can reach, by a linear program.

Products may be cut into arbitrary parts here, which the machine cannot do; so no placement of whole
products is shorter, and the distance to this bound certifies a placement's quality.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pulp

from mappers.deferral import Loads
from mappers.work import Work

__all__ = ["relaxed_cycles"]


def relaxed_cycles(loads: Loads) -> int:
    """Return the least cycles of all slots if products of ``loads`` could be shared out freely.

    The program minimises the sum of slot lengths. A slot lasts at least as long as its products,
    its other work and its memory traffic; a share of a product that is in no slot adds its time.
    """
    unit = max(1, max(loads.array + loads.others, default=1))  # keeps coefficients near one
    problem = pulp.LpProblem("slots", pulp.LpMinimize)
    shares = {
        (work, index): problem.add_variable(f"share_{work.position}_{index}", 0, 1)
        for work in loads.products
        for index in loads.gaps
        if index > loads.released[work]
    }
    total = []
    for work in loads.products:
        placed = pulp.lpSum(share for (owner, _), share in shares.items() if owner is work)
        problem += placed <= 1
        total.append(work.cycles / unit * (1 - placed))
    for index in range(len(loads.array)):
        inside = [(work, share) for (work, at), share in shares.items() if at == index]
        length = problem.add_variable(f"length_{index}", loads.slot_cycles(index) / unit)
        problem += length >= _sum(loads.array[index], inside, unit, "cycles")
        problem += length >= _sum(loads.memory[index], inside, unit, "memory_cycles")
        total.append(length)
    problem += pulp.lpSum(total)
    with _without_banner():
        problem.solve(pulp.HiGHS(msg=False))
    optimum: float = pulp.value(problem.objective)
    # The solver's tolerance must not lift the bound above the true optimum.
    return math.floor(optimum * unit * (1 - 1e-6))


@contextmanager
def _without_banner() -> Iterator[None]:
    """Keep the process's stdout, which is for results, free of the solver's version line.

    HiGHS writes it past Python's streams, whatever its options say.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _sum(
    own: int, inside: list[tuple[Work, pulp.LpVariable]], unit: int, field: str
) -> pulp.LpAffineExpression:
    shared = pulp.lpSum(getattr(work, field) / unit * share for work, share in inside)
    return own / unit + shared
