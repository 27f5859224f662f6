"""Name the RTL units that a SAT accelerator is built of, for its FPGA cells."""

from __future__ import annotations

from hwsim.core.area import AreaDesign, AreaPart, parameters_of
from hwsim.core.units import ceil_div
from hwsim.sat.spec import PreGenSpec, SatSpec, TileSpec

__all__ = ["sat_area"]

_BOARD = "vcu1525"
_BANK_WORDS = 16384
"""Words of a bank at most (assumed: four UltraRAM in a cascade)."""
_ULTRA_WORD_BYTES = 8
"""Bytes per 72-bit row of an UltraRAM without its parity bits (AMD, UG573)."""


def sat_area(spec: SatSpec) -> AreaDesign:
    """Return the parts of ``spec``: array, update and selection engines, and buffers.

    The array takes groups of SORE's pattern at most.
    """
    tile = TileSpec(array=spec.array, nm_n=spec.sore.sorter.nm_n, nm_m=spec.sore.sorter.nm_m)
    flat = parameters_of(tile)
    rows, cols = spec.array.rows, spec.array.cols
    parts = [
        AreaPart("sat/uspe", rows * cols, flat),
        AreaPart("sat/west_lane", rows, flat),
        AreaPart("sat/north_edge", 1, flat),
        AreaPart("sat/south_edge", 1, flat),
        AreaPart("sat/tile_control", 1, flat),
        AreaPart("sat/wuve", 1, parameters_of(spec)),
        AreaPart("sat/pre_gen_words", 1, parameters_of(PreGenSpec(sore=spec.sore))),
    ]
    buffers = spec.buffers
    sizes = (
        buffers.activation_bytes,
        buffers.weight_bytes,
        buffers.output_bytes,
        buffers.lane_bytes,
    )
    parts += [_buffer(size) for size in sizes]
    missing = (
        "vector path",
        "DMA engine and memory controllers",
        "instruction queues",
        "address generators of the buffers",
        "the board's shell",
    )
    return AreaDesign(_BOARD, tuple(parts), missing)


def _buffer(size_bytes: int) -> AreaPart:
    """Return a buffer as equal banks, of words of eight UltraRAM rows (assumed)."""
    rows = 8
    words = ceil_div(size_bytes, rows * _ULTRA_WORD_BYTES)
    banks = ceil_div(words, _BANK_WORDS)
    shape = {"width_bits": rows * 72, "depth": max(2, ceil_div(words, banks))}
    return AreaPart("common/ultra_scratchpad", banks, shape)
