"""Time the generated WebAssembly kernels on this machine, sparse against dense, in one process.

Every figure is a wall-clock measurement of the machine it ran on; nothing here gates a test. Each
round runs every kernel for a few milliseconds, so that a slow phase of the machine meets all of
them, and the median over rounds is taken of the CPU time of the calling thread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from hwsim.core.errors import InputError
from hwsim.core.result import Claim
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.trial import Trial, TrialShape, draw_trial
from hwsim.cpu.execute.wasm_engine import WasmModule, engine_version
from hwsim.cpu.microkernel.target import WASM, Target
from hwsim.cpu.spec import CpuSpec
from hwsim.experiments.cpu_layers import Layer, dense_cycles, sparse_cycles
from hwsim.experiments.host import describe_host

__all__ = [
    "DENSE",
    "PEER_SPEEDUPS",
    "SPARSE",
    "KernelTime",
    "SimulatedTime",
    "claims",
    "document",
    "interleaved_medians",
    "kernel_timer",
    "measure",
    "ordered_alike",
    "simulate",
    "trial_timer",
]

DENSE = ("gemm-4x8", "gemm-5x8", "gemm-6x8")
SPARSE = ("16x1", "16x1-u2", "16x1-pipelined", "32x1", "16x2")

PEER_SPEEDUPS = {0.7: 2.8, 0.8: 4.1, 0.9: 7.6}
"""Sparsity -> speed of XNNPACK's 16x1 kernel over its best dense one at 512x512x196, SIMD128.

Measured once with the kernels of google/XNNPACK compiled by zig -O2 and run by wasmtime 50 on an
x86-64 core of the Zen 4 class.
"""
PEER_TOLERANCE = 0.25

SAMPLE_S = 2e-3
"""What the calls of one sample take together, at least."""

_MOST_CALLS = 1 << 16

Name = TypeVar("Name")

Timer = Callable[[int], float]
"""Seconds of one call, measured over so many."""


@dataclass(frozen=True)
class KernelTime:
    """Median time of one kernel on one layer.

    ``gflops`` counts all weights, zeros too (what a dense kernel would have to do per second);
    ``kept_gflops`` only the kept ones. ``speedup`` is over the best dense kernel of the round.
    """

    target: str
    kernel: str
    sparsity: float
    median_ms: float
    gflops: float
    kept_gflops: float
    speedup: float


def measure(
    target: Target = WASM,
    *,
    co: int = 512,
    ci: int = 512,
    pixels: int = 196,
    sparsities: Sequence[float] = (0.7, 0.8, 0.9),
    sparse: Sequence[str] = SPARSE,
    rounds: int = 40,
    seed: int = 0,
) -> list[KernelTime]:
    """Return the times of the dense and sparse kernels, layer by layer.

    Raises
    ------
    InputError
        If there is no engine, or nothing to measure.
    """
    if rounds < 1:
        raise InputError("--rounds", "at least 1", str(rounds))
    if pixels < 1:
        raise InputError("--pixels", "at least 1", str(pixels))
    rows: list[KernelTime] = []
    for sparsity in sparsities:
        shape = TrialShape(co, ci, 1, pixels, sparsity)
        rng = np.random.default_rng(seed)
        trials = {name: draw_trial(name, target, shape, rng) for name in (*DENSE, *sparse)}
        seconds = _times(trials, target, rounds)
        best = min(seconds[name] for name in DENSE)
        for name in (min(DENSE, key=lambda n: seconds[n]), *sparse):
            took, kept = seconds[name], trials[name].call.macs
            rows.append(
                KernelTime(
                    target.name,
                    name,
                    0.0 if name in DENSE else sparsity,
                    took * 1e3,
                    2e-9 * co * ci * pixels / took,
                    2e-9 * kept / took,
                    best / took,
                )
            )
    return rows


def _times(trials: dict[str, Trial], target: Target, rounds: int) -> dict[str, float]:
    """Return kernel -> median seconds; every kernel's output is checked first."""
    timers = {name: kernel_timer(trial, target) for name, trial in trials.items()}
    return interleaved_medians(timers, rounds)


