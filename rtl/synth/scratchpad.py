"""Hold words: the memory of an on-chip buffer, one port to read and one to write.

It is what a buffer costs at least; its double buffering and its address generators come on top.
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Scratchpad", "ScratchpadSpec"]


class ScratchpadSpec(BaseModel):
    """Width, depth and kind of RAM of a :class:`Scratchpad`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_bits: int = Field(72, ge=1)
    depth: int = Field(512, ge=2)
    is_ultra: bool = Field(False, description="made of UltraRAM, else of block RAM")


class Scratchpad(wiring.Component):
    """Read the word at ``i_read_at``, write ``i_word`` to ``i_write_at``.

    Parameters
    ----------
    spec : ScratchpadSpec

    Attributes
    ----------
    i_read_at, i_write_at : In(address)
    i_is_read, i_is_write : In(1)
    i_word : In(width_bits)
    o : Out(width_bits)

    Timing
    ------
    Read data follow one cycle after the address. A word read in the cycle in which it is written
    is undefined.

    Reset
    -----
    The memory keeps what it holds.
    """

    def __init__(self, spec: ScratchpadSpec) -> None:
        self.spec = spec
        address_bits = (spec.depth - 1).bit_length()
        super().__init__(
            {
                "i_read_at": In(address_bits),
                "i_is_read": In(1),
                "i_write_at": In(address_bits),
                "i_is_write": In(1),
                "i_word": In(spec.width_bits),
                "o": Out(spec.width_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.words = words = Memory(
            shape=self.spec.width_bits,
            depth=self.spec.depth,
            init=[],
            attrs={"ram_style": "ultra" if self.spec.is_ultra else "block"},
        )
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            read.addr.eq(self.i_read_at),
            read.en.eq(self.i_is_read),
            self.o.eq(read.data),
            write.addr.eq(self.i_write_at),
            write.data.eq(self.i_word),
            write.en.eq(self.i_is_write),
        ]
        return m
