"""Number the instructions of a thread; :mod:`hwsim.piuma.isa` says what they do."""

from __future__ import annotations

__all__ = ["DMA_OPERATIONS", "OPCODES"]

OPCODES = (
    # d = rd, a = rs1, b = rs2, i = immediate
    *("li", "add", "addi", "sub", "mul", "muli", "and", "andi", "or", "xor"),
    *("shli", "shri", "shl", "shr", "min", "max", "div"),
    *("fadd", "fsub", "fmul", "fdiv", "fmax", "fsqrt", "float"),
    *("jmp", "beq", "bne", "blt", "bge", "fblt"),  # to instruction i
    *("ld8", "ld4", "st8", "st4"),  # at a + i, straight to scratchpad or memory
    *("ldc8", "ldc4", "stc8"),  # the same through the pipeline's cache
    # At a + i, where the word lives; d becomes the old value. cas stores b if the word is d.
    *("cas", "aadd", "afadd", "amin", "amax", "aor", "swap"),
    "flush",  # write back and forget what the pipeline's cache holds
    "dma",  # queue a descriptor: registers a .. a + 5 (source, target, count, stride, index, flag)
    *("qpush", "qpop"),  # queue a; push b, or pop into d, waiting for room or for a token
    *("bar", "barsum", "fbarsum"),  # barrier a + i; sums: of b over its threads, into d
    "halt",
)
"""Mnemonics by opcode."""

(LI, ADD, ADDI, SUB, MUL, MULI, AND, ANDI, OR, XOR, SHLI, SHRI, SHL, SHR, MIN, MAX, DIV) = range(17)
(FADD, FSUB, FMUL, FDIV, FMAX, FSQRT, FLOAT, JMP, BEQ, BNE, BLT, BGE, FBLT) = range(17, 30)
(LD8, LD4, ST8, ST4, LDC8, LDC4, STC8, CAS, AADD, AFADD, AMIN, AMAX, AOR, SWAP) = range(30, 44)
(FLUSH, DMA, QPUSH, QPOP, BAR, BARSUM, FBARSUM, HALT) = range(44, 52)

DMA_OPERATIONS = ("copy", "fill", "strided", "gather", "scatter", "scatter_add", "broadcast")
"""By the immediate of ``dma``. Counts: bytes for copy, fill and broadcast, else words."""

COPY, FILL, STRIDED, GATHER, SCATTER, SCATTER_ADD, BROADCAST = range(7)
