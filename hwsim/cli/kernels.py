"""``hwsim kernels``: generate micro-kernels, run them for real, and time sparse against dense."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.files import read_text, write_text
from hwsim.core.errors import InputError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hwsim.cpu.execute.calls import Call
    from hwsim.cpu.microkernel.target import Target
    from hwsim.cpu.spec import CpuSpec
    from hwsim.experiments.cpu_wasm import KernelTime

__all__ = ["app", "bench", "build", "list_kernels", "run", "time_loop"]

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="KERNEL", help="16x1, 32x1-pipelined, gemm-6x8, …")]
TargetName = Annotated[str, typer.Option("--target", help="aarch64, wasm or wasm-relaxed.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of weights and inputs.")]
Spill = Annotated[
    bool, typer.Option("--allow-spill", help="Let the engine spill vector registers (wasm).")
]


@app.command("list")
def list_kernels(as_json: AsJson = False) -> None:
    """List the kernels with the registers they need on each target."""
    from hwsim.cpu.microkernel.catalogue import KERNEL_NAMES, describe
    from hwsim.cpu.microkernel.target import TARGETS

    rows = [
        {
            "kernel": name,
            **{
                target.name: {
                    "vector_registers": describe(name, target).vectors,
                    "available": target.vector_registers,
                }
                for target in TARGETS.values()
            },
        }
        for name in KERNEL_NAMES
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'kernel':16}" + "".join(f"{name:>16}" for name in TARGETS) + "  vector registers")
    for row in rows:
        counts = [row[name] for name in TARGETS]
        cells = [f"{c['vector_registers']} of {c['available']}" for c in counts]  # type: ignore[index]
        print(f"{row['kernel']:16}" + "".join(f"{cell:>16}" for cell in cells))


@app.command("build")
def build(
    kernel: Name,
    target: TargetName = "wasm",
    out: Annotated[Path | None, typer.Option("--out", help="File; default: stdout.")] = None,
    allow_spill: Spill = False,
) -> None:
    """Write a kernel as AArch64 assembly or as a WebAssembly module (text)."""
    from hwsim.cpu.microkernel.catalogue import describe, emit
    from hwsim.cpu.microkernel.target import find_target

    chosen = find_target(target)
    text = emit(describe(kernel, chosen), chosen, may_spill=allow_spill)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text, field="--out")


@app.command("run")
def run(
    kernel: Name,
    target: TargetName = "wasm",
    co: Annotated[int, typer.Option(help="Output channels.")] = 64,
    ci: Annotated[int, typer.Option(help="Input channels of 1x1 layers.")] = 64,
    height: Annotated[int, typer.Option(help="Of the input.")] = 14,
    width: Annotated[int, typer.Option(help="Of the input.")] = 14,
    sparsity: Annotated[float, typer.Option(help="Fraction of zero weights.")] = 0.8,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Also simulate it on this core.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Run a kernel on a random layer and compare its output with the golden model."""
    import numpy as np

    from hwsim.cpu.execute.trial import TrialShape, draw_trial
    from hwsim.cpu.microkernel.target import find_target

    chosen = find_target(target)
    spec = None if preset is None else _core(preset, chosen)
    shape = TrialShape(co, ci, height, width, sparsity)
    trial = draw_trial(kernel, chosen, shape, np.random.default_rng(seed))
    facts: dict[str, Any] = {"kernel": trial.call.kernel.name, "target": chosen.name}
    facts |= vars(shape) | {"seed": seed, "macs": trial.call.macs}
    output, found = _executed(trial.call, chosen)
    if spec is not None:
        found |= {"preset": preset, **_simulated(trial.call, spec)}
    worst = trial.worst(output)
    facts |= found | {"worst_error_of_bound": worst, "is_equal": worst <= 1}
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        verdict = "equals golden" if worst <= 1 else "DIFFERS from golden"
        detail = "".join(f", {key.replace('_', ' ')} {value}" for key, value in found.items())
        bound = f"{worst:.2f} of the rounding bound"
        print(f"{facts['kernel']} on {target}: {verdict}, {bound}{detail}")
    return 0 if worst <= 1 else 1


def _core(preset: str, target: Target) -> CpuSpec:
    """Return a preset that runs the code of ``target``; raise InputError with those that do."""
    from hwsim.cpu.spec import PRESETS

    if preset not in PRESETS:
        raise unknown_name("--preset", preset, PRESETS)
    fitting = [name for name, spec in PRESETS.items() if spec.backend == target.name]
    if not fitting:
        raise InputError(
            "--preset", "--target aarch64 or wasm, whose code is simulated", target.name
        )
    if preset not in fitting:
        need = f"a core that runs {target.name} ({', '.join(fitting)})"
        raise InputError("--preset", need, preset)
    return PRESETS[preset]


