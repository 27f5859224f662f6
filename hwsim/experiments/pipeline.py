"""Connect the steps of one run: load, sparsify, map, lower, simulate, verify, compare to dense."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError, unknown_name
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.machine import Machine, load_spec_values, make_machine
from hwsim.core.program import Program
from hwsim.core.result import Result
from hwsim.core.sparsity import NM, Pattern, parse_pattern
from hwsim.experiments.area import area_of
from hwsim.experiments.deviations import deviations_of
from hwsim.experiments.evidence import tier_of
from mappers.greedy import map_graph
from mappers.schedule import Schedule, schedule_graph
from models.onnx_import.report import unmodelled_report
from models.sparsify.attention import mask_attention
from models.sparsify.magnitude import layer_mask
from models.sparsify.mask_file import prune_by_masks
from models.sparsify.pruners import METHODS, prune
from models.sparsify.published import prune_as_published
from models.topology import read_scalesim_config
from models.training import training_graph
from models.workload import PhaseError, Workload
from models.zoo import load_model

__all__ = [
    "RunRequest",
    "Session",
    "attach_baseline",
    "dense_request",
    "execute",
    "machine_of",
    "prepare",
]

log = logging.getLogger("hwsim")


@dataclass(frozen=True)
class RunRequest:
    """Everything a user can say about a run; the command line's flags by name."""

    model: str
    machine: str = "sat"
    preset: str | None = None
    spec_file: Path | None = None
    settings: tuple[str, ...] = ()
    dataflow: str = "auto"
    mapper: str = "schedule"
    sparsity: str = "dense"
    pruner: str = "magnitude"
    attention: str = "dense"
    phase: str = "infer"
    training: str = "dense"
    is_pregenerated: bool = True
    seq_tokens: int | None = None
    kv_tokens: int | None = None
    prompt_tokens: int | None = None
    generate_tokens: int | None = None
    kernel: str = "auto"
    other: str | None = None
    batch: int | None = None
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seed: int = 0
    detail: str = "fast"
    is_traced: bool = False
    trace_file: Path | None = None
    has_baseline: bool = True
    is_verified: bool = False
    has_area: bool = False
    has_memory_models: bool = False

    @property
    def workload(self) -> Workload:
        """Return what is done with the model."""
        return Workload(
            phase=self.phase,
            seq_tokens=self.seq_tokens,
            kv_tokens=self.kv_tokens,
            prompt_tokens=self.prompt_tokens,
            generate_tokens=self.generate_tokens,
            kernel=self.kernel,
            other=self.other,
            seed=self.seed,
        )


@dataclass
class Session:
    """What one request was turned into on the way to its result."""

    graph: OpGraph
    machine: Machine
    program: Program
    schedule: Schedule | None


def machine_of(request: RunRequest) -> Machine:
    """Return the machine of ``request``; raise :class:`InputError` for what it cannot do.

    Needs no model, so that several requests can be checked before the first is simulated.
    """
    request = _with_scalesim_config(request)
    values = load_spec_values(request.spec_file) if request.spec_file else None
    machine = make_machine(request.machine, request.preset, values, request.settings)
    _check_workload(request.workload, machine)
    if request.pruner not in METHODS:
        raise unknown_name("--pruner", request.pruner, METHODS)
    is_no_pattern = request.sparsity in ("dense", "published") or request.sparsity.endswith(".npz")
    patterns = machine.capabilities().patterns
    if request.phase != "train" and not is_no_pattern and _pattern(request).kind not in patterns:
        need = f"one of {', '.join(patterns)} on {machine.name}"
        raise InputError("--sparsity", need, repr(request.sparsity))
    return machine


def prepare(request: RunRequest) -> Session:
    """Return the loaded, sparsified, mapped and lowered request."""
    request = _with_scalesim_config(request)
    machine = machine_of(request)
    graph = _load(request, machine)
    _check_products(graph, machine)
    if request.phase == "train":
        graph = _training_graph(graph, request)
    elif request.sparsity == "published":
        graph = prune_as_published(graph)
    elif request.sparsity.endswith(".npz"):
        kinds = machine.capabilities().patterns
        graph = prune_by_masks(graph, Path(request.sparsity), kinds)
    elif request.sparsity != "dense":
        rng = np.random.default_rng(request.seed)
        graph = prune(graph, _pattern(request), method=request.pruner, rng=rng)
    if request.attention != "dense" and not machine.capabilities().has_attention_masks:
        raise InputError("--attention", f"dense on {machine.name}", repr(request.attention))
    graph = mask_attention(graph, request.attention, np.random.default_rng(request.seed))
    graph = machine.adapt(graph, kernel=request.kernel, dataflow=request.dataflow)
    schedule = None
    if request.mapper == "schedule" and machine.capabilities().has_slots:
        schedule = schedule_graph(graph, machine, dataflow=request.dataflow)
        mappings = schedule.mappings
    else:
        mappings = map_graph(graph, machine, dataflow=request.dataflow)
    masks = _masks(graph, request.seed) if machine.capabilities().needs_masks else None
    return Session(graph, machine, machine.lower(graph, mappings, masks), schedule)


