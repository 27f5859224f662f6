"""Lower a description to WebAssembly text: SIMD128, or with relaxed fused multiply-adds.

Every register becomes a local and every kernel one exported function of a module with one
exported memory; pointers are 32-bit. Prefetches do not exist and are left out. A value is spread to
all lanes as ``f32x4.splat (f32.load)``, which wasmtime turns into one broadcast from memory; of
``v128.load32_splat`` it makes a load, a move between register files and a shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwsim.cpu.microkernel.ir import If, Instr, Kernel, Loop, Node, Reg
from hwsim.cpu.microkernel.target import Target

__all__ = ["PAGE_BYTES", "REPEATED", "emit_module"]

PAGE_BYTES = 65536

REPEATED = "repeated_"
"""Before the name of a kernel: the function that calls it as often as its last argument says."""

_LOADS = {4: "v128.load", 2: "v128.load64_zero", 1: "v128.load32_zero"}
_BINARY = {"mul": "f32x4.mul", "add": "f32x4.add", "and": "v128.and"}
_INTEGER = {"add": "i32.add", "sub": "i32.sub", "mul": "i32.mul"}


def emit_module(
    kernels: Sequence[Kernel], target: Target, *, pages: int = 1, is_repeated: bool = False
) -> str:
    """Return the text of a module that exports ``kernels`` by name and ``memory``.

    With ``is_repeated`` it also exports, per kernel, the ``REPEATED`` function for timing.
    """
    functions = [_function(kernel, target) for kernel in kernels]
    if is_repeated:
        functions += map(_repeated, kernels)
    body = "\n".join(functions)
    return f'(module\n  (memory (export "memory") {pages})\n{body}\n)\n'


def _repeated(kernel: Kernel) -> str:
    passed = [f"$x{i}" for i in range(len(kernel.arguments))]
    passed += ["$low", "$high"] if kernel.uses_clamp else []
    values = " ".join(f"(local.get {name})" for name in passed)
    left = "(local.tee $times (i32.sub (local.get $times) (i32.const 1)))"
    return (
        f'  (func (export "{REPEATED}{kernel.name}"){_parameters(kernel)} (param $times i32)\n'
        f"    (if (local.get $times) (then (loop $again\n"
        f"      (call ${kernel.name} {values})\n"
        f"      (br_if $again {left})))))"
    )


def _parameters(kernel: Kernel) -> str:
    found = "".join(f" (param $x{i} i32)" for i in range(len(kernel.arguments)))
    return found + (" (param $low f32) (param $high f32)" if kernel.uses_clamp else "")


def _function(kernel: Kernel, target: Target) -> str:
    writer = _Writer(target)
    arguments = _parameters(kernel)
    scalars = "".join(f" (local $x{i} i32)" for i in range(len(kernel.arguments), kernel.integers))
    vectors = "".join(f" (local $v{i} v128)" for i in range(kernel.vectors))
    lines = [
        f'  (func ${kernel.name} (export "{kernel.name}"){arguments}',
        f"   {scalars}{vectors}",
    ]
    if kernel.uses_clamp:
        lines += [f"    {_put(f'v{i}', f'(f32x4.splat (local.get ${n}))')}" for i, n in _LIMITS]
    lines += [f"    {line}" for line in writer.block(kernel.body)]
    return "\n".join(lines) + "\n  )"


_LIMITS = ((0, "low"), (1, "high"))


def _get(reg: Reg) -> str:
    return f"(local.get ${reg})"


def _put(name: Reg | str, value: str) -> str:
    return f"(local.set ${name} {value})"


def _shuffle(a: Reg, b: Reg, lanes: Sequence[int]) -> str:
    """Return the lanes (0-3 of ``a``, 4-7 of ``b``) as a vector."""
    at = " ".join(str(4 * lane + byte) for lane in lanes for byte in range(4))
    return f"(i8x16.shuffle {at} {_get(a)} {_get(b)})"


_SHUFFLES = {
    "uzp1": (0, 2, 4, 6),
    "uzp2": (1, 3, 5, 7),
    "zip1": (0, 4, 1, 5),
    "zip2": (2, 6, 3, 7),
}


class _Writer:
    """Turn nodes into folded instructions, one per line."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.labels = 0

    def block(self, nodes: Sequence[Node]) -> Iterator[str]:
        """Yield the lines of a sequence of nodes."""
        for node in nodes:
            if isinstance(node, Loop):
                yield from self._loop(node)
            elif isinstance(node, If):
                yield from self._if(node)
            elif node.op != "prefetch":
                yield from self._instr(node)

    def _loop(self, node: Loop) -> Iterator[str]:
        self.labels += 1
        label = f"$l{self.labels}"
        counter, step = node.counter, f"(i32.const {node.step})"
        rest = f"(local.tee ${counter} (i32.sub {_get(counter)} {step}))"
        if node.until == "below":
            yield f"(if (i32.ge_u {_get(counter)} {step}) (then"
            rest = f"(i32.ge_u {rest} {step})"
        yield f"(loop {label}"
        for line in self.block(node.body):
            yield f"  {line}"
        yield f"  (br_if {label} {rest}))"
        if node.until == "below":
            yield "))"

    def _if(self, node: If) -> Iterator[str]:
        test = "i32.ge_u" if node.test == "at_least" else "i32.and"
        value = f"({test} {_get(node.reg)} (i32.const {node.imm}))"
        yield f"(if {f'(i32.eqz {value})' if node.test == 'clear' else value} (then"
        for line in self.block(node.body):
            yield f"  {line}"
        yield "))"

    def _instr(self, node: Instr) -> Iterator[str]:
        if node.op in _MEMORY:
            yield self._access(node)
            if node.post:
                base = node.src[-1]
                yield _put(base, f"(i32.add {_get(base)} (i32.const {node.post}))")
            return
        in_vectors = node.dst[0].file == "v"
        value = self._vector(node) if in_vectors else self._integer(node)
        yield _put(node.dst[0], value)

    def _access(self, node: Instr) -> str:
        at = f"offset={node.imm} {_get(node.src[-1])}"
        if node.op in ("load_u32", "load_s32"):
            return _put(node.dst[0], f"(i32.load {at})")
        if node.op == "load_dup":
            return _put(node.dst[0], f"(f32x4.splat (f32.load {at}))")
        if node.op == "load":
            return _put(node.dst[0], f"({_LOADS[node.lanes]} {at})")
        value = _get(node.src[0])
        at = f"offset={node.imm}"
        if node.op == "store_high":
            return f"(v128.store64_lane {at} 1 {_get(node.src[-1])} {value})"
        if node.lanes == 4:
            return f"(v128.store {at} {_get(node.src[-1])} {value})"
        return f"(v128.store{32 * node.lanes}_lane {at} 0 {_get(node.src[-1])} {value})"

    def _integer(self, node: Instr) -> str:
        if node.op == "const":
            return f"(i32.const {node.imm})"
        a = _get(node.src[0])
        if node.op == "mov":
            return a
        if node.op == "shift":
            direction = "shl" if node.imm >= 0 else "shr_u"
            return f"(i32.{direction} {a} (i32.const {abs(node.imm)}))"
        if node.op == "addi":
            return f"(i32.add {a} (i32.const {node.imm}))"
        if node.op == "select_lt":
            _, b, x, y = (_get(reg) for reg in node.src)
            return f"(select {a} {b} (i32.lt_u {x} {y}))"
        return f"({_INTEGER[node.op]} {a} {_get(node.src[1])})"

    def _vector(self, node: Instr) -> str:
        if node.op == "zero":
            return "(v128.const i32x4 0 0 0 0)"
        a = node.src[0]
        if node.op == "mov":
            return _get(a)
        if node.op == "dup_lane":
            return _shuffle(a, a, (node.imm,) * 4)
        b = node.src[1]
        if node.op == "fma":
            return self._multiply_add(node.dst[0], _get(a), _get(b))
        if node.op in ("fma_lane", "mul_lane"):
            factor = _shuffle(b, b, (node.imm,) * 4)
            if node.op == "mul_lane":
                return f"(f32x4.mul {_get(a)} {factor})"
            return self._multiply_add(node.dst[0], _get(a), factor)
        if node.op == "ext":
            return _shuffle(a, b, range(node.imm, node.imm + 4))
        if node.op in _SHUFFLES:
            return _shuffle(a, b, _SHUFFLES[node.op])
        if node.op == "addp":
            even, odd = (_shuffle(a, b, _SHUFFLES[name]) for name in ("uzp1", "uzp2"))
            return f"(f32x4.add {even} {odd})"
        if node.op in ("min", "max"):  # the operand order is that of x86's minps and maxps
            return f"(f32x4.p{node.op} {_get(b)} {_get(a)})"
        return f"({_BINARY[node.op]} {_get(a)} {_get(b)})"

    def _multiply_add(self, total: Reg, a: str, b: str) -> str:
        if self.target.has_fma:
            return f"(f32x4.relaxed_madd {a} {b} {_get(total)})"
        return f"(f32x4.add {_get(total)} (f32x4.mul {a} {b}))"


_MEMORY = ("load", "load_dup", "load_u32", "load_s32", "store", "store_high")
