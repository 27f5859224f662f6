"""Say how long instructions take: by the authors' profiler, or by the contracts of the units' RTL.

``artifact`` counts what the profiler counts: data over rate, 8 cycles per block of k, K or 2 K
beats. ``independent`` asks the cycle models that the RTL is checked against for everything that a
unit adds: the chain's and the unpacker's pipelines, root and reciprocal between the passes of the
special function unit, and the way of a token through the scoreboard.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm import dequant, gqsa_engine, qmoe_decoder, token_scoreboard, vector_sfu
from hwsim.flightllm.csd_chain import chain_timing
from hwsim.flightllm.spec import FlightSpec

__all__ = ["Cost", "UnitCosts"]

_TWO_PASSES = ("softmax", "layernorm", "rmsnorm")
"""Read the vector twice (Zeng et al. 2024)."""


class Cost(NamedTuple):
    """What an instruction takes, in cycles from its start.

    ``busy`` : its unit takes the next one. ``told`` : one that waits for its token may start.
    ``expand`` : those of ``busy`` for which what expands a load's bytes is at work, at least.
    """

    busy: Fraction
    told: Fraction
    expand: Fraction = Fraction(0)


class UnitCosts:
    """The costs of one machine's instructions."""

    def __init__(self, spec: FlightSpec) -> None:
        self.spec = spec
        self.is_profile = spec.timing == "artifact"
        is_ideal = spec.memory.model == "ideal"
        rate = spec.hbm.channel_bytes_per_s
        self.byte_cycles = Fraction(0) if is_ideal else Fraction(spec.clock_hz) / rate
        self.same = Fraction(spec.hbm.same_channel_percent, 100)
        self.cross = Fraction(spec.hbm.cross_channel_percent, 100)

    def transfer(
        self, size: Fraction, ratio: Fraction, parallel: int, *, is_crossed: bool, port_bytes: int
    ) -> Cost:
        """Return the cost of ``size`` on-chip bytes, ``ratio`` of which a byte of memory gives.

        A load of low-bit weights ends with the last vector that the unpackers give; there are as
        many as write ``port_bytes`` per cycle into the buffer.
        """
        efficiency = self.cross if is_crossed else self.same
        cycles = size * self.byte_cycles / (parallel * efficiency * ratio)
        if self.is_profile:
            return Cost(cycles, cycles)
        if ratio != 1:
            latency, whole = self._unpacked(size / ratio, port_bytes)
            expand = Fraction(whole - latency)
            return self._told(max(cycles, expand), latency)._replace(expand=expand)
        return self._told(cycles, 0)

    def decoded(self, size: Fraction, ratio: Fraction, parallel: int, *, is_crossed: bool) -> Cost:
        """Return the cost of ``size`` weights in codewords: the slower of memory and decoders."""
        experts = self.spec.experts
        unit = qmoe_decoder.timing(experts.unit)
        words = size / experts.weights_per_codeword
        expanding = words * unit.interval_cycles / experts.decoders_per_core
        efficiency = self.cross if is_crossed else self.same
        cycles = max(expanding, size * self.byte_cycles / (parallel * efficiency * ratio))
        if self.is_profile:
            return Cost(cycles, cycles)
        return self._told(cycles, unit.latency_cycles)._replace(expand=Fraction(expanding))

    def stored(self, size: Fraction, ratio: Fraction, parallel: int, *, is_crossed: bool) -> Cost:
        """Return the cost of ``size`` weights that the buffer takes as they are: memory alone."""
        efficiency = self.cross if is_crossed else self.same
        cycles = size * self.byte_cycles / (parallel * efficiency * ratio)
        return Cost(cycles, cycles) if self.is_profile else self._told(cycles, 0)

    def groups(self, count: int) -> Cost:
        """Return the cost of ``count`` groups of INT4 weights, split evenly over the engines."""
        groups = self.spec.groups
        busy = ceil_div(count, groups.engines_per_core)
        busy *= gqsa_engine.engine_timing(groups.unit).interval_cycles
        if self.is_profile:
            return Cost(Fraction(busy), Fraction(busy))
        done = gqsa_engine.task_split_cycles(groups.unit, count, groups.engines_per_core)
        return self._told(Fraction(busy), done - busy)

    def _unpacked(self, size: Fraction, port_bytes: int) -> tuple[int, int]:
        """Return the latency of the unpackers, and their cycles for ``size`` bytes of memory."""
        spec = self.spec.dequant
        below = [bits for bits in spec.widths if 10 * bits <= self.spec.weight_bits_x10]
        width = max(below, default=min(spec.widths))
        vectors = size * 8 / (width * max(port_bytes, spec.lanes))
        job = dequant.DequantJob(width, ceil_div(vectors.numerator, vectors.denominator))
        return dequant.timing(spec).latency_cycles, dequant.job_cycles(spec, job)

    def zero_fill(self, size: int) -> Cost:
        """Return the cost of ``size`` bytes of zeros at the speed of the A buffer."""
        cycles = Fraction(size, self.spec.buffers.a_bytes_per_cycle)
        return Cost(cycles, cycles) if self.is_profile else self._told(cycles, 0)

    def matrix(self, k_blocks: int, density: Fraction) -> Cost:
        """Return the cost of MM or MV: an issue per chain and cycle, then the chain's pipeline."""
        cycles = self.spec.mpe.block_cycles * k_blocks * density
        if self.is_profile:
            return Cost(cycles, cycles)
        timing = chain_timing(self.spec.chain)
        return self._told(cycles * timing.interval_cycles, timing.latency_cycles)

    def misc(self, name: str, elems: int) -> Cost:
        """Return the cost of a job of the special function unit over ``elems``.

        Raises :class:`InputError` if two passes need more beats than the unit counts.
        """
        spec = self.spec.sfu
        beats = ceil_div(elems, spec.lanes)
        is_two_pass = name in _TWO_PASSES
        if self.is_profile:
            cycles = Fraction(beats * (2 if is_two_pass else 1))
            return Cost(cycles, cycles)
        if is_two_pass and beats > spec.max_beats:
            need = f"{beats} for a {name} over {elems} elements"
            raise InputError("sfu.max_beats", need, str(spec.max_beats))
        busy = 0
        while beats > spec.max_beats:  # element by element: jobs one behind the other
            job = vector_sfu.SfuJob("mul", spec.max_beats)
            busy, beats = busy + vector_sfu.job_interval(spec, job), beats - spec.max_beats
        operation = next((op for op in vector_sfu.OPS if op == name), "mul")
        job = vector_sfu.SfuJob(operation, beats)
        # Told when the last beat has been taken, which is the cycle after it is offered.
        last = busy + vector_sfu.job_cycles(spec, job) + 1
        busy += vector_sfu.job_interval(spec, job)
        return self._told(Fraction(busy), last - busy)

    @property
    def completion_gap_cycles(self) -> int:
        """Return the least cycles between two completions of a unit: they are told in order."""
        if self.is_profile:
            return 0
        return token_scoreboard.timing(self.spec.tokens).interval_cycles

    @property
    def scoreboard_limits(self) -> tuple[int, int]:
        """Return the tokens of a pair and instructions of a unit at most, 0 if any number."""
        tokens = self.spec.tokens
        return (0, 0) if self.is_profile else (tokens.depth, tokens.in_flight)

    def barrier(self) -> Cost:
        """Return the cost of SYS."""
        return Cost(Fraction(1), Fraction(1)) if self.is_profile else self._told(Fraction(1), 0)

    def _told(self, busy: Fraction, latency: int) -> Cost:
        """Return the cost of ``busy`` cycles of accepting, results ``latency`` cycles later.

        The scoreboard passes at most an instruction per interval to a unit, and a completion to
        who waits for it in :func:`token_scoreboard.dispatch_cycles`.
        """
        tokens = self.spec.tokens
        least = Fraction(token_scoreboard.timing(tokens).interval_cycles)
        busy = max(busy, least)
        return Cost(busy, busy + latency + token_scoreboard.dispatch_cycles(tokens))
