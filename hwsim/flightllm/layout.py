"""Lay a program's tensors out in the channels of a core: weights, caches, then vectors and rows.

A region has the same address on each of a core's eight channels, and every core has a layout like
the first one's. Weights and caches stay where they are for all programs of a model; a result's
place is given to another one when its last reader is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.units import ceil_div
from hwsim.flightllm.body import Body
from hwsim.flightllm.isa import ST, STRIPED
from hwsim.flightllm.places import (
    BIAS,
    CACHE,
    CHANNELS,
    COLUMN_BLOCKS,
    INDEX,
    INPUT,
    OPERANDS,
    RESULT,
    SECOND,
    WEIGHTS,
    block_bytes,
    row_offset,
)
from hwsim.flightllm.plan import Layer, PlannedLayer, phase_of
from hwsim.flightllm.spec import FlightSpec

__all__ = ["Layout", "Region", "lay_out", "relocate"]

_ALIGNMENT_BYTES = 64
_ROWS = 128
"""Tokens that one slot of a cache holds on all channels."""


@dataclass
class Region:
    """``size`` bytes from ``base`` on, on each channel; live from run ``first`` to ``last``.

    ``kind`` is weights, cache or activation; the first two are live in all runs.
    """

    name: str
    kind: str
    size: int = 0
    base: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Layout:
    """All regions, and per run the region of every operand."""

    regions: list[Region]
    operands: list[dict[int, Region]]
    rows: dict[int, int] = field(default_factory=dict)
    """Runs whose result is a row inside a block of a cache, and how many bytes inside."""

    def bases(self, run: int) -> tuple[int, ...]:
        """Return the base of every operand of ``run``."""
        found = self.operands[run]
        bases = [found[o].base if o in found else 0 for o in range(OPERANDS)]
        bases[RESULT] += self.rows.get(run, 0)
        return tuple(bases)

    def bytes_per_channel(self) -> dict[str, int]:
        """Return what each kind takes on a channel; of activations, the most at one time."""
        totals = {"weights": 0, "cache": 0, "activation": 0}
        for region in self.regions:
            if region.kind != "activation":
                totals[region.kind] += region.size
        fixed = sum(totals.values())
        ends = [r.base + r.size - fixed for r in self.regions if r.kind == "activation"]
        totals["activation"] = max(ends, default=0)
        return totals


def relocate(body: Body, bases: tuple[int, ...]) -> NDArray[np.void]:
    """Return ``body``'s code with the addresses that its operands have at ``bases``."""
    code = body.code.copy()
    base = np.array(bases, np.int64)[code["operand"]]
    is_move = code["unit"] <= ST
    factor = np.where(code["flags"] & STRIPED > 0, CHANNELS, 1)
    code["address"] += np.where(is_move, base * factor, 0)
    return code


def lay_out(
    graph: OpGraph, planned: list[PlannedLayer], bodies: Iterable[Body], spec: FlightSpec
) -> Layout:
    """Return where every operand of the ``planned`` layers lies; ``bodies`` are theirs, in turn."""
    maker = _Maker(graph, planned, spec)
    for index, (one, body) in enumerate(zip(planned, bodies, strict=True)):
        maker.add(index, one, body)
    return maker.finish()


