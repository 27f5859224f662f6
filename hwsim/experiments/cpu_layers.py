"""Time one 1x1 layer alone, sparse and dense, on a core whose caches a run before has filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.cpu.codes.gemm import GemmShape, gemm_kernel, gemm_streams
from hwsim.cpu.codes.spmm import SpmmShape, spmm_kernel
from hwsim.cpu.packing import pack
from hwsim.cpu.spec import CpuSpec

__all__ = ["Layer", "dense_cycles", "sparse_cycles"]

_IN, _OUT, _WEIGHTS, _DMAP, _COUNTS = (1 + i << 24 for i in range(5))


@dataclass(frozen=True)
class Layer:
    """``pixels`` of a plane, ``ci`` input and ``co`` output channels."""

    pixels: int
    ci: int
    co: int


def sparse_cycles(layer: Layer, sparsity: float, spec: CpuSpec, mr: int, nr: int = 1) -> int:
    """Return the cycles of the layer with that fraction of zeros, in blocks of ``nr`` outputs."""
    from hwsim.cpu.core_state import Core  # numba is imported only when something runs

    rng = np.random.default_rng(0)
    blocks = rng.random((layer.co // nr, layer.ci)).argsort(axis=None)
    kept = blocks.reshape(-1, layer.ci) < round((1 - sparsity) * layer.ci * (layer.co // nr))
    packed = pack(np.repeat(kept, nr, axis=0).astype(np.float32), pixels=layer.pixels, nr=nr)
    shape = SpmmShape(
        layer.pixels, layer.co, packed.blocks, 4 * (len(packed.stream) - 1), spec.has_lanes
    )
    registers, has_prefetch = spec.core.vector_registers, spec.backend == "aarch64"
    kernel = spmm_kernel(shape, mr, nr, registers=registers, prefetch=has_prefetch)
    addresses = {"weights": _WEIGHTS, "dmap": _DMAP, "counts": _COUNTS, "out": _OUT}
    addresses["in"] = _IN + packed.first_channel * packed.plane_bytes
    streams = {"nnz": packed.nnzmap.astype(np.int64), "step": packed.dmap[: packed.blocks]}
    core = Core(spec)
    core.run(kernel, addresses, streams)
    return core.run(kernel, addresses, streams).cycles


def dense_cycles(layer: Layer, spec: CpuSpec) -> int:
    """Return the cycles of the same layer as a dense 6x8 product, channels last."""
    from hwsim.cpu.core_state import Core

    shape = GemmShape(layer.pixels, layer.ci, layer.co, 4 * layer.co, has_lanes=spec.has_lanes)
    rows = _IN + 4 * layer.ci * np.arange(layer.pixels, dtype=np.int64)
    addresses = {f"row{row}": int(rows[row]) for row in range(shape.rows)}
    addresses |= {"weights": _WEIGHTS, "out": _OUT, "table": _COUNTS}
    kernel, streams = gemm_kernel(shape), gemm_streams(shape, rows)
    core = Core(spec)
    core.run(kernel, addresses, streams)
    return core.run(kernel, addresses, streams).cycles
