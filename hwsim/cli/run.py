"""``hwsim run``, ``hwsim compare`` and ``hwsim sim``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.files import write_text
from hwsim.cli.options import parse_inputs
from hwsim.core.errors import InputError

if TYPE_CHECKING:
    from hwsim.core.result import Result
    from hwsim.experiments.pipeline import RunRequest

__all__ = ["compare", "run", "sim"]

Model = Annotated[str, typer.Argument(help="Zoo name, file or generator; see docs/contracts.md.")]
MachineName = Annotated[str, typer.Option("--machine", help="See `hwsim machines`.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Named parameter set.")]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="TOML, JSON or SCALE-Sim .cfg.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value over --spec, e.g. array.rows=64.")
]
Dataflow = Annotated[
    str, typer.Option("--dataflow", help="auto, or one that `hwsim machines` lists, as ws, os.")
]
Sparsity = Annotated[
    str,
    typer.Option(
        "--sparsity",
        help="dense, nm:N:M, unstructured:S, block:RxC:S, published, or masks.npz.",
    ),
]
Pruner = Annotated[
    str, typer.Option("--pruner", help="magnitude, gradual, rearrange, erk or random.")
]
Phase = Annotated[
    str | None,
    typer.Option("--phase", help="infer, train, prefill, decode, request; see the machine."),
]
Seq = Annotated[int | None, typer.Option("--seq", help="Tokens of a prefill.")]
Kv = Annotated[
    int | None, typer.Option("--kv", help="Context of a decode step, with its own token.")
]
Batch = Annotated[int | None, typer.Option("--batch", help="Images per run.")]
Inputs = Annotated[list[str] | None, typer.Option("--input", help="name=1,3,640,640.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]
JsonOut = Annotated[str | None, typer.Option("--json", help="Write the run JSON here, - = stdout.")]
ReportDir = Annotated[Path | None, typer.Option("--report", help="Write a report folder.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes for independent runs.")]


def run(
    model: Model,
    machine: MachineName = "sat",
    preset: Preset = None,
    spec: SpecFile = None,
    settings: Settings = None,
    dataflow: Dataflow = "auto",
    mapper: Annotated[
        str, typer.Option("--mapper", help="schedule (overlapping), or greedy (op after op).")
    ] = "schedule",
    sparsity: Sparsity = "dense",
    pruner: Pruner = "magnitude",
    attention: Annotated[
        str,
        typer.Option("--attention", help="Of prompts: dense, block:64x64:S (dropped), masks.npz."),
    ] = "dense",
    training: Annotated[
        str, typer.Option("--training", help="dense, sr-ste, sdgp, sdwp or bdwp (phase train).")
    ] = "dense",
    phase: Phase = None,
    seq: Seq = None,
    kv: Kv = None,
    prompt: Annotated[int | None, typer.Option("--prompt", help="Tokens a request reads.")] = None,
    generate: Annotated[
        int | None, typer.Option("--generate", help="Tokens a request writes.")
    ] = None,
    kernel: Annotated[
        str, typer.Option("--kernel", help="Algorithm, on machines that offer several.")
    ] = "auto",
    other: Annotated[
        str | None, typer.Option("--b", help="Second operand of a sparse product.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", help="Whole training run, e.g. sdgf-step:2:8:steps=90,fine=9."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the whole --schedule.")
    ] = None,
    is_pregenerated: Annotated[
        bool,
        typer.Option(
            "--pregenerate/--no-pregenerate",
            help="Select N:M weights after their update, or in front of each product.",
        ),
    ] = True,
    batch: Batch = None,
    inputs: Inputs = None,
    seed: Seed = 0,
    jobs: Jobs = 1,
    estimate: Annotated[bool, typer.Option("--estimate", help="Closed form only.")] = False,
    detail: Annotated[
        str, typer.Option("--detail", help="fast, tile (step tiles) or pe (step each PE).")
    ] = "fast",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every layer's outputs against golden.")
    ] = False,
    area: Annotated[
        bool, typer.Option("--area", help="Add FPGA cells, by the fit over synthesised sizes.")
    ] = False,
    memories: Annotated[
        bool, typer.Option("--memories", help="Add runs with memory.model=ideal, simple and dram.")
    ] = False,
    json_out: JsonOut = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", help="For ui.perfetto.dev: x.pftrace (any size) or x.json, or + .gz."
        ),
    ] = None,
    report: ReportDir = None,
) -> int:
    """Simulate one model on one machine."""
    from hwsim.experiments.pipeline import RunRequest

    _require("--mapper", mapper, ("schedule", "greedy"))
    phase = phase or _default_phase(machine, preset)
    _check_training(phase, training, is_pregenerated=is_pregenerated)
    if estimate and detail != "fast":
        raise InputError("--detail", "no level of detail with --estimate", repr(detail))
    if trace is not None and (estimate or detail == "estimate"):
        raise InputError("--trace", "a simulated run", "--estimate, which has no events")
    request = RunRequest(
        model=model,
        machine=machine,
        preset=preset,
        spec_file=spec,
        settings=tuple(settings or ()),
        dataflow=dataflow,
        mapper=mapper,
        sparsity=sparsity,
        pruner=pruner,
        attention=attention,
        phase=phase,
        training=training,
        is_pregenerated=is_pregenerated,
        seq_tokens=seq,
        kv_tokens=kv,
        prompt_tokens=prompt,
        generate_tokens=generate,
        kernel=kernel,
        other=other,
        batch=batch,
        inputs=parse_inputs(inputs or []),
        seed=seed,
        detail="estimate" if estimate else detail,
        is_traced=trace is not None and not _is_streamed(trace),
        trace_file=trace if trace is not None and _is_streamed(trace) else None,
        is_verified=verify,
        has_area=area,
        has_memory_models=memories,
    )
    result = _execute(request, schedule, steps, jobs, is_quiet=json_out == "-")
    return _deliver(result, json_out, trace, report)


def _default_phase(machine: str, preset: str | None) -> str:
    """Return the phase that ``machine`` runs if none is asked for."""
    from hwsim.core.machine import make_machine

    return make_machine(machine, preset).capabilities().phases[0]


_STREAMED = (".pftrace", ".perfetto-trace")
"""Endings of trace files that are written while the run streams; others are JSON, at its end."""


def _is_streamed(trace: Path) -> bool:
    """Return whether a trace is written while the run streams; ``.gz`` may follow the ending."""
    ending = Path(trace.stem if trace.suffix == ".gz" else trace.name).suffix
    return ending in _STREAMED


def _check_training(phase: str, training: str, *, is_pregenerated: bool) -> None:
    """Raise :class:`InputError` for training flags that do not go together."""
    methods = ("dense", "sr-ste", "sdgp", "sdwp", "bdwp")
    _require("--training", training, methods)
    if training != "dense" and phase != "train":
        raise InputError("--training", "--phase train, or dense", repr(training))
    if not is_pregenerated and training in ("dense", "sdgp"):
        need = "--training sr-ste, sdwp or bdwp, which select weights"
        raise InputError("--no-pregenerate", need, repr(training))


def _execute(
    request: RunRequest, schedule: str | None, steps: int | None, jobs: int, *, is_quiet: bool
) -> Result:
    """Return the result of one run, or of the iterations that a schedule needs."""
    if schedule is None:
        from hwsim.experiments.runs import execute_all

        if steps is not None:
            raise InputError("--steps", "--schedule beside it", str(steps))
        with _progress(_RUN_STEPS, is_quiet=is_quiet) as tell:
            return execute_all([request], jobs=jobs, progress=tell)[0]
    from hwsim.experiments.training_run import execute_schedule, read_schedule

    known = read_schedule(schedule, steps)
    with _progress(len(known.frames()) + 1, is_quiet=is_quiet) as tell:
        return execute_schedule(request, known, tell)


def _require(flag: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(flag, f"one of {', '.join(known)}", repr(value))


def _deliver(result: Result, json_out: str | None, trace: Path | None, report: Path | None) -> int:
    from hwsim.report.text import write_summary

    document = result.to_json()
    if trace is not None and result.trace is not None:
        from hwsim.report.perfetto import write_trace

        write_trace(result.trace, trace, clock_hz=result.clock_hz, counters=result.trace.counters)
    if trace is not None:
        print(f"trace: {trace}", file=sys.stderr)
        if result.trace is not None and result.trace.is_truncated:
            print("trace: only the first events; a name in .pftrace takes all", file=sys.stderr)
    if report is not None:
        from hwsim.experiments.runs import write_report

        write_report([result], report)
        print(f"report: {report / 'index.html'}", file=sys.stderr)
    if json_out == "-":
        print(json.dumps(document))
    elif json_out is not None:
        write_text(Path(json_out), json.dumps(document), field="--json")
    if json_out != "-":
        write_summary(document, sys.stdout)
    return 0 if all(record["equal"] for record in result.verification) else 1


def compare(
    model: Model,
    machines: Annotated[str, typer.Option("--machines", help="Comma-separated names.")],
    sparsity: Sparsity = "dense",
    phase: Phase = None,
    seq: Seq = None,
    kv: Kv = None,
    batch: Batch = None,
    inputs: Inputs = None,
    seed: Seed = 0,
    jobs: Jobs = 1,
    json_out: JsonOut = None,
    report: ReportDir = None,
) -> int:
    """Simulate one model on several machines, each NAME or NAME:PRESET."""
    from hwsim.experiments.pipeline import RunRequest
    from hwsim.experiments.runs import execute_all, write_report

    requests = []
    for name in machines.split(","):
        machine, _, preset = name.strip().partition(":")
        requests.append(
            RunRequest(
                model=model,
                machine=machine,
                preset=preset or None,
                sparsity=sparsity,
                phase=phase or _default_phase(machine, preset or None),
                seq_tokens=seq,
                kv_tokens=kv,
                batch=batch,
                inputs=parse_inputs(inputs or []),
                seed=seed,
            )
        )
    steps = len(requests) * (_RUN_STEPS if jobs == 1 else 1)
    with _progress(steps, is_quiet=json_out == "-") as tell:
        results = execute_all(requests, jobs=jobs, progress=tell)
    documents = [result.to_json() for result in results]
    if report is not None:
        write_report(results, report)
    if json_out == "-":
        print(json.dumps(documents))
        return 0
    if json_out is not None:
        write_text(Path(json_out), json.dumps(documents), field="--json")
    _print_comparison(documents)
    return 0


def sim(
    models: Annotated[
        list[str] | None, typer.Argument(help="Default: ppocrv4-det resnet18 resnet50.")
    ] = None,
    machine: MachineName = "sat",
    sparsity: Sparsity = "nm:2:8",
    batch: Batch = None,
    inputs: Inputs = None,
    seed: Seed = 0,
    jobs: Jobs = 2,
    report: Annotated[Path, typer.Option("--report", help="Report folder.")] = Path("reports"),
) -> int:
    """Run the main job: prune, simulate, verify against golden, and write the report."""
    from hwsim.experiments.main_job import main_requests
    from hwsim.experiments.pipeline import RunRequest
    from hwsim.experiments.runs import execute_all, write_report

    common = RunRequest(
        model="",
        machine=machine,
        sparsity=sparsity,
        batch=batch,
        inputs=parse_inputs(inputs or []),
        seed=seed,
    )
    requests = main_requests(models or None, common)
    steps = len(requests) * (_RUN_STEPS if min(jobs, len(requests)) == 1 else 1) + 1
    with _progress(steps, is_quiet=False) as tell:
        results = execute_all(requests, jobs=jobs, progress=tell)
        tell("write report")
        write_report(results, report)
    _print_comparison([result.to_json() for result in results])
    print(f"Look at {report / 'index.html'}")
    return 0 if all(r["equal"] for result in results for r in result.verification) else 1


def _print_comparison(documents: Sequence[dict[str, Any]]) -> None:
    """Print one line per run."""
    from hwsim.report.quantities import format_ratio

    print(f"{'run':40} {'cycles':>14} {'time':>10} {'vs dense':>9} {'utilisation':>11}  tier")
    for run_ in documents:
        name = f"{run_['model']} on {run_['machine']} ({run_['preset']})"
        speedup = format_ratio(run_["baseline"].get("speedup"))
        print(
            f"{name:40} {run_['cycles']:>14,} {run_['time_s'] * 1e3:>7.2f} ms {speedup:>9} "
            f"{run_['utilization']:>11.1%}  {run_['tier']}"
        )


_RUN_STEPS = 4
"""Steps that one run tells of: map, simulate, baseline, verify."""


@contextmanager
def _progress(steps: int, *, is_quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the next of ``steps`` on a terminal's stderr, if there is one."""
    if is_quiet or not sys.stderr.isatty():
        import logging

        yield logging.getLogger("hwsim").info
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("start", total=steps)
        yield lambda text: bars.update(task, description=text, advance=1)
