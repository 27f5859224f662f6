"""Assemble generated AArch64 code and run it instruction by instruction in an emulator."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.cpu.execute.arena import Arena
from hwsim.cpu.execute.calls import Call
from hwsim.cpu.microkernel.aarch64 import select_aarch64
from hwsim.cpu.microkernel.ir import Kernel

__all__ = ["DATA_START", "STACK_TOP", "Execution", "assemble", "run_aarch64"]

_CODE_START = 0x10000
_RETURN_TO = 0x8000  # unmapped: the run ends before anything is fetched there
STACK_TOP = 0x800000
"""Stack pointer on entry."""
DATA_START = 0x1000000
"""Address of the first array."""
_PAGE = 0x1000
_IN_REGISTERS = 8
"""Integer arguments that come in registers."""


@dataclass
class Execution:
    """What an emulated call has done.

    Attributes
    ----------
    output : float32 array
        Of the call.
    addresses : list of int, optional
        Byte offset of each executed instruction in the code, if traced.
    accesses : list of (instruction, address, bytes, is_write), optional
        Memory accesses in order, with the index of the instruction in ``addresses``. The emulator
        moves at most 8 bytes at a time.
    keeps_saved : bool
        Whether x19 to x28, d8 to d15 and the stack pointer are as before, as the procedure call
        standard asks.
    """

    output: NDArray[np.float32]
    keeps_saved: bool = True
    addresses: list[int] = field(default_factory=list)
    accesses: list[tuple[int, int, int, bool]] = field(default_factory=list)


def _require(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        package = {"keystone": "keystone-engine"}.get(name, name)
        need = f"the package {package} (pip install 'hwsim[aarch64]')"
        raise InputError("AArch64 emulator", need, "none installed") from None


def assemble(kernel: Kernel) -> bytes:
    """Return the machine code of ``kernel``."""
    keystone = _require("keystone")
    assembler = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)
    lines = [f"{kernel.name}:", *select_aarch64(kernel).lines(lambda n: f"L{n}")]
    encoded, _ = assembler.asm("\n".join(lines))
    return bytes(encoded)


def run_aarch64(call: Call, *, is_traced: bool = False) -> Execution:
    """Run ``call`` in the emulator; with ``is_traced`` record every instruction and access."""
    unicorn, arm64 = _require("unicorn"), _require("unicorn.arm64_const")
    arena = Arena(call.arrays, DATA_START)
    code = assemble(call.kernel)
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.mem_map(_CODE_START, _whole_pages(len(code)))
    machine.mem_write(_CODE_START, code)
    machine.mem_map(STACK_TOP - _PAGE, 2 * _PAGE)
    machine.mem_map(DATA_START, _whole_pages(arena.end - DATA_START))
    machine.mem_write(DATA_START, bytes(arena.image()))
    for number, value in enumerate(call.values(arena.address)):
        if number < _IN_REGISTERS:
            machine.reg_write(arm64.UC_ARM64_REG_X0 + number, value)
        else:
            machine.mem_write(STACK_TOP + 8 * (number - _IN_REGISTERS), struct.pack("<q", value))
    for number, limit in enumerate(call.clamp_limits or ()):
        bits = struct.unpack("<I", struct.pack("<f", limit))[0]
        machine.reg_write(arm64.UC_ARM64_REG_S0 + number, bits)
    machine.reg_write(arm64.UC_ARM64_REG_SP, STACK_TOP)
    machine.reg_write(arm64.UC_ARM64_REG_LR, _RETURN_TO)
    execution = Execution(np.empty(0, np.float32))
    if is_traced:
        _trace(machine, unicorn, execution)
    saved = _saved_registers(machine, arm64)
    machine.emu_start(_CODE_START, _RETURN_TO)
    execution.keeps_saved = all(machine.reg_read(reg) == value for reg, value in saved.items())
    memory = bytes(machine.mem_read(DATA_START, arena.end - DATA_START))
    execution.output = arena.array(call.output, memory)
    return execution


def _saved_registers(machine: Any, arm64: Any) -> dict[int, int]:
    """Fill the callee-saved registers with numbers; return what they and the stack pointer hold."""
    names = [f"X{n}" for n in range(19, 29)] + [f"D{n}" for n in range(8, 16)]
    registers = [getattr(arm64, f"UC_ARM64_REG_{name}") for name in names]
    for number, register in enumerate(registers):
        machine.reg_write(register, 0x5EED0000 + number)
    return {reg: machine.reg_read(reg) for reg in [*registers, arm64.UC_ARM64_REG_SP]}


def _whole_pages(size: int) -> int:
    return size + -size % _PAGE


def _trace(machine: Any, unicorn: Any, execution: Execution) -> None:
    def on_instruction(_machine: Any, address: int, _size: int, _data: Any) -> None:
        execution.addresses.append(address - _CODE_START)

    def on_access(
        _machine: Any, kind: int, address: int, size: int, _value: int, _data: Any
    ) -> None:
        is_write = kind == unicorn.UC_MEM_WRITE
        at = len(execution.addresses) - 1
        execution.accesses.append((at, address, size, is_write))

    machine.hook_add(unicorn.UC_HOOK_CODE, on_instruction)
    machine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access)
