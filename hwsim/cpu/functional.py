"""Compute what the kernels of a program compute: packed weights walked by their increments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwsim.cpu.functional_kernels import dense_rows, sparse_strip
from hwsim.cpu.packing import pack
from hwsim.cpu.program import CpuProgram

__all__ = ["kernel_outputs"]

Outputs = dict[str, NDArray[np.float32]]


def kernel_outputs(program: CpuProgram, inputs: Mapping[str, NDArray[np.floating]]) -> Outputs:
    """Return float32[groups, m, n] for every product that ``inputs`` has ``OP.a`` for.

    ``OP.a`` [groups, m, k] are activations; the program's tensors ``OP.b`` [groups, k, n] and
    ``OP.mask`` the weights. A sparse layer runs from its packed form, others step by step.
    """
    outputs: Outputs = {}
    for fact in program.meta["ops"]:
        name = fact["name"]
        if f"{name}.a" not in inputs:
            continue
        a = np.asarray(inputs[f"{name}.a"], dtype=np.float32)
        b = np.asarray(program.tensors[f"{name}.b"], dtype=np.float32)
        mask = program.tensors.get(f"{name}.mask")
        if mask is not None:
            b = np.where(mask, b, np.float32(0))
        is_sparse = fact["mapping"]["placement"].get("kernel") == "spmm"
        nr = fact["mapping"]["tiling"].get("nr", 1)
        parts = [
            _sparse(x, w, nr) if is_sparse else _dense(x, w) for x, w in zip(a, b, strict=True)
        ]
        outputs[name] = np.stack(parts)
    return outputs


def _dense(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.zeros((a.shape[0], b.shape[1]), dtype=np.float32)
    dense_rows(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out


def _sparse(a: NDArray[np.float32], b: NDArray[np.float32], nr: int) -> NDArray[np.float32]:
    """Return a @ b from the packed form of b, pixels along the planes of a's transpose."""
    pixels = a.shape[0]
    packed = pack(b.T, pixels=pixels, nr=nr)
    out = np.zeros((packed.co, pixels), dtype=np.float32)
    x = np.ascontiguousarray(a.T).reshape(-1)
    sparse_strip(
        packed.nnzmap.astype(np.int64),
        packed.block_widths,
        packed.dmap.astype(np.int64) // 4,
        packed.stream,
        packed.first_channel * pixels,
        x,
        out,
    )
    return np.ascontiguousarray(out.T)
