"""Draw what is played against the chain of DSPs and its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.core.machine import UnitTiming
from hwsim.flightllm import dsp48
from hwsim.flightllm.csd_chain import (
    ChainWork,
    chain_sums,
    chain_timing,
    mux_timing,
    split_segment,
)
from hwsim.flightllm.dsp48 import DspStep
from hwsim.flightllm.unit_spec import (
    DSP_A_BITS,
    DSP_B_BITS,
    DSP_P_BITS,
    CsdChainSpec,
    DspSpec,
    LaneSpec,
)
from hwsim.sat.float_units import play_pipeline
from rtl.cosim.vectors import Schedule, Vectors, random_stalls

__all__ = [
    "chain_case",
    "csd_chain_cases",
    "dsp48_case",
    "dsp48_mac_cases",
    "overflow_adjust_case",
    "overflow_adjust_cases",
    "pack_fields",
    "pipeline_case",
    "random_steps",
    "random_works",
    "sparse_mux_case",
    "sparse_mux_cases",
]


def pack_fields(fields: Sequence[tuple[int, int]]) -> int:
    """Return one word from {value, width in bits}, lowest first; negative values wrap."""
    word, bit = 0, 0
    for value, width_bits in fields:
        word |= (int(value) & ((1 << width_bits) - 1)) << bit
        bit += width_bits
    return word


def pipeline_case(
    timing: UnitTiming,
    inputs: list[int],
    expected: list[int],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    name: str = "words",
) -> Case:
    """Return a case of a unit whose stages all move or all wait, cycles predicted always."""
    rng = np.random.default_rng(seed)
    gaps = random_stalls(rng, 2 * len(inputs), stall_share)
    stalls = random_stalls(rng, 2 * len(inputs), stall_share)
    vectors = Vectors(
        inputs={"i": inputs},
        expected={"o": expected},
        source_gaps={"i": gaps},
        sink_stalls={"o": stalls},
        seed=seed,
        name=name,
    )
    accepts, emits = play_pipeline(timing, len(inputs), gaps, stalls)
    return vectors, Schedule({"i": accepts}, {"o": emits})


def random_steps(rng: np.random.Generator, count: int) -> list[DspStep]:
    """Return steps of which every other operand is at an end of its range."""

    def draw(bits: int) -> int:
        half = 1 << (bits - 1)
        corners = [-half, half - 1, -1, 0, 1]
        return int(rng.choice(corners) if rng.random() < 0.5 else rng.integers(-half, half))

    return [
        DspStep(
            a=draw(DSP_A_BITS),
            b=draw(DSP_B_BITS),
            d=draw(DSP_A_BITS),
            c=draw(DSP_P_BITS),
            pcin=draw(DSP_P_BITS),
            z=int(rng.integers(4)),
        )
        for _ in range(count)
    ]


def dsp48_case(spec: DspSpec, steps: list[DspStep], **options: Any) -> Case:
    """Return what a slice must do with ``steps``."""
    widths = {"a": DSP_A_BITS, "b": DSP_B_BITS, "d": DSP_A_BITS}
    widths |= {"c": DSP_P_BITS, "pcin": DSP_P_BITS, "z": 2}
    words = [
        pack_fields([(getattr(s, name), bits) for name, bits in widths.items()]) for s in steps
    ]
    expected = [pack_fields([(p, DSP_P_BITS)]) for p in dsp48.run_steps(spec, steps)]
    return pipeline_case(dsp48.timing(spec), words, expected, name="steps", **options)


def overflow_adjust_case(spec: LaneSpec, words: list[int], **options: Any) -> Case:
    """Return what overflow adjustment must do with P ``words``, signed."""
    expected = []
    for word in words:
        kept, high, low = split_segment(spec, word)
        expected.append(
            pack_fields([(kept, DSP_P_BITS), (high, spec.msp_bits), (low, spec.msp_bits)])
        )
    packed = [pack_fields([(word, DSP_P_BITS)]) for word in words]
    return pipeline_case(mux_timing(spec), packed, expected, name="sums", **options)


def sparse_mux_case(
    spec: CsdChainSpec, acts: NDArray[Any], index: NDArray[Any], **options: Any
) -> Case:
    """Return what a multiplexer must do with ``acts`` int[transfers, 2, choices] and ``index``."""
    bits = spec.lane.operand_bits
    inputs, expected = [], []
    for pair, chosen in zip(acts, index.tolist(), strict=True):
        fields = [(value, bits) for value in pair.ravel().tolist()]
        inputs.append(pack_fields([*fields, (chosen, spec.select_bits)]))
        expected.append(pack_fields([(value, bits) for value in pair[:, chosen].tolist()]))
    return pipeline_case(mux_timing(spec), inputs, expected, name="choices", **options)


def chain_case(
    spec: CsdChainSpec,
    works: list[ChainWork],
    golden: Callable[[CsdChainSpec, ChainWork], tuple[Any, Any]] = chain_sums,
    **options: Any,
) -> Case:
    """Return what the chain must do with ``works``, whose sums ``golden`` knows."""
    inputs = [_issue(spec, work) for work in works]
    expected = [_sums(spec, work.nm_n, *golden(spec, work)) for work in works]
    return pipeline_case(chain_timing(spec), inputs, expected, name="issues", **options)


def _issue(spec: CsdChainSpec, work: ChainWork) -> int:
    bits = spec.lane.operand_bits
    fields = [(value, bits) for value in work.acts.ravel().tolist()]
    fields += [(value, bits) for value in work.weights.tolist()]
    fields += [(value, spec.select_bits) for value in work.index.tolist()]
    return pack_fields([*fields, (spec.modes.index(work.nm_n), spec.mode_bits)])


def _sums(spec: CsdChainSpec, nm_n: int, highs: Any, lows: Any) -> int:
    valid = [(2 * g + 2) % nm_n == 0 for g in range(spec.groups)]
    fields = [(int(is_end), 1) for is_end in valid]
    for sums in (highs, lows):
        rest = iter(sums.tolist())
        fields += [(next(rest) if is_end else 0, spec.sum_bits) for is_end in valid]
    return pack_fields(fields)


def random_works(
    rng: np.random.Generator, spec: CsdChainSpec, count: int, *, lowest: int | None = None
) -> list[ChainWork]:
    """Return issues of any mode; a third has operands at the ends of their range only.

    ``lowest``: the smallest weight; absent: one above the most negative number.
    """
    half = 1 << (spec.lane.operand_bits - 1)
    least = 1 - half if lowest is None else lowest
    works = []
    for number in range(count):
        acts = rng.integers(-half, half, (2, spec.choices))
        weights = rng.integers(least, half, spec.dsps)
        if number % 3 == 0:
            acts = rng.choice([-half, half - 1], acts.shape)
            weights = np.full(spec.dsps, rng.choice([least, half - 1]))
        elif number % 3 == 1:
            weights = np.where(rng.random(spec.dsps) < 0.5, 0, weights)
        index = rng.integers(0, spec.choices, spec.dsps)
        works.append(ChainWork(acts, weights, index, int(rng.choice(spec.modes))))
    return works


def dsp48_mac_cases(spec: DspSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        dsp48_case(spec, random_steps(rng, 4096), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]


def overflow_adjust_cases(spec: LaneSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    half = 1 << (spec.lane_bits - 1)
    sums = rng.integers(-half, half, (4096, 2)).tolist()
    words = [(high << spec.lane_bits) + low for high, low in sums]
    return [overflow_adjust_case(spec, words, stall_share=share, seed=seed) for share in (0.0, 0.4)]


def sparse_mux_cases(spec: CsdChainSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    half = 1 << (spec.lane.operand_bits - 1)
    acts = rng.integers(-half, half, (1024, 2, spec.choices))
    index = rng.integers(0, spec.choices, 1024)
    return [sparse_mux_case(spec, acts, index, stall_share=s, seed=seed) for s in (0.0, 0.4)]


def csd_chain_cases(spec: CsdChainSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    lowest = -(1 << (spec.lane.operand_bits - 1))
    return [
        chain_case(spec, random_works(rng, spec, 1024), stall_share=0.0, seed=seed),
        chain_case(spec, random_works(rng, spec, 1024), stall_share=0.4, seed=seed),
        chain_case(spec, random_works(rng, spec, 256, lowest=lowest), seed=seed),
    ]
