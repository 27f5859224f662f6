"""Check that counted loops mean what unrolling them by hand means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.program import END, INSTRUCTION, LOOP, MAX_LOOP_DEPTH, Program, TokenChannel


def row(unit: int, **fields: Any) -> np.ndarray:
    made = np.zeros(1, dtype=INSTRUCTION)
    made["unit"] = unit
    for name, value in fields.items():
        made[name] = value
    return made


def program(*rows: np.ndarray) -> Program:
    return Program(
        machine="none",
        units=["compute", "memory"],
        opcodes=["go"],
        op_names=["first", "second"],
        channels=[TokenChannel("ready", 1, "dependency")],
        instructions=np.concatenate(rows),
    )


Tree = list[Any]
"""Instructions (address, strides) and loops (count, Tree)."""


def trees(depth: int = MAX_LOOP_DEPTH) -> st.SearchStrategy[Tree]:
    leaf = st.tuples(st.integers(0, 1000), st.tuples(*[st.integers(-50, 50)] * MAX_LOOP_DEPTH))
    if depth == 0:
        return st.lists(leaf, max_size=3)
    loop = st.tuples(st.integers(1, 4), trees(depth - 1))
    return st.lists(leaf | loop, max_size=3)


def flatten(tree: Tree) -> Iterator[np.ndarray]:
    for node in tree:
        if isinstance(node[1], list):
            yield row(LOOP, count=node[0])
            yield from flatten(node[1])
            yield row(END)
        else:
            yield row(1, mem_bytes=4, mem_address=node[0], mem_stride=node[1])


def addresses(tree: Tree, iterations: tuple[int, ...] = ()) -> Iterator[int]:
    """Unroll by recursion: an address moves by its stride per repetition, per depth."""
    for node in tree:
        if isinstance(node[1], list):
            for i in range(node[0]):
                yield from addresses(node[1], (*iterations, i))
        else:
            yield node[0] + sum(s * i for s, i in zip(node[1], iterations, strict=False))


@given(tree=trees(), size=st.integers(1, 7))
def test_chunks_are_the_unrolled_instructions(tree: Tree, size: int) -> None:
    looped = program(row(0, cycles=1), *flatten(tree))
    looped.verify()
    expected = [0, *addresses(tree)]
    assert len(looped) == len(expected)
    chunks = list(looped.chunks(size))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= size
    assert np.concatenate(chunks)["mem_address"].tolist() == expected


def test_length_counts_repetitions_without_unrolling() -> None:
    million = row(LOOP, count=10**6)
    looped = program(million, million, row(0, cycles=1), row(1, mem_bytes=1), row(END), row(END))
    assert len(looped) == 2 * 10**12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(2)], "a unit below 2, found 2"),
        ([row(-3)], "a unit below 2, found -3"),
        ([row(0, op_id=2)], "a known op_id, found 2"),
        ([row(0, op_id=-1)], "a known op_id, found -1"),
        ([row(LOOP, count=0), row(0), row(END)], "a loop count of at least 1, found 0"),
        ([row(LOOP, count=2), row(0)], "every loop closed, found 1 open"),
        ([row(0), row(END)], "loops nested 0 to 4 deep, found -1"),
        ([row(LOOP, count=1)] * 5 + [row(0)] + [row(END)] * 5, "loops nested 0 to 4 deep, found 5"),
        ([row(0, wait=2)], "channels below 1"),
        ([row(0, release=4)], "channels below 1"),
    ],
)
def test_inconsistent_programs_are_refused(rows: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        program(*rows).verify()


def test_consistent_programs_are_accepted() -> None:
    deep = [row(LOOP, count=1)] * MAX_LOOP_DEPTH + [row(0, op_id=1, wait=1)]
    program(*deep, *[row(END)] * MAX_LOOP_DEPTH).verify()


def test_disassembly_names_everything_and_indents_loops() -> None:
    looped = program(
        row(1, mem_bytes=64, release=1),
        row(LOOP, count=3),
        row(0, cycles=7, op_id=1, wait=1),
        row(END),
    )
    load, loop, compute = looped.disassemble().splitlines()
    assert load.split() == ["memory", "go", "64", "B", "first", "wait[]", "rel[ready]"]
    assert loop == "loop 3:"
    assert compute.startswith("  compute")
    assert compute.split() == ["compute", "go", "7", "cyc", "second", "wait[ready]", "rel[]"]
    assert looped.disassemble(limit=1).splitlines()[-1] == "… 3 more"


def test_a_units_cycles_are_counted_per_op_with_repetitions() -> None:
    code = program(
        row(0, op_id=0, cycles=5),
        row(LOOP, count=3),
        row(0, op_id=1, cycles=7),
        row(1, op_id=1, cycles=100),
        row(END),
    )
    assert code.unit_cycles("compute") == {"first": 5, "second": 21}
    assert code.unit_cycles("memory") == {"first": 0, "second": 300}


def test_the_hash_sees_every_field() -> None:
    base = program(row(0, cycles=1))
    assert base.program_hash() == program(row(0, cycles=1)).program_hash()
    for field, value in (("cycles", 2), ("wait", 1), ("macs", 1), ("op_id", 1)):
        changed = program(row(0, **{"cycles": 1, field: value}))
        assert changed.program_hash() != base.program_hash()
