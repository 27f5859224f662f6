"""Extrapolate what a whole SAT array costs on the board from its parts, each synthesised once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amaranth.lib import wiring

from hwsim.core.area import BOARDS
from hwsim.sat.spec import TileSpec
from rtl.sat.tile_control import TileControl
from rtl.sat.tile_edges import NorthEdge, SouthEdge
from rtl.sat.uspe import Uspe
from rtl.sat.west_lane import WestLane
from rtl.synth.xilinx import synthesize

__all__ = ["Counts", "array_parts", "array_total", "share_percent"]

Counts = dict[str, int]
"""Cells per resource."""


def array_parts(
    spec: TileSpec, count: Callable[[wiring.Component], Counts] = synthesize
) -> Iterator[tuple[str, int, Counts]]:
    """Yield (name, how many the array has, cells of one) of each kind of part of the array.

    Parameters
    ----------
    spec : TileSpec
        The array as configured: edges and control are synthesised at its full size.
    count : (component) -> {resource: cells}
        Synthesis of one part.
    """
    rows, cols = spec.array.rows, spec.array.cols
    yield "PE", rows * cols, count(Uspe(spec))
    yield "west lane", rows, count(WestLane(spec))
    yield "north edge", 1, count(NorthEdge(spec))
    yield "south edge", 1, count(SouthEdge(spec))
    yield "control", 1, count(TileControl(spec))


def array_total(parts: list[tuple[str, int, Counts]]) -> Counts:
    """Return the cells of all ``parts`` together.

    Nothing is shared or optimised across parts; the registers between them are inside them.
    """
    resources = parts[0][2]
    return {name: sum(number * cells[name] for _, number, cells in parts) for name in resources}


def share_percent(total: Counts) -> dict[str, float]:
    """Return the share of the VCU1525 that ``total`` takes, in percent.

    LUTs that work as memory count as LUTs; two RAMB18 make a RAMB36.
    """
    has = BOARDS["vcu1525"]
    used = {
        **{name: total[name] for name in has},
        "lut": total["lut"] + total["memory_lut"],
        "ramb36": total["ramb36"] + (total["ramb18"] + 1) // 2,
    }
    return {name: 100 * used[name] / budget for name, budget in has.items()}
