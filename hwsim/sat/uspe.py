"""Say what one PE of the SAT array shows at its edges, cycle by cycle, on FP16 and FP32 words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwsim.core.machine import UnitTiming
from hwsim.sat.float_units import add_fp32, adder_timing, multiplier_timing, multiply_fp16
from hwsim.sat.spec import TileSpec

__all__ = ["Operation", "PeInputs", "PeOutputs", "Sum", "Weight", "play_pe", "timing"]


def timing(spec: TileSpec) -> UnitTiming:
    """Return cycles from an operation until its sum is ready to be written, and between two."""
    adder = adder_timing(spec.array)
    multiplier = multiplier_timing(spec.array)
    return UnitTiming(multiplier.latency_cycles + adder.latency_cycles - 1, 1)


@dataclass(frozen=True)
class Operation:
    """What moves east: a product to issue, and the activation group (FP16 words) it selects from.

    ``is_first``: the sum begins with this product; ``is_last``: it ends.
    """

    entry: int
    slot: int
    is_first: bool
    is_last: bool
    group: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """An FP16 word and its position in the group."""

    value: int = 0
    index: int = 0


@dataclass(frozen=True)
class Sum:
    """An FP32 word and the entry it belongs to."""

    value: int
    entry: int


@dataclass(frozen=True)
class PeInputs:
    """All inputs of one cycle; absent: the stream is not valid."""

    west: Operation | None = None
    weight: Weight | None = None
    psum: Sum | None = None
    is_os: bool = False
    last_slot: int = 0
    take_over: bool = False
    shift: bool = False
    place: int = 0


@dataclass(frozen=True)
class PeOutputs:
    """All outputs of one cycle."""

    east: Operation | None
    weight: Weight | None
    psum: Sum | None


def play_pe(spec: TileSpec, cycles: Sequence[PeInputs]) -> list[PeOutputs]:
    """Return the outputs of a PE, all of whose registers were 0, in each of ``cycles``.

    As in ``hwsim.sat.pe``, a sum is added when its product leaves the multiplier, and is back
    L cycles later.
    """
    pe = _Pe(spec)
    return [pe.step(inputs) for inputs in cycles]


@dataclass
class _Flight:
    """An operation under way: its product, then its sum."""

    op: Operation
    word: int


class _Pe:
    def __init__(self, spec: TileSpec) -> None:
        self.multiplier = multiplier_timing(spec.array).latency_cycles
        self.flights: list[_Flight | None] = [None] * timing(spec).latency_cycles
        self.chain = [Weight()] * spec.nm_n
        self.in_use = list(self.chain)
        self.sums = [0] * spec.array.interleave
        self.north = [0] * spec.array.interleave
        self.is_double = spec.array.has_double_buffered_weights
        self.last = PeInputs()

    def step(self, inputs: PeInputs) -> PeOutputs:
        passed = self.chain[0 if inputs.is_os else inputs.last_slot]
        is_passed = (self.last if inputs.is_os else inputs).weight is not None
        psum = self._sum(inputs)
        outputs = PeOutputs(self.last.west, passed if is_passed else None, psum)
        self._shift_weights(inputs)
        self.last = inputs
        return outputs

    def _sum(self, inputs: PeInputs) -> Sum | None:
        """Issue, add and retire; return what goes south."""
        issued = self._multiply(inputs)
        adding = ([issued, *self.flights])[self.multiplier]
        if adding is not None:
            adding.word = _add(self._addend(adding.op, inputs.is_os), adding.word)
        self.flights = [issued, *self.flights]
        done = self.flights.pop()
        south = None
        if inputs.shift:
            south = Sum(self.sums[inputs.place], inputs.place)
            self.sums[inputs.place] = inputs.psum.value if inputs.psum else 0
        elif done is not None:
            if done.op.is_last:
                south = Sum(done.word, done.op.entry)
            if inputs.is_os or not done.op.is_last:
                self.sums[done.op.entry] = done.word
        if inputs.psum is not None and not inputs.is_os:
            self.north[inputs.psum.entry] = inputs.psum.value
        return south

    def _multiply(self, inputs: PeInputs) -> _Flight | None:
        op = inputs.west
        if op is None:
            return None
        weight = (inputs.weight or Weight()) if inputs.is_os else self.in_use[op.slot]
        words = (
            np.array([word], dtype=np.uint16) for word in (op.group[weight.index], weight.value)
        )
        return _Flight(op, int(multiply_fp16(*words)[0]))

    def _addend(self, op: Operation, is_os: bool) -> int:
        if not op.is_first:
            return self.sums[op.entry]
        return 0 if is_os else self.north[op.entry]

    def _shift_weights(self, inputs: PeInputs) -> None:
        if inputs.weight is not None or inputs.is_os:
            self.chain = [inputs.weight or Weight(), *self.chain[:-1]]
        if inputs.take_over or not self.is_double:
            self.in_use = list(self.chain)


def _add(left: int, right: int) -> int:
    words = (np.array([word], dtype=np.uint32) for word in (left, right))
    return int(add_fp32(*words)[0])
