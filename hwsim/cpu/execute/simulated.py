"""Simulate the very instructions and addresses that the emulator executes, on a modelled core."""

from __future__ import annotations

from hwsim.cpu.core_state import Core
from hwsim.cpu.execute.aarch64_emulator import DATA_START, STACK_TOP
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call
from hwsim.cpu.generated import bind_kernel
from hwsim.cpu.kernel_run import KernelRun
from hwsim.cpu.spec import CpuSpec

__all__ = ["simulate_calls"]


def simulate_calls(
    call: Call, spec: CpuSpec, *, times: int = 2, is_ideal: bool = False
) -> list[KernelRun]:
    """Return what ``call`` takes on a core of ``spec`` when it runs ``times`` times in a row.

    The first run finds empty caches. ``is_ideal``: every access hits the L1.
    """
    code = bind_kernel(call.kernel, spec, call.arguments, call.arrays)
    addresses = code.addresses({**Arena(call.arrays, DATA_START).address, "stack": STACK_TOP})
    core = Core(spec, is_ideal=is_ideal)
    return [core.run(code.kernel, addresses, code.streams) for _ in range(times)]
