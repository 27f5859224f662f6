"""Compile a graph into a core's program: layers in order, equal layers stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph, OpKind
from hwsim.core.mapping import Mapping
from hwsim.core.program import Program
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import Body, BodyBuilder, bits
from hwsim.flightllm.emit_prompt import PROMPT_BUCKET, emit_prompt
from hwsim.flightllm.emit_step import STEP_BUCKET, emit_step
from hwsim.flightllm.isa import LD, MISC, SYS, UNITS, encode
from hwsim.flightllm.layout import Layout, lay_out, relocate
from hwsim.flightllm.plan import Layer, PlannedLayer, plan_layers, sfu_op
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.storage import at_length

__all__ = ["FlightProgram", "Run", "layer_body", "lower_graph"]


@dataclass(frozen=True)
class Run:
    """A layer at its place: the ops it stands for, its code, and the steps that run it.

    ``by_sfu`` are the ops that its SFU instructions do, in turn.
    """

    op: str
    fused: tuple[str, ...]
    layer: Layer
    body: int
    steps: int
    by_sfu: tuple[str, ...] = ()
    bases: tuple[int, ...] = ()


@dataclass
class FlightProgram(Program):
    """A program as layers: ``bodies`` are the different ones, ``runs`` their order.

    ``instructions`` holds the code of ``bodies`` one after the other.
    """

    bodies: list[Body] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    layout: Layout = field(default_factory=lambda: Layout([], []))
    met: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What :mod:`fetch` has followed already."""

    def __len__(self) -> int:
        return int(self.counts().sum())

    def counts(self) -> NDArray[np.int64]:
        """Return the instructions per unit that one core executes."""
        each = np.array([body.counts() for body in self.bodies])
        times = np.zeros(len(self.bodies), np.int64)
        for run in self.runs:
            times[run.body] += run.steps
        return np.asarray(times @ each, np.int64)

    def program_hash(self) -> str:
        digest = hashlib.sha256()
        for body in self.bodies:
            digest.update(body.code.tobytes())
            digest.update(repr((body.costs, body.told)).encode())
        for run in self.runs:
            digest.update(f"{run.body}x{run.steps}@{run.bases};".encode())
        return digest.hexdigest()[:16]

    def verify(self) -> None:
        """Raise :class:`InputError` if a layer names a body that is not there."""
        for index, run in enumerate(self.runs):
            if not 0 <= run.body < len(self.bodies):
                need = f"a body below {len(self.bodies)}"
                raise InputError(f"program.runs[{index}]", need, str(run.body))

    def chunks(self, size: int = 1 << 16) -> Iterator[NDArray[np.void]]:
        """Yield the code layer by layer, in order of execution."""
        del size
        for run in self.runs:
            for _ in range(run.steps):
                yield self.code(run)

    def code(self, run: Run) -> NDArray[np.void]:
        """Return the instructions of ``run``, all addresses in place."""
        return relocate(self.bodies[run.body], run.bases)

    def disassemble(self, limit: int = 200) -> str:
        """Return the first ``limit`` instructions as text, layer by layer."""
        from hwsim.flightllm.isa import disassemble

        lines: list[str] = []
        for run in self.runs:
            lines.append(f"# {run.op} x{run.steps}")
            code = self.code(run)[: max(0, limit - len(lines))]
            lines += disassemble(encode(code)) if len(code) else []
            if len(lines) >= limit:
                break
        return "\n".join(lines[:limit])

    def binary(self) -> Iterator[bytes]:
        """Yield the binary program in pieces, layer by layer."""
        for run in self.runs:
            text = encode(self.code(run))
            for _ in range(run.steps):
                yield text