def _load(request: RunRequest, machine: Machine) -> OpGraph:
    """Return the model; raise :class:`InputError` for the flag that keeps it from this machine."""
    parameters = machine.workload_parameters(request.kernel)
    try:
        return load_model(
            request.model,
            batch=request.batch,
            inputs=request.inputs,
            has_batch_norm=request.phase == "train",
            workload=replace(request.workload, parameters=parameters),
        )
    except PhaseError as error:
        known = machine.capabilities().phases
        common = tuple(phase for phase in error.phases if phase in known)
        if common:
            raise PhaseError(f"{error.source} on {machine.name}", common, request.phase) from None
        need = f"one with --phase {error.need}"
        raise InputError("--machine", need, f"{machine.name} ({', '.join(known)})") from None


def _masks(graph: OpGraph, seed: int) -> dict[str, NDArray[Any]]:
    """Return ``OP.mask`` bool[groups, k, n] of every sparse layer."""
    rng = np.random.default_rng(seed)
    masks: dict[str, NDArray[Any]] = {}
    for op in graph.ops():
        if op.is_gemm and op.weight is not None and not op.weight.pattern.is_dense:
            dims = op.gemm()
            mask = layer_mask(graph, op, rng)
            masks[f"{op.name}.mask"] = mask.reshape(dims.groups, dims.k, dims.n)
    return masks


def _check_workload(workload: Workload, machine: Machine) -> None:
    """Raise :class:`InputError` for a phase or kernel that the machine does not have."""
    workload.check()
    known = machine.capabilities()
    if workload.phase not in known.phases:
        need = f"one of {', '.join(known.phases)} on {machine.name}"
        raise InputError("--phase", need, repr(workload.phase))
    if workload.kernel not in ("auto", *known.kernels):
        need = f"auto{''.join(f', {name}' for name in known.kernels)} on {machine.name}"
        raise InputError("--kernel", need, repr(workload.kernel))


def _check_products(graph: OpGraph, machine: Machine) -> None:
    """Raise :class:`InputError` for products of matrices by rows that the machine cannot run."""
    executed = machine.capabilities().op_kinds
    for op in graph.ops():
        if op.is_sparse and op.kind.value not in executed:
            raise InputError(
                "--machine", f"one that runs {op.kind.value} ({op.name})", machine.name
            )


def _with_scalesim_config(request: RunRequest) -> RunRequest:
    """Return ``request`` with the array and dataflow of its SCALE-Sim file, if it names one.

    ``--set`` wins. The file's memory sizes are not used: SCALE-Sim's printed counts do not depend
    on them.
    """
    if request.spec_file is None or request.spec_file.suffix != ".cfg":
        return request
    config = read_scalesim_config(request.spec_file)
    array = tuple(f"array.{key}={value}" for key, value in config["array"].items())
    dataflow = request.dataflow if request.dataflow != "auto" else config.get("dataflow", "auto")
    return replace(request, spec_file=None, settings=(*array, *request.settings), dataflow=dataflow)


def _training_graph(forward: OpGraph, request: RunRequest) -> OpGraph:
    """Return one training iteration of ``forward`` by the method and pattern asked for."""
    inner = forward.inputs[1:]  # layers without a common input, as in a topology file
    if request.training == "dense":
        if request.sparsity != "dense":
            need = f"sr-ste, sdgp, sdwp or bdwp for --sparsity {request.sparsity}"
            raise InputError("--training", need, repr(request.training))
        # No weights are selected, so that it is all the same when they would be.
        return training_graph(forward, "dense", input_gradients=inner)
    pattern = _pattern(request) if request.sparsity != "dense" else None
    if not isinstance(pattern, NM):
        need = f"nm:N:M for --training {request.training}"
        raise InputError("--sparsity", need, repr(request.sparsity))
    # Without layers in between every layer would count as a classifier, which stays dense.
    return training_graph(
        forward,
        request.training,
        pattern,
        prune_classifier=bool(inner),
        pregenerate=request.is_pregenerated,
        input_gradients=inner,
    )


def _pattern(request: RunRequest) -> Pattern:
    """Return the pattern of ``--sparsity``; raise :class:`InputError` naming that flag."""
    try:
        return parse_pattern(request.sparsity)
    except InputError as error:
        need = error.need
        if error.field == "pattern.nm_n":
            need = f"N of M to keep, N from {need}"
        raise InputError("--sparsity", need, repr(request.sparsity)) from None


