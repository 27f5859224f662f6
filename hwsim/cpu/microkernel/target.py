"""Say what an instruction set offers a micro-kernel: registers, fused adds, lane operands."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.core.errors import MappingError, unknown_name

__all__ = ["AARCH64", "TARGETS", "WASM", "WASM_RELAXED", "Target", "find_target"]


@dataclass(frozen=True)
class Target:
    """An instruction set as a micro-kernel's description sees it.

    Attributes
    ----------
    name : str
        As on the command line.
    vector_registers, integer_registers : int
        What code may hold without spilling. WebAssembly has locals without number; its vector
        registers are those of the x86-64 host (16 XMM), and its integers are not counted (0).
    has_fma : bool
        Multiply-add with one rounding; otherwise a product is rounded before it is added.
    has_lane_operand : bool
        One factor of a multiply-add can be one lane of a register.
    has_prefetch : bool
        There is a prefetch instruction; otherwise prefetches are left out.
    spills : bool
        An engine below assigns registers and can spill; else too many registers are an error.
    """

    name: str
    vector_registers: int
    integer_registers: int
    has_fma: bool
    has_lane_operand: bool
    has_prefetch: bool
    spills: bool

    def check(self, kernel: str, vectors: int, integers: int) -> None:
        """Raise :class:`MappingError` if a kernel needs more registers than there are."""
        if vectors > self.vector_registers:
            resource = f"kernel {kernel} on {self.name}"
            raise MappingError(resource, vectors, self.vector_registers, "vector registers")
        if self.integer_registers and integers > self.integer_registers:
            resource = f"kernel {kernel} on {self.name}"
            raise MappingError(resource, integers, self.integer_registers, "integer registers")


AARCH64 = Target(
    "aarch64",
    vector_registers=32,
    integer_registers=28,  # x0 to x28 without x18, which platforms reserve
    has_fma=True,
    has_lane_operand=True,
    has_prefetch=True,
    spills=False,
)
WASM = Target(
    "wasm",
    vector_registers=16,
    integer_registers=0,
    has_fma=False,
    has_lane_operand=False,
    has_prefetch=False,
    spills=True,
)
WASM_RELAXED = Target(
    "wasm-relaxed",
    vector_registers=16,
    integer_registers=0,
    has_fma=True,
    has_lane_operand=False,
    has_prefetch=False,
    spills=True,
)
TARGETS = {target.name: target for target in (AARCH64, WASM, WASM_RELAXED)}


def find_target(name: str) -> Target:
    """Return the target called ``name``; raise :class:`InputError` with the known ones."""
    if name not in TARGETS:
        raise unknown_name("--target", name, TARGETS)
    return TARGETS[name]
