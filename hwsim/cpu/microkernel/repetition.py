"""Find out what one turn of a loop does, so that many can be done at once.

Used while micro-ops are lowered (:mod:`hwsim.cpu.microkernel.uops`): numbers and places step
evenly, or by what the turn takes from streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwsim.cpu import isa
from hwsim.cpu.microkernel.ir import Reg

__all__ = ["Change", "State", "Stepper", "StreamLoop", "stream_walks"]

Row = tuple[Any, ...]


class Stepper(Protocol):
    """The integer state of a kernel under execution.

    ``registers`` hold numbers, addresses or loaded data; ``places`` the byte offset of each
    pointer; ``positions`` the values taken from each stream; ``compared`` the numbers that
    conditions have seen, ``streamed`` the loops over streams, both in order.
    """

    registers: dict[Reg, Any]
    places: dict[str, int]
    positions: dict[str, int]
    compared: list[int]
    streamed: list[StreamLoop]

    def values_of(self, name: str) -> NDArray[np.int64]:
        """Return the values of a stream."""

    def put(self, pointer: str, place: int) -> None:
        """Move a pointer and the register that follows it."""


@dataclass(frozen=True)
class StreamLoop:
    """A loop that took its turns from stream ``name``.

    ``steps``: bytes per turn of each pointer that moves evenly. ``walks``: pointers that a stream
    steps, with that stream and how often per turn.
    """

    name: str
    steps: dict[str, int]
    walks: dict[str, tuple[str, int]]

    def moved(self, machine: Stepper, positions: Mapping[str, int], turns: int) -> dict[str, int]:
        """Return the bytes that pointers move in ``turns`` turns from stream ``positions`` on."""
        moved = {pointer: by * turns for pointer, by in self.steps.items()}
        for pointer, (source, uses) in self.walks.items():
            first = positions.get(source, 0)
            values = machine.values_of(source)[first : first + turns * uses]
            moved[pointer] = int(values.sum())
        return moved


@dataclass
class State:
    """The machine before a turn."""

    numbers: dict[Reg, int]
    places: dict[str, int]
    positions: dict[str, int]
    compared: int
    streamed: int

    @classmethod
    def of(cls, machine: Stepper) -> State:
        """Copy the state of ``machine``."""
        numbers = {reg: v for reg, v in machine.registers.items() if isinstance(v, int)}
        marks = (len(machine.compared), len(machine.streamed))
        return cls(numbers, dict(machine.places), dict(machine.positions), *marks)

    def change(self, machine: Stepper) -> Change:
        """Return what a turn has changed."""
        numbers = {
            reg: value - self.numbers.get(reg, 0)
            for reg, value in machine.registers.items()
            if isinstance(value, int)
        }
        places = {p: at - self.places.get(p, at) for p, at in machine.places.items()}
        loops: list[StreamLoop] = []
        if machine.positions != self.positions:
            loops = machine.streamed[self.streamed :]
            positions = dict.fromkeys(machine.positions, 0) | self.positions
            for pointer, by in _advance(machine, loops, positions, 1).items():
                places[pointer] -= by
        return Change(numbers, places, loops, machine.compared[self.compared :])


@dataclass
class Change:
    """What one turn of a loop does: steps of numbers and places, beside its stream loops.

    ``loops`` are kept only if the turn has consumed streams for good.
    """

    numbers: dict[Reg, int]
    places: dict[str, int]
    loops: list[StreamLoop]
    compared: list[int]

    def repeat(self, machine: Stepper, turns: int) -> None:
        """Advance ``machine`` by ``turns`` more turns."""
        for reg, by in self.numbers.items():
            value = machine.registers[reg]
            assert isinstance(value, int)
            machine.registers[reg] = value + by * turns
        places = {p: at + self.places.get(p, 0) * turns for p, at in machine.places.items()}
        for pointer, by in _advance(machine, self.loops, machine.positions, turns).items():
            places[pointer] += by
        for pointer, place in places.items():
            machine.put(pointer, place)


def _advance(
    machine: Stepper, loops: list[StreamLoop], positions: dict[str, int], turns: int
) -> dict[str, int]:
    """Advance ``positions`` over ``turns`` runs of each loop; return the bytes pointers move."""
    total: dict[str, int] = {}
    for loop in loops:
        first = positions[loop.name]
        inner = int(machine.values_of(loop.name)[first : first + turns].sum())
        positions[loop.name] = first + turns
        for pointer, by in loop.moved(machine, positions, inner).items():
            total[pointer] = total.get(pointer, 0) + by
        for source, uses in loop.walks.values():
            positions[source] += inner * uses
    return total


def stream_walks(
    rows: list[Row], pointers: list[str], streams: list[str]
) -> dict[str, tuple[str, int]]:
    """Return, for pointers that a stream steps, that stream and its steps per turn."""
    found: dict[str, tuple[str, int]] = {}
    for row in rows:
        _, _, _, _, _, _, _, update, updated, step, _, _ = row
        if update == isa.STEP_STREAM:
            name = pointers[updated]
            found[name] = (streams[step], found.get(name, ("", 0))[1] + 1)
    return found
