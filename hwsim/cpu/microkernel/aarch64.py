"""Lower a description to AArch64 with NEON.

Registers follow the procedure call standard (AAPCS64): integer arguments in x0 to x7, further ones
on the stack, limits of the clamp in s0 and s1; x18 is left alone; x19 to x28 and the low halves of
v8 to v15 are saved if used. Two adjacent 16-byte accesses become one load or store pair.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.core.units import ceil_div
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
from hwsim.cpu.microkernel.target import AARCH64

__all__ = ["assembly", "select_aarch64"]

_GENERAL = 32
_ARGUMENTS = 8
"""Integer arguments in registers."""
_VECTORS = (*range(8), *range(16, 32), *range(8, 16))
_INTEGERS = (*range(18), *range(19, 29))
_SAVED_INTEGERS = range(19, 29)
_SAVED_VECTORS = range(8, 16)

_CLASS = {
    "add": "fadd_q",
    "mul": "fmul_q",
    "mul_lane": "fmul_q",
    "min": "fminmax_q",
    "max": "fminmax_q",
    "addp": "reduce_q",
    "uzp1": "permute_q",
    "uzp2": "permute_q",
    "zip1": "permute_q",
    "zip2": "permute_q",
}
_MNEMONIC = {
    "fma": "fmla",
    "fma_lane": "fmla",
    "mul": "fmul",
    "mul_lane": "fmul",
    "add": "fadd",
    "min": "fmin",
    "max": "fmax",
    "addp": "faddp",
}


def select_aarch64(kernel: Kernel) -> MachineCode:
    """Return the machine code of ``kernel``.

    Raises
    ------
    MappingError
        If it needs more registers than there are.
    """
    AARCH64.check(kernel.name, kernel.vectors, kernel.integers)
    body = _nodes(kernel.body)
    saves = _saved(kernel)
    enter, leave = _frame(saves)
    done = MachineInstr("ret", "branch")
    return MachineCode(kernel, (*enter, *_arguments(kernel, saves), *body, *leave, done))


def assembly(kernel: Kernel) -> str:
    """Return the assembly text of ``kernel`` as one global function."""
    lines = select_aarch64(kernel).lines(lambda n: f".L{kernel.name}_{n}")
    arguments = ", ".join(
        f"x{i} {name}" if i < _ARGUMENTS else f"stack {name}"
        for i, name in enumerate(kernel.arguments)
    )
    limits = ", s0 lower and s1 upper limit" if kernel.uses_clamp else ""
    head = [f"// {kernel.name}: {arguments}{limits}", "    .text", f"    .global {kernel.name}"]
    return "\n".join([*head, f"{kernel.name}:", *lines]) + "\n"


def _number(reg: Reg) -> int:
    """Return the machine's number of a register."""
    if reg == STACK:
        return 31
    return _VECTORS[reg.number] if reg.file == "v" else _INTEGERS[reg.number]


def _id(reg: Reg) -> int:
    """Return the number of a register in the micro-op form."""
    return _number(reg) + (_GENERAL if reg.file == "x" else 0)


def _x(reg: Reg) -> str:
    return "sp" if reg == STACK else f"x{_number(reg)}"


# Entry and exit


def _saved(kernel: Kernel) -> list[tuple[str, int]]:
    """Return the callee-saved registers in use: (d8, v8's id), … then (x19, its id), …."""
    vectors = sorted(set(_VECTORS[: kernel.vectors]) & set(_SAVED_VECTORS))
    integers = sorted(set(_INTEGERS[: kernel.integers]) & set(_SAVED_INTEGERS))
    return [(f"d{n}", n) for n in vectors] + [(f"x{n}", n + _GENERAL) for n in integers]