def execute(
    request: RunRequest,
    progress: Callable[[str], None] | None = None,
    session: Session | None = None,
) -> Result:
    """Return the result of ``request``; ``progress`` is told the name of each step.

    ``session`` is what :func:`prepare` made of the same request, if it has been called.
    """
    tell = progress or log.info
    tell("load, sparsify, map")
    session = session or prepare(request)
    area = area_of(session.machine) if request.has_area else None
    others: dict[str, Result | None] = {}
    if request.has_memory_models:
        from hwsim.experiments.memory_models import run_memory_models

        tell("other memory models")
        others = run_memory_models(request, session.machine)
    tell("simulate")
    result = _simulate(request, session)
    result.provenance = replace(result.provenance, seed=request.seed)
    if request.has_baseline and session.machine.capabilities().has_dense_baseline:
        tell("dense baseline")
        is_dense = request.sparsity == request.training == "dense"
        attach_baseline(result, result if is_dense else _dense_run(request))
    if request.is_verified:
        tell("verify outputs against golden")
        from hwsim.experiments.verify import verify_layers
        from hwsim.experiments.verify_products import verify_products

        result.verification = verify_products(session, result.outputs)
        result.verification += verify_layers(session, seed=request.seed)
    _attach_context(result, session)
    if request.detail != "estimate" and any(op.is_sparse for op in session.graph.ops()):
        from hwsim.experiments.spgemm_counts import peers_of

        peers = peers_of(session.graph, int(result.extra["nnz_out"]))
        result.extra |= {"peers": peers} if peers else {}
    result.extra |= {
        "sparsity": request.sparsity,
        "pruner": request.pruner,
        "attention": request.attention,
        "phase": request.phase,
        "dataflow": request.dataflow,
        "mapper": request.mapper,
        "batch": request.batch or 1,
    }
    if session.schedule is not None:
        result.extra["bound_cycles"] = {
            "work": session.schedule.work_bound_cycles,
            "slots": session.schedule.slot_bound_cycles,
        }
    if area is not None:
        result.extra["area"] = area
    if others:
        from hwsim.experiments.memory_models import memory_rows

        result.extra["memory_models"] = memory_rows(others, result, session.machine.compute_unit)
    if request.phase == "train":
        result.extra |= {"training": request.training, "pregenerated": request.is_pregenerated}
    return result


def dense_request(request: RunRequest) -> RunRequest:
    """Return the request for the same model with dense weights, timed only."""
    return replace(
        request,
        sparsity="dense",
        training="dense",
        is_traced=False,
        trace_file=None,
        has_baseline=False,
        is_verified=False,
        has_area=False,
        has_memory_models=False,
    )


def _simulate(request: RunRequest, session: Session) -> Result:
    """Return the result of the run alone, its events written to the trace file as they happen."""
    machine, program, detail = session.machine, session.program, request.detail
    is_sparse = any(op.is_sparse for op in session.graph.ops())
    inputs: dict[str, Any] | None = {} if request.is_verified and is_sparse else None
    if request.trace_file is None:
        return machine.run(program, inputs, trace=request.is_traced, detail=detail)
    from hwsim.components.trace_file import PerfettoFile

    with PerfettoFile(request.trace_file, machine.clock_hz) as sink:
        return machine.run(program, inputs, trace=sink, detail=detail)


def _dense_run(request: RunRequest) -> Result:
    session = prepare(dense_request(request))
    return session.machine.run(session.program, detail=request.detail)


def attach_baseline(result: Result, dense: Result) -> None:
    """Note in ``result`` the cycles of the same model with dense weights on the same machine."""
    result.baseline = {
        "dense_cycles": dense.cycles,
        "speedup": dense.cycles / result.cycles if result.cycles else 1.0,
        "layers": {layer.name: layer.cycles for layer in dense.layers},
    }


def _attach_context(result: Result, session: Session) -> None:
    executed = session.machine.capabilities().op_kinds
    result.unmodelled = unmodelled_report(session.graph)
    result.unmodelled += [
        _untimed(session.graph, op.name)
        for op in session.graph.ops()
        if op.kind is not OpKind.UNMODELLED and op.kind.value not in executed
    ]
    result.deviations = deviations_of(result.machine)
    result.tier = tier_of(result.machine)


def _untimed(graph: OpGraph, name: str) -> dict[str, Any]:
    op = graph.op(name)
    tensors = [o.tensor for o in op.inputs] + [op.output]
    moved = sum(graph.tensors[tensor].nbytes for tensor in tensors)
    total = sum(tensor.nbytes for tensor in graph.tensors.values())
    return {
        "name": name,
        "operator": op.kind.value,
        "macs_share": 0.0,
        "bytes_share": moved / total,
    }
