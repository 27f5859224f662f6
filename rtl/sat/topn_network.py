"""Keep the N largest magnitudes of whole groups of M: the compare network beside SORE's sorter."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SorterSpec
from rtl.sat.topn_sorter import slot_layout

__all__ = ["TopNNetwork", "timing"]

Elem = data.View | None
"""What a wire of the network carries: {value, index}, or nothing, which loses every comparison."""

Before = Callable[[data.View, data.View], Value]
"""Whether the first element is to lie before the second one."""


def timing(spec: SorterSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a group of ``nm_m`` values."""
    merges, kept = _levels(spec.nm_m), _levels(spec.nm_n)
    # Below 2^kept elements a merge keeps all of both lists.
    ranks = sum(level + 1 for level in range(min(merges, kept)))
    ranks += (merges - kept) * (kept + 1) + kept * (kept + 1) // 2
    return UnitTiming(latency_cycles=ranks, interval_cycles=1)


class TopNNetwork(wiring.Component):
    """Emit the ``nm_n`` largest magnitudes of every group of ``nm_m`` values accepted.

    The order, the ties and the compact group are those of
    :class:`~rtl.sat.topn_sorter.TopNSorter`, which takes a group value by value instead.

    Parameters
    ----------
    spec : SorterSpec
        2 <= ``nm_m``, ``nm_n`` <= ``nm_m``, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout(16, nm_m)))
        The FP16 words of a group, index 0 lowest.
    o : Out(stream.Signature(ArrayLayout({value, index}, nm_n)))
        The compact group, slot 0 holding the lowest index.

    Timing
    ------
    One group per cycle. Latency: one cycle per rank of comparators, :func:`timing`. All ranks move
    together, in every cycle whose output is empty or accepted; ``i.ready`` says so and therefore
    depends combinationally on ``o.ready``. ``o.valid`` and ``o.payload`` are registers.

    Reset
    -----
    Drops what is in flight; ``o.valid`` is 0. Data registers keep stale words.

    Notes
    -----
    Merging by Batcher's bitonic sorter (Batcher 1968, "Sorting networks and their applications"):
    two sorted lists, one of them reversed, form a bitonic list, which halving sorts. Where both
    lists have ``nm_n`` elements the lower half of the first step is dropped. A last bitonic sort
    brings the kept elements into index order. M and N are padded to powers of two by wires that
    carry nothing; a register follows every rank.
    """

    def __init__(self, spec: SorterSpec) -> None:
        if spec.nm_m < 2 or spec.nm_n > spec.nm_m:
            found = f"nm_n={spec.nm_n}, nm_m={spec.nm_m}"
            raise SpecError("sore.sorter", "nm_m >= 2 and nm_n <= nm_m", found)
        self.spec = spec
        group = data.ArrayLayout(unsigned(spec.value_bits), spec.nm_m)
        slots = data.ArrayLayout(slot_layout(spec), spec.nm_n)
        super().__init__({"i": In(stream.Signature(group)), "o": Out(stream.Signature(slots))})
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.latency_cycles = timing(spec).latency_cycles
        self.is_used = Signal(self.latency_cycles)
        self.stages: list[dict[str, Signal]] = []
        self.moves: list[tuple[Signal, Value]] = []
        self._place()

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        is_moving = Signal()
        m.d.comb += [
            is_moving.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(is_moving),
            self.o.valid.eq(self.is_used[-1]),
            self.o.payload.eq(self.stages[-1]["result"]),
        ]
        with m.If(is_moving):
            m.d.sync += self.is_used.eq(Cat(self.i.valid, self.is_used)[: self.latency_cycles])
            m.d.sync += [register.eq(value) for register, value in self.moves]
        return m

    def _place(self) -> None:
        """Lay out ranks and their registers; nothing depends on the module yet."""
        nm_n, nm_m = self.spec.nm_n, self.spec.nm_m
        elems: list[Elem] = [self._elem(index) for index in range(nm_m)]
        largest = self._sort(elems, 1 << _levels(nm_n), self._beats)
        self._sort(largest[:nm_n], 1 << _levels(nm_n), _has_lower_index)

    def _elem(self, index: int) -> data.View:
        word = Cat(self.i.payload[index], Const(index, _levels(self.spec.nm_m)))
        return data.View(slot_layout(self.spec), word)

    def _beats(self, one: data.View, other: data.View) -> Value:
        """Return whether ``one`` ranks before ``other``: larger, or equal and of lower index."""
        return Cat(~one.index, one.value[:-1]) > Cat(~other.index, other.value[:-1])

    def _sort(self, elems: list[Elem], kept: int, is_before: Before) -> list[Elem]:
        """Return the first ``kept`` (a power of two) elements in order, merging pairs of lists."""
        padding = (1 << _levels(len(elems))) - len(elems)
        lists: list[list[Elem]] = [[elem] for elem in [*elems, *[None] * padding]]
        while len(lists) > 1:
            pairs = list(zip(lists[::2], lists[1::2], strict=True))
            distance = len(lists[0])
            if distance < kept:
                lists = [[*left, *right[::-1]] for left, right in pairs]
            else:
                lists = self._rank(
                    [
                        [
                            _exchange(a, b, is_before)[0]
                            for a, b in zip(left, right[::-1], strict=True)
                        ]
                        for left, right in pairs
                    ]
                )
                distance //= 2
            while distance:
                lists = self._rank([_halve(elems, distance, is_before) for elems in lists])
                distance //= 2
        return lists[0]

    def _rank(self, lists: list[list[Elem]]) -> list[list[Elem]]:
        """Return the same lists behind the register of one more rank."""
        layout = slot_layout(self.spec)
        offered = [elem for elems in lists for elem in elems if elem is not None]
        number = len(self.stages) + 1
        register = Signal(layout.size * len(offered), name=f"rank_q{number}", reset_less=True)
        self.moves.append((register, Cat(elem.as_value() for elem in offered)))
        self.stages.append({"result": register})
        held = iter(
            data.View(layout, register[bit : bit + layout.size])
            for bit in range(0, len(register), layout.size)
        )
        return [[None if elem is None else next(held) for elem in elems] for elems in lists]


def _halve(elems: list[Elem], distance: int, is_before: Before) -> list[Elem]:
    """Return ``elems`` after comparing those ``distance`` apart, in blocks of twice that."""
    after = list(elems)
    for place in range(len(elems)):
        if not place & distance:
            pair = _exchange(elems[place], elems[place + distance], is_before)
            after[place], after[place + distance] = pair
    return after


def _exchange(one: Elem, other: Elem, is_before: Before) -> tuple[Elem, Elem]:
    """Return both, the one that is to lie first first."""
    if one is None or other is None:
        return (other, one) if one is None else (one, other)
    is_kept = is_before(one, other)
    layout = one.shape()
    first = Mux(is_kept, one.as_value(), other.as_value())
    second = Mux(is_kept, other.as_value(), one.as_value())
    return data.View(layout, first), data.View(layout, second)


def _has_lower_index(one: data.View, other: data.View) -> Value:
    return one.index < other.index


def _levels(elems: int) -> int:
    """Return ceil(log2 elems)."""
    return (elems - 1).bit_length()
