"""Give every tensor an address: weights one after the other, activations where room has come free.

Activations share one arena as an inference engine's workspace does: a tensor takes the lowest gap
that is large enough among those alive, and gives it back after its last reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.core.graph import OpGraph
from hwsim.core.units import round_up

__all__ = ["MemoryMap", "place_tensors"]

ALIGNMENT_BYTES = 64
_ZEROS = 1 << 20
_ARENA = 1 << 24
_COPIES = 3 << 29
"""Zeros, activations and their copies lie within the 2 GiB that a table of rows can step over."""
_WEIGHTS = 1 << 32
_TABLES = 1 << 36
_GUARD_BYTES = 4096
"""Kept free around tensors: kernels read a little beyond rows and planes."""


@dataclass
class MemoryMap:
    """Addresses of activations by tensor name; and room for packed weights and index tables."""

    tensors: dict[str, int] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)

    def weights(self, nbytes: int) -> int:
        """Return the address of ``nbytes`` of packed weights."""
        return self._take(_WEIGHTS, nbytes)

    def zeros(self, nbytes: int) -> int:
        """Return the address of ``nbytes`` of zeros, near the activations."""
        return self._take(_ZEROS, nbytes)

    def copy(self, nbytes: int) -> int:
        """Return the address of ``nbytes`` for an activation in another layout."""
        return self._take(_COPIES, nbytes)

    def table(self, nbytes: int) -> int:
        """Return the address of ``nbytes`` of indices."""
        return self._take(_TABLES, nbytes)

    def total_bytes(self) -> int:
        """Return the bytes of all weights and tables placed so far, alignment included."""
        return sum(end - region for region, end in self._next.items())

    def _take(self, region: int, nbytes: int) -> int:
        address = self._next.get(region, region)
        self._next[region] = address + round_up(max(nbytes, 1), ALIGNMENT_BYTES) + ALIGNMENT_BYTES
        return address


def place_tensors(graph: OpGraph, aliases: dict[str, str]) -> MemoryMap:
    """Return the map; ``aliases`` names tensors that are the same memory as another one."""

    def root(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    position = {op.name: i for i, op in enumerate(graph.ops())}
    last: dict[str, int] = {}
    for op in graph.ops():
        for operand in op.inputs:
            last[root(operand.tensor)] = position[op.name]
    end = len(position)
    for name in graph.outputs:
        last[root(name)] = end
    placed = MemoryMap()
    alive: dict[str, tuple[int, int]] = {}

    def place(name: str) -> None:
        size = round_up(4 * graph.tensors[name].elems + 2 * _GUARD_BYTES, ALIGNMENT_BYTES)
        at = _ARENA
        for begin, stop in sorted(alive.values()):
            if begin - at >= size:
                break
            at = max(at, stop)
        alive[name] = (at, at + size)
        placed.tensors[name] = at + _GUARD_BYTES

    for name in graph.inputs:
        place(root(name))
    for index, op in enumerate(graph.ops()):
        if root(op.output) not in placed.tensors:
            place(root(op.output))
        for name in [n for n in alive if last.get(n, index) <= index]:
            del alive[name]
    for name in aliases:
        placed.tensors[name] = placed.tensors[root(name)]
    return placed
