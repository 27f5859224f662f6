"""Do the work whose speed is measured; ``python -m benchmarks.workloads NAME N`` prints JSON.

Each workload runs in a process of its own, so that its memory is its own and no other workload's
warm-up helps it. It returns its samples, the simulated cycles of one repetition and its memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from benchmarks.measure import Samples, peak_rss_bytes, present_rss_bytes, sample
from benchmarks.sparse_products import PRODUCTS, sparse_product
from hwsim.components.dram.characterise import pattern_requests
from hwsim.components.dram.controller import REQUEST, serve
from hwsim.components.dram.devices import load_device
from hwsim.components.engine import run_program
from hwsim.core.formats import encode_nm
from hwsim.core.graph import OpGraph
from hwsim.core.machine import Machine, make_machine
from hwsim.core.program import Program
from hwsim.core.result import Result
from hwsim.core.sparsity import NM
from hwsim.experiments.sat_training import BATCH, METHODS
from hwsim.sat.detail import step_tiles
from hwsim.sat.pe import step_gemm
from hwsim.sat.sim import memory_parameters
from hwsim.sat.spec import ArraySpec, SatSpec
from hwsim.sat.timing import ArrayGemm, gemm_timing
from mappers.greedy import Known, map_graph
from mappers.schedule import schedule_graph
from models.sparsify.magnitude import prune
from models.training import training_graph
from models.zoo import load_model

__all__ = ["WORKLOADS", "Facts"]

Facts = dict[str, Any]

_NM = (2, 8)

LARGE_GEMMS: dict[str, tuple[Literal["ws", "os"], ArrayGemm]] = {
    "dense ws": ("ws", ArrayGemm(12544, 1152, 256)),
    "2:8 ws": ("ws", ArrayGemm(12544, 4608, 512, *_NM)),
    "dense os": ("os", ArrayGemm(12544, 1152, 256)),
}
"""Of the size of a ResNet's larger convolutions at batch 4 and 64."""

PE_GEMMS: dict[str, tuple[Literal["ws", "os"], ArrayGemm]] = {
    "dense ws": ("ws", ArrayGemm(784, 256, 64)),
    "2:8 ws": ("ws", ArrayGemm(784, 1024, 64, *_NM)),
    "dense os": ("os", ArrayGemm(784, 256, 64)),
}


DRAM_REQUESTS = 300_000


def _facts(samples: Samples, cycles: int, **more: Any) -> Facts:
    return {"samples": samples.to_json(), "cycles": cycles, "peak_rss": peak_rss_bytes(), **more}


def _pruned_resnet50(batch: int) -> OpGraph:
    return prune(load_model("resnet50", batch=batch), NM(nm_n=_NM[0], nm_m=_NM[1]))


def _lowered(graph: OpGraph, machine: Machine) -> Program:
    return machine.lower(graph, map_graph(graph, machine))


def pipeline(batch: int, n: int) -> Facts:
    """Map, lower and simulate ResNet-50 (224 pixels, 2:8), all stalls accounted."""
    graph = _pruned_resnet50(batch)
    machine = make_machine("sat")
    results: list[Result] = []

    def work() -> None:
        results[:] = [machine.run(_lowered(graph, machine))]

    before = present_rss_bytes()
    first = sample(work, n=1, warmups=0)
    samples = sample(work, n=n, warmups=0)  # the first run was the warm-up
    return _facts(samples, results[0].cycles, rss_before=before, first_s=first.median_s)


def training_methods(n: int) -> Facts:
    """Schedule, lower and simulate an iteration of ResNet-50 (224, batch 512) by five methods.

    Products that several methods have in common are searched once per repetition.
    """
    machine = make_machine("sat")
    forward = load_model("resnet50", batch=BATCH, has_batch_norm=True)
    cycles: dict[str, int] = {}

    def work() -> None:
        known: Known = {}
        for method in METHODS:
            graph = training_graph(forward, method, _NM)
            schedule = schedule_graph(graph, machine, known=known)
            cycles[method] = machine.run(machine.lower(graph, schedule.mappings)).cycles

    return _facts(sample(work, n=n), sum(cycles.values()), methods=cycles)


def tile_network(n: int) -> Facts:
    """Run ResNet-50 (224 pixels, 2:8, batch 1) with every tile and every instruction stepped."""
    machine = make_machine("sat")
    program = _lowered(_pruned_resnet50(1), machine)
    cycles = machine.run(program).cycles

    def work() -> None:
        found = machine.run(program, detail="tile").cycles
        if found != cycles:
            raise RuntimeError(f"stepped {found} cycles, fast {cycles}")

    return _facts(sample(work, n=n), cycles)


def tile_stepping(n: int) -> Facts:
    """Step every tile and interleave step of three large products."""
    array = ArraySpec()

    def work() -> int:
        return sum(step_tiles(array, flow, gemm) for flow, gemm in LARGE_GEMMS.values())

    return _facts(sample(work, n=n), work())