def _executed(call: Call, target: Target) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the output of a call that was run for real, and what the run was."""
    if target.name != "aarch64":
        from hwsim.cpu.execute.wasm_engine import engine_version, run_wasm

        return run_wasm(call, target), {"engine": engine_version()}
    from hwsim.cpu.execute.aarch64_emulator import run_aarch64

    execution = run_aarch64(call, is_traced=True)
    return execution.output, {"instructions": len(execution.addresses)}


def _simulated(call: Call, spec: CpuSpec) -> dict[str, Any]:
    """Return the cycles of a call on a modelled core: caches empty, and warm."""
    from hwsim.cpu.execute.simulated import simulate_calls

    cold, warm = simulate_calls(call, spec)
    return {
        "simulated_instructions": warm.instructions,
        "cold_cycles": cold.cycles,
        "warm_cycles": warm.cycles,
    }


@app.command("time")
def time_loop(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="AArch64 text; - for stdin.")],
    rules: Annotated[
        list[str] | None, typer.Option("--rules", help="Rule tables; default: a57 and n1.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the cycles per turn of any loop, its branch included, with every access in the L1."""
    from hwsim.experiments.clang_loops import trip_cycles

    text = sys.stdin.read() if str(source) == "-" else read_text(source)
    found = {name: trip_cycles(text, name) for name in rules or ("a57", "n1")}
    if as_json:
        print(json.dumps(found))
        return
    for name, cycles in found.items():
        print(f"{name:8}{cycles:9.2f} cycles per turn")


@app.command("bench")
def bench(
    target: Annotated[
        list[str] | None, typer.Option("--target", help="wasm, wasm-relaxed; default: both.")
    ] = None,
    co: Annotated[int, typer.Option(help="Output channels.")] = 512,
    ci: Annotated[int, typer.Option(help="Input channels.")] = 512,
    pixels: Annotated[int, typer.Option(help="Pixels of the layer.")] = 196,
    sparsity: Annotated[
        list[float] | None, typer.Option(help="Fractions of zeros; default: 0.7, 0.8, 0.9.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Samples of each kernel, after 3 to warm up.")] = 40,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Simulate the same on this core (wasm), slowly.")
    ] = None,
    seed: Seed = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="File, or - for stdout.")] = None,
) -> None:
    """Measure sparse against dense WebAssembly kernels on this machine."""
    from hwsim.cpu.microkernel.target import find_target
    from hwsim.experiments.cpu_wasm import document, measure, simulate

    chosen = [find_target(name) for name in target or ("wasm", "wasm-relaxed")]
    for one in chosen:
        if not one.spills:
            raise InputError("--target", "wasm or wasm-relaxed, which run natively", one.name)
    spec = None if preset is None else _core(preset, chosen[0])
    rows: list[KernelTime] = []
    for one in chosen:
        rows += measure(
            one,
            co=co,
            ci=ci,
            pixels=pixels,
            sparsities=sparsity or (0.7, 0.8, 0.9),
            rounds=rounds,
            seed=seed,
        )
    shape = (co, ci, pixels)
    found = document(rows, shape, simulate(rows, shape, spec) if spec is not None else ())
    if json_out is not None and str(json_out) != "-":
        write_text(json_out, json.dumps(found, indent=1) + "\n", field="--json")
    if str(json_out) == "-":
        print(json.dumps(found, indent=1))
    else:
        _print_times(rows, found)


def _print_times(rows: list[KernelTime], found: dict[str, Any]) -> None:
    host, shape = found["host"], found["shape"]
    print(f"{host['processor']}, {host['cores']} cores, load {host['load']}, {found['engine']}")
    print(f"{shape['co']} x {shape['ci']} weights, {shape['pixels']} pixels, medians")
    print(
        "target        kernel          zeros   ms      GF/s dense-equivalent  GF/s kept  speed-up"
    )
    for time in rows:
        print(
            f"{time.target:13} {time.kernel:15} {time.sparsity:5.0%} {time.median_ms:8.3f}"
            f"{time.gflops:20.1f}{time.kept_gflops:14.1f}{time.speedup:9.2f}x"
        )
    for row in found["simulated"]:
        print(
            f"simulated     {row['kernel']:15} {row['sparsity']:5.0%}{row['simulated']:51.2f}x"
            f" {row['error']:+.0%} (not gated)"
        )
    if found["simulated"]:
        alike, pairs = found["pairs_ordered_alike"]
        print(f"simulated and measured speed-ups put {alike} of {pairs} pairs in the same order")
    for claim in found["claims"]:
        verdict = "within" if claim["passed"] else "outside"
        print(
            f"{claim['what']}: {claim['simulated']:.2f}x, reference {claim['reference']}x,"
            f" {claim['error']:+.0%}, {verdict} {claim['tolerance']:.0%} (not gated)"
        )
