"""Emit what streams through tensors once: pointwise functions, pools, copies, layout changes."""

from __future__ import annotations

from hwsim.core.units import ceil_div
from hwsim.cpu.codes.vectors import X, count_down
from hwsim.cpu.isa import UopBuilder, UopKernel

__all__ = [
    "FUNCTION_STEPS",
    "channel_scale",
    "convert_layout",
    "pointwise",
    "window_pool",
]

_EXP = ("fma_q", "fma_q", "move_q", "fadd_q", "fma_q", "fma_q", "fma_q", "fma_q", "fma_q", "fma_q")
# Rounding, reduction and a polynomial of degree 5, as XNNPACK's vector exponential (assumed count).
_SIGMOID = (*_EXP, "fadd_q", "fdiv_q", "fminmax_q", "move_q")

FUNCTION_STEPS: dict[str, tuple[str, ...]] = {
    "add": ("fadd_q", "fminmax_q", "fminmax_q"),
    "sub": ("fadd_q", "fminmax_q", "fminmax_q"),
    "mul": ("fmul_q", "fminmax_q", "fminmax_q"),
    "div": ("fdiv_q", "fminmax_q", "fminmax_q"),
    "min": ("fminmax_q",),
    "max": ("fminmax_q",),
    "relu": ("fminmax_q",),
    "clip": ("fminmax_q", "fminmax_q"),
    "abs": ("move_q",),
    "neg": ("move_q",),
    "leaky_relu": ("fmul_q", "move_q"),
    "hard_sigmoid": ("fma_q", "fminmax_q", "fminmax_q"),
    "hard_swish": ("fma_q", "fminmax_q", "fminmax_q", "fmul_q"),
    "sigmoid": _SIGMOID,
    "silu": (*_SIGMOID, "fmul_q"),
    "exp": _EXP,
    "tanh": _SIGMOID,
    "gelu": (*_SIGMOID, "fmul_q", "fma_q"),
    "erf": _SIGMOID,
    "sqrt": ("fdiv_q",),
    "pow": ("fmul_q",),
    "identity": (),
    "copy": (),
    "batch": ("fma_q",),
    "normalize": ("fadd_q", "fma_q", "fma_q", "fmul_q"),
    "softmax": (*_EXP, "fadd_q", "fmul_q", "fminmax_q"),
}
"""Vector instructions per four elements of a function; others count as ``tanh``."""

_A, _B, _C, _TRIPS = X, X + 1, X + 2, X + 3


def pointwise(function: str, elems: int, operands: int, name: str = "") -> UopKernel:
    """Return a pass over ``elems`` elements of one or two operands, eight at a time."""
    b = UopBuilder(name or f"vector-{function}")
    steps = FUNCTION_STEPS.get(function, FUNCTION_STEPS["tanh"])
    pairs, rest = divmod(elems, 8)
    for count, lanes in ((pairs, 8), (ceil_div(rest, 4), 4)):
        if count:
            with b.loop(count):
                _pass(b, steps, lanes, operands)
    return b.build()


def _pass(b: UopBuilder, steps: tuple[str, ...], lanes: int, operands: int) -> None:
    name = "load_pair_q" if lanes == 8 else "load_q"
    vectors = lanes // 4
    for operand in range(operands):
        registers = tuple(2 * operand + i for i in range(vectors))
        pointer = "ab"[operand]
        b.op(name, registers, (X + operand,), pointer=pointer, size=4 * lanes,
             has_write_back=True, step=(pointer, 4 * lanes))  # fmt: skip
    for step in steps:
        for i in range(vectors):
            b.op(step, (i,), (i, 2 + i, 30), macs=4 if step == "fma_q" else 0)
    name = "store_pair_q" if lanes == 8 else "store_q"
    b.op(name, (), (_C, *range(vectors)), pointer="out", size=4 * lanes, has_write_back=True,
         step=("out", 4 * lanes))  # fmt: skip
    count_down(b, _TRIPS)


def channel_scale(channels: int, pixels: int) -> UopKernel:
    """Return the product of a CHW tensor with one number per channel (squeeze and excite)."""
    b = UopBuilder("vector-scale")
    pairs, rest = divmod(pixels, 8)
    with b.loop(channels):
        b.op("load_dup", (30,), (_B,), pointer="b", size=4, has_write_back=True, step=("b", 4))
        for count, lanes in ((pairs, 8), (ceil_div(rest, 4), 4)):
            if count:
                with b.loop(count):
                    _pass(b, ("fmul_q",), lanes, 1)
        if rest:
            missing = 4 * (4 * ceil_div(rest, 4) - rest)
            b.step("a", -missing)
            b.step("out", -missing)
        count_down(b, _TRIPS)
    return b.build()


def window_pool(outputs: int, window: int, out_row: int, stride_bytes: int) -> UopKernel:
    """Return a pooling of ``window`` loads per four outputs, rows of ``out_row`` outputs."""
    b = UopBuilder("pool")
    with b.loop(max(1, outputs // max(out_row, 1))):
        with b.loop(ceil_div(out_row, 4)):
            for tap in range(window):
                b.op("load_q", (1 + tap % 8,), (_A,), pointer="a", offset=4 * tap, size=16)
                b.op("fminmax_q", (0,), (0, 1 + tap % 8))
            b.op("store_q", (), (_C, 0), pointer="out", size=16, has_write_back=True,
                 step=("out", 16))  # fmt: skip
            b.op("alu", (_A,), (_A,), step=("a", stride_bytes))
            count_down(b, _TRIPS)
        count_down(b, _TRIPS)
    return b.build()


def convert_layout(channels: int, pixels: int, *, to_chw: bool) -> UopKernel:
    """Return a transposition between HWC and CHW in blocks of 4x4."""
    b = UopBuilder("convert-layout")
    rows, columns = (pixels, channels) if to_chw else (channels, pixels)
    near, far = 4 * columns, 4 * rows
    with b.loop(ceil_div(rows, 4)):
        with b.loop(ceil_div(columns, 4)):
            for i in range(4):
                b.op("load_q", (i,), (_A,), pointer="a", offset=i * near, size=16)
            for i in range(8):
                b.op("permute_q", (4 + i,), (i % 4, (i + 1) % 4))
            for i in range(4):
                b.op("store_q", (), (_C, 8 + i), pointer="out", offset=i * far, size=16)
            b.op("alu", (_A,), (_A,), step=("a", 16))
            b.op("alu", (_C,), (_C,), step=("out", 4 * far))
            count_down(b, _TRIPS)
        b.step("a", 4 * near - 16 * ceil_div(columns, 4))
        b.step("out", 16 - 4 * far * ceil_div(columns, 4))
        count_down(b, _TRIPS)
    return b.build()
