"""Compute products as a core does: by the program's tiles, two rows per DSP, in the chain's words.

Operands are INT8 codes, sums INT32; scales are applied outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import encode_nm
from hwsim.core.units import ceil_div
from hwsim.flightllm.csd_chain import split_lanes, split_segment
from hwsim.flightllm.fetch import met_operands
from hwsim.flightllm.functional_attention import (
    addressed_attention,
    exact_attention,
    has_addresses,
    seen_product,
)
from hwsim.flightllm.functional_coded import (
    Groups,
    decoded_codes,
    exact_codes,
    has_codewords,
    has_groups,
)
from hwsim.flightllm.isa import MM, MV
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.unit_spec import CsdChainSpec

__all__ = ["core_products", "exact_products"]

Codes = NDArray[np.int64]
_CHAIN = CsdChainSpec()


def exact_products(
    program: FlightProgram, inputs: Mapping[str, NDArray[Any]], spec: FlightSpec
) -> dict[str, NDArray[np.int32] | NDArray[np.int64]]:
    """Return ``inputs[op.a] @ tensors[op.b]`` of every op in exact integers, [groups, m, n].

    Weights may be in a compact format (:mod:`functional_coded`); sums of groups are int64.
    """
    block = program.meta["mask_block"]
    attention = {run.op: run.layer for run in program.runs if run.layer.kind in ("scores", "mix")}
    found = {}
    for name, a in _activations(inputs):
        is_compact = has_codewords(program.tensors, name) or has_groups(program.tensors, name)
        compact = (program.tensors, name, a.shape[2], spec.experts.unit)
        b = exact_codes(*compact) if is_compact else _weights(program, name)
        known = name in attention
        exact = exact_attention(attention[name], a, b, block) if known else a @ b
        found[name] = exact if has_groups(program.tensors, name) else exact.astype(np.int32)
    return found


def core_products(
    program: FlightProgram, inputs: Mapping[str, NDArray[Any]], spec: FlightSpec
) -> dict[str, NDArray[np.int32] | NDArray[np.int64]]:
    """Return the same sums, instruction by instruction over k, in the arithmetic of the chain.

    Operands are those that loads, stores and buffers bring together (:mod:`fetch`,
    :mod:`fetch_attention`); heads of a width that is no multiple of 16 go by tiles only.
    Weights of an op with a mask pass the sparse multiplexers, N of 16 at a time. Raises
    :class:`InputError` if an op has no instructions, or its weights more than N of 16.
    """
    runs = {run.op: number for number, run in enumerate(program.runs)}
    found = {}
    for name, a in _activations(inputs):
        if name not in runs:
            raise InputError(f"op {name}", "instructions in the program", "none")
        run = program.runs[runs[name]]
        code = program.bodies[run.body].code
        if run.layer.kind != "linear" and has_addresses(run.layer, spec):
            b = _weights(program, name)
            part = addressed_attention(program, runs[name], spec, a, b, _dense_product)
            found[name] = part.astype(np.int32)
            continue
        if has_groups(program.tensors, name):
            found[name] = _grouped_product(program, runs[name], spec, a[0])[None]
            continue
        if has_codewords(program.tensors, name):
            b = decoded_codes(program.tensors, name, a.shape[2], spec.experts.unit)
        else:
            b = _weights(program, name)
        mask = program.tensors.get(f"{name}.mask")
        nm_n = run.layer.density * _CHAIN.choices if mask is not None else _CHAIN.choices
        # An average density is of blocks of several N; any mask fits one that keeps all places.
        nm_n = int(nm_n) if nm_n in _CHAIN.modes else _CHAIN.choices
        kept = np.ones(b.shape, np.bool_) if mask is None else mask
        if run.layer.kind == "linear":
            products = [
                _fetched_product(program, runs[name], spec, nm_n, *operands)
                for operands in zip(a, b, kept, strict=True)
            ]
        else:
            products = list(_tiled_attention(run.layer, a, b, code, spec))
        found[name] = np.stack(products).astype(np.int32)
    return found


def _activations(inputs: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, Codes]]:
    """Yield name and activations [groups, m, k] of every product."""
    for key, a in inputs.items():
        if key.endswith(".a"):  # others are vectors of the special function unit
            yield key.removesuffix(".a"), _codes(key, a)


def _weights(program: FlightProgram, name: str) -> Codes:
    """Return the masked weights [groups, k, n] of an op."""
    b = _codes(f"{name}.b", program.tensors[f"{name}.b"])
    mask = program.tensors.get(f"{name}.mask")
    return b if mask is None else np.where(mask, b, 0)


def _codes(what: str, values: NDArray[Any]) -> Codes:
    if values.dtype.kind not in "iu":
        raise InputError(what, "INT8 codes", str(values.dtype))
    if values.size and (np.abs(values.astype(np.int64)) > 127).any():
        found = str(np.abs(values.astype(np.int64)).max())
        raise InputError(what, "codes of -127 to 127", found)
    return values.astype(np.int64)


def _fetched_product(
    program: FlightProgram,
    number: int,
    spec: FlightSpec,
    nm_n: int,
    a: Codes,
    b: Codes,
    mask: NDArray[np.bool_],
) -> Codes:
    """Return a [m, k] times b [k, n] of the operands that meet, core after core."""
    sums = np.zeros((len(a), b.shape[1]), np.int64)
    for met in _on_cores(program, number, spec, a, b.shape[1]):
        weights, kept = _taken(b, met.k, met.n), _taken(mask, met.k, met.n).astype(np.bool_)
        met.put(_product(met.x, weights, kept, nm_n, met.tiles), sums)
    return sums


def _grouped_product(program: FlightProgram, number: int, spec: FlightSpec, a: Codes) -> Codes:
    """Return a [m, k] times the kept groups that meet it, by the engines of core after core."""
    groups = Groups(program.tensors, program.runs[number].op, a.shape[1])
    engines = (spec.groups.unit, spec.groups.engines_per_core)
    sums = np.zeros((len(a), len(groups.place)), np.int64)
    for met in _on_cores(program, number, spec, a, sums.shape[1]):
        parts = [groups.product(met.x[:, t], met.k[t], met.n[t], *engines) for t in met.tiles]
        met.put(np.sum(parts, axis=0), sums)
    return sums


@dataclass(frozen=True)
class _CoreMet:
    """What meets on one core: activations ``x`` of ``rows``, weights at ``k``, ``n``, per tile."""

    rows: Codes
    x: Codes
    k: Codes
    n: Codes
    tiles: list[slice]
    columns: slice

    def put(self, products: Codes, sums: Codes) -> None:
        """Write ``products`` to their place among all ``sums``, padding left out."""
        width = max(0, self.columns.stop - self.columns.start)
        sums[self.rows, self.columns] = products[:, :width]


def _on_cores(
    program: FlightProgram, number: int, spec: FlightSpec, a: Codes, columns: int
) -> Iterator[_CoreMet]:
    """Yield what meets in run ``number`` on every core: their columns lie like the first one's."""
    layer, m = program.runs[number].layer, len(a)
    width = spec.mpe.mv_columns if layer.tokens == 1 else spec.mpe.mm_columns
    share = ceil_div(ceil_div(layer.n, width), spec.shares) * width
    for met in met_operands(program, number, spec, m, min(share, columns)):
        ends = np.cumsum(met.tiles).tolist()
        tiles = [slice(end - size, end) for size, end in zip(met.tiles, ends, strict=True)]
        if layer.tokens == 1:
            rows, x = np.arange(m), _taken(a, np.arange(m)[:, None], met.columns)
        else:
            is_row = (met.rows[:, 0] >= 0) & (met.rows[:, 0] < m)
            rows = met.rows[is_row, 0]
            x = _taken(a, met.rows[is_row], met.columns[is_row])
        for first in range(0, columns, share):
            at = first + met.first
            n = np.where(met.n < 0, -1, met.n + first)
            end = min(at + n.shape[1], columns, first + share)
            yield _CoreMet(rows, x, met.k, n, tiles, slice(at, end))


