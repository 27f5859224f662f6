"""Group a graph's ops into the layers that a core executes one after the other.

Fusion is the authors': scores with their softmax; a projection with its activation function, with
the product or sum behind it, and with rotary embedding. Without it (``is_fused`` false) every one
of these is a layer of its own whose operands and results pass through memory. Reshapes, transposes
and gathers are the addresses of loads and stores and take no layer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from hwsim.core.errors import InputError
from hwsim.core.formats.block_mask import MASK_BLOCK
from hwsim.core.formats.gqsa import GROUP
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.sparsity import NM, Block, Pattern, Unstructured
from hwsim.core.units import ceil_div
from hwsim.flightllm.spec import FlightSpec

__all__ = [
    "Coding",
    "Layer",
    "PlannedLayer",
    "check_experts",
    "coding_of",
    "is_expert",
    "is_grouped",
    "phase_of",
    "plan_layers",
    "prune_queries_and_keys",
    "sfu_op",
]

MAX_FUSED = 3
"""Element-wise ops behind one projection (rotary embedding has three)."""

_FLAG_FUNCTIONS = ("relu", "identity")
"""Done by a flag of the matrix instruction, without the SFU."""

_EXPERT = re.compile(r"\.moe\.e\d+\.")

_TABLE_FUNCTIONS = ("mul", "rotate_half_mul")
"""Of a graph input these are tables of positions."""

_SFU_OPS = {"add": "add", "silu": "silu", "sigmoid": "silu", "gelu": "gelu", "gelu_tanh": "gelu"}
"""Function of an element-wise op -> operation of the SFU; all others are charged as products."""


Coding = Literal["", "qmoe", "gqsa"]
"""How weights lie in memory: by bits, in codewords of a dictionary, or as kept groups of INT4."""


@dataclass(frozen=True)
class Layer:
    """One layer: kind, extents in elements and what is fused into it.

    ``kind`` is linear, norm, scores, mix, cache, softmax or eltwise. ``tokens`` run at once; a
    product has ``k`` and ``n``; attention has ``heads`` heads, ``group`` of which share keys and
    values, and a ``context``. ``functions`` are the SFU's operations fused behind a tile,
    ``operands`` counts those of their operands that are loaded; ``function`` is what a layer of the
    SFU alone does. ``density`` is the share of kept weights.
    ``mask`` names the kept blocks of attention over ``mask_tokens``
    (:func:`hwsim.core.formats.block_mask.mask_text`), "" all. ``cached`` are the columns that a
    core's cache keeps of a prompt's keys or values, 0 of other results. ``first_head`` is the first
    of the core whose masked attention it is, -1 that of the core with the most work.
    """

    kind: str
    tokens: int
    k: int = 0
    n: int = 0
    heads: int = 0
    group: int = 1
    context: int = 0
    functions: tuple[str, ...] = ()
    operands: int = 0
    density: Fraction = Fraction(1)
    is_sparse: bool = False
    is_causal: bool = False
    has_relu: bool = False
    function: str = ""
    coding: Coding = ""
    mask: str = ""
    mask_tokens: int = 0
    cached: int = 0
    first_head: int = -1

    @property
    def misc(self) -> int:
        """Return the fused SFU instructions per tile."""
        return len(self.functions)


@dataclass
class PlannedLayer:
    """A layer with its leading op, the ops fused into it and the steps that run it.

    ``by_sfu`` are those of its ops that an SFU instruction does, in that order.
    """

    layer: Layer
    op: str
    fused: list[str] = field(default_factory=list)
    steps: int = 1
    by_sfu: tuple[str, ...] = ()

    @property
    def phase(self) -> str:
        """Return which part of a request the layer belongs to, "" if the graph is none."""
        return phase_of(self.op)


def phase_of(op: str) -> str:
    """Return the part of a request that ``op`` is in by its name, "" if there are no parts."""
    return op.partition("/")[0] if "/" in op else ""


def plan_layers(graph: OpGraph, spec: FlightSpec) -> list[PlannedLayer]:
    """Return the layers of ``graph`` in order; ops without a layer appear in none."""
    taken: set[str] = set()
    ready = set(graph.inputs)
    planned = []
    cached = _cached_columns(graph, spec)
    for op in graph.ops():
        if op.name not in taken:
            found = _plan(graph, op, spec, ready, taken)
            if found is not None:
                if op.name in cached and found.layer.tokens > 1:
                    found.layer = replace(found.layer, cached=cached[op.name])
                planned.append(found)
        ready.add(op.output)
    return planned


def _cached_columns(graph: OpGraph, spec: FlightSpec) -> dict[str, int]:
    """Return the projections that give keys or values, and what a core's cache keeps of a row."""
    found = {}
    for op in graph.ops():
        if op.kind is OpKind.MATMUL and "heads" in op.attrs:
            dims = op.gemm()
            heads = dims.groups // int(op.attrs.get("joined_steps", 1))
            width = dims.n if op.attrs.get("grows") == "k" else dims.k
            source = graph.producer(op.inputs[1].tensor)
            while source is not None and source.kind not in (OpKind.LINEAR, OpKind.CONCAT):
                source = graph.producer(source.inputs[0].tensor)
            if source is not None:
                found[source.name] = ceil_div(heads, spec.shares) * width
    return found


