"""Say what is measured, against which target, and turn a measurement into a row of the report."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import wasm_peers
from benchmarks.measure import Samples, run_child, time_command
from benchmarks.sparse_products import WORKLOADS
from hwsim.cpu.microkernel.target import WASM

__all__ = ["GROUPS", "Row", "row"]

MIB = 1 << 20

_HWSIM = (sys.executable, "-c", "from hwsim.cli.main import main; main()")


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, in which unit, and whether it meets its target.

    ``target`` is a limit: at most if ``is_most``, else at least; None if the figure has none.
    ``n`` is the number of samples behind a median.
    """

    metric: str
    measured: float
    unit: str
    target: float | None
    is_most: bool
    n: int
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        """Return whether the target is met, None without one."""
        if self.target is None:
            return None
        return self.measured <= self.target if self.is_most else self.measured >= self.target

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``bench.json``."""
        return {**asdict(self), "is_met": self.is_met}


def row(
    metric: str,
    measured: float,
    unit: str,
    *,
    n: int,
    most: float | None = None,
    least: float | None = None,
    detail: dict[str, Any] | None = None,
) -> Row:
    """Return a row whose target is an upper limit ``most`` or a lower one ``least``."""
    target = most if most is not None else least
    return Row(metric, measured, unit, target, most is not None, n, detail or {})


def _rate(facts: dict[str, Any], count: str = "cycles") -> float:
    """Return ``count`` per second of the median wall time."""
    return float(facts[count] / facts["samples"]["median_s"])


def networks(n: int) -> Iterator[Row]:
    """Whole networks, map to result: wall time, memory, and how both grow with the batch."""
    run_child("resnet50-batch1", 1)  # leaves compiled kernels on disk
    one = run_child("resnet50-batch1", n)
    many = run_child("resnet50-batch512", n)
    seconds = one["samples"]["median_s"]
    name = "ResNet-50 (224, 2:8, batch 1) after load: map, lower, simulate with stalls"
    yield row(f"{name}, warm", seconds, "s", n=n, most=1.0, detail=one)
    yield row(f"{name}, first in its process, kernels cached", one["first_s"], "s", n=1)
    peak = max(one["peak_rss"], many["peak_rss"]) / MIB
    yield row("the same, peak resident set of the whole process", peak, "MiB", n=1, most=500)
    grown = (one["peak_rss"] - one["rss_before"]) / MIB
    yield row("the same, growth of it over the loaded network", grown, "MiB", n=1)
    ratio = many["samples"]["median_s"] / seconds
    yield row("batch 512 against batch 1, wall time", ratio, "x", n=n, most=3, detail=many)
    yield row("batch 512, simulated cycles per second", _rate(many), "cycles/s", n=n, least=50e6)
    yield row("batch 1, simulated cycles per second", _rate(one), "cycles/s", n=n)
    methods = run_child("training-methods", n)
    seconds = methods["samples"]["median_s"]
    name = "training iteration of ResNet-50 (224, 2:8, batch 512) by five methods"
    yield row(f"{name}: graphs, schedules, simulation", seconds, "s", n=n, most=5, detail=methods)


def stepping(n: int) -> Iterator[Row]:
    """The plain modes that check the fast one."""
    tiles = run_child("tile-stepping", n)
    name = "tile by tile, three large products"
    yield row(name, _rate(tiles), "cycles/s", n=n, least=10e6, detail=tiles)
    network = run_child("resnet50-tiles", n)
    name = "tile by tile, ResNet-50 (224, 2:8, batch 1), run alone"
    yield row(name, _rate(network), "cycles/s", n=n, least=10e6, detail=network)
    for kind in ("dense-ws", "2:8-ws", "dense-os"):
        facts = run_child(f"pe-{kind}", n)
        name = f"PE by PE with values, 32x32, {kind.replace('-', ' ')}"
        yield row(name, _rate(facts), "array cycles/s", n=n, least=1e6, detail=facts)
    engine = run_child("token-engine", n)
    rate = _rate(engine, "instructions")
    name = "token engine, nothing forwarded (ResNet-50, 2:8, batch 64)"
    yield row(name, rate, "instructions/s", n=n, detail=engine)


def dram(n: int) -> Iterator[Row]:
    """DRAM command by command, and forwarded: a channel of DDR4, eight data buses of HBM2."""
    for device, least in (("ddr4-2400", 2e6), ("hbm2-1800", None)):
        for pattern in ("stream", "random", "mixed"):
            facts = run_child(f"dram-{device}-{pattern}", n)
            name = f"DRAM command by command, {device}, 64-byte requests, {pattern}"
            rate = _rate(facts, "requests")
            yield row(name, rate, "requests/s", n=n, least=least, detail=facts)
    facts = run_child("dram-forwarded", n)
    name = "DRAM fast-forwarded, ddr4-2400, 64 MiB in one request, per 64 bytes"
    yield row(name, _rate(facts, "requests"), "requests/s", n=n, least=2e6, detail=facts)


def cpu(n: int) -> Iterator[Row]:
    """A core behind its caches, stepped instruction by instruction and with forwarding."""
    name = "MobileNet v1 1.0 (90 %) on a core of sd835, caches included"
    facts = run_child("cpu-network-stepped", n)
    rate = _rate(facts, "instructions")
    yield row(f"{name}, stepped", rate, "instructions/s", n=n, least=5e6, detail=facts)
    facts = run_child("cpu-network", n)
    yield row(name, facts["samples"]["median_s"], "s", n=n, most=15.0, detail=facts)


def flightllm(n: int) -> Iterator[Row]:
    """LLaMA2-7B on FlightLLM: a step (vhk158), the longest prompt and a whole request (u280)."""
    step = run_child("llm-step", n)
    name = f"LLaMA2-7B step on flightllm ({step['instructions']} instructions)"
    yield row(f"{name}, load and compile", step["compile_s"], "s", n=n, most=1.0, detail=step)
    yield row(f"{name}, simulate", step["samples"]["median_s"], "s", n=n, most=0.05)
    peaks = [step["peak_rss"]]
    for work, label, most in (
        ("llm-prompt", "prompt of 2048 tokens", 60.0),
        ("llm-request", "request of 128 and 512 tokens", 20.0),
    ):
        facts = run_child(work, 1)
        seconds = facts["compile_s"] + facts["samples"]["median_s"]
        name = f"LLaMA2-7B {label} on flightllm, load, compile, simulate"
        yield row(name, seconds, "s", n=1, most=most, detail=facts)
        peaks.append(facts["peak_rss"])
    yield row("the same, largest resident set", max(peaks) / MIB, "MiB", n=1, most=2048)


def piuma(n: int) -> Iterator[Row]:
    """Sparse products on the machine of threads; values are checked in the first run of each."""
    fv1 = run_child("piuma-fv1", n)
    name = "fv1 (98 x 98 points) by SMASH V3"
    yield row(f"{name}, warm", fv1["samples"]["median_s"], "s", n=n, most=2.0, detail=fv1)
    rate = _rate(fv1, "instructions")
    yield row(f"{name}, stepped", rate, "thread-instructions/s", n=n, least=10e6)
    uniform = run_child("piuma-uniform", n)
    name = "1000 x 1000 squared at 5 % by SMASH V3"
    seconds = uniform["samples"]["median_s"]
    yield row(f"{name}, warm", seconds, "s", n=n, most=5.0, detail=uniform)
    yield row(f"{name}, peak resident set", uniform["peak_rss"] / MIB, "MiB", n=1, most=1024)
    for version, most in (("v3", 30.0), ("v2", None), ("v1", None)):
        whole = run_child(f"piuma-rmat-{version}", 0)
        name = f"calibrated R-MAT (6.2 M products) by SMASH {version.upper()}, values checked"
        yield row(name, whole["first_s"], "s", n=1, most=most, detail=whole)
    yield row("the last, peak resident set", whole["peak_rss"] / MIB, "MiB", n=1, most=4096)
    blocks = run_child("piuma-64-blocks", 0)
    name = "fv1 on 64 blocks (4,224 threads), values checked"
    yield row(name, blocks["first_s"], "s", n=1, detail=blocks)
    for kernel in WORKLOADS:
        chain = run_child(f"piuma-{kernel}", n)
        name = f"{kernel} on 1000 vertices with 6000 edges, warm"
        yield row(name, chain["samples"]["median_s"], "s", n=n, detail=chain)


def kernels(n: int) -> Iterator[Row]:
    """Generated WebAssembly kernels, run for real against the dense ones of the same process."""
    from hwsim.experiments.cpu_wasm import measure

    rounds = 10 * n
    sparse = ("16x1", "16x1-u2", "32x1")
    times = {row.kernel: row for row in measure(sparsities=(0.9,), sparse=sparse, rounds=rounds)}
    layer = "512x512x196, 90 % zeros"
    for name, found in times.items():
        if name in sparse:
            label = f"WASM SpMM {name}, {layer}, dense-equivalent"
            yield row(label, found.gflops, "GF/s", n=rounds, detail=asdict(found))
    best = max((times[name] for name in sparse), key=lambda found: found.speedup)
    label = f"WASM SpMM, {layer}: the best kernel over the best dense one"
    yield row(label, best.speedup, "x", n=rounds, detail=asdict(best))
    if wasm_peers.has_compiler():
        yield from _peers(n)


def _peers(n: int) -> Iterator[Row]:
    """Speed-ups beside those of C kernels of XNNPACK's structure, over the same dense kernel."""
    for one in wasm_peers.race(WASM, (0.7, 0.8, 0.9), 5 * n):
        ratio = one.speedup("ours") / one.speedup("peers")
        label = (
            f"WASM SpMM, 512x512x196, {one.sparsity:.0%} zeros: speed-up over dense, "
            "generated kernels' over that of XNNPACK's structure in C"
        )
        yield row(label, ratio, "x", n=5 * n, least=0.9, detail=asdict(one))


