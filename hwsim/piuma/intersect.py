"""Say what the intersection unit emits and when: golden set and cycle model.

Lists arrive in blocks of ascending coordinates. Each cycle compares the head of list a with that of
list b: equal heads are emitted with their places in the lists and dropped; else the list that is
behind drops all that is below the other's head, as far as its block goes. As a leader, list a
drops one coordinate per cycle, looked up in the whole block of b, and b drops blocks that lie
below. Both rules are those of accelerators with inner products (ExTensor); blocks and cycles are
this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hwsim.core.machine import UnitTiming
from hwsim.piuma.unit_model import UnitModel, Word
from hwsim.piuma.unit_spec import IntersectSpec

__all__ = ["Block", "IntersectModel", "Match", "blocks_of", "intersect", "timing"]


class Block(NamedTuple):
    """Up to a block's coordinates, ascending; a list ends with the one that ``is_last``."""

    is_last: bool
    coordinates: tuple[int, ...]


class Match(NamedTuple):
    """A coordinate of both lists and its places, or what ends a pair of lists."""

    is_end: bool
    coordinate: int
    place_a: int
    place_b: int


def timing(spec: IntersectSpec) -> UnitTiming:
    """Return the cycle contract: from the later head to its match, and between matches."""
    del spec
    return UnitTiming(latency_cycles=1, interval_cycles=1)


def blocks_of(spec: IntersectSpec, coordinates: Sequence[int]) -> list[Block]:
    """Return a list as it is sent; an empty one is one empty block."""
    starts = range(0, max(1, len(coordinates)), spec.block)
    return [
        Block(
            start + spec.block >= len(coordinates), tuple(coordinates[start : start + spec.block])
        )
        for start in starts
    ]


def intersect(spec: IntersectSpec, a: Sequence[int], b: Sequence[int]) -> list[Match]:
    """Return the coordinates of both lists, ascending, and the end."""
    places_a, places_b = ({at: k for k, at in enumerate(one)} for one in (a, b))
    top = 1 << spec.position_bits
    matches = [
        Match(False, at, places_a[at] % top, places_b[at] % top)
        for at in sorted(places_a.keys() & places_b.keys())
    ]
    return [*matches, Match(True, 0, 0, 0)]


class _Side:
    """One list: its current block, how much of it is dropped, and whether the list is through."""

    def __init__(self) -> None:
        self.block: Block | None = None
        self.at = 0
        self.start = 0
        self.is_through = False

    def drop(self, number: int) -> bool:
        """Drop ``number`` more coordinates; return whether the block is used up."""
        assert self.block is not None
        self.at += number
        if self.at < len(self.block.coordinates):
            return False
        self.is_through = self.block.is_last
        self.start += len(self.block.coordinates)
        self.at = 0
        return True

    @property
    def left(self) -> tuple[int, ...]:
        """Return what is left of the block."""
        assert self.block is not None
        return self.block.coordinates[self.at :]


class IntersectModel(UnitModel):
    """The unit cycle by cycle: streams ``a`` and ``b`` of blocks, ``o`` of matches."""

    inputs = ("a", "b")
    outputs = ("o",)

    def __init__(self, spec: IntersectSpec) -> None:
        self.spec = spec
        self.sides = (_Side(), _Side())
        self.match: Match | None = None
        self._drops: tuple[int, int] | None = None
        self._found: Match | None = None

    def offers(self) -> dict[str, Word]:
        """Return the register of the match."""
        return {} if self.match is None else {"o": self.match}

    @property
    def is_busy(self) -> bool:
        """Return whether a pair of lists is begun."""
        return any(side.is_through or side.start or side.at for side in self.sides)

    def accepts(self, offered: Mapping[str, Word], leaving: frozenset[str]) -> frozenset[str]:
        """Accept the blocks that this cycle's step uses up; decides the whole cycle."""
        self._drops, self._found = None, None
        for name, side in zip(self.inputs, self.sides, strict=True):
            side.block = Block(*offered[name]) if name in offered else None
        a, b = self.sides
        if not all(side.block or side.is_through for side in self.sides):
            return frozenset()
        drops, found = self._step(a, b)
        if found is not None and self.match is not None and "o" not in leaving:
            return frozenset()
        self._drops, self._found = drops, found
        return frozenset(
            name
            for name, side, number in zip(self.inputs, self.sides, drops, strict=True)
            if side.block and not side.is_through and number >= len(side.left)
        )

    def _step(self, a: _Side, b: _Side) -> tuple[tuple[int, int], Match | None]:
        """Return how many coordinates each list drops, and what is emitted."""
        if a.is_through and b.is_through:
            return (0, 0), Match(True, 0, 0, 0)
        # A list whose partner is through, or whose block is empty, drops the block.
        if a.is_through or b.is_through or not a.left or not b.left:
            is_lone = a.is_through or b.is_through
            return (
                len(a.left) if not a.is_through and (is_lone or not a.left) else 0,
                len(b.left) if not b.is_through and (is_lone or not b.left) else 0,
            ), None
        x = a.left[0]
        below = sum(at < x for at in b.left)
        is_match = x in b.left if self.spec.mode == "leader_follower" else x == b.left[0]
        found = None
        if is_match:
            top = 1 << self.spec.position_bits
            place_b = (b.start + b.at + below) % top
            found = Match(False, x, (a.start + a.at) % top, place_b)
        if self.spec.mode == "leader_follower":
            return (0, below) if below == len(b.left) else (1, below + is_match), found
        return (sum(at < b.left[0] for at in a.left) + is_match, below + is_match), found

    def clock(self, accepted: Mapping[str, Word], leaving: frozenset[str]) -> None:
        """Drop what the step drops; end the pair of lists with its end mark."""
        if "o" in leaving:
            self.match = None
        if self._drops is None:
            return
        if self._found is not None:
            self.match = self._found
            if self._found.is_end:
                self.sides = (_Side(), _Side())
                return
        for name, side, number in zip(self.inputs, self.sides, self._drops, strict=True):
            if number or name in accepted:
                side.drop(number)
