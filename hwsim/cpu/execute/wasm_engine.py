"""Assemble generated WebAssembly and call it in wasmtime."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call
from hwsim.cpu.microkernel.ir import Kernel
from hwsim.cpu.microkernel.target import Target
from hwsim.cpu.microkernel.wasm import PAGE_BYTES, REPEATED, emit_module

__all__ = ["WasmModule", "engine_version", "require_wasmtime", "run_wasm"]


def require_wasmtime() -> Any:
    """Return the wasmtime package; raise :class:`InputError` with what to install if it is not."""
    try:
        import wasmtime
    except ImportError:
        need = "the package wasmtime (pip install 'hwsim[wasm]')"
        raise InputError("WebAssembly engine", need, "none installed") from None
    return wasmtime


def engine_version() -> str:
    """Return name and version of the engine."""
    require_wasmtime()
    return f"wasmtime {metadata.version('wasmtime')}"


class WasmModule:
    """An instance of compiled kernels with the arrays of a call in its memory.

    Parameters
    ----------
    code : str or bytes
        Text or binary of a module that exports its kernels and ``memory``.
    arena : Arena
        Copied into the memory; starts behind address 0.
    """

    def __init__(self, code: str | bytes, arena: Arena) -> None:
        wasmtime = require_wasmtime()
        self.arena = arena
        self._store = wasmtime.Store(wasmtime.Engine())
        module = wasmtime.Module(self._store.engine, code)
        self._exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._memory = self._exports["memory"]
        self._memory.write(self._store, arena.image(), arena.start)

    @classmethod
    def of(
        cls, kernels: Sequence[Kernel], target: Target, arena: Arena, *, is_timed: bool = False
    ) -> WasmModule:
        """Return ``kernels`` lowered to ``target``; ``is_timed`` if :meth:`seconds_of` is asked."""
        pages = ceil_div(arena.end, PAGE_BYTES)
        return cls(emit_module(kernels, target, pages=pages, is_repeated=is_timed), arena)

    def call(
        self, name: str, arguments: Sequence[int], limits: tuple[float, float] | None = None
    ) -> None:
        """Run kernel ``name``; ``limits`` are those of its clamp."""
        self._exports[name](self._store, *map(int, arguments), *_floats(limits))

    def read(self, name: str) -> NDArray[Any]:
        """Return array ``name`` of the arena as it is now."""
        arena = self.arena
        array = arena.arrays[name]
        at = arena.address[name]
        memory = self._memory.read(self._store, at, at + array.nbytes)
        return np.frombuffer(bytes(memory), array.dtype).reshape(array.shape)

    def seconds_of(
        self,
        name: str,
        arguments: Sequence[int],
        limits: tuple[float, float] | None,
        *,
        times: int = 1,
    ) -> float:
        """Return the seconds of one call of ``times``, in CPU time of the calling thread.

        Other processes do not lengthen it, other than by sharing caches and execution units. The
        calls come from inside the engine, and what entering it takes is subtracted: by far more
        than a small kernel, since every argument is converted in Python.
        """
        function = self._exports[REPEATED + name]
        values = [*map(int, arguments), *_floats(limits)]
        marks = [time.thread_time_ns()]
        for count in (0, times):
            function(self._store, *values, count)
            marks.append(time.thread_time_ns())
        entered, took = marks[1] - marks[0], marks[2] - marks[1]
        return (took - entered) * 1e-9 / times


def run_wasm(call: Call, target: Target) -> NDArray[Any]:
    """Return the output of ``call``, computed by the engine."""
    arena = Arena(call.arrays)
    module = WasmModule.of([call.kernel], target, arena)
    module.call(call.kernel.name, call.values(arena.address), call.clamp_limits)
    return module.read(call.output)


def _floats(limits: tuple[float, float] | None) -> tuple[float, ...]:
    return () if limits is None else (float(limits[0]), float(limits[1]))
