"""Read the AArch64 text of one loop as micro-ops: what a compiler or somebody else has written.

The text is the body of a loop, its branch back included, as llvm-mca takes it. Addresses stay
unknown, so the loop can only be timed with every access in the L1. Instructions without a class in
:data:`hwsim.cpu.isa.OPCODES` are refused.
"""

from __future__ import annotations

import re

from hwsim.core.errors import InputError
from hwsim.cpu.isa import GENERAL, UopBuilder, UopKernel

__all__ = ["read_loop"]

_FLAGS = GENERAL + 30
"""Register that the condition flags are kept in; the text may not use x30."""
_ZERO = re.compile(r"[wx]zr")
_REGISTER = re.compile(r"([wxvqds])(\d+)(?:\.(\d*[sdb])(?:\[\d+\])?)?")

_ALU = frozenset(
    ("add", "adds", "sub", "subs", "cmp", "cmn", "mov", "and", "ands", "orr", "eor", "bic", "lsl")
    + ("lsr", "asr", "sxtw", "uxtw", "ubfx", "sbfx", "csel", "cset", "neg", "tst", "movz", "movk")
)
_SETS_FLAGS = frozenset(("adds", "subs", "ands", "cmp", "cmn", "tst"))
_READS_FLAGS = frozenset(("csel", "cset"))
_NO_RESULT = frozenset(("cmp", "cmn", "tst"))
_VECTOR = {
    **dict.fromkeys(("fadd", "fsub"), "fadd_q"),
    **dict.fromkeys(("fmul",), "fmul_q"),
    **dict.fromkeys(("fmin", "fmax", "fminnm", "fmaxnm"), "fminmax_q"),
    **dict.fromkeys(("fdiv",), "fdiv_q"),
    **dict.fromkeys(("fcvtzs", "fcvtns", "frintn"), "convert_q"),
    **dict.fromkeys(("mov", "and", "orr", "eor", "movi", "ext", "dup", "shl"), "move_q"),
    **dict.fromkeys(("zip1", "zip2", "uzp1", "uzp2", "trn1", "trn2"), "permute_q"),
    **dict.fromkeys(("faddp",), "reduce_q"),
}
_MEMORY = ("ld", "st", "prf")


def read_loop(text: str, trips: int, name: str = "loop") -> UopKernel:
    """Return ``trips`` turns of the loop of ``text``, with one pointer, ``memory``.

    Labels, comments and directives are skipped.

    Raises
    ------
    InputError
        If the text is empty, or naming the line that is not understood.
    """
    builder = UopBuilder(name)
    count = 0
    with builder.loop(trips):
        for number, line in enumerate(text.splitlines(), 1):
            words = re.sub(r"(//|;|@).*", "", line).split(None, 1)
            if not words or words[0].endswith(":") or words[0].startswith("."):
                continue
            operands = words[1].strip() if len(words) > 1 else ""
            _Line(builder, f"{name}:{number}", words[0].lower(), operands.lower()).emit()
            count += 1
    if not count:
        raise InputError(name, "the instructions of a loop", "none")
    return builder.build()


