"""Name the units of SAT."""

from __future__ import annotations

from hwsim.sat.spec import (
    ArraySpec,
    PackerSpec,
    PreGenSpec,
    SatSpec,
    SoreSpec,
    SorterSpec,
    TileSpec,
    WuveSpec,
)
from rtl.formal.data_provider import data_provider_properties
from rtl.formal.float_pipeline import float_pipeline_properties
from rtl.formal.nm_packing import nm_packer_properties, nm_unpacker_properties
from rtl.formal.pre_gen import pre_gen_properties
from rtl.formal.pre_gen_words import pre_gen_words_properties
from rtl.formal.sore import sore_properties
from rtl.formal.systolic_tile import systolic_tile_properties
from rtl.formal.topn_network import topn_network_properties
from rtl.formal.topn_sorter import topn_sorter_properties
from rtl.formal.uspe import uspe_properties
from rtl.formal.wuve import wuve_properties
from rtl.sat import (
    data_provider,
    fp16_mul,
    fp16_to_fp32,
    fp32_add,
    fp32_mul,
    fp32_to_fp16,
    nm_packer,
    nm_unpacker,
    pre_gen,
    pre_gen_words,
    sore,
    systolic_tile,
    topn_network,
    topn_sorter,
    uspe,
    wuve,
)
from rtl.unit import Unit

__all__ = ["PREGEN_PROOF_SPEC", "PREGEN_SPEC", "SAT_UNITS", "SORE_PROOF_SPEC", "SORE_SPEC"]

SORE_SPEC = SoreSpec(lanes=8, sorter=SorterSpec(nm_n=2, nm_m=4))
"""A quarter of the lanes that SAT has, so that every unit of the engine compiles in seconds."""

PREGEN_SPEC = PreGenSpec(sore=SORE_SPEC)
"""Both directions of that, and words of 64 bits."""

TILE_SPEC = TileSpec(array=ArraySpec(rows=4, cols=4))
"""A corner of the array: PEs, lanes and columns are alike."""

TILE_PROOF_SPEC = TileSpec(
    array=ArraySpec(
        rows=1, cols=1, multiplier_latency_cycles=1, adder_latency_cycles=2, interleave=2
    ),
    nm_m=2,
    count_bits=2,
)
"""One PE and its lane: the edges are what is proved."""

SORE_PROOF_SPEC = SoreSpec(lanes=4, sorter=SorterSpec(nm_n=1, nm_m=2))
"""Two tiles side by side."""

PREGEN_PROOF_SPEC = PreGenSpec(sore=SoreSpec(lanes=2, sorter=SorterSpec(nm_n=1, nm_m=2)))

WUVE_SPEC = SatSpec(wuve=WuveSpec(lanes=2))
"""Two of SAT's lanes, which are alike, so that the engine compiles in seconds."""

PACKER_PROOF_SPEC = PackerSpec(sorter=SorterSpec(nm_n=1, nm_m=2), word_bits=64)
"""The smallest group and word; the width of either is no part of the argument."""

SAT_UNITS = (
    Unit(
        "sat/topn_sorter",
        "one SORE lane: the N largest magnitudes of every M FP16 values",
        SorterSpec(),
        topn_sorter.TopNSorter,
        topn_sorter.timing,
        topn_sorter_properties,
    ),
    Unit(
        "sat/topn_network",
        "the same selection for whole groups: a pipelined compare network",
        SorterSpec(),
        topn_network.TopNNetwork,
        topn_network.timing,
        topn_network_properties,
        SorterSpec(nm_n=2, nm_m=4),
    ),
    Unit(
        "sat/data_provider",
        "transposer that feeds SORE's lanes along either direction",
        SORE_SPEC,
        data_provider.DataProvider,
        data_provider.timing,
        data_provider_properties,
        SORE_PROOF_SPEC,
    ),
    Unit(
        "sat/sore",
        "sparse online reduction engine: all sorter lanes in lock step",
        SORE_SPEC,
        sore.Sore,
        sore.timing,
        sore_properties,
        SORE_PROOF_SPEC,
    ),
    Unit(
        "sat/pre_gen",
        "pre-generation: compact groups of new weights along both directions",
        PREGEN_SPEC,
        pre_gen.PreGen,
        pre_gen.timing,
        pre_gen_properties,
        PREGEN_PROOF_SPEC,
    ),
    Unit(
        "sat/pre_gen_words",
        "pre-generation packed: memory words of compact weights along both directions",
        PREGEN_SPEC,
        pre_gen_words.PreGenWords,
        pre_gen_words.timing,
        pre_gen_words_properties,
        PREGEN_PROOF_SPEC,
    ),
    Unit(
        "sat/uspe",
        "one PE of the array: FP16 product onto one of I FP32 sums per cycle, dense or N:M",
        TileSpec(),
        uspe.Uspe,
        uspe.timing,
        uspe_properties,
        proof_spec=TileSpec(array=ArraySpec(interleave=2), nm_m=4),
    ),
    Unit(
        "sat/systolic_tile",
        "R x C PEs with west lanes, skewed edges and control, weight- or output-stationary",
        TILE_SPEC,
        systolic_tile.SystolicTile,
        systolic_tile.timing,
        systolic_tile_properties,
        proof_spec=TILE_PROOF_SPEC,
    ),
    Unit(
        "sat/fp16_mul",
        "FP16 multiplier with exact FP32 products",
        ArraySpec(),
        fp16_mul.Fp16Mul,
        fp16_mul.timing,
        float_pipeline_properties,
    ),
    Unit(
        "sat/fp32_add",
        "FP32 adder, round to nearest even, with subnormals",
        ArraySpec(),
        fp32_add.Fp32Add,
        fp32_add.timing,
        float_pipeline_properties,
    ),
    Unit(
        "sat/fp32_mul",
        "FP32 multiplier, round to nearest even, with subnormals",
        ArraySpec(),
        fp32_mul.Fp32Mul,
        fp32_mul.timing,
        float_pipeline_properties,
    ),
    Unit(
        "sat/fp16_to_fp32",
        "exact conversion of FP16 to FP32",
        ArraySpec(),
        fp16_to_fp32.Fp16ToFp32,
        fp16_to_fp32.timing,
        float_pipeline_properties,
    ),
    Unit(
        "sat/fp32_to_fp16",
        "conversion of FP32 to FP16, round to nearest even, with subnormals",
        ArraySpec(),
        fp32_to_fp16.Fp32ToFp16,
        fp32_to_fp16.timing,
        float_pipeline_properties,
    ),
    Unit(
        "sat/wuve",
        "weight update engine: SGD with momentum on FP32 masters, FP16 gradients and copy",
        WUVE_SPEC,
        wuve.Wuve,
        wuve.timing,
        wuve_properties,
        SatSpec(
            array=ArraySpec(multiplier_latency_cycles=1, adder_latency_cycles=1),
            wuve=WuveSpec(lanes=1),
        ),
    ),
    Unit(
        "sat/nm_packer",
        "compact N:M groups into memory words",
        PackerSpec(),
        nm_packer.NmPacker,
        nm_packer.timing,
        nm_packer_properties,
        PACKER_PROOF_SPEC,
    ),
    Unit(
        "sat/nm_unpacker",
        "memory words into compact N:M groups",
        PackerSpec(),
        nm_unpacker.NmUnpacker,
        nm_unpacker.timing,
        nm_unpacker_properties,
        PACKER_PROOF_SPEC,
    ),
)
"""Every unit of SAT."""
