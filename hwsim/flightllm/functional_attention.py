"""Compute attention's products as a program does: what its addresses bring together, no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.attention_view import mask_of
from hwsim.flightllm.fetch_attention import Memory, MetHead, met_prompt, met_step
from hwsim.flightllm.kept_cells import BLOCK, cache_cells, parts_of
from hwsim.flightllm.layout import relocate
from hwsim.flightllm.lower import FlightProgram, layer_body
from hwsim.flightllm.places import CACHE, CHANNELS, INPUT, RESULT
from hwsim.flightllm.plan import Layer, phase_of
from hwsim.flightllm.spec import FlightSpec

__all__ = [
    "addressed_attention",
    "exact_attention",
    "has_addresses",
    "seen_keys",
    "seen_product",
]

Codes = NDArray[np.int64]
Product = Callable[[Codes, Codes, tuple[int, ...]], Codes]


def seen_keys(layer: Layer, head: int, rows: int, columns: int, block: int) -> NDArray[np.bool_]:
    """Return which of the first ``columns`` keys the first ``rows`` tokens of ``head`` attend to.

    In whole blocks: those that the mask keeps, up to the diagonal, or all.
    """
    if layer.mask:
        kept = mask_of(layer.mask, layer.heads, layer.mask_tokens).kept[head]
    elif layer.is_causal and layer.tokens > 1:
        kept = np.tri(ceil_div(max(rows, columns), block), dtype=bool)
    else:
        return np.ones((rows, columns), np.bool_)
    return kept[np.arange(rows)[:, None] // block, np.arange(columns) // block]


def exact_attention(layer: Layer, a: Codes, b: Codes, block: int) -> Codes:
    """Return the product [groups, m, n] with zeros for scores, or shares, of blocks not seen."""
    return seen_product(layer, a, b, block, np.matmul)


def seen_product(
    layer: Layer, a: Codes, b: Codes, block: int, product: Callable[[Codes, Codes], Codes]
) -> Codes:
    """Return the same by any ``product`` of [groups, m, k] and [groups, k, n]."""
    if layer.kind == "scores":
        kept = _seen(layer, (*a.shape[:2], b.shape[2]), block)
        return np.where(kept, product(a, b), 0)
    return product(np.where(_seen(layer, a.shape, block), a, 0), b)


def _seen(layer: Layer, shape: tuple[int, ...], block: int) -> NDArray[np.bool_]:
    """Return which keys the rows of each group see, bool[groups, rows of all queries, keys]."""
    kept = np.ones(shape, np.bool_)
    if layer.tokens == 1:
        return kept
    kv_heads = layer.heads // layer.group
    for group in range(shape[0]):
        for query in range(layer.group):
            rows = slice(query * layer.tokens, min((query + 1) * layer.tokens, shape[1]))
            size = rows.stop - rows.start
            if size > 0:
                head = group % kv_heads * layer.group + query
                kept[group, rows] = seen_keys(layer, head, size, shape[2], block)
    return kept


def has_addresses(layer: Layer, spec: FlightSpec) -> bool:
    """Return whether heads and groups of rows are whole blocks, as layouts of caches have them."""
    width = layer.k if layer.kind == "scores" else layer.n
    mpe = spec.mpe
    return width % BLOCK == 0 and (mpe.block, mpe.mm_rows) == (BLOCK, CHANNELS * BLOCK)


def addressed_attention(
    program: FlightProgram, number: int, spec: FlightSpec, a: Codes, b: Codes, product: Product
) -> Codes:
    """Return run ``number``'s product [groups, m, n] of the cells that its instructions meet.

    ``product`` multiplies [m, k] by [k, n] in tiles over k. Cores beside the first run the same
    on their heads; with masks each has its own instructions. Raises :class:`InputError` if an
    output is missing.
    """
    layer = program.runs[number].layer
    kv_heads = layer.heads // layer.group
    share = ceil_div(kv_heads, spec.shares)
    found = np.zeros((len(a), a.shape[1], b.shape[2]), np.int64)
    is_set = np.zeros(found.shape, np.bool_)
    rows = min(layer.tokens, a.shape[1])
    for first in range(0, min(kv_heads, len(a)), share):
        for met in _met(program, number, spec, first * layer.group, rows, b.shape[2]):
            head = first * layer.group + met.head
            if head >= layer.heads:
                continue
            for start in range(0, len(a), kv_heads):  # steps that share the program
                group = start + head // layer.group
                own = head % layer.group * layer.tokens + met.rows
                is_row = (met.rows < layer.tokens) & (own < a.shape[1])
                is_column = met.columns < b.shape[2]
                if group >= len(a) or not is_row.any():
                    continue
                x = _values(a[start:], met.a[is_row] if len(met.a) > 1 else met.a, layer, first)
                w = _weights(b[start:], met.b[:, is_column], layer, first)
                place = np.ix_([group], own[is_row], met.columns[is_column])
                found[place] = product(x, w, met.tiles)[None]
                is_set[place] = True
    return _checked(program, number, spec, found, is_set)


def _checked(
    program: FlightProgram, number: int, spec: FlightSpec, found: Codes, is_set: NDArray[np.bool_]
) -> Codes:
    """Return ``found`` without scores of keys not seen; raise if any that is seen is missing."""
    run = program.runs[number]
    kept = np.ones(found.shape, np.bool_)
    if run.layer.kind == "scores":
        kept = _seen(run.layer, found.shape, spec.mask_block)
    missing = int((kept & ~is_set).sum())
    if missing:
        raise InputError(f"op {run.op}", "all products in the program", f"{missing} without any")
    return np.where(kept, found, 0)


def _values(a: Codes, cell: Codes, layer: Layer, first: int) -> Codes:
    """Return the activations of cells; 0 of none, and beyond the operand."""
    head, row, column = parts_of(cell)
    head = first * layer.group + head
    row = head % layer.group * layer.tokens + row
    is_there = (cell >= 0) & (head < layer.heads)
    return _taken(a, head // layer.group, row, column, is_there)


def _weights(b: Codes, cell: Codes, layer: Layer, first: int) -> Codes:
    """Return the keys or values of cells, of the core whose first key head is ``first``."""
    head, token, dimension = parts_of(cell)
    k, n = (dimension, token) if layer.kind == "scores" else (token, dimension)
    return _taken(b, first + head, k, n, cell >= 0)


def _taken(
    values: Codes, group: Codes, row: Codes, column: Codes, is_there: NDArray[np.bool_]
) -> Codes:
    for index, size in zip((group, row, column), values.shape, strict=True):
        is_there = is_there & (index < size)
    at = tuple(np.where(is_there, index, 0) for index in (group, row, column))
    return np.where(is_there, values[at], 0)


def _met(
    program: FlightProgram, number: int, spec: FlightSpec, head: int, rows: int, columns: int
) -> list[MetHead]:
    """Return what meets on the core whose first head is ``head``; equal runs are followed once."""
    run, regions = program.runs[number], program.layout.operands[number]
    layer = replace(run.layer, first_head=head) if run.layer.mask else run.layer
    off = tuple(run.bases[o] - regions[o].base for o in (INPUT, CACHE))
    key: tuple[Any, ...] = (run.body, layer, off, _writers(program, number), rows, columns)
    if key not in program.met:
        code = program.code(run)
        if layer.mask:
            code = relocate(layer_body(layer, 0, spec), run.bases)
        width = layer.k if layer.kind == "scores" else layer.n
        cache = cache_cells(program, number, width, spec)
        memory = Memory(regions[INPUT].base, regions[CACHE].base, cache)
        found = (
            met_step(code, layer, memory, spec, columns)
            if layer.tokens == 1
            else met_prompt(code, layer, memory, spec, rows, columns)
        )
        program.met[key] = list(found)
    return list(program.met[key])


def _writers(program: FlightProgram, number: int) -> tuple[tuple[int, int], ...]:
    """Return code and place of the results that run ``number`` finds in its cache."""
    region, phase = program.layout.operands[number][CACHE], phase_of(program.runs[number].op)
    return tuple(
        (run.body, run.bases[RESULT] - region.base)
        for run, operands in zip(program.runs[:number], program.layout.operands, strict=False)
        if operands.get(RESULT) is region and phase_of(run.op) == phase
    )