def pe_stepping(name: str, n: int) -> Facts:
    """Step each of 32 x 32 processing elements in every cycle, with values."""
    array = ArraySpec()
    dataflow, gemm = PE_GEMMS[name]
    rng = np.random.default_rng(0)
    a = rng.standard_normal((gemm.m, gemm.k)).astype(np.float16)
    b = rng.standard_normal((gemm.k, gemm.n)).astype(np.float16)
    mask = NM(nm_n=gemm.nm_n, nm_m=gemm.nm_m).sample_mask(b.shape, rng)
    compact = encode_nm(b, mask, gemm.nm_n, gemm.nm_m)
    cycles = gemm_timing(array, dataflow, gemm).cycles

    def work() -> None:
        run = step_gemm(array, dataflow, a, compact, max_cycles=2 * cycles)
        if run.cycles != cycles:
            raise RuntimeError(f"{name}: stepped {run.cycles} cycles, closed form {cycles}")

    return _facts(sample(work, n=n), cycles)


def token_engine(n: int) -> Facts:
    """Step every instruction of ResNet-50 at batch 64, nothing forwarded."""
    spec = SatSpec()
    program = _lowered(_pruned_resnet50(64), make_machine("sat"))
    memory = memory_parameters(spec)

    def work() -> int:
        return run_program(program, memory, spec.queue_depth, fast_forward=False).cycles

    return _facts(sample(work, n=n), work(), instructions=len(program))


def dram(name: str, channels: int, pattern: str, n: int) -> Facts:
    """Serve 64-byte requests command by command, nothing skipped; checks and set-up included."""
    device = load_device(name, channels)
    requests = pattern_requests(device, pattern, DRAM_REQUESTS, np.random.default_rng(0))

    def work() -> int:
        serve(device, requests, fast_forward=False)  # writes ``done``, reads all else
        return int(requests["done"].max())

    return _facts(sample(work, n=n), work(), requests=DRAM_REQUESTS)


def dram_forwarded(n: int) -> Facts:
    """Read 64 MiB in one request, periods fast-forwarded; count 64 bytes as a request."""
    device = load_device("ddr4-2400", 1)
    requests = np.zeros(1, REQUEST)
    requests["size_bytes"] = 64 << 20

    def work() -> int:
        serve(device, requests)
        return int(requests["done"].max())

    return _facts(sample(work, n=n), work(), requests=(64 << 20) // 64)


def cpu_network(n: int, detail: str = "fast") -> Facts:
    """Run MobileNet v1 at its published sparsity on one core, caches included."""
    from hwsim.experiments.pipeline import RunRequest, prepare

    session = prepare(
        RunRequest("mobilenet-v1-1.0", machine="cpu", sparsity="published", kernel="16")
    )
    results: list[Result] = []

    def work() -> None:
        results[:] = [session.machine.run(session.program, detail=detail)]

    first = sample(work, n=1, warmups=0)  # compiles
    samples = sample(work, n=n, warmups=0)
    counts = {name: results[0].extra[name] for name in ("instructions", "dispatch_slots")}
    return _facts(samples, results[0].cycles, first_s=first.median_s, **counts)


def llm_run(n: int, phase: str, preset: str = "u280", **lengths: int) -> Facts:
    """Compile LLaMA2-7B's ``phase`` for FlightLLM, then run it; both timed."""
    from hwsim.experiments.pipeline import RunRequest, prepare

    request = RunRequest("llama2-7b", "flightllm", preset, phase=phase, **lengths)  # type: ignore[arg-type]
    session = prepare(request)
    first = sample(lambda: session.machine.run(session.program), n=1, warmups=0)
    compiling = sample(lambda: prepare(request), n=n, warmups=0)
    results: list[Result] = []

    def work() -> None:
        results[:] = [session.machine.run(session.program)]

    samples = sample(work, n=n, warmups=0)
    return _facts(
        samples,
        results[0].cycles,
        first_s=first.median_s,
        compile_s=compiling.median_s,
        instructions=len(session.program),
    )


WORKLOADS: dict[str, Callable[[int], Facts]] = {
    "resnet50-batch1": lambda n: pipeline(1, n),
    "resnet50-batch512": lambda n: pipeline(512, n),
    "training-methods": training_methods,
    "resnet50-tiles": tile_network,
    "tile-stepping": tile_stepping,
    "pe-dense-ws": lambda n: pe_stepping("dense ws", n),
    "pe-2:8-ws": lambda n: pe_stepping("2:8 ws", n),
    "pe-dense-os": lambda n: pe_stepping("dense os", n),
    "token-engine": token_engine,
    "cpu-network": cpu_network,
    "cpu-network-stepped": partial(cpu_network, detail="tile"),
    "llm-step": lambda n: llm_run(n, "decode", preset="vhk158", kv_tokens=128),
    "llm-prompt": lambda n: llm_run(n, "prefill", seq_tokens=2048),
    "llm-request": lambda n: llm_run(n, "request", prompt_tokens=128, generate_tokens=512),
    **{name: partial(sparse_product, name) for name in PRODUCTS},
    **{
        f"dram-{name}-{pattern}": partial(dram, name, channels, pattern)
        for name, channels in (("ddr4-2400", 1), ("hbm2-1800", 4))
        for pattern in ("stream", "random", "mixed")
    },
    "dram-forwarded": dram_forwarded,
}
"""Name -> function of the number of samples."""


def main(arguments: Sequence[str]) -> None:
    """Run one workload and print its facts as the last line of stdout."""
    name, n = arguments
    print(json.dumps(WORKLOADS[name](int(n))))


if __name__ == "__main__":
    main(sys.argv[1:])