def commands(n: int) -> Iterator[Row]:
    """What a user waits for at the prompt, interpreter start included."""
    help_time = time_command([*_HWSIM, "--help"], n=n, warmups=1)
    yield _command_row("hwsim --help", help_time, 0.7)
    run = [*_HWSIM, "run", "resnet18", "--sparsity", "nm:2:8"]
    with tempfile.TemporaryDirectory() as cache:
        env = {key: value for key, value in os.environ.items() if "NUMBA_CACHE_DIR" not in key}
        env["HWSIM_CACHE"] = cache
        cold = time_command(run, n=1, warmups=0, env=env)
        warm = time_command(run, n=n, warmups=0, env=env)
    name = "hwsim run resnet18 --sparsity nm:2:8"
    yield _command_row(f"{name}, empty cache (compiles every kernel)", cold, 15)
    yield _command_row(f"{name}, kernels cached", warm, None)
    with tempfile.TemporaryDirectory() as folder:
        job = [*_HWSIM, "sim", "--report", str(Path(folder) / "report")]
        yield _command_row("hwsim sim, second time", time_command(job, n=1, warmups=1), 60)
        checks = [*_HWSIM, "validate", "sat", "--report", str(Path(folder) / "checks")]
        yield _command_row(
            "hwsim validate sat, second time", time_command(checks, n=1, warmups=1), 60
        )


def _command_row(name: str, samples: Samples, most: float | None) -> Row:
    seconds = samples.median_s
    return row(name, seconds, "s", n=len(samples.seconds), most=most, detail=samples.to_json())


GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    "networks": networks,
    "stepping": stepping,
    "cpu": cpu,
    "flightllm": flightllm,
    "dram": dram,
    "piuma": piuma,
    "kernels": kernels,
    "commands": commands,
}
"""Name -> function that yields rows, given the number of samples per median."""
