"""Offer small thread programs on a machine of the test's choice, and products as graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from hwsim.piuma.isa import Assembler
from hwsim.piuma.play import play
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Chip, Launch, chip_state
from mappers.greedy import map_graph
from models.sparse.build import product_graph

Write = Callable[[Assembler], None]


def run_threads(
    mtp: Write | None,
    stp: Write | None = None,
    settings: tuple[str, ...] = (),
    memory: Any = None,
    *,
    is_plain: bool = False,
) -> tuple[Chip, int]:
    """Return the machine after its threads have halted, and the cycles."""
    spec = PiumaSpec().override(settings)
    a = Assembler()
    entries = []
    for write in (mtp, stp):
        entries.append(a.place if write is not None else -1)
        if write is not None:
            write(a.fresh())
            a.emit("halt")
    dram = np.zeros(1024, np.int64) if memory is None else memory
    chip = chip_state(spec, a.array(), dram, Launch(entries[0], (entries[1],)))
    return chip, play(chip, is_plain=is_plain)


@pytest.fixture
def threads() -> Callable[..., tuple[Chip, int]]:
    """Return a function that runs programs on multi- and single-threaded pipelines."""
    return run_threads


def run_product(
    kernel: str,
    a: sparse.csr_array,
    b: sparse.csr_array | None = None,
    settings: tuple[str, ...] = (),
    features: int = 5,
) -> tuple[Result, Any, Any]:
    """Return the result of a product, its output, and what golden says."""
    machine = make_machine("piuma", settings=settings)
    graph = product_graph("test", kernel, a, b, features=features)
    program = machine.lower(graph, map_graph(graph, machine))
    result = machine.run(program, {})
    return result, result.outputs["product"], machine.golden(program, {})["product"]


@pytest.fixture
def product() -> Callable[..., tuple[Result, Any, Any]]:
    """Return a function that runs one product on the machine."""
    return run_product
