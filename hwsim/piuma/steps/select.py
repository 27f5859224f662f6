"""Write the selection of the so-many-th least score: a radix select over the bits of doubles.

Digit by digit from the top, threads count the scores that begin as the bound does by their next
digit, in the first block's scratchpad; one thread then picks the digit.
"""

from __future__ import annotations

from hwsim.core.errors import InputError
from hwsim.piuma.isa import BLOCK, SPAD, THREAD, THREADS, ZERO, Assembler, Label, Register
from hwsim.piuma.memory_map import SparseArrays
from hwsim.piuma.row_range import each_entry
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import ALL_THREADS, Launch

__all__ = ["RadixSelect"]

_DIGIT_BITS = 7
_DIGITS = 9
"""63 bits: scores are not negative."""
_BINS = 1 << _DIGIT_BITS


class RadixSelect:
    """Find the bound of the ``count`` least scores of entries off the diagonal.

    Attributes
    ----------
    scores : int
        Address of a double per entry of ``matrix``, none negative.
    result : int
        Address of 16 bytes: the bound's bits, and how many of the scores equal to it belong to the
        ``count`` least. For a count of 0 the bound is 0 and no score belongs.
    """

    def __init__(
        self,
        spec: PiumaSpec,
        rows: int,
        matrix: SparseArrays,
        scores: int,
        result: int,
        count: int,
    ) -> None:
        if spec.mtp.pipelines < 1:
            raise InputError("mtp.pipelines", "at least 1 for this step", "0")
        self.spec, self.rows, self.matrix = spec, rows, matrix
        self.scores, self.result, self.count = scores, result, count

    def write(self, a: Assembler) -> Launch:
        """Append the step and return where its threads begin."""
        entry = a.place
        a.fresh()
        bins, bound, rest = a.registers(3)
        a.emit("muli", bins, BLOCK, imm=self.spec.spad.capacity_bytes)
        a.alu("sub", bins, SPAD, bins)
        a.move(bound, 0)
        a.move(rest, self.count)
        with a.when("ne", rest, ZERO):
            for digit in reversed(range(_DIGITS)):
                self._digit(a, bins, bound, rest, digit * _DIGIT_BITS)
        with a.when("eq", THREAD, ZERO), a.scratch(1) as (at,):
            a.move(at, self.result)
            a.store(bound, at)
            a.store(rest, at, 8)
        a.emit("halt")
        return Launch(entry)

    def _digit(
        self, a: Assembler, bins: Register, bound: Register, rest: Register, shift: int
    ) -> None:
        with a.scratch(2) as (at, stop):
            a.emit("shli", at, THREAD, imm=3)
            a.move(stop, 8 * _BINS)
            with a.scratch(2) as (step, place):
                a.emit("shli", step, THREADS, imm=3)
                with a.count_up(at, stop, step):
                    a.add(place, at, bins)
                    a.store(ZERO, place)
        a.barrier(ALL_THREADS)
        self._count(a, bins, bound, shift)
        a.barrier(ALL_THREADS)
        with a.when("eq", THREAD, ZERO):
            self._pick(a, bins, rest)
        a.barrier(ALL_THREADS)
        with a.scratch(1) as (digit,):
            a.load(digit, bins, 8 * _BINS)
            a.load(rest, bins, 8 * _BINS + 8)
            a.emit("shli", digit, digit, imm=shift)
            a.alu("or", bound, bound, digit)
        a.barrier(ALL_THREADS)

    def _count(self, a: Assembler, bins: Register, bound: Register, shift: int) -> None:
        """Count the scores that agree with ``bound`` above the digit."""
        row, rows, p, stop, one, prefix = a.registers(6)
        a.add(row, THREAD, 0)
        a.move(rows, self.rows)
        a.move(one, 1)
        a.emit("shri", prefix, bound, imm=shift + _DIGIT_BITS)
        with (
            a.count_up(row, rows, THREADS),
            each_entry(a, self.matrix, row, p, stop) as following,
            a.scratch(2) as (score, found),
        ):
            a.load_item(found, self.matrix.col, p, size=4, is_cached=True)
            a.branch("eq", found, row, following)
            a.load_item(score, self.scores, p, is_cached=True)
            a.emit("shri", found, score, imm=shift + _DIGIT_BITS)
            a.branch("ne", found, prefix, following)
            a.emit("shri", score, score, imm=shift)
            a.emit("andi", score, score, imm=_BINS - 1)
            a.emit("shli", score, score, imm=3)
            a.add(score, score, bins)
            a.atomic("aadd", found, score, one)
        a.release(row, rows, p, stop, one, prefix)

    @staticmethod
    def _pick(a: Assembler, bins: Register, rest: Register) -> None:
        """Leave the bound's digit, and how many of its bin are still to be taken."""
        with a.scratch(3) as (digit, at, found):
            a.move(digit, 0)
            a.add(at, bins, 0)
            inside = Label()
            top = a.mark()
            a.load(found, at)
            a.branch("ge", found, rest, inside)
            a.alu("sub", rest, rest, found)
            a.add(digit, digit, 1)
            a.add(at, at, 8)
            a.jump(top)
            a.mark(inside)
            a.store(digit, bins, 8 * _BINS)
            a.store(rest, bins, 8 * _BINS + 8)
