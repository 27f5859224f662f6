"""Enumerate macro tilings of the products that only training has.

Weight gradients reduce over all pixels of a batch, far more than a buffer holds: both operands
come in slices of k, and sums go on from slice to slice. Input gradients with sparse activations
are computed transposed, so that the sparse operand is the one the array can skip.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from hwsim.core.graph import Op, OpKind
from hwsim.core.units import round_up
from hwsim.sat.plan import (
    PARTIAL_SUM_BYTES,
    GemmPlan,
    Packing,
    array_dims,
    conv_rows,
    free_rows,
    nm_of,
    row_units,
    swaps_operands,
)
from hwsim.sat.spec import SatSpec

__all__ = ["sliced_plans", "smallest_gradient_plan", "transposed_plans"]

_CUTS = (1, 4)
"""Shares of the largest slice worth trying, so that loads overlap with compute."""


def _halvings(extent: int, unit: int) -> Iterator[int]:
    """Yield ``extent`` and its halves, rounded up to ``unit``, down to one unit."""
    width = extent
    while True:
        yield width
        if width <= unit:
            return
        width = round_up(width // 2, unit)


def sliced_plans(op: Op, dataflow: str, spec: SatSpec) -> Iterator[GemmPlan]:
    """Yield fitting plans that load both operands anew for every slice of k."""
    if op.kind not in (OpKind.CONV_WGRAD, OpKind.MATMUL):
        return
    dims, array = array_dims(op), spec.array
    single, unit = Packing("single", 1), row_units(op)
    heights = conv_rows(op) if op.kind is OpKind.CONV_WGRAD else free_rows(dims.k)
    m_tiles = list(_halvings(dims.m, array.rows))
    if op.kind is OpKind.CONV_WGRAD:
        # Cutting m reads all channels again: as few cuts as the narrowest column tile allows.
        column_bytes = 2 * PARTIAL_SUM_BYTES * min(array.cols, dims.n)
        most = spec.buffers.output_bytes // column_bytes
        m_tiles = [next((m for m in m_tiles if m <= most), m_tiles[-1])]
    for n_tile in _halvings(dims.n, array.cols):
        for m_tile in m_tiles:
            tile = (m_tile, n_tile, unit)
            lowest = GemmPlan(op, dataflow, "sliced", single, (1, 1), *tile, array)
            yield from _some(lowest, "k_tile", heights, spec)


def _some(plan: GemmPlan, axis: str, heights: Sequence[int], spec: SatSpec) -> Iterator[GemmPlan]:
    """Yield ``plan`` as high as fits, and as high as is nearest below given shares of that.

    ``heights`` are ascending; what ``plan`` has as ``axis`` is the unit that they count.
    """
    unit: int = getattr(plan, axis)

    def plan_of(height: int) -> GemmPlan:
        return plan.resized(axis, height * unit)

    # No buffer needs less for a higher tile.
    fitting = heights[: bisect_left(heights, True, key=lambda rows: not plan_of(rows).fits(spec))]
    if fitting:
        chosen = {max(1, bisect_right(fitting, fitting[-1] // cut)) for cut in _CUTS}
        yield from (plan_of(fitting[i - 1]) for i in sorted(chosen))


def transposed_plans(op: Op, dataflow: str, spec: SatSpec) -> Iterator[GemmPlan]:
    """Yield fitting plans of a product whose activations are sparse."""
    dims, array = array_dims(op), spec.array
    single, unit = Packing("single", 1), row_units(op)
    heights = conv_rows(op) if op.kind is OpKind.CONV else free_rows(dims.n)
    for order in ("mn", "nm"):
        for m_tile in _halvings(dims.m, array.rows):
            tile = (m_tile, unit, dims.k)
            lowest = GemmPlan(op, dataflow, order, single, nm_of(op), *tile, array)
            yield from _some(lowest, "n_tile", heights, spec)


def smallest_gradient_plan(op: Op, dataflow: str, spec: SatSpec) -> GemmPlan:
    """Return the plan of a product handled here whose tiles are smallest, fitting or not."""
    dims, array, unit = array_dims(op), spec.array, row_units(op)
    m_tile, single = min(array.rows, dims.m), Packing("single", 1)
    if swaps_operands(op):
        tile = (m_tile, unit, dims.k)
        return GemmPlan(op, dataflow, "mn", single, nm_of(op), *tile, array)
    tile = (m_tile, min(array.cols, dims.n), unit)
    return GemmPlan(op, dataflow, "sliced", single, (1, 1), *tile, array)