def _taken(values: NDArray[Any], row: Codes, column: Codes) -> Codes:
    """Return ``values[row, column]``, 0 where there is no such place."""
    is_there = (row >= 0) & (row < values.shape[0]) & (column >= 0) & (column < values.shape[1])
    row, column = np.where(is_there, row, 0), np.where(is_there, column, 0)
    return np.where(is_there, values[row, column], 0)


def _tiles(code: NDArray[np.void], k: int) -> list[slice]:
    """Return the rows of the weights that an output's instructions cover, one after the other.

    An instruction with the output flag is an output's last; of outputs that cover different
    lengths (causal attention) the longest counts. Tiles beyond ``k`` hold padding.
    """
    matrix = code[(code["unit"] == MV) | (code["unit"] == MM)]
    ends = np.flatnonzero(matrix["flags"] & 8) + 1
    starts = np.concatenate([[0], ends[:-1]])
    sizes = matrix["k"].astype(np.int64) * _CHAIN.choices
    covered = np.concatenate([[0], np.cumsum(sizes)])
    longest = int((covered[ends] - covered[starts]).argmax())
    tiles, first = [], 0
    for size in sizes[starts[longest] : ends[longest]].tolist():
        tiles.append(slice(min(first, k), min(first + size, k)))
        first += size
    if first < k:
        raise InputError("program", f"instructions over k of {k}", str(first))
    return tiles


