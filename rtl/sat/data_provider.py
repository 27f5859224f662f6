"""Feed SORE's lanes with groups along the rows or across them: a transposer of N:M tiles."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import SoreSpec

__all__ = ["DataProvider", "row_layout", "timing"]


def timing(spec: SoreSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a block of ``nm_m`` rows that is transposed.

    A row that passes unchanged has latency 1 and interval 1.
    """
    return UnitTiming(latency_cycles=1, interval_cycles=spec.sorter.nm_m)


def row_layout(spec: SoreSpec) -> data.ArrayLayout:
    """Return the layout of one row: an FP16 word per lane, lane 0 lowest."""
    return data.ArrayLayout(unsigned(spec.sorter.value_bits), spec.lanes)


class DataProvider(wiring.Component):
    """Deliver blocks of ``nm_m`` rows unchanged, or with every nm_m x nm_m tile transposed.

    A row holds consecutive output channels of one input channel; rows of a block are consecutive
    input channels. Unchanged, lane l gets a group along the input channels (FF); transposed, lane
    ``g * nm_m + r`` gets group g of row r, along the output channels (BP).

    Parameters
    ----------
    spec : SoreSpec
        ``nm_m`` >= 2 divides ``lanes``, else :class:`SpecError`.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout(16, lanes)))
        One row per transfer.
    i_dir : In(1)
        0: unchanged (FF), 1: transposed (BP). Taken with the first row of a block, for all of it.
    o : Out(stream.Signature(ArrayLayout(16, lanes)))
        One word per lane and transfer; ``nm_m`` transfers hold one group per lane.

    Timing
    ------
    One row in and one out per cycle in either direction. A row that passes is offered 1 cycle after
    it was accepted; the first row of a transposed block 1 cycle after the block's last row was.
    While one block leaves the output registers, the next one fills the other half of the buffer.
    ``o.payload`` is a register, ``o.valid`` decoded from one. ``i.ready`` depends combinationally
    on ``o.ready`` (the last row leaves while the next block moves in) and, at the first row of a
    block, on ``i_dir``.

    Reset
    -----
    Drops every block; ``o.valid`` is 0. Data registers keep stale words.
    """

    def __init__(self, spec: SoreSpec) -> None:
        nm_m = spec.sorter.nm_m
        if nm_m < 2 or spec.lanes % nm_m:
            found = f"lanes={spec.lanes}, nm_m={nm_m}"
            raise SpecError("sore.lanes", "nm_m >= 2 that divides lanes", found)
        self.spec = spec
        row = row_layout(spec)
        super().__init__(
            {"i": In(stream.Signature(row)), "i_dir": In(1), "o": Out(stream.Signature(row))}
        )
        # Attributes rather than locals, so that a formal bench can state invariants on them.
        self.position = Signal(range(nm_m))
        self.dir_q1 = Signal()
        self.filling = [
            Signal(row, name=f"filling{number}", reset_less=True) for number in range(nm_m - 1)
        ]
        self.leaving = [
            Signal(row, name=f"leaving{number}", reset_less=True) for number in range(nm_m)
        ]
        self.left = Signal(range(nm_m + 1))

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        last = self.spec.sorter.nm_m - 1
        is_transposed, is_stored, is_free = Signal(), Signal(), Signal()
        m.d.comb += [
            is_transposed.eq(Mux(self.position.any(), self.dir_q1, self.i_dir)),
            # The row waits for the rest of its block.
            is_stored.eq(is_transposed & (self.position != last)),
            is_free.eq(~self.o.valid | ((self.left == 1) & self.o.ready)),
            self.i.ready.eq(is_stored | is_free),
            self.o.valid.eq(self.left.any()),
            self.o.payload.eq(self.leaving[0]),
        ]
        accepted = self.i.valid & self.i.ready
        with m.If(accepted):
            m.d.sync += self.position.eq(Mux(self.position == last, 0, self.position + 1))
            m.d.sync += self.dir_q1.eq(is_transposed)
        with m.If(accepted & is_stored):
            behind = [*self.filling[1:], self.i.payload]
            m.d.sync += [
                register.eq(row) for register, row in zip(self.filling, behind, strict=True)
            ]

        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.left.eq(self.left - 1)
            m.d.sync += [
                self.leaving[number].eq(self.leaving[number + 1]) for number in range(last)
            ]
        with m.If(accepted & ~is_stored):
            m.d.sync += self.left.eq(Mux(is_transposed, last + 1, 1))
            block = [*self.filling, self.i.payload]
            for number, register in enumerate(self.leaving):
                origins = [self._origin(number, lane) for lane in range(self.spec.lanes)]
                m.d.sync += register.eq(Cat(block[row][column] for row, column in origins))
            with m.If(~is_transposed):
                m.d.sync += self.leaving[0].eq(self.i.payload)
        return m

    def _origin(self, number: int, lane: int) -> tuple[int, int]:
        """Return the {row, column} of its block that ``lane`` gets in transposed row ``number``."""
        row = lane % self.spec.sorter.nm_m
        return row, lane - row + number
