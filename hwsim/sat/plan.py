"""Work out tiles, buffer bytes and cycles of one op under one mapping.

The plan is what the mapper's estimate and the lowering share, so that both speak of the same
tiles. Activations and results are FP16 in memory, weights FP16 in compact N:M form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import prod
from typing import NamedTuple

from hwsim.core.errors import InputError, MappingError
from hwsim.core.formats import nm_compact_bits
from hwsim.core.gemm import GemmDims
from hwsim.core.graph import Op, OpKind, Role
from hwsim.core.mapping import Mapping
from hwsim.core.sparsity import NM
from hwsim.core.units import ceil_div
from hwsim.sat.spec import ArraySpec, SatSpec
from hwsim.sat.timing import ArrayGemm, GemmTiming, gemm_timing

__all__ = [
    "ACTIVATION_BYTES",
    "PARTIAL_SUM_BYTES",
    "GemmPlan",
    "Packing",
    "Phase",
    "array_dims",
    "conv_rows",
    "free_rows",
    "nm_of",
    "packings",
    "phases",
    "plan_gemm",
    "row_units",
    "swaps_operands",
]

ACTIVATION_BYTES = 2
"""FP16 activations and results in memory."""
PARTIAL_SUM_BYTES = 4
"""FP32 partial sums on chip."""

_MULTIPLEXER_INPUTS = 32
"""Longest group a PE can select from (assumed)."""


@lru_cache(maxsize=64)
def _timings(array: ArraySpec, dataflow: str) -> Callable[..., GemmTiming]:
    """Return a remembering :func:`gemm_timing` that takes the fields of an ArrayGemm.

    Hashing a spec for every tile would be slow.
    """

    @lru_cache(maxsize=65536)
    def timing(*extents: int) -> GemmTiming:
        return gemm_timing(array, dataflow, ArrayGemm(*extents))

    return timing


class Phase(NamedTuple):
    """``repeat`` consecutive tiles of ``size`` elements; flags hold for all of them."""

    size: int
    repeat: int
    is_first: bool
    is_last: bool


def phases(total: int, tile: int) -> list[Phase]:
    """Split ``total`` elements into tiles: first, middle (repeated) and last are told apart."""
    full, ragged = divmod(total, tile)
    sizes = [tile] * min(full, 3) + ([ragged] if ragged else [])
    if full <= 3:
        last = len(sizes) - 1
        return [Phase(size, 1, i == 0, i == last) for i, size in enumerate(sizes)]
    middle = full - 1 if ragged else full - 2
    return [
        Phase(tile, 1, True, False),
        Phase(tile, middle, False, False),
        Phase(ragged or tile, 1, False, True),
    ]


@dataclass(frozen=True)
class Packing:
    """How groups of a grouped convolution share one array GEMM.

    ``single``: one group at a time. ``diagonal``: ``groups`` blocks on the diagonal of a dense
    stationary tile. ``gather``: the same tap of ``nm_m`` groups forms one 1:nm_m sparse group, and
    every column's operand multiplexer picks its own channel; the tile is 1:nm_m sparse.
    """

    kind: str
    groups: int
    nm_m: int = 1

    def gemm(self, dims: GemmDims, m: int, groups: int, nm: tuple[int, int]) -> ArrayGemm:
        """Return the array GEMM of ``groups`` packed groups over ``m`` rows."""
        if self.kind == "gather":
            k = dims.k * ceil_div(groups, self.nm_m) * self.nm_m
            return ArrayGemm(m, k, dims.n * groups, 1, self.nm_m)
        return ArrayGemm(m, dims.k * groups, dims.n * groups, *nm)


def swaps_operands(op: Op) -> bool:
    """Return whether the array sees the transposed product.

    The array skips zeros of the operand it holds or feeds from the north; a product with sparse
    activations (SDGP's input gradients) is therefore computed as (B^T · A^T)^T.
    """
    first = op.inputs[0]
    return first.role is Role.ACTIVATION and not first.pattern.is_dense


def array_dims(op: Op) -> GemmDims:
    """Return the GEMM extents as the array sees them."""
    dims = op.gemm()
    return GemmDims(dims.groups, dims.n, dims.k, dims.m) if swaps_operands(op) else dims


def packings(op: Op, array: ArraySpec) -> list[Packing]:
    """Return the ways in which ``op``'s groups can be packed; the plain one first."""
    dims = op.gemm()
    found = [Packing("single", 1)]
    if dims.groups == 1 or op.kind is not OpKind.CONV or array.timing == "scalesim":
        return found
    deep, wide = array.rows // dims.k, array.cols // dims.n
    if min(deep, wide) > 1:
        found.append(Packing("diagonal", min(deep, wide, dims.groups)))
    lanes = min(array.edge_elems_per_cycle, _MULTIPLEXER_INPUTS)
    if deep >= 1 and lanes > 1 and wide > 1:
        found.append(Packing("gather", min(deep * lanes, wide, dims.groups), lanes))
    return found


def nm_of(op: Op) -> tuple[int, int]:
    """Return (N, M) of the op's weight pattern, (1, 1) if dense.

    Raises :class:`InputError` for a pattern the array cannot skip, and its subclass
    :class:`MappingError` for groups longer than the operand multiplexer.
    """
    sparse = op.inputs[0] if swaps_operands(op) else op.weight
    pattern = sparse.pattern if sparse is not None else None
    if pattern is None or pattern.kind == "dense":
        return 1, 1
    along_k = 1 if swaps_operands(op) else 0
    if not isinstance(pattern, NM) or pattern.axis != along_k:
        raise InputError(f"{op.name}: pattern", "dense or N:M along the reduction", pattern.kind)
    if pattern.nm_m > _MULTIPLEXER_INPUTS:
        resource = f"{op.name}: operand multiplexer"
        raise MappingError(resource, pattern.nm_m, _MULTIPLEXER_INPUTS, "inputs")
    return pattern.nm_n, pattern.nm_m


def _parse_nm(text: str) -> tuple[int, int]:
    nm_n, nm_m = text.split(":")
    return int(nm_n), int(nm_m)


def row_units(op: Op) -> int:
    """Return the pixels that one indivisible unit of a macro tile holds.

    A convolution is tiled by whole output rows; other GEMMs by single rows.
    """
    return op.dims["ow"] if op.kind in _WINDOWED else 1


def conv_rows(op: Op) -> list[int]:
    """Return row counts that tile a convolution evenly: divisors of oh, then whole images."""
    oh, batch = op.dims["oh"], op.dims["batch"]
    inside = [rows for rows in range(1, oh + 1) if oh % rows == 0]
    images = [2**i for i in range(1, batch.bit_length()) if 2**i < batch]
    return inside + [oh * count for count in images] + ([oh * batch] if batch > 1 else [])


def free_rows(total: int) -> list[int]:
    """Return the tile sizes that cut ``total`` rows evenly into 1, 2, 3, 4, 5, 6, 8, 10, … tiles.

    Even cuts matter: a short last tile would hide too little of the next full tile's load.
    """
    counts = [base << i for i in range(total.bit_length()) for base in (1, 3, 5)]
    return sorted({ceil_div(total, count) for count in counts})


_WINDOWED = (OpKind.CONV, OpKind.CONV_WGRAD)
"""Kinds whose activations are expanded from raw rows on the fly."""


def _input_bytes(op: Op, m: int, groups: int) -> int:
    """Return the bytes of activations needed for ``m`` pixels of ``groups`` groups.

    Convolutions read raw input rows (with halo) once and expand them on the fly.
    """
    dims = op.dims
    if op.kind not in _WINDOWED:
        return m * op.gemm().k * groups * ACTIVATION_BYTES
    rows = m // dims["ow"]
    images, rest = divmod(rows, dims["oh"])
    stride, dilation = op.attrs["strides"][0], op.attrs["dilations"][0]
    need = (rest - 1) * stride + (dims["kh"] - 1) * dilation + 1 if rest else 0
    in_rows = images * dims["ih"] + min(need, dims["ih"])
    return in_rows * dims["iw"] * (dims["ci"] // dims["groups"]) * groups * ACTIVATION_BYTES


LOOP_ORDERS = {"mn": "mnk", "nm": "nmk", "sliced": "mn(k)"}
"""Macro-tile loops from outermost: west operand outer (held over n and k), other operand outer
(held over m), or both operands loaded anew for every slice of k."""


@dataclass(frozen=True)
class GemmPlan:
    """Tiles of a GEMM-like op: packs of groups × (m, n, k) macro tiles."""

    op: Op
    dataflow: str
    order: str  # a key of LOOP_ORDERS
    packing: Packing
    nm: tuple[int, int]
    m_tile: int
    n_tile: int  # columns of one pack
    k_tile: int
    array: ArraySpec

    # Worked out once per plan, and plainly: there are many plans, and each of them asks often.
    dims: GemmDims = field(init=False, compare=False)  # as the array sees them
    is_transposed: bool = field(init=False, compare=False)  # the array sees the transposed product

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_transposed", swaps_operands(self.op))
        object.__setattr__(self, "dims", array_dims(self.op))

    def resized(self, axis: str, extent: int) -> GemmPlan:
        """Return the plan with another extent of its tile: ``m_tile``, ``n_tile`` or ``k_tile``."""
        other = object.__new__(GemmPlan)
        other.__dict__.update(self.__dict__)  # with what has been worked out
        other.__dict__[axis] = extent
        return other

    @property
    def m(self) -> int:
        """Return the rows of the whole op."""
        return self.dims.m

    def pack_phases(self) -> list[Phase]:
        """Return the packs of groups."""
        return phases(self.dims.groups, self.packing.groups)

    def m_phases(self) -> list[Phase]:
        """Return the macro tiles along m."""
        return phases(self.m, self.m_tile)

    def n_phases(self, groups: int) -> list[Phase]:
        """Return the macro tiles along n of a pack of ``groups``."""
        return phases(self.pack_gemm(groups).n, self.n_tile)

    def k_phases(self, groups: int) -> list[Phase]:
        """Return the macro tiles along k of a pack of ``groups``."""
        return phases(self.pack_gemm(groups).k, self.k_tile)

    def tile_count(self, groups: int) -> int:
        """Return the macro tiles of a pack of ``groups``."""
        axes = (self.m_phases(), self.n_phases(groups), self.k_phases(groups))
        return prod(sum(phase.repeat for phase in axis) for axis in axes)

    @property
    def all_tiles(self) -> int:
        """Return the macro tiles of the whole op."""
        return sum(pack.repeat * self.tile_count(pack.size) for pack in self.pack_phases())

    def pack_gemm(self, groups: int) -> ArrayGemm:
        """Return the GEMM of one pack."""
        return self.packing.gemm(self.dims, self.m, groups, self.nm)

    def tile_gemm(self, m: int, n: int, k: int, is_continued: bool) -> ArrayGemm:
        """Return the array GEMM of one macro tile."""
        return ArrayGemm(m, k, n, *self.array_nm, is_continued)

    def timing(self, m: int, n: int, k: int, is_continued: bool = False) -> GemmTiming:
        """Return the array cycles of one macro tile."""
        return self._timings(m, k, n, *self.array_nm, is_continued)

    @cached_property
    def _timings(self) -> Callable[..., GemmTiming]:
        return _timings(self.array, self.dataflow)

    @cached_property
    def array_nm(self) -> tuple[int, int]:
        """Return the pattern as the array sees it."""
        return (1, self.packing.nm_m) if self.packing.kind == "gather" else self.nm

    def input_bytes(self, m: int, groups: int, k: int | None = None) -> int:
        """Return the bytes of a tile of the west operand, ``k`` reduction rows of it (or all)."""
        depth = self.dims.k if k is None else k
        if self.is_transposed:
            return m * depth * groups * ACTIVATION_BYTES
        if self.op.kind is OpKind.CONV_WGRAD:
            return _input_bytes(self.op, depth, groups)
        if self.order == "sliced":
            return m * depth * groups * ACTIVATION_BYTES
        return _input_bytes(self.op, m, groups)

    def weight_bytes(self, n: int, k: int, groups: int) -> int:
        """Return the bytes of a tile of the other operand: ``n`` pack columns, ``k`` rows."""
        if self.is_transposed:
            raw_elems = _input_bytes(self.op, n, groups) // ACTIVATION_BYTES
            return ceil_div(nm_compact_bits(raw_elems, 1, *self.nm), 8)
        if self.packing.kind == "single":
            return ceil_div(nm_compact_bits(k, n, *self.nm), 8)
        return ceil_div(nm_compact_bits(self.dims.k, self.dims.n, *self.nm), 8) * groups

    def output_bytes(self, m: int, n: int) -> int:
        """Return the bytes stored for ``m`` x ``n`` results (overlaps of conv_transpose summed)."""
        if self.op.kind is not OpKind.CONV_TRANSPOSE:
            return m * n * ACTIVATION_BYTES
        dims = self.op.gemm()
        stored = dims.output_elems(self.op.dims)
        return ceil_div(stored * m * n, dims.groups * dims.m * dims.n) * ACTIVATION_BYTES

    @property
    def is_weight_resident(self) -> bool:
        """Return whether one weight tile holds a whole pack's weights."""
        gemm = self.pack_gemm(self.packing.groups)
        return self.n_tile >= gemm.n and self.k_tile >= gemm.k

    @property
    def is_input_resident(self) -> bool:
        """Return whether one activation tile holds a whole pack's activations."""
        return self.m_tile >= self.m

    def buffer_bytes(self) -> dict[str, int]:
        """Return the bytes needed per buffer, both halves counted (none under SCALE-Sim timing)."""
        if self.array.timing == "scalesim":
            return {}
        groups = self.packing.groups
        weight = self.weight_bytes(self.n_tile, self.k_tile, groups)
        return {
            "activation": 2 * self.input_bytes(self.m_tile, groups, self.k_tile),
            "weight": 2 * weight,
            "output": 2 * self.m_tile * self.n_tile * PARTIAL_SUM_BYTES,
        }

    def fits(self, spec: SatSpec) -> bool:
        """Return whether the tiles fit the buffers."""
        have = spec.capacities()
        return all(need <= have[name] for name, need in self.buffer_bytes().items())

    def to_mapping(self, note: str = "") -> Mapping:
        """Return the mapping that stands for this plan."""
        return Mapping(
            op=self.op.name,
            dataflow=self.dataflow,
            tiling={"m": self.m_tile, "n": self.n_tile, "k": self.k_tile},
            loop_order=LOOP_ORDERS[self.order],
            placement={
                "packing": self.packing.kind,
                "groups_per_tile": str(self.packing.groups),
                "packing_nm_m": str(self.packing.nm_m),
                "pattern": f"{self.nm[0]}:{self.nm[1]}",
            },
            buffer_bytes=self.buffer_bytes(),
            note=note,
        )


def plan_gemm(op: Op, mapping: Mapping, spec: SatSpec) -> GemmPlan:
    """Return the plan that ``mapping`` stands for."""
    placement = mapping.placement
    packing = Packing(
        placement["packing"], int(placement["groups_per_tile"]), int(placement["packing_nm_m"])
    )
    return GemmPlan(
        op=op,
        dataflow=mapping.dataflow,
        order=next(key for key, text in LOOP_ORDERS.items() if text == mapping.loop_order),
        packing=packing,
        nm=_parse_nm(placement["pattern"]),
        m_tile=mapping.tiling["m"],
        n_tile=mapping.tiling["n"],
        k_tile=mapping.tiling["k"],
        array=spec.array,
    )