class _Line:
    """One instruction."""

    def __init__(self, builder: UopBuilder, place: str, verb: str, operands: str) -> None:
        self.builder, self.place, self.verb, self.operands = builder, place, verb, operands
        self.address = re.search(r"\[(\w+)(?:,\s*(.*?))?\]\s*(!|,\s*#-?\w+)?\s*$", operands)
        is_memory = verb.startswith(_MEMORY)
        values = operands[: self.address.start()] if is_memory and self.address else operands
        self.registers = [self._register(m) for m in _REGISTER.finditer(_ZERO.sub("", values))]
        self.files = "".join(m[1] for m in _REGISTER.finditer(values))
        self.shapes = [m[3] or "" for m in _REGISTER.finditer(values)]

    def _register(self, match: re.Match[str]) -> int:
        number, is_vector = int(match[2]), match[1] in "vqds"
        if number > (31 if is_vector else 29):
            raise self._error("registers v0 to v31 and x0 to x29")
        return number if is_vector else GENERAL + number

    def _error(self, need: str) -> InputError:
        return InputError(self.place, need, f"{self.verb} {self.operands}".strip())

    def emit(self) -> None:
        """Append the instruction's row."""
        is_branch = self.verb.startswith("b.") or self.verb in ("cbz", "cbnz", "tbz", "tbnz")
        if is_branch:
            self.builder.op("branch", (), tuple(self.registers) or (_FLAGS,))
        elif self.verb.startswith(_MEMORY):
            self._memory()
        elif self.registers and self.files[0] in "vqds":
            self._vector()
        else:
            self._integer()

    def _memory(self) -> None:
        if self.address is None:
            raise self._error("an address in brackets")
        base = self._base(self.address[1])
        if self.address[2] and not self.address[2].startswith(("#", "-")):
            raise self._error("an address of a register and a constant")
        stepped = self.address[3] is not None
        opcode = self._access()
        is_load = self.verb.startswith("ld")
        values = tuple(self.registers)
        if len(values) > 2:
            raise self._error("at most two registers")
        src = (base,) if is_load else ((base, *values) if stepped else (*values, base))
        dst = values if is_load else ()
        if opcode == "load_lane":
            src = (base, *values)
        self.builder.op(
            opcode, dst, src, pointer="memory", size=16, has_write_back=stepped
        )  # fmt: skip

    def _base(self, name: str) -> int:
        match = re.fullmatch(r"x(\d+)", name)
        if name != "sp" and (match is None or int(match[1]) > 29):
            raise self._error("an address register x0 to x29 or sp")
        return GENERAL + (31 if match is None else int(match[1]))

    def _access(self) -> str:
        """Return the class of a memory instruction."""
        verb, files = self.verb.removesuffix("p"), self.files
        if self.verb in ("prfm", "prfum"):
            return "prefetch"
        is_lane = "{" in self.operands and re.search(r"\}\s*\[\d+\]", self.operands) is not None
        if self.verb == "ld1r":
            return "load_dup"
        if self.verb in ("ld1", "st1") and files == "v":
            way = "load" if self.verb == "ld1" else "store"
            return f"{way}_{'lane' if is_lane else 'q'}"
        single = {"q": "q", "d": "s", "s": "s", "w": "x", "x": "x"}
        if self.verb in ("ldr", "ldur", "ldrsw", "ldursw") and files in single:
            return f"load_{single[files]}"
        if self.verb in ("str", "stur") and files in single:
            return f"store_{single[files]}"
        if self.verb == "ldpsw" and files == "xx":
            return "load_pair_sx"
        pairs = {("ld", "qq"): "load_pair_q", ("ld", "ww"): "load_pair_x"}
        pairs[("st", "qq")] = "store_pair_q"
        if self.verb in ("ldp", "stp") and (verb, files) in pairs:
            return pairs[verb, files]
        raise self._error("a load, store or prefetch that has a class")

    def _vector(self) -> None:
        dst, *src = self.registers
        if self.verb in ("fmla", "fmls", "fmadd"):
            few = self.shapes[0] != "4s"
            src = src if self.verb != "fmadd" else src[:2]
            self.builder.op("fma_s" if few else "fma_q", (dst,), (dst, *src), macs=2 if few else 4)
            return
        opcode = _VECTOR.get(self.verb)
        if self.verb == "dup" and self.files[1:] in ("w", "x"):
            opcode = "dup_x"
        if opcode is None or len(src) > 3:
            raise self._error("a vector instruction that has a class")
        self.builder.op(opcode, (dst,), tuple(src))

    def _integer(self) -> None:
        if self.verb in ("mul", "madd"):
            self.builder.op("multiply", self._split()[0], self._split()[1])
            return
        if self.verb not in _ALU:
            raise self._error("an instruction that has a class")
        dst, src = self._split()
        is_extended = re.search(r",\s*(lsl|lsr|asr|[su]xt[wbhx])\b", self.operands) is not None
        is_shifted = is_extended and len(self.registers) == (2 if self.verb in _NO_RESULT else 3)
        if self.verb in _READS_FLAGS:
            src = (*src, _FLAGS)
        if self.verb in _SETS_FLAGS:
            dst = (*dst, _FLAGS)
        self.builder.op("alu_extend" if is_shifted else "alu", dst, src)

    def _split(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return registers written and read."""
        if self.verb in _NO_RESULT:
            return (), tuple(self.registers)
        return tuple(self.registers[:1]), tuple(self.registers[1:])