def _frame(saves: list[tuple[str, int]]) -> tuple[list[MachineInstr], list[MachineInstr]]:
    """Return the instructions that save and restore registers on the stack."""
    if not saves:
        return [], []
    size = _frame_bytes(saves)
    stack = _GENERAL + 31

    def move(sign: int) -> MachineInstr:
        effect = Effect("step", STACK, STACK, imm=sign * size)
        verb = "add" if sign > 0 else "sub"
        return MachineInstr(f"{verb} sp, sp, #{size}", "alu", (stack,), (stack,), None, (effect,))

    enter, leave = [move(-1)], []
    for slot, (name, register) in enumerate(saves):
        access = Access(STACK, 8 * slot, 8)
        kind = "s" if name[0] == "d" else "x"
        place = f"[sp, #{8 * slot}]"
        enter.append(
            MachineInstr(f"str {name}, {place}", f"store_{kind}", (), (register, stack), access)
        )
        leave.append(
            MachineInstr(f"ldr {name}, {place}", f"load_{kind}", (register,), (stack,), access)
        )
    return enter, [*leave, move(1)]


def _frame_bytes(saves: list[tuple[str, int]]) -> int:
    return 16 * ceil_div(len(saves), 2)


def _arguments(kernel: Kernel, saves: list[tuple[str, int]]) -> list[MachineInstr]:
    """Return the loads of the arguments that come on the stack, above the frame."""
    loads = []
    for number in range(_ARGUMENTS, len(kernel.arguments)):
        at = _frame_bytes(saves) + 8 * (number - _ARGUMENTS)
        register = Reg("x", number)
        text = f"ldr {_x(register)}, [sp, #{at}]"
        access = Access(STACK, at, 8)
        loads.append(
            MachineInstr(text, "load_x", (_id(register),), (_GENERAL + STACK.number,), access)
        )
    return loads


# Control flow


def _nodes(nodes: Sequence[Node]) -> tuple[MachineNode, ...]:
    out: list[MachineNode] = []
    position = 0
    while position < len(nodes):
        node = nodes[position]
        following = nodes[position + 1] if position + 1 < len(nodes) else None
        if isinstance(node, Instr) and isinstance(following, Instr) and _pairs(node, following):
            out.append(_pair(node, following))
            position += 2
            continue
        if isinstance(node, Loop):
            out.append(_loop(node))
        elif isinstance(node, If):
            out.append(_condition(node))
        else:
            out += _select(node)
        position += 1
    return tuple(out)


def _take(counter: Reg, step: int) -> MachineInstr:
    x, register = _x(counter), _id(counter)
    effect = Effect("step", counter, counter, imm=-step)
    return MachineInstr(f"subs {x}, {x}, #{step}", "alu", (register,), (register,), None, (effect,))


def _branch(text: str, reg: Reg) -> MachineInstr:
    return MachineInstr(text, "branch", (), (_id(reg),))


def _loop(node: Loop) -> Counted:
    counter, step = node.counter, node.step
    take = _take(counter, step)
    body = _nodes(node.body)
    if node.until == "zero":
        back = _branch("b.ne {label}", counter)
        return Counted(counter, step, node.until, (), body, (take, back), ())
    head = (take, _branch("b.lo {label}", counter))
    tail = (take, _branch("b.hs {label}", counter))
    x, register = _x(counter), _id(counter)
    effect = Effect("step", counter, counter, imm=step)
    after = MachineInstr(f"add {x}, {x}, #{step}", "alu", (register,), (register,), None, (effect,))
    return Counted(counter, step, node.until, head, body, tail, (after,))


def _condition(node: If) -> Condition:
    x = _x(node.reg)
    if node.test == "bit":
        head = (_branch(f"tbz {x}, #{node.imm.bit_length() - 1}, {{label}}", node.reg),)
    elif node.test == "clear":
        test = MachineInstr(f"tst {x}, #{node.imm}", "alu", (), (_id(node.reg),))
        head = (test, _branch("b.ne {label}", node.reg))
    elif node.imm == 1:
        head = (_branch(f"cbz {x}, {{label}}", node.reg),)
    else:
        compare = MachineInstr(f"cmp {x}, #{node.imm}", "alu", (), (_id(node.reg),))
        head = (compare, _branch("b.lo {label}", node.reg))
    return Condition(node.reg, node.test, node.imm, head, _nodes(node.body))


# Instructions


