"""Set the CPU machine beside published latencies, schedulers' counts and measured ratios."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hwsim.core.result import Claim, Result
from hwsim.cpu.packing import pack
from hwsim.cpu.selection import block_channels, can_run_sparse, is_sparse_enough
from hwsim.cpu.spec import PRESETS
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.clang_loops import load_loops, loop_cycles
from hwsim.experiments.cpu_layers import Layer, dense_cycles, sparse_cycles
from hwsim.experiments.cpu_loops import LOOPS, loop_macs, steady_state_cycles
from hwsim.experiments.pipeline import RunRequest, prepare
from models.sparsify.published import prune_as_published
from models.zoo import load_model

__all__ = ["claims", "unchecked"]

_README = "google-research/fastconvnets README: Snapdragon 835, one big core"
_XNNPACK = "google/XNNPACK README, March 2020: Pixel 2 (Snapdragon 835), one thread, FP32"
_MCA = "llvm-mca 19 on XNNPACK's loops as clang 14 -O2 compiles them"
_MCA_OWN = "llvm-mca 19 on the text of the generated loop"

_LOOP_CYCLES = {
    "a57": (8.05, 8.05, 8.03, 13.05, 9.09, 16.09, 16.11, 24.09),
    "n1": (4.04, 3.79, 4.02, 6.55, 4.07, 8.06, 8.07, 12.06),
}
"""Rule table -> llvm-mca's cycles per block of XNNPACK's loops, in the order of ``LOOPS``."""
_OWN_CYCLES = {
    "a57": (8.0, 8.0, 7.0, 13.0, 8.0, 16.0, 16.0, 24.0),
    "n1": (4.0, 4.0, 4.0, 6.5, 4.0, 8.0, 8.0, 12.0),
}
"""The same of the generated loops, whose instructions are others (``benchmarks/llvm_mca.py``)."""

_PUBLISHED_MS = {"mobilenet-v1-1.0": 31.0, "mobilenet-v2-1.4": 54.0, "efficientnet-b0": 80.0}
_DENSE_V1_MS = 86.0
_TESTED_LAYER = Layer(pixels=196, ci=512, co=512)

_claim = ClaimMaker("cpu-")


def claims() -> list[Claim]:
    """Return all claims, those of whole networks last."""
    return [
        *_counts(),
        *_decisions(),
        *_loops(),
        *_crossovers(),
        *_layers(),
        *_latencies(),
        *_group_sparsity(),
    ]


def unchecked() -> list[str]:
    """Return what has no reference, and why."""
    return [
        "cpu: presets sd845, rpi4 and the small cores have no published latency at hand",
        "cpu: WebAssembly latencies of whole networks were not published in a form at hand",
    ]


def _counts() -> list[Claim]:
    """Return sizes of the networks and of the packed form."""
    dense, sparse = (
        load_model("mobilenet-v1-1.0"),
        prune_as_published(load_model("mobilenet-v1-1.0")),
    )
    rng = np.random.default_rng(0)
    weights = (rng.random((512, 512)) < 0.1).astype(np.float32)
    packed = pack(weights, pixels=196)
    small = "multiply-accumulates of"
    return [
        _claim("macs-v1", f"{small} MobileNet v1 1.0", dense.totals()["macs"] / 1e6, 568.7, "M",
               0.005, "published", "Howard et al. 2017, table 8 (569 M)"),
        _claim("macs-v2", f"{small} MobileNet v2 1.0",
               load_model("mobilenet-v2-1.0").totals()["macs"] / 1e6, 300.0, "M", 0.005,
               "published", "Sandler et al. 2018, table 4"),
        _claim("macs-v1-90", f"{small} MobileNet v1 1.0 left at 90 % sparsity",
               sparse.totals()["useful_macs"] / 1e6, 83.2, "M", 0.005, "derived",
               "568.7 M less 90 % of the 539.5 M of the 1x1 layers"),
        _claim("dmap-closes", "sum of a layer's input increments", float(packed.dmap.sum()), 0.0,
               "B", 0.0, "artifact", "google/XNNPACK: the last increment leads back"),
        _claim("stream-bytes", "bytes that a strip of 512x512 at 90 % streams", packed.strip_bytes,
               8 * (packed.blocks + 512), "B", 0.0, "derived",
               "4 + 4 bytes per nonzero and per output channel"),
    ]  # fmt: skip


def _decisions() -> list[Claim]:
    """Return whether XNNPACK's gates decide as they must on either side of each limit."""
    fill = {}
    for holes in (1, 2):  # ten blocks of four with 4 or 5 empty places: 36 and 35 of 40
        mask = np.ones((4, 10), dtype=np.float32)
        mask[0, : 3 + holes] = 0
        fill[holes] = block_channels(mask)
    decisions = {
        "2 of 3 zeros": is_sparse_enough(2, 3) is False,
        "one more": is_sparse_enough(2001, 3000) is True,
        "90 % full blocks of four": fill[1] == 4,
        "one element less": fill[2] != 4,
        "x86 with AVX": can_run_sparse("x86-64", has_avx=True) is False,
        "x86 without": can_run_sparse("x86-64", has_avx=False) is True,
        "ARM64": can_run_sparse("aarch64") is True,
    }
    return [
        _claim("gates", "decisions of XNNPACK's gates reproduced", float(sum(decisions.values())),
               float(len(decisions)), "1", 0.0, "artifact",
               "google/XNNPACK: 2/3 zeros (strict), 90 % block fill, no AVX")
    ]  # fmt: skip