def _tiled_attention(
    layer: Layer, a: Codes, b: Codes, code: NDArray[np.void], spec: FlightSpec
) -> Codes:
    """Return attention's product [groups, m, n] by the lengths of its instructions only."""
    k = a.shape[2]
    tiles = [slice(0, k)] if layer.mask else _tiles(code, k)

    def product(x: Codes, w: Codes) -> Codes:
        lengths = tuple(tile.stop - tile.start for tile in tiles)
        return np.stack([_dense_product(*pair, lengths) for pair in zip(x, w, strict=True)])

    return seen_product(layer, a, b, spec.mask_block, product)


def _dense_product(a: Codes, b: Codes, lengths: tuple[int, ...]) -> Codes:
    """Return a [m, k] times b [k, n], instructions of ``lengths`` over k."""
    ends = np.cumsum([0, *lengths]).tolist()
    tiles = [slice(*pair) for pair in pairwise(ends)]
    return _product(a, b, np.ones(b.shape, np.bool_), _CHAIN.choices, tiles)


def _product(a: Codes, b: Codes, mask: NDArray[np.bool_], nm_n: int, tiles: list[slice]) -> Codes:
    """Return a [m, k] times b [k, n], partial sums of the tiles added up."""
    m = len(a)
    padded = np.concatenate([a, np.zeros((m % 2, a.shape[1]), np.int64)])
    total = np.zeros((len(padded), b.shape[1]), np.int64)
    for tile in tiles:
        total += _tile(padded[:, tile], b[tile], mask[tile], nm_n)
    return total[:m]


def _tile(a: Codes, b: Codes, mask: NDArray[np.bool_], nm_n: int) -> Codes:
    """Return a [2 pairs, k] times b [k, n]: rows 2i and 2i + 1 in the low and high lanes."""
    compact = encode_nm(b, mask, nm_n, _CHAIN.choices)
    groups = len(compact.values)
    rest = groups * _CHAIN.choices - a.shape[1]
    packed = (a[1::2] << _CHAIN.lane.lane_bits) + a[0::2]
    packed = np.pad(packed, ((0, 0), (0, rest))).reshape(len(packed), groups, _CHAIN.choices)
    high, low = _chains(packed.transpose(1, 0, 2), compact.values.astype(np.int64), compact.indices)
    total = np.zeros((len(a), b.shape[1]), np.int64)
    total[0::2], total[1::2] = low.sum(axis=0), high.sum(axis=0)
    return total


def _chains(packed: Codes, weights: Codes, index: NDArray[np.uint8]) -> tuple[Codes, Codes]:
    """Return high and low sums [groups, pairs, n], a chain per group of k.

    ``packed`` [groups, pairs, choices]; ``weights``, ``index`` [groups, nm_n, n].
    """
    lane = _CHAIN.lane
    p = np.zeros((*packed.shape[:2], weights.shape[2]), np.int64)
    high_parts, low_parts = np.zeros_like(p), np.zeros_like(p)
    for dsp in range(weights.shape[1]):
        if dsp and dsp % lane.segment_dsps == 0:
            p, msp_high, msp_low = split_segment(lane, p)  # type: ignore[arg-type,assignment]
            high_parts += msp_high
            low_parts += msp_low
        if weights.shape[1] == _CHAIN.choices:  # dense: every multiplexer takes its own input
            chosen = packed[:, :, dsp, None]
        else:
            picks = np.broadcast_to(index[:, dsp, None].astype(np.int64), p.shape)
            chosen = np.take_along_axis(packed, picks, axis=2)
        p = p + chosen * weights[:, dsp, None]
    high, low = split_lanes(lane, p)  # type: ignore[arg-type]
    return high + (high_parts << lane.lsp_bits), low + (low_parts << lane.lsp_bits)