class _Maker:
    """Collects regions, sizes and lifetimes, then places them."""

    def __init__(self, graph: OpGraph, planned: list[PlannedLayer], spec: FlightSpec) -> None:
        self.graph, self.spec = graph, spec
        self.ops = {op.name: op for op in graph.ops()}
        self.run_of = {name: i for i, one in enumerate(planned) for name in (one.op, *one.fused)}
        self.planned = planned
        self.regions: dict[str, Region] = {}
        self.operands: list[dict[int, Region]] = []
        self.rows: dict[int, int] = {}
        self.cached = self._cached()

    def add(self, index: int, one: PlannedLayer, body: Body) -> None:
        """Note the regions of run ``index``."""
        op, layer = self.ops[one.op], one.layer
        found: dict[int, Region] = {}
        if op.kind is OpKind.LINEAR and op.weight is not None:
            found |= self._weights(op, layer, body)
        names = self._inputs(op, one)
        for operand, name in names.items():
            found[operand] = self._live(name, index, body.extents[operand])
        if layer.kind in ("scores", "mix", "cache"):
            found[CACHE] = self._cache(self._cache_name(op), layer)
        if layer.kind == "cache":  # a bucket's steps: the row of the last one
            region = found[CACHE]
            self.rows[index] = row_offset(layer.context - 1)
        elif index in self.cached and layer.tokens > 1:
            region = self._fixed(self.cached[index], "cache", body.extents[RESULT])
        else:
            region = self._live(f"{one.op}", index, body.extents[RESULT])
        found[RESULT] = region
        self.operands.append(found)

    def finish(self) -> Layout:
        """Place weights, then caches, then what lives for a while, first fit."""
        regions = list(self.regions.values())
        for output in self.graph.outputs:
            name = self._source(output)
            if name in self.regions:
                phase = phase_of(name)
                ends = [i for i, one in enumerate(self.planned) if one.phase == phase]
                self.regions[name].last = max(ends, default=len(self.planned))
        top = 0
        for kind in ("weights", "cache"):
            for region in regions:
                if region.kind == kind:
                    region.base, top = top, top + region.size
        _first_fit([r for r in regions if r.kind == "activation"], top)
        return Layout(regions, self.operands, self.rows)

    def _weights(self, op: Op, layer: Layer, body: Body) -> dict[int, Region]:
        assert op.weight is not None
        mpe, name = self.spec.mpe, op.weight.tensor
        groups = ceil_div(ceil_div(layer.n, mpe.mv_columns), self.spec.shares)
        blocks = groups * ceil_div(layer.k, mpe.block) * COLUMN_BLOCKS
        size = blocks * block_bytes(layer, self.spec)
        columns = groups * mpe.mv_columns
        return {
            WEIGHTS: self._fixed(name, "weights", max(size, body.extents[WEIGHTS])),
            BIAS: self._fixed(f"{name}.bias", "weights", 4 * columns),
            INDEX: self._fixed(f"{name}.index", "weights", 2 * blocks * layer.is_sparse),
        }

    def _cache(self, name: str, layer: Layer) -> Region:
        slots = ceil_div(max(self.spec.max_tokens, layer.context), _ROWS)
        if layer.kind == "cache":
            width = ceil_div(layer.heads, self.spec.shares) * layer.n // layer.heads
        else:
            heads = ceil_div(layer.heads // layer.group, self.spec.shares)
            width = heads * (layer.k if layer.kind == "scores" else layer.n)
        return self._fixed(name, "cache", slots * _ROWS // CHANNELS * width)

    def _inputs(self, op: Op, one: PlannedLayer) -> dict[int, str]:
        """Return the region's name of what the layer loads, by operand."""
        if one.layer.kind == "cache":
            return {INPUT: self._source(op.inputs[1].tensor)}
        names = {INPUT: self._source(op.inputs[0].tensor)}
        inside = {self.ops[name].output for name in (one.op, *one.fused)}
        others = [] if op.kind in (OpKind.LINEAR, OpKind.MATMUL) else op.inputs[1:]
        outside = [o.tensor for o in others if o.role != "weight"]
        for name in one.fused:
            outside += [o.tensor for o in self.ops[name].inputs if o.role != "weight"]
        loaded = [tensor for tensor in outside if tensor not in inside]
        for number, tensor in enumerate(loaded[: OPERANDS - SECOND]):
            names[SECOND + number] = self._source(tensor)
        return names

    def _source(self, tensor: str) -> str:
        """Return the name of the region that holds ``tensor``: of its run, or a graph input's."""
        while True:
            op = self.graph.producer(tensor)
            if op is None:
                return tensor
            if op.name in self.run_of:
                return self.planned[self.run_of[op.name]].op
            tensor = op.inputs[0].tensor

    def _cache_name(self, op: Op) -> str:
        """Return the name that the cache of a layer has in every phase."""
        name = op.name if op.kind is OpKind.CONCAT else self._source(op.inputs[1].tensor)
        return f"{_without_phase(name).removesuffix('.cache')}.kept"

    def _cached(self) -> dict[int, str]:
        """Return the runs whose results are keys or values, and their caches."""
        found = {}
        for one in self.planned:
            if one.layer.kind in ("scores", "mix"):
                name = self._source(self.ops[one.op].inputs[1].tensor)
                if name in self.run_of:
                    found[self.run_of[name]] = self._cache_name(self.ops[one.op])
        return found

    def _fixed(self, name: str, kind: str, size: int) -> Region:
        region = self.regions.setdefault(name, Region(name, kind, last=len(self.planned)))
        region.size = max(region.size, _aligned(size))
        return region

    def _live(self, name: str, index: int, size: int) -> Region:
        run = self.run_of.get(name)
        if run in self.cached and self.planned[run].layer.tokens > 1:
            return self._fixed(self.cached[run], "cache", size)
        region = self.regions.setdefault(name, Region(name, "activation", first=index))
        region.size = max(region.size, _aligned(size))
        region.last = max(region.last, index)
        return region


def _aligned(size: int) -> int:
    return ceil_div(size, _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _without_phase(name: str) -> str:
    return name.partition("/")[2] or name


def _first_fit(regions: list[Region], bottom: int) -> None:
    """Place ``regions``, in order of their first use, lowest first, clear of those still live."""
    live: list[Region] = []
    for region in regions:
        live = [other for other in live if other.last >= region.first]
        base = bottom
        for other in live:  # by address
            if other.base >= base + region.size:
                break
            base = max(base, other.base + other.size)
        region.base = base
        live.append(region)
        live.sort(key=lambda other: other.base)
