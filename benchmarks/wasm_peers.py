"""Time the generated WebAssembly kernels beside C kernels of XNNPACK's structure, in one process.

``python -m benchmarks.wasm_peers [ROUNDS]`` compiles ``spmm_peers.c`` by ``zig cc -O2`` (``pip
install 'hwsim[peers]'``), checks every kernel against golden and prints medians. Both sides use the
same engine, layer and packed weights, so a ratio of two times says which code is better here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.trial import TrialShape, draw_trial
from hwsim.cpu.execute.wasm_engine import WasmModule, engine_version
from hwsim.cpu.microkernel.target import WASM, WASM_RELAXED, Target
from hwsim.experiments.cpu_wasm import DENSE, interleaved_medians, kernel_timer, trial_timer
from hwsim.experiments.host import describe_host

__all__ = ["Race", "compile_peers", "has_compiler", "main", "race"]

OURS = ("16x1", "16x1-u2", "16x1-pipelined", "32x1")
PEER_SPARSE = ("16x1", "16x1-u2", "16x1-pipelined", "32x1", "32x1-pipelined")
PEER_DENSE = tuple(f"gemm-{m}x8-{how}" for m in (4, 5, 6) for how in ("loadsplat", "splat"))

_SOURCE = Path(__file__).with_name("spmm_peers.c")
_DATA_START = 1 << 20  # behind the stack and the constants of the compiled module
_MEMORY_BYTES = 1 << 24
_FEATURES = {WASM.name: "simd128", WASM_RELAXED.name: "simd128+relaxed_simd"}


@dataclass(frozen=True)
class Race:
    """Median milliseconds of each kernel on one layer, the generated ones and the peers."""

    target: str
    sparsity: float
    ours_ms: dict[str, float]
    peers_ms: dict[str, float]

    def best(self, side: str, *, is_dense: bool) -> tuple[str, float]:
        """Return name and time of the fastest kernel of ``ours`` or ``peers``."""
        times: dict[str, float] = getattr(self, f"{side}_ms")
        fitting = {name: t for name, t in times.items() if name.startswith("gemm") == is_dense}
        name = min(fitting, key=fitting.__getitem__)
        return name, fitting[name]

    def speedup(self, side: str) -> float:
        """Return how much faster a side's best sparse kernel is than the peers' best dense one."""
        return self.best("peers", is_dense=True)[1] / self.best(side, is_dense=False)[1]


def has_compiler() -> bool:
    """Return whether the compiler of the peers is installed."""
    return importlib.util.find_spec("ziglang") is not None


def compile_peers(target: Target) -> bytes:
    """Return the peers as a WebAssembly module for ``target``."""
    flags = ("-O2", "-nostdlib", "-Wl,--no-entry", f"-Wl,--initial-memory={_MEMORY_BYTES}")
    features = f"-mcpu=generic+{_FEATURES[target.name]}"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "peers.wasm"
        zig = (sys.executable, "-m", "ziglang", "cc", "--target=wasm32-freestanding", features)
        caches = {f"ZIG_{kind}_CACHE_DIR": folder for kind in ("LOCAL", "GLOBAL")}
        command = [*zig, *flags, str(_SOURCE), "-o", str(out)]
        subprocess.run(command, check=True, env=os.environ | caches)
        return out.read_bytes()


def race(target: Target, sparsities: Sequence[float], rounds: int) -> list[Race]:
    """Return the times on 512 x 512 weights by 196 pixels, one race per sparsity."""
    code = compile_peers(target)
    found = []
    for sparsity in sparsities:
        shape = TrialShape(512, 512, 1, 196, sparsity)
        timers = {}
        for name in (*DENSE, *OURS):
            trial = draw_trial(name, target, shape, np.random.default_rng(0))
            timers["ours", name] = kernel_timer(trial, target)
        for names, like in ((PEER_DENSE, "gemm-4x8"), (PEER_SPARSE, "16x1")):
            trial = draw_trial(like, target, shape, np.random.default_rng(0))
            for name in names:
                module = WasmModule(code, Arena(trial.call.arrays, _DATA_START))
                timers["peers", name] = trial_timer(name, trial, module)
        medians = interleaved_medians(timers, rounds)
        by_side: dict[str, dict[str, float]] = {"ours": {}, "peers": {}}
        for (side, name), seconds in medians.items():
            by_side[side][name] = seconds * 1e3
        found.append(Race(target.name, sparsity, by_side["ours"], by_side["peers"]))
    return found


def main(arguments: Sequence[str]) -> None:
    """Print both sides' times and speed-ups."""
    if not has_compiler():
        raise SystemExit("need the package ziglang (pip install 'hwsim[peers]'), found none")
    rounds = int(arguments[0]) if arguments else 15
    host = describe_host()
    print(f"{host['processor']}, {host['cores']} cores, load {host['load']}, {engine_version()}")
    for target in (WASM, WASM_RELAXED):
        for one in race(target, (0.7, 0.8, 0.9), rounds):
            print(json.dumps(asdict(one)))
            for side in ("ours", "peers"):
                (dense, dense_ms), (sparse, ms) = (
                    one.best(side, is_dense=kind) for kind in (True, False)
                )
                print(
                    f"{target.name:13}{one.sparsity:4.0%} {side:6}{dense:19}{dense_ms:6.2f} ms  "
                    f"{sparse:15}{ms:6.3f} ms {one.speedup(side):6.2f}x of the peers' dense"
                )


if __name__ == "__main__":
    main(sys.argv[1:])
