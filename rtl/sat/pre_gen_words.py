"""Pack what pre-generation selects: memory words of both directions of new weights."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.core.machine import UnitTiming
from hwsim.sat.spec import PackerSpec, PreGenSpec
from rtl.sat import pre_gen
from rtl.sat.data_provider import row_layout
from rtl.sat.nm_packer import NmPacker
from rtl.sat.pre_gen import PreGen
from rtl.sat.serializer import Serializer

__all__ = ["PreGenWords", "packer_spec", "timing"]


def packer_spec(spec: PreGenSpec) -> PackerSpec:
    """Return the packer of one tile: that pattern, those words."""
    return PackerSpec(sorter=spec.sore.sorter, word_bits=spec.word_bits)


def timing(spec: PreGenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a block of ``nm_m`` rows.

    The latency is that of the word which ends a panel of BP, from the panel's last row: behind the
    chain, ``nm_m`` groups one by one, and the packer's register.
    """
    chain = pre_gen.timing(spec)
    return UnitTiming(chain.latency_cycles + spec.sore.sorter.nm_m + 1, chain.interval_cycles)


class PreGenWords(wiring.Component):
    """Emit the compact weights of both directions in words, one stream per tile of lanes.

    A tile is ``nm_m`` neighbouring lanes. Its groups of a block follow each other through one
    packer, which so takes one group per cycle while the chain takes a row: FF tile g holds the
    groups along the input channels of its ``nm_m`` output channels, BP tile g the group along
    these output channels of one input channel after the other. Either is a matrix of its own in
    the order of memory.

    Parameters
    ----------
    spec : PreGenSpec
        The chain and the width of words. At ``word_bits`` below the bits of a group the packers
        hold the chain back.

    Attributes
    ----------
    i : In(stream.Signature(ArrayLayout(16, lanes)))
        As for :class:`~rtl.sat.pre_gen.PreGen`.
    i_groups : In(32)
        Rows per panel, a multiple of ``nm_m``, constant while any is inside: so many groups of each
        tile and direction are packed together, and the next one begins a word.
    o_ff, o_bp : Out(stream.Signature({data: word_bits, last: 1})).array(lanes / nm_m)
        Words per tile, as from :class:`~rtl.sat.nm_packer.NmPacker`.

    Timing
    ------
    As :class:`~rtl.sat.pre_gen.PreGen`; its groups enter the packers 1 to ``nm_m`` cycles after
    they were offered, and a word is offered 1 cycle after the group that completes it.
    A cycle is lost at the end of a panel whose last group begins one word and fills another.
    ``i.ready`` depends on nothing that happens in the same cycle at the outputs.

    Reset
    -----
    Drops everything; no output is valid.
    """

    def __init__(self, spec: PreGenSpec) -> None:
        self.spec = spec
        self.chain = PreGen(spec)
        nm_m = spec.sore.sorter.nm_m
        tiles = spec.sore.lanes // nm_m
        pack = packer_spec(spec)
        self.packers = {name: [NmPacker(pack) for _ in range(tiles)] for name in ("o_ff", "o_bp")}
        self.serializers = {
            name: [Serializer(pack.group_bits, nm_m) for _ in range(tiles)] for name in self.packers
        }
        words = self.packers["o_ff"][0].o.signature
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(spec.sore))),
                "i_groups": In(32),
                "o_ff": Out(words).array(tiles),
                "o_bp": Out(words).array(tiles),
            }
        )

    def elaborate(self, platform: object) -> Module:
        del platform
        m = Module()
        m.submodules.chain = self.chain
        m.d.comb += [
            self.chain.i.payload.eq(self.i.payload),
            self.chain.i.valid.eq(self.i.valid),
            self.i.ready.eq(self.chain.i.ready),
        ]
        for name in self.packers:
            self._pack(m, name)
        return m

    def _pack(self, m: Module, name: str) -> None:
        """Split the sets of one direction into tiles and pack each on its own."""
        groups: stream.Interface = getattr(self.chain, name)
        serializers = self.serializers[name]
        nm_m = self.spec.sore.sorter.nm_m
        m.d.comb += groups.ready.eq(Cat(serializer.i.ready for serializer in serializers).all())
        pairs = zip(serializers, self.packers[name], strict=True)
        for tile, (serializer, packer) in enumerate(pairs):
            m.submodules[f"{name}_serializer{tile}"] = serializer
            m.submodules[f"{name}_packer{tile}"] = packer
            port = getattr(self, name)[tile]
            lanes = range(tile * nm_m, (tile + 1) * nm_m)
            m.d.comb += [
                serializer.i.payload.eq(Cat(groups.payload[lane] for lane in lanes)),
                serializer.i.valid.eq(groups.valid & groups.ready),
                packer.i.payload.eq(serializer.o.payload),
                packer.i.valid.eq(serializer.o.valid),
                serializer.o.ready.eq(packer.i.ready),
                packer.i_groups.eq(self.i_groups),
                port.payload.eq(packer.o.payload),
                port.valid.eq(packer.o.valid),
                packer.o.ready.eq(port.ready),
            ]
