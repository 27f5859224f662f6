"""Name the micro-kernels: ``16x1``, ``32x1-pipelined``, ``gemm-6x8``, ``dw-3x3s1`` and others."""

from __future__ import annotations

import re

from hwsim.core.errors import InputError
from hwsim.cpu.microkernel.aarch64 import assembly
from hwsim.cpu.microkernel.depthwise import ROWS_PER_PASS, describe_depthwise
from hwsim.cpu.microkernel.depthwise_rows import describe_depthwise_rows
from hwsim.cpu.microkernel.first_conv import describe_first_conv
from hwsim.cpu.microkernel.gemm import describe_gemm
from hwsim.cpu.microkernel.igemm import describe_igemm
from hwsim.cpu.microkernel.ir import Kernel
from hwsim.cpu.microkernel.pool import describe_global_pool
from hwsim.cpu.microkernel.spmm import describe_spmm
from hwsim.cpu.microkernel.target import AARCH64, Target
from hwsim.cpu.microkernel.wasm import emit_module

__all__ = ["KERNEL_NAMES", "describe", "emit", "parse"]

KERNEL_NAMES = (
    *(f"{mr}x1{form}" for mr in (8, 16, 32) for form in ("", "-u2", "-pipelined")),
    *("16x2", "16x4", "32x2", "8x8", "4x16", "gemm-4x8", "gemm-6x8"),
    *(f"dw-{size}x{size}s{stride}" for size, stride in ROWS_PER_PASS),
    *("igemm-4x8", "igemm-6x8", "dw-rows-9", "dw-rows-25", "first-conv", "global-pool"),
)
"""Examples of every family; any MR x NR of the generator can be asked for."""

_SPMM = re.compile(r"(?:spmm-)?(\d+)x(\d+)(?:-(plain|u2|pipelined))?")
_GEMM = re.compile(r"(i?gemm)-(\d+)x(\d+)")


def parse(name: str) -> tuple[str, tuple[int, ...], str]:
    """Return (family, sizes, form) of a kernel's name.

    Families: spmm (mr, nr), gemm and igemm (mr, nr), dw (kernel, stride), dw-rows (taps),
    first-conv and global-pool.
    """
    if found := _SPMM.fullmatch(name):
        return "spmm", (int(found[1]), int(found[2])), found[3] or "plain"
    if found := _GEMM.fullmatch(name):
        return found[1], (int(found[2]), int(found[3])), "plain"
    if (found := re.fullmatch(r"dw-(\d+)x(\d+)s(\d+)", name)) and found[1] == found[2]:
        return "dw", (int(found[1]), int(found[3])), "plain"
    if found := re.fullmatch(r"dw-rows-(\d+)", name):
        return "dw-rows", (int(found[1]),), "plain"
    if name in ("first-conv", "global-pool"):
        return name, (), "plain"
    raise InputError("KERNEL", f"a kernel such as {', '.join(KERNEL_NAMES)}", repr(name))


def describe(name: str, target: Target) -> Kernel:
    """Return the description of kernel ``name`` for ``target``."""
    family, sizes, form = parse(name)
    if family == "spmm":
        return describe_spmm(target, *sizes, form)
    if family in ("gemm", "igemm"):
        return (describe_gemm if family == "gemm" else describe_igemm)(target, *sizes)
    if family == "dw-rows":
        return describe_depthwise_rows(*sizes)
    if family == "dw":
        return describe_depthwise(*sizes)
    return describe_first_conv() if family == "first-conv" else describe_global_pool()


def emit(kernel: Kernel, target: Target, *, may_spill: bool = False) -> str:
    """Return the text of ``kernel``: AArch64 assembly, or a WebAssembly module.

    Raises
    ------
    MappingError
        If it needs more vector registers than the target has; ``may_spill`` leaves them to the
        engine, where one assigns registers.
    """
    if not (may_spill and target.spills):
        target.check(kernel.name, kernel.vectors, kernel.integers)
    return assembly(kernel) if target is AARCH64 else emit_module([kernel], target)
