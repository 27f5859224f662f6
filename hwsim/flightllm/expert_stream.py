"""Say how fast experts in QMoE's codewords reach the matrix engines: three limits in a row.

HBM delivers codewords, decoders expand one codeword each per interval, and MV multiplies. The
stream is as fast as the slowest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hwsim.flightllm.qmoe_decoder import timing
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.unit_spec import QMoeSpec

__all__ = ["StreamRates", "decoders_for", "stream_rates"]


@dataclass(frozen=True)
class StreamRates:
    """Weights per second that each stage could pass, over all cores."""

    memory: float
    decoders: float
    engines: float

    @property
    def weights_per_s(self) -> float:
        """Return what the stream passes."""
        return min(self.memory, self.decoders, self.engines)


def stream_rates(
    spec: FlightSpec, decoders: int, weights_per_codeword: float, bits_per_weight: float
) -> StreamRates:
    """Return the rates of ``decoders`` on the whole board for experts of one token.

    Parameters
    ----------
    weights_per_codeword, bits_per_weight : float
        Measured on rows of the experts; the bits count the rows' overhead.
    """
    return StreamRates(
        _memory_bits_per_s(spec) / bits_per_weight,
        decoders * weights_per_codeword * spec.clock_hz / timing(QMoeSpec()).interval_cycles,
        float(spec.cores * spec.mpe.mv_macs_per_cycle * spec.clock_hz),
    )


def decoders_for(spec: FlightSpec, weights_per_s: float, weights_per_codeword: float) -> int:
    """Return the fewest decoders that expand ``weights_per_s``."""
    each = weights_per_codeword * spec.clock_hz / timing(QMoeSpec()).interval_cycles
    return -int(-weights_per_s // each)


def _memory_bits_per_s(spec: FlightSpec) -> float:
    hbm = spec.hbm
    channels = spec.cores * hbm.channels_per_core
    rate = channels * hbm.channel_bytes_per_s * Fraction(hbm.same_channel_percent, 100)
    return float(8 * rate)