def interleaved_medians(timers: Mapping[Name, Timer], rounds: int) -> dict[Name, float]:
    """Return the median seconds of each timer, all of them called once per round."""
    times = {name: _repetitions(timer) for name, timer in timers.items()}
    seconds: dict[Name, list[float]] = {name: [] for name in timers}
    for turn in range(-3, rounds):  # three rounds warm up
        for name, timer in timers.items():
            took = timer(times[name])
            if turn >= 0:
                seconds[name].append(took)
    return {name: statistics.median(found) for name, found in seconds.items()}


def kernel_timer(trial: Trial, target: Target) -> Timer:
    """Return the function that times the kernel of a trial, after a check of its output."""
    module = WasmModule.of([trial.call.kernel], target, Arena(trial.call.arrays), is_timed=True)
    return trial_timer(trial.call.kernel.name, trial, module)


def trial_timer(name: str, trial: Trial, module: WasmModule) -> Timer:
    """Return the same for function ``name`` of ``module``, which takes the trial's arguments."""
    values, limits = trial.call.values(module.arena.address), trial.call.clamp_limits
    module.call(name, values, limits)
    worst = trial.worst(module.read(trial.call.output))
    if worst > 1:
        raise InputError(f"kernel {name}", "golden's output", f"{worst:.3g} x rounding off")
    return lambda times: module.seconds_of(name, values, limits, times=times)


def _repetitions(timer: Timer) -> int:
    """Return how many calls of a kernel, a power of two, take ``SAMPLE_S``."""
    times = 1
    while times < _MOST_CALLS and times * timer(times) < SAMPLE_S:
        times *= 2
    return times


def claims(rows: Sequence[KernelTime]) -> list[Claim]:
    """Return the measured speed-ups of 16x1 beside those of XNNPACK's kernels; none gates."""
    found = []
    for row in rows:
        reference = PEER_SPEEDUPS.get(row.sparsity)
        if row.target == WASM.name and row.kernel == "16x1" and reference is not None:
            found.append(
                Claim(
                    id=f"cpu.wasm.speedup.{round(100 * row.sparsity)}",
                    what=f"16x1 over dense at {row.sparsity:.0%} zeros, measured here",
                    simulated=row.speedup,
                    reference=reference,
                    unit="x",
                    tolerance=PEER_TOLERANCE,
                    basis="peer",
                    gated=False,
                    source="XNNPACK f32-spmm and f32-gemm by zig -O2 in wasmtime 50, Zen 4 class",
                )
            )
    return found


@dataclass(frozen=True)
class SimulatedTime:
    """Speed-up of one kernel over the dense one on a modelled core, beside the measured one."""

    kernel: str
    sparsity: float
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """Return the error of the simulated speed-up, relative to the measured one."""
        return self.simulated / self.measured - 1


def simulate(
    rows: Sequence[KernelTime], shape: tuple[int, int, int], spec: CpuSpec
) -> list[SimulatedTime]:
    """Return the simulated speed-ups of the sparse rows whose code ``spec`` runs.

    Weights are drawn anew, with the same share of zeros.
    """
    co, ci, pixels = shape
    layer = Layer(pixels, ci, co)
    sparse = [row for row in rows if row.target == spec.backend and row.kernel not in DENSE]
    dense = dense_cycles(layer, spec) if sparse else 0
    return [
        SimulatedTime(
            row.kernel,
            row.sparsity,
            row.speedup,
            dense / sparse_cycles(layer, row.sparsity, spec, row.kernel),
        )
        for row in sparse
    ]


def ordered_alike(found: Sequence[SimulatedTime]) -> tuple[int, int]:
    """Return how many pairs of rows measurement and simulation put in the same order, of all."""
    pairs = list(combinations(found, 2))
    alike = sum((a.measured < b.measured) == (a.simulated < b.simulated) for a, b in pairs)
    return alike, len(pairs)


def document(
    rows: Sequence[KernelTime],
    shape: tuple[int, int, int],
    simulated: Sequence[SimulatedTime] = (),
) -> dict[str, Any]:
    """Return the JSON of ``hwsim kernels bench``: host, engine, rows, simulated rows, claims."""
    is_reference = shape == (512, 512, 196)
    return {
        "host": describe_host(),
        "engine": engine_version(),
        "shape": dict(zip(("co", "ci", "pixels"), shape, strict=True)),
        "rows": [asdict(row) for row in rows],
        "simulated": [{**asdict(row), "error": row.error} for row in simulated],
        "pairs_ordered_alike": ordered_alike(simulated),
        "claims": [claim.to_json() for claim in claims(rows)] if is_reference else [],
    }
