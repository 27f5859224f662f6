"""Bind generated kernels to a core: the code that is executed for real, as it runs there.

On AArch64 it is the machine code that the emulator executes; on a host of WebAssembly what an
engine makes of the text that wasmtime executes (:mod:`hwsim.cpu.microkernel.x86`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from hwsim.core.errors import MappingError
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.arguments import Argument
from hwsim.cpu.microkernel.catalogue import describe
from hwsim.cpu.microkernel.ir import Kernel
from hwsim.cpu.microkernel.machine_code import MachineCode
from hwsim.cpu.microkernel.target import find_target
from hwsim.cpu.microkernel.uops import BoundKernel, lower_uops
from hwsim.cpu.microkernel.x86 import select_x86
from hwsim.cpu.spec import CpuSpec

__all__ = ["bind_kernel", "bind_layer", "check_registers", "kernel_name", "needed_registers"]


def kernel_name(mr: int, nr: int, form: str) -> str:
    """Return the catalogue's name of a sparse kernel."""
    return f"{mr}x{nr}" if form == "plain" else f"{mr}x{nr}-{form}"


@lru_cache
def needed_registers(name: str, backend: str) -> int:
    """Return the vector registers that kernel ``name`` needs on ``backend``."""
    return describe(name, find_target(backend)).vectors


def check_registers(name: str, spec: CpuSpec) -> None:
    """Raise :class:`MappingError` with both numbers if ``spec`` has too few for kernel ``name``."""
    need, have = needed_registers(name, spec.backend), spec.core.vector_registers
    if need > have:
        raise MappingError(f"kernel {name}", need, have, "vector registers")


def bind_layer(
    name: str,
    spec: CpuSpec,
    arguments: Sequence[Argument],
    data: Mapping[str, NDArray[Any]] | None = None,
) -> BoundKernel:
    """Return the micro-ops of kernel ``name`` for one layer; see :func:`lower_uops`.

    Without ``data`` equal layers share them.
    """
    host = (name, spec.backend, spec.core.vector_registers)
    return lower_uops(_code(*host), arguments, data) if data else _shared(*host, tuple(arguments))


def bind_kernel(
    kernel: Kernel, spec: CpuSpec, arguments: Sequence[Argument], data: Mapping[str, NDArray[Any]]
) -> BoundKernel:
    """Return the same of a description that is at hand."""
    return lower_uops(_select(kernel, spec.backend, spec.core.vector_registers), arguments, data)


@lru_cache
def _shared(name: str, backend: str, vectors: int, arguments: tuple[Argument, ...]) -> BoundKernel:
    return lower_uops(_code(name, backend, vectors), arguments, {})


@lru_cache
def _code(name: str, backend: str, vectors: int) -> MachineCode:
    return _select(describe(name, find_target(backend)), backend, vectors)


def _select(kernel: Kernel, backend: str, vectors: int) -> MachineCode:
    return select_aarch64(kernel) if backend == "aarch64" else select_x86(kernel, vectors)
