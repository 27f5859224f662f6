"""Name the sizes at which units are synthesised for the area model: one entry per unit.

A machine's units join by an entry here; ``hwsim rtl synth --record UNIT`` then writes its cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hwsim.core.errors import unknown_name
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
from rtl.common.fifo import Fifo, FifoSpec
from rtl.sat.data_provider import DataProvider
from rtl.sat.nm_packer import NmPacker
from rtl.sat.nm_unpacker import NmUnpacker
from rtl.sat.pre_gen_words import PreGenWords
from rtl.sat.sore import Sore
from rtl.sat.systolic_tile import SystolicTile
from rtl.sat.tile_control import TileControl
from rtl.sat.tile_edges import NorthEdge, SouthEdge
from rtl.sat.topn_network import TopNNetwork
from rtl.sat.topn_sorter import TopNSorter
from rtl.sat.uspe import Uspe
from rtl.sat.west_lane import WestLane
from rtl.sat.wuve import Wuve
from rtl.synth.flightllm_sizes import FLIGHTLLM_SWEEPS
from rtl.synth.scratchpad import Scratchpad, ScratchpadSpec
from rtl.synth.sweep import Sweep

__all__ = ["SWEEPS", "find_sweep"]


def _sorters(*patterns: tuple[int, int]) -> list[SorterSpec]:
    return [SorterSpec(nm_n=n, nm_m=m) for n, m in patterns]


def _tiles(changes: Iterable[dict[str, int]]) -> tuple[TileSpec, ...]:
    """Return the default tile with each of ``changes``, to its array or to itself."""
    own = {"nm_n", "nm_m", "count_bits"}
    return tuple(
        TileSpec(
            array=ArraySpec(**{k: v for k, v in change.items() if k not in own}),
            **{k: v for k, v in change.items() if k in own},
        )
        for change in changes
    )


def _scratchpads(
    widths: tuple[int, ...], depths: tuple[int, ...], *, is_ultra: bool
) -> tuple[ScratchpadSpec, ...]:
    return tuple(
        ScratchpadSpec(width_bits=width, depth=depth, is_ultra=is_ultra)
        for width, depth in product(widths, depths)
    )


_PATTERNS = _sorters((1, 2), (1, 4), (2, 4), (2, 8), (4, 8), (2, 16))
_PACKED = [(word, _sorters((2, m))) for word, m in ((64, 4), (64, 8), (64, 16), (128, 8), (512, 8))]
_ARRAY = ("array.interleave", "array.adder_latency_cycles")
_PE = ("nm_n", "nm_m", *_ARRAY, "array.multiplier_latency_cycles")
_PE_SIZES = _tiles(
    [
        {},
        {"interleave": 2},
        {"interleave": 4},
        {"interleave": 16},
        {"interleave": 32},
        {"adder_latency_cycles": 4},
        {"adder_latency_cycles": 8},
        {"multiplier_latency_cycles": 1},
        {"multiplier_latency_cycles": 3},
        {"nm_n": 1},
        {"nm_n": 1, "nm_m": 4},
        {"nm_m": 4},
        {"nm_n": 4},
        {"nm_m": 16},
        {"nm_n": 4, "nm_m": 16},
        {"interleave": 16, "nm_m": 16, "adder_latency_cycles": 8},
        {"interleave": 4, "nm_m": 4, "adder_latency_cycles": 4},
    ]
)
_LANE_SIZES = _tiles(
    [
        {},
        {"nm_m": 4},
        {"nm_m": 16},
        {"nm_n": 4, "nm_m": 16},
        {"interleave": 4},
        {"interleave": 16},
        {"adder_latency_cycles": 4},
        {"adder_latency_cycles": 8},
        {"edge_elems_per_cycle": 4},
        {"edge_elems_per_cycle": 16, "nm_m": 16},
        {"nm_n": 4},
        {"interleave": 16, "nm_m": 16},
    ]
)
_COLS = _tiles(
    {"cols": cols, "nm_m": m, "interleave": i}
    for cols, m, i in ((8, 4, 8), (8, 8, 4), (16, 8, 8), (32, 8, 8), (64, 8, 8))
)
_ROWS = _tiles(
    {"rows": rows, "adder_latency_cycles": adder}
    for rows, adder in ((2, 6), (4, 6), (8, 4), (16, 6), (16, 8), (32, 6), (64, 6))
)
_TILE_SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1))

SWEEPS: dict[str, Sweep] = {
    sweep.unit: sweep
    for sweep in (
        *FLIGHTLLM_SWEEPS,
        Sweep(
            "common/fifo",
            Fifo,
            tuple(
                FifoSpec(width_bits=width, depth=depth)
                for width, depth in (
                    (8, 4),
                    (16, 8),
                    (64, 8),
                    (16, 32),
                    (128, 16),
                    (64, 64),
                    (512, 8),
                )
            ),
            ("width_bits", "depth"),
            ("1", "width_bits", "clog2(depth)", "width_bits/14*depth/32"),
        ),
        Sweep(
            "common/block_scratchpad",
            Scratchpad,
            _scratchpads((72, 288), (512, 2048, 8192), is_ultra=False),
            ("width_bits", "depth"),
            ("width_bits/72", "width_bits/72*depth/512", "width_bits/72*depth/4096"),
        ),
        Sweep(
            "common/ultra_scratchpad",
            Scratchpad,
            _scratchpads((72, 576), (4096, 16384), is_ultra=True),
            ("width_bits", "depth"),
            ("width_bits/72", "width_bits/72*depth/4096"),
        ),
        Sweep(
            "sat/topn_sorter",
            TopNSorter,
            tuple(_PATTERNS),
            ("nm_n", "nm_m"),
            ("1", "nm_n", "nm_n*clog2(nm_m)"),
        ),
        Sweep(
            "sat/topn_network",
            TopNNetwork,
            tuple(
                SorterSpec(nm_n=n, nm_m=m)
                for n, m in ((1, 4), (2, 4), (1, 8), (2, 8), (4, 8), (2, 16))
            ),
            ("nm_n", "nm_m"),
            ("nm_m", "nm_m*clog2(nm_m)", "nm_m*nm_n"),
        ),
        Sweep(
            "sat/sore",
            Sore,
            tuple(
                SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=n, nm_m=m))
                for lanes, n, m in (
                    (2, 2, 8),
                    (4, 2, 4),
                    (4, 4, 8),
                    (8, 2, 8),
                    (8, 2, 16),
                    (32, 2, 8),
                )
            ),
            ("lanes", "sorter.nm_n", "sorter.nm_m"),
            ("lanes", "lanes*sorter.nm_n", "lanes*sorter.nm_n*clog2(sorter.nm_m)"),
        ),
        Sweep(
            "sat/pre_gen_words",
            PreGenWords,
            tuple(
                PreGenSpec(sore=SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=n, nm_m=m)))
                for lanes, n, m in (
                    (4, 2, 4),
                    (8, 2, 4),
                    (8, 2, 8),
                    (16, 2, 8),
                    (32, 2, 8),
                )
            ),
            ("sore.lanes", "sore.sorter.nm_n", "sore.sorter.nm_m", "engines", "word_bits"),
            ("sore.lanes", "sore.lanes*sore.sorter.nm_m", "sore.lanes/8"),
            wide_mux_inputs=5,
        ),
        Sweep(
            "sat/data_provider",
            DataProvider,
            tuple(
                SoreSpec(lanes=lanes, sorter=SorterSpec(nm_m=m))
                for lanes, m in ((8, 4), (8, 8), (16, 4), (16, 8), (32, 8), (32, 16))
            ),
            ("lanes", "sorter.nm_m"),
            ("1", "lanes", "lanes*sorter.nm_m"),
        ),
        Sweep(
            "sat/wuve",
            Wuve,
            tuple(
                SatSpec(array=ArraySpec(adder_latency_cycles=adder), wuve=WuveSpec(lanes=lanes))
                for lanes, adder in ((1, 6), (2, 6), (1, 4), (1, 8), (8, 6), (8, 4), (32, 6))
            ),
            ("wuve.lanes", "array.adder_latency_cycles", "array.multiplier_latency_cycles"),
            ("1", "wuve.lanes", "wuve.lanes*array.adder_latency_cycles"),
            wide_mux_inputs=5,
        ),
        Sweep(
            "sat/nm_packer",
            NmPacker,
            tuple(PackerSpec(sorter=sorter, word_bits=word) for word, (sorter,) in _PACKED),
            ("sorter.nm_n", "sorter.nm_m", "word_bits"),
            ("1", "word_bits", "word_bits*clog2(sorter.nm_m)"),
        ),
        Sweep(
            "sat/nm_unpacker",
            NmUnpacker,
            tuple(PackerSpec(sorter=sorter, word_bits=word) for word, (sorter,) in _PACKED),
            ("sorter.nm_n", "sorter.nm_m", "word_bits"),
            ("1", "word_bits", "word_bits*clog2(sorter.nm_m)"),
        ),
        Sweep(
            "sat/uspe",
            Uspe,
            _PE_SIZES,
            (*_PE, "array.has_double_buffered_weights"),
            (
                "1",
                "array.interleave/32",
                "clog2(array.interleave)",
                "array.adder_latency_cycles",
                "array.multiplier_latency_cycles",
                "nm_m",
                "nm_n",
            ),
        ),
        Sweep(
            "sat/west_lane",
            WestLane,
            _LANE_SIZES,
            ("nm_n", "nm_m", *_ARRAY, "array.edge_elems_per_cycle", "count_bits"),
            ("1", "nm_m", "array.interleave", "array.edge_elems_per_cycle", "clog2(nm_n)"),
        ),
        Sweep(
            "sat/north_edge",
            NorthEdge,
            _COLS,
            ("array.cols", "nm_m", "array.interleave"),
            ("1", "array.cols", "array.cols*array.cols/32"),
        ),
        Sweep(
            "sat/south_edge",
            SouthEdge,
            _COLS,
            ("array.cols", "nm_m", "array.interleave"),
            ("1", "array.cols", "array.cols*array.cols/32"),
        ),
        Sweep(
            "sat/tile_control",
            TileControl,
            _ROWS,
            ("array.rows", "array.adder_latency_cycles", "count_bits"),
            ("1", "array.rows", "clog2(array.rows)"),
        ),
        Sweep(
            "sat/systolic_tile",
            SystolicTile,
            _tiles({"rows": rows, "cols": cols} for rows, cols in _TILE_SHAPES),
            ("array.rows", "array.cols", *_PE, "array.edge_elems_per_cycle"),
            ("1", "array.rows", "array.cols", "array.rows*array.cols"),
        ),
    )
}
"""Every unit with sizes, by name."""


def find_sweep(unit: str) -> Sweep:
    """Return the sizes of ``unit``; raise :class:`InputError` with near names."""
    if unit not in SWEEPS:
        raise unknown_name("UNIT", unit, SWEEPS)
    return SWEEPS[unit]
