"""Time one 1x1 layer alone, sparse and dense, on a core whose caches a run before has filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.cpu.generated import bind_layer
from hwsim.cpu.microkernel.arguments import Argument, gemm_arguments, spmm_arguments
from hwsim.cpu.microkernel.catalogue import parse
from hwsim.cpu.packing import pack
from hwsim.cpu.plan import dense_kernel
from hwsim.cpu.spec import CpuSpec

__all__ = ["Layer", "dense_cycles", "sparse_cycles"]

_ARRAYS = ("input", "a", "output", "weights", "dmap", "nnzmap", "stack")
_ADDRESSES = {name: 1 + i << 24 for i, name in enumerate(_ARRAYS)}


@dataclass(frozen=True)
class Layer:
    """``pixels`` of a plane, ``ci`` input and ``co`` output channels."""

    pixels: int
    ci: int
    co: int


def sparse_cycles(layer: Layer, sparsity: float, spec: CpuSpec, kernel: str) -> int:
    """Return the cycles of the layer with that fraction of zeros, in blocks of the kernel's."""
    _, (_, nr), _ = parse(kernel)
    rng = np.random.default_rng(0)
    blocks = rng.random((layer.co // nr, layer.ci)).argsort(axis=None)
    kept = blocks.reshape(-1, layer.ci) < round((1 - sparsity) * layer.ci * (layer.co // nr))
    packed = pack(np.repeat(kept, nr, axis=0).astype(np.float32), pixels=layer.pixels, nr=nr)
    data = {"nnzmap": packed.nnzmap, "dmap": packed.dmap}
    return _warm_cycles(kernel, spec, spmm_arguments(packed), data)


def dense_cycles(layer: Layer, spec: CpuSpec) -> int:
    """Return the cycles of the same layer as a dense product, channels last."""
    arguments = gemm_arguments(layer.pixels, layer.co, layer.ci)
    return _warm_cycles(dense_kernel(spec), spec, arguments, {})


def _warm_cycles(
    kernel: str,
    spec: CpuSpec,
    arguments: tuple[Argument, ...],
    data: Mapping[str, NDArray[np.integer]],
) -> int:
    from hwsim.cpu.core_state import Core  # numba is imported only when something runs

    code = bind_layer(kernel, spec, arguments, data)
    addresses = code.addresses(_ADDRESSES)
    core = Core(spec)
    core.run(code.kernel, addresses, code.streams)
    return core.run(code.kernel, addresses, code.streams).cycles
