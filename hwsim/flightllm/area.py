"""Name the RTL units and memories that a FlightLLM accelerator is built of, for its FPGA cells."""

from __future__ import annotations

from hwsim.core.area import AreaDesign, AreaPart, parameters_of
from hwsim.core.units import ceil_div
from hwsim.flightllm.spec import FlightSpec

__all__ = ["flight_area"]

_BOARD = "u280"
_A_WORD_BITS = 144
"""Of the A buffer, whose banks are 16 bytes wide (artifact): two UltraRAM side by side."""
_BLOCK_WORD_BITS = 288
"""32 bytes and their parity: the B buffer's port (artifact), four block RAMs side by side."""
_META_BYTES, _BIAS_BYTES = 4096 * 16, 4096 * 64  # depth and width by the artifact


def flight_area(spec: FlightSpec) -> AreaDesign:
    """Return the parts of all cores of ``spec``.

    Chains give the matrix engine's multiply-accumulates, two per DSP and cycle. There are as many
    unpackers as write the ports of the A and B buffers, as the times of loads assume.
    """
    cores, chain, buffers = spec.cores, spec.chain, spec.buffers
    chains = ceil_div(spec.mpe.mm_macs_per_cycle, 2 * chain.dsps)
    lanes, ports = spec.dequant.lanes, (buffers.a_bytes_per_cycle, buffers.b_bytes_per_cycle)
    unpackers = sum(ceil_div(port_bytes, lanes) for port_bytes in ports)
    parts = [
        AreaPart("flightllm/csd_chain", cores * chains, parameters_of(chain)),
        AreaPart("flightllm/dequant", cores * unpackers, parameters_of(spec.dequant)),
        AreaPart("flightllm/vector_sfu", cores, parameters_of(spec.sfu)),
        AreaPart("flightllm/token_scoreboard", cores, parameters_of(spec.tokens)),
        _banks(cores, "ultra", _A_WORD_BITS, buffers.a_depth, buffers.a_bytes),
        _banks(cores, "block", _BLOCK_WORD_BITS, buffers.b_depth, buffers.b_bytes),
        _banks(cores, "block", _BLOCK_WORD_BITS, 512, buffers.global_bytes),
        _banks(cores, "block", _BLOCK_WORD_BITS // 2, 4096, _META_BYTES),
        _banks(cores, "block", _BLOCK_WORD_BITS, 4096, _BIAS_BYTES),
    ]
    if spec.experts.format == "qmoe":
        count = cores * spec.experts.decoders_per_core
        flat = parameters_of(spec.experts.unit)
        parts += [
            AreaPart("flightllm/qmoe_decoder", count, flat),
            AreaPart("flightllm/qmoe_dot", count, flat),
        ]
    missing = (
        "load and store units and their addresses",
        "instruction fetch and decode",
        "buffers of scales (one block RAM per core) and of instructions",
        "HBM's crossbar and memory controllers",
        "the board's shell",
    )
    return AreaDesign(_BOARD, tuple(parts), missing)


def _banks(cores: int, kind: str, width_bits: int, depth: int, size_bytes: int) -> AreaPart:
    """Return a buffer of ``size_bytes`` per core as banks of words of 8 bits in 9."""
    count = cores * ceil_div(size_bytes, width_bits // 9 * depth)
    shape = {"width_bits": width_bits, "depth": depth}
    return AreaPart(f"common/{kind}_scratchpad", count, shape)
