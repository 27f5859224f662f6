"""Lower a description to the x86-64 code that a WebAssembly engine makes of it, for the simulator.

Nothing here is executed: the engine compiles the text of :mod:`~hwsim.cpu.microkernel.wasm` itself.
Taken as such code: one instruction per WebAssembly operation, three-operand form, a comparison
fused with its branch, addresses of base and offset without a check (guard pages). Vectors beyond
the registers of the host live on the stack, those with the highest numbers first, each use a load
and each result a store. General-purpose registers are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwsim.core.errors import MappingError
from hwsim.cpu.microkernel.ir import If, Instr, Kernel, Loop, Node, Reg
from hwsim.cpu.microkernel.machine_code import (
    STACK,
    Access,
    Condition,
    Counted,
    Effect,
    MachineCode,
    MachineInstr,
    MachineNode,
)

__all__ = ["select_x86"]

_GENERAL = 32
_SCRATCH = 3
"""Registers that operands and results on the stack pass through."""

_SPLAT = 31
"""Where a lane is spread to all lanes; its own name, for the host renames registers."""

_LOADS = {"load_u32": "load_x", "load_s32": "load_x", "load_dup": "load_dup"}
_CLASS = {
    "add": "fadd_q",
    "mul": "fmul_q",
    "min": "fminmax_q",
    "max": "fminmax_q",
    "ext": "permute_q",
    "uzp1": "permute_q",
    "uzp2": "permute_q",
    "zip1": "permute_q",
    "zip2": "permute_q",
    "dup_lane": "permute_q",
}


def select_x86(kernel: Kernel, vectors: int = 16) -> MachineCode:
    """Return the code of ``kernel`` on a host of ``vectors`` vector registers.

    Raises
    ------
    MappingError
        If there are too few registers to hold the operands of one instruction.
    """
    if vectors <= _SCRATCH:
        raise MappingError(f"kernel {kernel.name}", _SCRATCH + 1, vectors, "vector registers")
    spilled = kernel.vectors > vectors
    return MachineCode(kernel, _Selector(vectors - _SCRATCH if spilled else vectors).run(kernel))


class _Selector:
    """Turn nodes into instructions; vectors from number ``resident`` on live on the stack."""

    def __init__(self, resident: int) -> None:
        self.resident = resident

    def run(self, kernel: Kernel) -> tuple[MachineNode, ...]:
        """Return the code of a whole kernel."""
        return (*self.nodes(kernel.body), MachineInstr("ret", "branch"))

    def nodes(self, nodes: Sequence[Node]) -> tuple[MachineNode, ...]:
        """Return the code of a sequence of nodes."""
        out: list[MachineNode] = []
        for node in nodes:
            if isinstance(node, Loop):
                out.append(self._loop(node))
            elif isinstance(node, If):
                out.append(self._condition(node))
            else:
                out += self._instr(node)
        return tuple(out)

    def _loop(self, node: Loop) -> Counted:
        counter, x = node.counter, str(node.counter)
        take = _integer(f"sub {x}, {node.step}", (counter,), (counter,), "step", imm=-node.step)
        body = self.nodes(node.body)
        if node.until == "zero":
            tail = (take, _branch("jnz {label}", counter))
            return Counted(counter, node.step, node.until, (), body, tail, ())
        test = f"cmp {x}, {node.step}; "
        head = (_branch(test + "jb {label}", counter),)
        tail = (take, _branch(test + "jae {label}", counter))
        return Counted(counter, node.step, node.until, head, body, tail, ())

    def _condition(self, node: If) -> Condition:
        verb, jump = {"bit": ("test", "jz"), "clear": ("test", "jnz")}.get(node.test, ("cmp", "jb"))
        head = (_branch(f"{verb} {node.reg}, {node.imm}; {jump} {{label}}", node.reg),)
        return Condition(node.reg, node.test, node.imm, head, self.nodes(node.body))

    def _instr(self, node: Instr) -> list[MachineInstr]:
        if node.op == "prefetch":
            return []
        is_access = node.op in (*_LOADS, "load", "store", "store_high")
        if not is_access and node.dst[0].file == "x":
            return [_select_integer(node)]
        reads = [*node.src, *node.dst] if node.op.startswith("fma") else [*node.src]
        on_stack = dict.fromkeys(
            reg for reg in (*reads, *node.dst) if reg.file == "v" and reg.number >= self.resident
        )
        place = {reg: self.resident + turn for turn, reg in enumerate(on_stack)}
        before = [_spill("load", reg, place[reg]) for reg in on_stack if reg in reads]
        after = [_spill("store", reg, place[reg]) for reg in on_stack if reg in node.dst]
        select = _access if is_access else _vector
        return [*before, *select(node, place), *after]


def _id(reg: Reg, place: dict[Reg, int]) -> int:
    if reg == STACK:
        return _GENERAL + STACK.number
    return reg.number + _GENERAL if reg.file == "x" else place.get(reg, reg.number)


def _spill(way: str, reg: Reg, register: int) -> MachineInstr:
    stack = _GENERAL + STACK.number
    access = Access(STACK, -16 * (1 + reg.number), 16)
    text = f"{way} xmm{register}, [rsp - {16 * (1 + reg.number)}]"
    if way == "load":
        return MachineInstr(text, "load_q", (register,), (stack,), access)
    return MachineInstr(text, "store_q", (), (register, stack), access)


def _branch(text: str, reg: Reg) -> MachineInstr:
    return MachineInstr(text, "branch", (), (_GENERAL + reg.number,))


def _integer(
    text: str,
    dst: tuple[Reg],
    src: tuple[Reg, ...],
    op: str,
    *,
    imm: int = 0,
    test: tuple[Reg, Reg] | None = None,
) -> MachineInstr:
    source, other = (src[0] if src else dst[0]), (src[1] if len(src) > 1 else None)
    effect = Effect(op, dst[0], source, other, imm, test)
    ids = tuple(_GENERAL + reg.number for reg in (*src, *(test or ())))
    opcode = "multiply" if op == "mul" else "alu"
    return MachineInstr(text, opcode, (_GENERAL + dst[0].number,), ids, None, (effect,))


def _select_integer(node: Instr) -> MachineInstr:
    effect = {"mov": "set", "addi": "step", "select_lt": "select"}.get(node.op, node.op)
    dst = (node.dst[0],)
    text = f"{node.op} {', '.join(map(str, (*dst, *node.src)))}, {node.imm}"
    if node.op == "select_lt":
        return _integer(text, dst, node.src[:2], effect, test=(node.src[2], node.src[3]))
    return _integer(text, dst, node.src, effect, imm=node.imm)


def _access(node: Instr, place: dict[Reg, int]) -> list[MachineInstr]:
    base = node.src[-1]
    access = Access(base, node.imm, 4 if node.op in _LOADS else 4 * node.lanes)
    text = f"{node.op} {(*node.dst, *node.src)[0]}, [{base} + {node.imm}]"
    ids = tuple(_id(reg, place) for reg in node.src)
    width = "q" if node.lanes == 4 else "s"
    if node.op.startswith("store"):
        opcode = "store_lane" if node.op == "store_high" else f"store_{width}"
        found = MachineInstr(text, opcode, (), ids, access)
    else:
        is_data = node.op in ("load_u32", "load_s32")
        effects = (Effect("data", node.dst[0], base),) if is_data else ()
        opcode = _LOADS.get(node.op, f"load_{width}")
        written = (_id(node.dst[0], place),)
        found = MachineInstr(text, opcode, written, ids, access, effects)
    if not node.post:
        return [found]
    return [found, _integer(f"add {base}, {node.post}", (base,), (base,), "step", imm=node.post)]


def _vector(node: Instr, place: dict[Reg, int]) -> list[MachineInstr]:
    dst = (_id(node.dst[0], place),)
    ids = tuple(_id(reg, place) for reg in node.src)
    text = f"{node.op} {', '.join(f'xmm{n}' for n in (*dst, *ids))}, {node.imm}"
    lanes = 2 if node.lanes < 4 else 4
    if node.op in ("fma", "fma_lane"):
        opcode = "fma_q" if lanes == 4 else "fma_s"
        found = MachineInstr(text, opcode, dst, (*dst, *ids), macs=lanes)
        if node.op == "fma":
            return [found]
        splat = MachineInstr(f"splat of lane {node.imm}", "permute_q", (_SPLAT,), ids[1:])
        return [splat, replace(found, src=(*dst, ids[0], _SPLAT))]
    shuffle = MachineInstr(text, "permute_q", dst, ids)
    if node.op == "addp":
        return [shuffle, shuffle, MachineInstr(text, "fadd_q", dst, dst)]
    if node.op == "mul_lane":
        return [shuffle, MachineInstr(text, "fmul_q", dst, (*dst, ids[0]))]
    macs = lanes if node.op == "mul" else 0  # the first product of a sum, onto nothing
    return [MachineInstr(text, _CLASS.get(node.op, "move_q"), dst, ids, macs=macs)]