def _plan(
    graph: OpGraph, op: Op, spec: FlightSpec, ready: set[str], taken: set[str]
) -> PlannedLayer | None:
    steps = int(op.attrs.get("joined_steps", 1))
    if op.kind is OpKind.LINEAR:
        return _linear(graph, op, spec, ready, taken, steps)
    if op.kind is OpKind.MATMUL:
        return _attention(graph, op, spec, taken, steps)
    shape = graph.tensors[op.output].shape
    width = shape[-1]
    rows = max(1, op.dims["elems"] // (steps * width)) if "elems" in op.dims else 1
    if op.kind is OpKind.NORMALIZATION:
        layer = Layer("norm", rows, n=width, function=sfu_op(op))
        return PlannedLayer(layer, op.name, [], steps, (op.name,))
    if op.kind is OpKind.SOFTMAX:
        layer = _softmax(graph, op, rows, width)
        return PlannedLayer(layer, op.name, [], steps, (op.name,))
    if op.kind is OpKind.CONCAT and "grows" in op.attrs:
        heads = shape[0] // steps
        layer = Layer("cache", 1, n=heads * shape[2], heads=heads, context=shape[1])
        return PlannedLayer(layer, op.name, [], steps)
    if op.kind is OpKind.ELEMENTWISE and op.attrs["function"] not in _FLAG_FUNCTIONS:
        # Unfused, every operand comes from memory; else the first is on chip.
        operands = len(op.inputs) - spec.is_fused
        layer = Layer("eltwise", rows, n=width, operands=operands, function=sfu_op(op))
        return PlannedLayer(layer, op.name, [], steps, (op.name,))
    return None


def _linear(
    graph: OpGraph, op: Op, spec: FlightSpec, ready: set[str], taken: set[str], steps: int
) -> PlannedLayer:
    dims = op.gemm()
    tokens = dims.m // steps
    most = MAX_FUSED if spec.is_fused else 0
    fused, operands, by_sfu, relu = _followers(graph, op, ready, tokens, most)
    taken.update(fused)
    density, is_sparse = _density(op)
    layer = Layer(
        "linear",
        tokens,
        k=dims.k,
        n=dims.n,
        functions=tuple(sfu_op(graph.op(name)) for name in by_sfu),
        operands=operands,
        density=density,
        is_sparse=is_sparse,
        has_relu=relu,
        coding=coding_of(op, spec),
    )
    return PlannedLayer(layer, op.name, fused, steps, tuple(by_sfu))


def coding_of(op: Op, spec: FlightSpec) -> Coding:
    """Return how the weights of ``op`` lie in memory."""
    if op.weight is not None and is_grouped(op.weight.pattern):
        return "gqsa"
    return "qmoe" if spec.experts.format == "qmoe" and is_expert(op) else ""


def is_grouped(pattern: Pattern) -> bool:
    """Return whether ``pattern`` keeps groups of 16 weights along k, as GQSA does."""
    return isinstance(pattern, Block) and (pattern.rows, pattern.cols) == (GROUP, 1)


def is_expert(op: Op) -> bool:
    """Return whether ``op`` multiplies by the weights of a routed expert."""
    return op.kind is OpKind.LINEAR and _EXPERT.search(op.name) is not None


def check_experts(graph: OpGraph, spec: FlightSpec) -> list[str]:
    """Return a note on compressed experts.

    Raises :class:`InputError` if there are none, or their weights are pruned to N:M as well.
    """
    if spec.experts.format == "plain":
        return []
    experts = [op for op in graph.ops() if is_expert(op)]
    if not experts:
        raise InputError(
            "experts.format", f"plain for {graph.name}, without routed experts", "qmoe"
        )
    for op in experts:
        if op.weight is not None and not op.weight.pattern.is_dense:
            need = "experts without another pattern for experts.format qmoe"
            raise InputError("--sparsity", need, op.weight.pattern.kind)
    bits = max(float(spec.experts.bits_per_weight(op.gemm().k)) for op in experts)
    count = spec.experts.decoders_per_core
    return [
        f"routed experts in QMoE's codewords: {bits:.2f} bits a weight, {count} decoders a core"
    ]


def sfu_op(op: Op) -> str:
    """Return the operation of the special function unit that does ``op``, "" for a product."""
    if op.kind is OpKind.SOFTMAX:
        return "softmax"
    if op.kind is OpKind.NORMALIZATION:
        return "rmsnorm" if op.attrs["function"] == "rms" else "layernorm"
    return _SFU_OPS.get(op.attrs["function"], "mul") if op.kind is OpKind.ELEMENTWISE else ""


def _softmax(graph: OpGraph, op: Op, rows: int, width: int) -> Layer:
    """Return the softmax of a router, or of attention's scores: rows of every head and token."""
    scores = graph.producer(op.inputs[0].tensor)
    if scores is None or scores.kind is not OpKind.MATMUL:
        return Layer("softmax", rows, n=width, function="softmax")
    heads = int(scores.attrs.get("heads", 1))
    facts = {"heads": heads, "context": width}
    return Layer("softmax", rows // heads, n=width, function="softmax", **facts)


def prune_queries_and_keys(graph: OpGraph, spec: FlightSpec) -> OpGraph:
    """Return ``graph`` with the published density on queries and keys that are still dense."""
    percent = spec.query_key_percent
    chosen = {
        op.name
        for op in graph.ops()
        if op.kind is OpKind.LINEAR
        and op.name.endswith((".attn.q", ".attn.k"))
        and op.weight is not None
        and op.weight.pattern.is_dense
    }
    if percent == 100 or not chosen:
        return graph
    pattern = Unstructured(keep=percent / 100)

    def pruned(op: Op) -> Op:
        if op.name not in chosen:
            return op
        inputs = [
            o.model_copy(update={"pattern": pattern}) if o is op.weight else o for o in op.inputs
        ]
        return op.model_copy(update={"inputs": tuple(inputs)})

    note = f"queries and keys keep {percent} % of their weights (query_key_percent)"
    return graph.replace(ops=[pruned(op) for op in graph.ops()], notes=[note])


def _density(op: Op) -> tuple[Fraction, bool]:
    """Return the share of kept weights, and whether indices come with them."""
    pattern = op.weight.pattern if op.weight is not None else None
    if pattern is None or pattern.is_dense:
        return Fraction(1), False
    if isinstance(pattern, NM):
        return Fraction(pattern.nm_n, pattern.nm_m), True
    density = Fraction(pattern.density()).limit_denominator(1000)
    return density, not is_grouped(pattern)  # a kept group brings its place along


def _followers(
    graph: OpGraph, op: Op, ready: set[str], tokens: int, most: int
) -> tuple[list[str], int, list[str], bool]:
    """Return the element-wise ops fused behind ``op``, loaded operands, SFU's ops, a ReLU flag.

    At most ``most`` are done by the SFU; flags of the instruction cost nothing.

    Tables of positions are graph inputs; a single step's fit on chip and are not loaded.
    """
    fused: list[str] = []
    inside = {op.output}
    operands = 0
    by_sfu: list[str] = []
    has_relu = False
    frontier = list(graph.consumers(op.output))
    while frontier and len(by_sfu) <= most:
        nxt = frontier.pop(0)
        if nxt.name in fused or nxt.kind is not OpKind.ELEMENTWISE:
            continue
        outside = [o.tensor for o in nxt.inputs if o.tensor not in inside and o.role != "weight"]
        if any(tensor not in ready for tensor in outside):
            continue
        is_flag = nxt.attrs["function"] in _FLAG_FUNCTIONS
        if not is_flag and len(by_sfu) == most:
            continue
        has_relu |= is_flag
        by_sfu += [] if is_flag else [nxt.name]
        is_table = nxt.attrs["function"] in _TABLE_FUNCTIONS and tokens == 1
        operands += sum(not (is_table and tensor in graph.inputs) for tensor in outside)
        fused.append(nxt.name)
        inside.add(nxt.output)
        frontier += graph.consumers(nxt.output)
    return fused, operands, by_sfu, has_relu


def _attention(
    graph: OpGraph, op: Op, spec: FlightSpec, taken: set[str], steps: int
) -> PlannedLayer:
    dims = op.gemm()
    groups = dims.groups // steps
    heads = int(op.attrs.get("heads", groups))
    group = max(1, heads // groups)
    tokens = ceil_div(dims.m, group)
    facts = {"heads": heads, "group": group, "is_causal": bool(op.attrs.get("is_causal"))}
    if "kept_blocks" in op.attrs:
        if not spec.is_fused or spec.mask_block != MASK_BLOCK or spec.mpe.mm_rows % MASK_BLOCK:
            need = f"is_fused, mask_block {MASK_BLOCK} and rows of MM in whole blocks"
            found = f"{spec.is_fused}, {spec.mask_block} and {spec.mpe.mm_rows}"
            raise InputError("--attention", need, found)
        facts |= {"mask": op.attrs["kept_blocks"], "mask_tokens": tokens}
    if op.attrs.get("grows") == "k":
        layer = Layer("mix", tokens, k=dims.k, n=dims.n, context=dims.k, **facts)
        return PlannedLayer(layer, op.name, [], steps)
    follow = graph.consumers(op.output) if spec.is_fused else []
    fused = [o.name for o in follow if o.kind is OpKind.SOFTMAX]
    taken.update(fused)
    functions = ("softmax",) * len(fused)
    layer = Layer(
        "scores", tokens, k=dims.k, n=dims.n, context=dims.n, functions=functions, **facts
    )
    return PlannedLayer(layer, op.name, fused, steps, tuple(fused))