def _pairs(first: Instr, second: Instr) -> bool:
    """Return whether two accesses become one load pair or store pair."""
    if first.op != second.op or first.op not in ("load", "store"):
        return False
    is_whole = first.lanes == second.lanes == 4 and not first.post and not second.post
    same_base = first.src[-1] == second.src[-1]
    fits = first.imm % 16 == 0 and -1024 <= first.imm <= 1008
    distinct = first.op == "store" or first.dst != second.dst
    return is_whole and same_base and fits and distinct and second.imm == first.imm + 16


def _pair(first: Instr, second: Instr) -> MachineInstr:
    base = first.src[-1]
    place = f"[{_x(base)}, #{first.imm}]"
    access = Access(base, first.imm, 32)
    if first.op == "load":
        regs = (*first.dst, *second.dst)
        names = ", ".join(f"q{_number(reg)}" for reg in regs)
        dst = tuple(map(_id, regs))
        return MachineInstr(f"ldp {names}, {place}", "load_pair_q", dst, (_id(base),), access)
    regs = (first.src[0], second.src[0])
    names = ", ".join(f"q{_number(reg)}" for reg in regs)
    src = (*map(_id, regs), _id(base))
    return MachineInstr(f"stp {names}, {place}", "store_pair_q", (), src, access)


def _select(node: Instr) -> list[MachineInstr]:
    if node.op in ("load", "load_dup", "load_u32", "load_s32", "store", "store_high", "prefetch"):
        return [_memory(node)]
    if node.dst[0].file == "x":
        return _integer(node)
    return [_vector(node)]


def _memory(node: Instr) -> MachineInstr:
    base = node.src[-1]
    name, opcode, size = _transfer(node)
    access = Access(base, node.imm, size)
    place, effects = f"[{_x(base)}]", ()
    if node.post:
        place += f", #{node.post}"
        effects = (Effect("step", base, base, imm=node.post),)
    elif node.imm:
        place = f"[{_x(base)}, #{node.imm}]"
    if node.op == "prefetch":
        return MachineInstr(f"prfm pldl1keep, {place}", opcode, (), (_id(base),), access)
    if node.op in ("store", "store_high"):
        src = (_id(node.src[0]), _id(base))
        src = (src[1], src[0]) if node.post else src
        return MachineInstr(
            f"{name}, {place}", opcode, (), src, access, effects, has_write_back=bool(node.post)
        )
    if node.op in ("load_u32", "load_s32"):
        effects = (Effect("data", node.dst[0], base), *effects)
    return MachineInstr(
        f"{name}, {place}",
        opcode,
        (_id(node.dst[0]),),
        (_id(base),),
        access,
        effects,
        has_write_back=bool(node.post),
    )


def _transfer(node: Instr) -> tuple[str, str, int]:
    """Return mnemonic with register, class and bytes of a memory instruction."""
    if node.op == "prefetch":
        return "", "prefetch", 1  # the line that holds the address
    reg = _number(node.dst[0] if node.dst else node.src[0])
    if node.op == "load_u32":
        return f"ldr w{reg}", "load_x", 4
    if node.op == "load_s32":
        return f"ldrsw x{reg}", "load_x", 4
    if node.op in ("load_dup", "store_high") and node.imm:
        raise ValueError(f"{node.op} has no offset on AArch64")
    if node.op == "load_dup":
        return f"ld1r {{v{reg}.4s}}".replace("{", "{{").replace("}", "}}"), "load_dup", 4
    if node.op == "store_high":
        return f"st1 {{{{v{reg}.d}}}}[1]", "store_lane", 8
    verb = "ldr" if node.op == "load" else "str"
    width = {4: "q", 2: "d", 1: "s"}[node.lanes]
    size = 4 * node.lanes
    if node.imm % size or node.imm < 0:
        verb = "ldur" if node.op == "load" else "stur"
    return f"{verb} {width}{reg}", f"{node.op}_{'q' if width == 'q' else 's'}", size