def _loops() -> list[Claim]:
    """Return steady states: clang's instructions for XNNPACK's loops, and the generated ones."""
    found = []
    for rules in _LOOP_CYCLES:
        for at, name in enumerate(LOOPS):
            family = "" if name.startswith("gemm") else "spmm-"
            where = f"cycles per block, {rules} rules, L1 hits:"
            clang, own = loop_cycles(load_loops()[name], rules), steady_state_cycles(name, rules)
            found += [
                _claim(f"{family}{name}-{rules}", f"{where} XNNPACK's {name} as clang 14 writes it",
                       clang, _LOOP_CYCLES[rules][at], "cycles", 0.05, "peer", _MCA),
                _claim(f"own-{name}-{rules}", f"{where} the generated {name}", own,
                       _OWN_CYCLES[rules][at], "cycles", 0.05, "peer", _MCA_OWN),
            ]  # fmt: skip
    return found


def _crossovers() -> list[Claim]:
    """Return the sparsity at which sparse and dense inner loops are equally fast."""
    dense = steady_state_cycles("gemm-6x8", "a57") / loop_macs("gemm-6x8")
    found = []
    for name, reference, why in (
        ("16x1", 0.50, "4.0 of 8.0 flop per cycle"),
        ("32x1-pipelined", 0.39, "4.9 of 8.0 flop per cycle"),
        ("16x4", 0.0, "8.0 of 8.0 flop per cycle"),
    ):
        per_mac = steady_state_cycles(name, "a57") / loop_macs(name)
        tolerance = 0.05 / reference if reference else 0.05
        found.append(
            _claim(f"crossover-{name}", f"sparsity from which {name} beats gemm-6x8, a57 rules",
                   1 - dense / per_mac, reference, "1", tolerance, "derived",
                   f"llvm-mca: {why}; 5 points")
        )  # fmt: skip
    return found


def _layers() -> list[Claim]:
    """Return speed-ups of one layer over its dense form on the same core."""
    arm, wasm = PRESETS["sd835"], PRESETS["wasm-x86"]
    speedup = dense_cycles(_TESTED_LAYER, arm) / sparse_cycles(
        _TESTED_LAYER, 0.8, arm, "32x1-pipelined"
    )
    found = [
        _claim("layer-80", "speed-up of a 1x1 layer (512x512x196) at 80 %, 32x1, sd835", speedup,
               2.05, "1", 0.25 / 2.05, "third-party",
               "press on Google's blog of March 2021: 1.8 to 2.3 at 80 % zeros and more")
    ]  # fmt: skip
    dense = dense_cycles(_TESTED_LAYER, wasm)
    for sparsity, reference in ((0.7, 2.8), (0.8, 4.1), (0.9, 7.6)):
        simulated = dense / sparse_cycles(_TESTED_LAYER, sparsity, wasm, "16x1")
        found.append(
            _claim(f"wasm-{round(100 * sparsity)}",
                   f"speed-up of 16x1 over dense 4x8, 512x512x196 at {sparsity:.0%}, wasm-x86",
                   simulated, reference, "1", 0.25, "peer",
                   "XNNPACK's kernels in wasmtime 50 on a Zen 4 core; wall clock", gated=False)
        )  # fmt: skip
    return found


@lru_cache
def _run(model: str, sparsity: str, preset: str, kernel: str, dataflow: str = "auto") -> Result:
    request = RunRequest(
        model, machine="cpu", preset=preset, sparsity=sparsity, kernel=kernel, dataflow=dataflow
    )
    session = prepare(request)
    return session.machine.run(session.program)


def _milliseconds(result: Result) -> float:
    return 1e3 * result.cycles / result.clock_hz


def _latencies() -> list[Claim]:
    """Return latencies on sd835. The dense one calibrates the preset's clock; no other does."""
    dense = _milliseconds(_run("mobilenet-v1-1.0", "dense", "sd835", "auto"))
    found = [
        _claim("v1-dense", "MobileNet v1 1.0 dense on sd835 (calibrates the clock)", dense,
               _DENSE_V1_MS, "ms", 0.15, "artifact", _XNNPACK)
    ]  # fmt: skip
    for model, reference in _PUBLISHED_MS.items():
        simulated = _milliseconds(_run(model, "published", "sd835", "16"))
        is_gated = model == "mobilenet-v1-1.0"
        found.append(
            _claim(f"{model}-published", f"{model}, published sparsity, on sd835 (predicted)",
                   simulated, reference, "ms", 0.25, "artifact", _README, gated=is_gated)
        )  # fmt: skip
    sparse = _milliseconds(_run("mobilenet-v1-1.0", "published", "sd835", "16"))
    found.append(
        _claim("v1-speedup", "MobileNet v1 1.0 on sd835: sparse over dense", dense / sparse, 2.8,
               "1", 0.2, "derived", "86 ms over 31 ms, both as above")
    )  # fmt: skip
    return found


def _group_sparsity() -> list[Claim]:
    """Return SparseByteNN's one number; its patterns and kernels are not known."""
    same = ("sd855", "16x4", "sparse")
    sparse = _run("mobilenet-v1-1.0", "block:1x4:0.3", *same)
    dense = _run("mobilenet-v1-1.0", "dense", *same)
    speedup = dense.cycles / sparse.cycles
    what = "MobileNet v1 1.0 at 30 % in blocks of four outputs over the same kernels dense, sd855"
    bound = dense.stats.useful_macs / sparse.stats.useful_macs
    return [
        _claim("sparsebytenn", what, speedup, 1.27, "1", 0.05, "published",
               "SparseByteNN, abstract", gated=False),
        _claim("sparsebytenn-bound", "the same speed-up stays below the products' ratio",
               float(speedup < bound), 1.0, "1", 0.0, "derived", "568.7 M over what 30 % leaves"),
    ]  # fmt: skip
