"""Enumerate macro tilings that fit the buffers, and predict their cost by closed form."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import product

from hwsim.core.errors import MappingError
from hwsim.core.graph import Op, OpKind
from hwsim.core.machine import OpEstimate
from hwsim.core.units import ceil_div, round_up
from hwsim.sat.gradient_tiling import sliced_plans, smallest_gradient_plan, transposed_plans
from hwsim.sat.plan import (
    GemmPlan,
    Packing,
    array_dims,
    conv_rows,
    free_rows,
    nm_of,
    packings,
    row_units,
    swaps_operands,
)
from hwsim.sat.spec import SatSpec

__all__ = ["estimate_gemm", "gemm_plans"]

_SPLITS = (1, 2, 4, 8, 16)
"""Ways to cut the largest fitting m tile, so that loads overlap with compute."""

_Sizes = list[tuple[int, int]]
"""(size of a tile, how many)."""


def gemm_plans(op: Op, dataflow: str, spec: SatSpec) -> Iterator[GemmPlan]:
    """Yield fitting plans of ``op`` for ``dataflow``.

    A pruned layer may also run expanded to dense, which short reductions make faster.
    Raises :class:`MappingError` naming buffer, need and have if not even the smallest fits.
    """
    if spec.array.timing == "scalesim":
        yield _whole(op, dataflow, spec)
        return
    found = False
    if swaps_operands(op):
        special = transposed_plans(op, dataflow, spec)
    else:
        special = sliced_plans(op, dataflow, spec)
    for plan in special:
        found = True
        yield plan
    has_only_special = op.kind is OpKind.CONV_WGRAD or swaps_operands(op)
    for packing, nm, order in () if has_only_special else _ways(op, dataflow, spec):
        for n_tile, k_tile in _weight_tiles(op, packing, nm, order, spec):
            if dataflow == "os" and k_tile < packing.gemm(array_dims(op), 1, packing.groups, nm).k:
                continue  # accumulators cannot be preset from stored partial sums
            tile = (row_units(op), n_tile, k_tile)
            lowest = GemmPlan(op, dataflow, order, packing, nm, *tile, spec.array)
            for m_tile in _row_tiles(op, packing, n_tile, spec):
                plan = lowest.resized("m_tile", m_tile)
                if plan.fits(spec):
                    found = True
                    yield plan
    if not found:
        _smallest(op, dataflow, spec).to_mapping().check(spec)
        raise MappingError(f"{op.name}: {dataflow} macro tiles in the buffers", 1, 0, "tile")


def _smallest(op: Op, dataflow: str, spec: SatSpec) -> GemmPlan:
    """Return the plan with the smallest tiles: one array tile, for OS with the whole reduction."""
    if op.kind is OpKind.CONV_WGRAD or swaps_operands(op):
        return smallest_gradient_plan(op, dataflow, spec)
    dims, nm = op.gemm(), nm_of(op)
    depth = dims.k if dataflow == "os" else min(dims.k, spec.array.rows * nm[1])
    tile = (row_units(op), min(spec.array.cols, dims.n), depth)
    return GemmPlan(op, dataflow, "mn", Packing("single", 1), nm, *tile, spec.array)


def _ways(op: Op, dataflow: str, spec: SatSpec) -> Iterator[tuple[Packing, tuple[int, int], str]]:
    """Yield (packing, pattern, loop order) combinations; stored order first."""
    pruned = nm_of(op)
    for nm in dict.fromkeys((pruned, (1, 1))):
        for packing in packings(op, spec.array):
            if packing.kind == "single" or (dataflow == "ws" and pruned == (1, 1)):
                for order in ("mn", "nm"):
                    yield packing, nm, order


def _whole(op: Op, dataflow: str, spec: SatSpec) -> GemmPlan:
    dims = array_dims(op)
    tile = (dims.m, dims.n, dims.k)
    return GemmPlan(op, dataflow, "mn", Packing("single", 1), nm_of(op), *tile, spec.array)


def _weight_tiles(
    op: Op, packing: Packing, nm: tuple[int, int], order: str, spec: SatSpec
) -> list[tuple[int, int]]:
    """Return (n_tile, k_tile) choices whose two halves fit the weight buffer."""
    gemm = packing.gemm(array_dims(op), 1, packing.groups, nm)
    if packing.kind != "single":
        return [(gemm.n, gemm.k)]
    half = spec.buffers.weight_bytes // 2
    probe = GemmPlan(op, "ws", order, packing, nm, 1, gemm.n, gemm.k, spec.array)
    choices: list[tuple[int, int]] = []
    width = round_up(gemm.n, spec.array.cols)
    while width >= spec.array.cols:
        n_tile = min(width, gemm.n)
        if probe.weight_bytes(n_tile, gemm.k, 1) <= half:
            choices.append((n_tile, gemm.k))
        width = round_up(width // 2, spec.array.cols) if width > spec.array.cols else 0
    if not choices and order == "mn":
        # The reduction must be cut: as deep as fits one column tile, in whole array tiles.
        n_tile = min(spec.array.cols, gemm.n)
        depth = spec.array.rows * nm[1]
        tiles = ceil_div(gemm.k, depth)
        while tiles > 1 and probe.weight_bytes(n_tile, tiles * depth, 1) > half:
            tiles = ceil_div(tiles, 2)
        choices.append((n_tile, min(tiles * depth, gemm.k)))
    return choices


def _row_tiles(op: Op, packing: Packing, n_tile: int, spec: SatSpec) -> list[int]:
    """Return the m tiles worth trying: the largest that fits and cuts of it."""
    unit = row_units(op)
    total = op.gemm().m // unit
    probe = GemmPlan(op, "ws", "mn", packing, (1, 1), unit, n_tile, 1, spec.array)
    half_in, half_out = spec.buffers.activation_bytes // 2, spec.buffers.output_bytes // 2

    def fits(rows: int) -> bool:
        m = rows * unit
        return probe.input_bytes(m, packing.groups) <= half_in and m * n_tile * 4 <= half_out

    sizes = conv_rows(op) if op.kind is OpKind.CONV else free_rows(total)
    # No buffer needs less for more rows.
    fitting = sizes[: bisect_left(sizes, True, key=lambda rows: not fits(rows))] or sizes[:1]
    largest = fitting[-1]
    below = (bisect_right(fitting, largest // cut) for cut in _SPLITS)
    wanted = {fitting[count - 1] if count else largest for count in below}
    return [rows * unit for rows in sorted(wanted, reverse=True)]


def estimate_gemm(plan: GemmPlan, spec: SatSpec) -> OpEstimate:
    """Return the closed-form cost of ``plan``: the slower of array and memory, plus start-up."""
    compute = reads = writes = busy = 0
    first_load = last_store = 0
    for groups, packs in _sizes(plan.dims.groups, plan.packing.groups):
        gemm = plan.pack_gemm(groups)
        m_sizes = _sizes(plan.m, plan.m_tile)
        n_sizes = _sizes(gemm.n, plan.n_tile)
        k_sizes = _sizes(gemm.k, plan.k_tile)
        reads += _loaded_bytes(plan, groups, m_sizes, n_sizes, k_sizes) * packs
        first_k = k_sizes[0][0]
        depths = [(first_k, False, 1)]
        depths += [(k, True, times - (k == first_k)) for k, times in k_sizes]
        for (m, m_times), (n, n_times) in product(m_sizes, n_sizes):
            tiles = m_times * n_times * packs
            writes += plan.output_bytes(m, n) * tiles
            for k, is_continued, k_times in depths:
                if k_times:
                    timing = plan.timing(m, n, k, is_continued)
                    compute += timing.cycles * tiles * k_times
                    busy += timing.busy * tiles * k_times
        first_load = first_load or (
            plan.weight_bytes(n_sizes[0][0], first_k, groups)
            + plan.input_bytes(m_sizes[0][0], groups, first_k)
        )
        last_store = plan.output_bytes(m_sizes[-1][0], n_sizes[-1][0])
    issued = busy * spec.array.rows * spec.array.cols
    if spec.memory.model == "ideal":
        return OpEstimate(compute, compute, 0, reads, writes, issued)
    memory = spec.memory_cycles(reads + writes)
    edges = spec.memory_cycles(first_load + last_store)
    total = max(compute + edges, memory) + 2 * spec.memory.latency_cycles
    return OpEstimate(total, compute, memory, reads, writes, issued)


def _sizes(total: int, tile: int) -> _Sizes:
    """Return the full tiles and the ragged one that ``total`` is cut into, in order."""
    full, ragged = divmod(total, tile)
    return [(tile, full)] * (full > 0) + [(ragged, 1)] * (ragged > 0)


def _loaded_bytes(
    plan: GemmPlan, groups: int, m_sizes: _Sizes, n_sizes: _Sizes, k_sizes: _Sizes
) -> int:
    """Return what one pack loads of both operands, tiles that are loaded again counted again."""
    m_count, n_count = (sum(times for _, times in sizes) for sizes in (m_sizes, n_sizes))
    weights = sum(
        plan.weight_bytes(n, k, groups) * n_times * k_times
        for (n, n_times), (k, k_times) in product(n_sizes, k_sizes)
    )
    if plan.order == "sliced":
        inputs = sum(
            plan.input_bytes(m, groups, k) * m_times * k_times
            for (m, m_times), (k, k_times) in product(m_sizes, k_sizes)
        )
        return weights * m_count + inputs * n_count
    inputs = sum(plan.input_bytes(m, groups) * times for m, times in m_sizes)
    if plan.order == "mn":
        return weights * (1 if plan.is_weight_resident else m_count) + inputs
    return weights + inputs * (1 if plan.is_input_resident else n_count)
