"""State that every group selected reaches the packer of its tile once, in order."""

from __future__ import annotations

from amaranth.hdl import Assert, Cat, Module

from rtl.formal.pre_gen import pre_gen_properties
from rtl.formal.serializer import serializer_properties
from rtl.sat.nm_packer import NmPacker
from rtl.sat.pre_gen_words import PreGenWords

__all__ = ["pre_gen_words_properties"]


def pre_gen_words_properties(m: Module, unit: PreGenWords) -> None:
    """Assert that a set of groups goes to all tiles at once, and its parts one by one to packers.

    With what is asserted of the chain and of serializers here, and of the packer by itself, no
    group is lost, repeated or out of place between rows and words.
    """
    pre_gen_properties(m, unit.chain)
    nm_m = unit.spec.sore.sorter.nm_m
    for name, packers in unit.packers.items():
        groups = getattr(unit.chain, name)
        taken = groups.valid & groups.ready
        for tile, (serializer, packer) in enumerate(
            zip(unit.serializers[name], packers, strict=True)
        ):
            serializer_properties(m, serializer)
            lanes = [groups.payload[tile * nm_m + lane].as_value() for lane in range(nm_m)]
            m.d.comb += Assert((serializer.i.valid & serializer.i.ready) == taken)
            m.d.comb += Assert(serializer.i.payload == Cat(lanes))
            passed = serializer.o.valid & serializer.o.ready
            m.d.comb += Assert((packer.i.valid & packer.i.ready) == passed)
            m.d.comb += Assert(packer.i.payload.as_value() == serializer.o.payload)
            port = getattr(unit, name)[tile]
            emitted = packer.o.valid & packer.o.ready
            m.d.comb += Assert((port.valid & port.ready) == emitted)
            m.d.comb += Assert(port.payload.as_value() == packer.o.payload.as_value())
            _assert_packer(m, packer)


def _assert_packer(m: Module, packer: NmPacker) -> None:
    """Assert when a word is on offer, on which its stream rules rest."""
    gearbox = packer.gearbox
    has_word = gearbox.level >= gearbox.out_bits
    has_end = gearbox.is_ending & (gearbox.level != 0)
    m.d.comb += Assert(gearbox.o.valid == (has_word | has_end))