def _integer(node: Instr) -> list[MachineInstr]:
    dst = node.dst[0]
    if node.op == "const":
        effect = Effect("const", dst, dst, imm=node.imm)
        text = f"mov {_x(dst)}, #{node.imm}"
        return [MachineInstr(text, "alu", (_id(dst),), (), None, (effect,))]
    a = node.src[0]
    ids = tuple(map(_id, node.src))
    names = [_x(reg) for reg in (dst, *node.src)]
    if node.op == "mov":
        effect = Effect("set", dst, a)
        return [
            MachineInstr(f"mov {names[0]}, {names[1]}", "alu", (_id(dst),), ids, None, (effect,))
        ]
    if node.op == "addi":
        if abs(node.imm) > 4095:
            raise ValueError(f"addi of {node.imm} does not fit an immediate of 12 bits")
        verb = "add" if node.imm >= 0 else "sub"
        text = f"{verb} {names[0]}, {names[1]}, #{abs(node.imm)}"
        effect = Effect("step", dst, a, imm=node.imm)
        return [MachineInstr(text, "alu", (_id(dst),), ids, None, (effect,))]
    if node.op == "shift":
        verb = "lsl" if node.imm >= 0 else "lsr"
        text = f"{verb} {names[0]}, {names[1]}, #{abs(node.imm)}"
        effect = Effect("shift", dst, a, imm=node.imm)
        return [MachineInstr(text, "alu", (_id(dst),), ids, None, (effect,))]
    if node.op == "select_lt":
        compare = MachineInstr(f"cmp {names[3]}, {names[4]}", "alu", (), ids[2:])
        effect = Effect("select", dst, a, node.src[1], test=(node.src[2], node.src[3]))
        text = f"csel {names[0]}, {names[1]}, {names[2]}, lo"
        # The flags have no register of their own: the select waits for what was compared.
        return [compare, MachineInstr(text, "alu", (_id(dst),), ids, None, (effect,))]
    text = f"{node.op} {', '.join(names)}"
    effect = Effect(node.op, dst, a, node.src[1])
    opcode = "multiply" if node.op == "mul" else "alu"
    return [MachineInstr(text, opcode, (_id(dst),), ids, None, (effect,))]


def _vector(node: Instr) -> MachineInstr:
    dst = _number(node.dst[0])
    regs = [_number(reg) for reg in node.src]
    ids = tuple(map(_id, node.src))
    written = (_id(node.dst[0]),)
    shape = "2s" if node.lanes < 4 else "4s"
    opcode = _CLASS.get(node.op, "move_q")
    lanes = 2 if node.lanes < 4 else 4
    if node.op in ("fma", "fma_lane"):
        factor = f"v{regs[1]}.s[{node.imm}]" if node.op == "fma_lane" else f"v{regs[1]}.{shape}"
        text = f"fmla v{dst}.{shape}, v{regs[0]}.{shape}, {factor}"
        opcode = "fma_q" if lanes == 4 else "fma_s"
        return MachineInstr(text, opcode, written, (*written, *ids), macs=lanes)
    if node.op == "mov":
        return MachineInstr(f"mov v{dst}.16b, v{regs[0]}.16b", opcode, written, ids)
    if node.op == "zero":
        return MachineInstr(f"movi v{dst}.4s, #0", opcode, written)
    if node.op == "dup_lane":
        return MachineInstr(f"dup v{dst}.4s, v{regs[0]}.s[{node.imm}]", opcode, written, ids)
    if node.op == "and":
        text = f"and v{dst}.16b, v{regs[0]}.16b, v{regs[1]}.16b"
        return MachineInstr(text, opcode, written, ids)
    if node.op == "ext":
        text = f"ext v{dst}.16b, v{regs[0]}.16b, v{regs[1]}.16b, #{4 * node.imm}"
        return MachineInstr(text, opcode, written, ids)
    if node.op == "mul_lane":
        text = f"fmul v{dst}.{shape}, v{regs[0]}.{shape}, v{regs[1]}.s[{node.imm}]"
        return MachineInstr(text, opcode, written, ids)
    verb = _MNEMONIC.get(node.op, node.op)
    text = f"{verb} v{dst}.{shape}, v{regs[0]}.{shape}, v{regs[1]}.{shape}"
    macs = lanes if node.op == "mul" else 0  # the first product of a sum, onto nothing
    return MachineInstr(text, opcode, written, ids, macs=macs)