def lower_graph(
    graph: OpGraph,
    mappings: list[Mapping],
    tensors: MappingType[str, NDArray[Any]] | None,
    spec: FlightSpec,
) -> FlightProgram:
    """Return the program of ``graph``: one core's, with the largest share of every layer.

    Raises :class:`InputError` if ``mappings`` are not the ops of the graph in order.
    """
    names = [op.name for op in graph.ops()]
    if [mapping.op for mapping in mappings] != names:
        raise InputError("mappings", "the graph's ops in order", f"{len(mappings)} others")
    for mapping in mappings:
        mapping.check(spec)
    planned = plan_layers(graph, spec)
    bodies, order = _bodies(planned, spec)
    layout = lay_out(graph, planned, [bodies[body] for body in order], spec)
    runs = [
        Run(one.op, tuple(one.fused), one.layer, body, one.steps, one.by_sfu, layout.bases(index))
        for index, (one, body) in enumerate(zip(planned, order, strict=True))
    ]
    code = np.concatenate([body.code for body in bodies]) if bodies else np.zeros(0)
    return FlightProgram(
        machine="flightllm",
        units=UNITS,
        opcodes=[unit.upper() for unit in UNITS],
        op_names=names,
        channels=[],
        instructions=code,
        tensors=dict(tensors or {}),
        meta={"model": graph.name, "notes": graph.notes, "ops": _facts(graph, mappings)}
        | {"mask_block": spec.mask_block},
        bodies=bodies,
        runs=runs,
        layout=layout,
    )


def _bodies(planned: list[PlannedLayer], spec: FlightSpec) -> tuple[list[Body], list[int]]:
    """Return the different layers and which one each is in turn.

    A layer's barrier starts the next one's first unit.
    """
    known: dict[tuple[Layer, int], int] = {}
    bodies: list[Body] = []
    order = []
    for index, one in enumerate(planned):
        follower = planned[index + 1] if index + 1 < len(planned) else None
        if follower is None and one.steps > 1:  # the next step of the bucket begins anew
            follower = next(first for first in planned if first.phase == one.phase)
        key = (_bucketed(one.layer), _first_unit(follower, spec))
        if key not in known:
            known[key] = len(bodies)
            bodies.append(layer_body(*key, spec))
        order.append(known[key])
    return bodies, order


def _bucketed(layer: Layer) -> Layer:
    """Return ``layer`` at the lengths its program is compiled for."""
    if layer.tokens == 1:
        return at_length(layer, ceil_div(layer.context, STEP_BUCKET) * STEP_BUCKET)
    return at_length(layer, ceil_div(layer.tokens, PROMPT_BUCKET) * PROMPT_BUCKET)


def _first_unit(planned: PlannedLayer | None, spec: FlightSpec) -> int:
    """Return the unit that waits for the barrier in front of a layer, as a mask."""
    if planned is None:
        return 0
    layer = planned.layer
    is_on_chip = spec.is_fused and layer.tokens == 1 and layer.kind == "norm"
    return bits(MISC if is_on_chip else LD)


def layer_body(layer: Layer, next_unit: int, spec: FlightSpec) -> Body:
    """Return the instructions of ``layer``; its barrier starts ``next_unit``, a mask."""
    b = BodyBuilder(spec)
    (emit_step if layer.tokens == 1 else emit_prompt)(b, layer)
    b.barrier(next_unit)
    body = b.build()
    _balance(body.code)
    return body


def _balance(code: NDArray[np.void]) -> None:
    """Clear releases that nobody waits for, so that a layer leaves no token behind."""
    for producer in range(6):
        if producer == SYS:
            continue
        for consumer in range(6):
            waits = (code["unit"] == consumer) & (code["wait"] >> producer & 1 > 0)
            gives = (code["unit"] == producer) & (code["release"] >> consumer & 1 > 0)
            surplus = np.flatnonzero(gives)[int(waits.sum()) :]
            code["release"][surplus] &= ~np.int8(1 << consumer)


def _facts(graph: OpGraph, mappings: list[Mapping]) -> list[dict[str, Any]]:
    facts = []
    for op, mapping in zip(graph.ops(), mappings, strict=True):
        facts.append(
            {
                "name": op.name,
                "kind": op.kind.value,
                "stage": op.stage.value,
                "sfu": sfu_op(op),
                "dims": dict(op.dims),
                "mapping": {"dataflow": mapping.dataflow},
                "macs": op.macs(),
                "useful_macs": op.useful_macs(),
                "tokens": op.gemm().m if op.kind is OpKind.LINEAR else 1,
            }
        )
    return facts
