"""Run a model's element-wise ops, softmax and norms on INT8 codes, scales applied outside.

An operand's codes have a scale per row, which its largest magnitude sets; both operands of a sum
share one. What the unit makes of the codes is exact; a norm's weight and shift are scales and
shifts of its columns. Its epsilon is left out: it is less than a code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.formats.quantized import int8_codes
from hwsim.core.graph import Op, OpKind
from hwsim.core.machine import Machine
from hwsim.core.program import Program
from hwsim.flightllm.plan import sfu_op
from hwsim.flightllm.sfu_golden import exact_vectors
from hwsim.flightllm.unit_spec import SfuSpec
from models.reference import VectorFunction, seen_elements
from models.reference_functions import FUNCTIONS

__all__ = ["Vectors", "exact_vector", "vectors_by_program", "vectors_on_codes"]

Array = NDArray[Any]
Vectors = Callable[[Op, Array, Array, Array, Array], Array]
"""(op, codes x[rows, width], codes y, scale[rows], length[rows]) -> codes[rows, width]."""

_EXECUTED = ("add", "mul", "rotate_half_mul", "silu", "gelu", "gelu_tanh")


def vectors_on_codes(compute: Vectors, spec: SfuSpec) -> VectorFunction:
    """Return what runs an op by ``compute``; None for moves and functions without a unit."""

    def vector(op: Op, operands: list[Array], shape: tuple[int, ...]) -> Array | None:
        if op.kind is OpKind.NORMALIZATION:
            return _norm(op, operands, compute, spec).reshape(shape)
        if op.kind is OpKind.SOFTMAX and tuple(op.attrs["axes"]) == (len(shape) - 1,):
            return _softmax(op, operands[0], compute, spec).reshape(shape)
        is_plain = op.kind is OpKind.ELEMENTWISE and "scalar" not in op.attrs
        if is_plain and op.attrs["function"] in _EXECUTED and len(operands) <= 2:
            rows = [np.broadcast_to(x, shape).reshape(-1, shape[-1]) for x in operands]
            return _elementwise(op, rows, compute, spec).reshape(shape)
        return None

    return vector


def exact_vector(spec: SfuSpec) -> Vectors:
    """Return the definition of the unit's operations."""

    def compute(op: Op, x: Array, y: Array, scale: Array, length: Array) -> Array:
        return exact_vectors(
            spec, sfu_op(op), x.astype(np.int64), y.astype(np.int64), scale, length
        )

    return compute


def vectors_by_program(machine: Machine, program: Program) -> Vectors:
    """Return what the instructions of ``program`` do, op by op."""

    def compute(op: Op, x: Array, y: Array, scale: Array, length: Array) -> Array:
        given = {"x": x, "y": y, "scale": scale, "length": length}
        inputs = {f"{op.name}.{key}": values for key, values in given.items()}
        return machine.execute(program, inputs)[op.name]

    return compute


def _elementwise(op: Op, rows: list[Array], compute: Vectors, spec: SfuSpec) -> Array:
    function, count = op.attrs["function"], len(rows[0])
    length = np.full(count, rows[0].shape[1])
    none = np.zeros(count, np.int64)
    if function == "add":
        peaks = sum(np.abs(x).max(axis=1, keepdims=True).astype(np.float32) for x in rows)
        step = np.where(peaks == 0, np.float32(1), peaks / np.float32(127))
        x, y = (np.rint(v / step).astype(np.int8) for v in rows)
        return np.asarray(compute(op, x, y, none, length) * step)
    if len(rows) == 1:
        x, scales = int8_codes(rows[0], 1)
        found = compute(op, x, np.zeros_like(x), _fixed(scales, 1.0, spec), length)
        return np.asarray(found * scales)
    (x, s), (y, t) = (int8_codes(v, 1) for v in rows)
    if function == "rotate_half_mul":  # the other half is another address, its sign a code's
        x = FUNCTIONS[function](op.attrs, x, np.int8(1))
    return np.asarray(compute(op, x, y, none, length) * (s * t * np.float32(128)))


def _norm(op: Op, operands: list[Array], compute: Vectors, spec: SfuSpec) -> Array:
    width = operands[1].size
    x, _ = int8_codes(operands[0].reshape(-1, width), 1)
    count = np.zeros(len(x), np.int64)
    found = compute(op, x, np.zeros_like(x), count, count + width)
    normalised = found / np.float32(1 << spec.norm_fraction_bits)
    shift = operands[2] if len(operands) > 2 else np.float32(0)
    return np.asarray(normalised * operands[1] + shift)


def _softmax(op: Op, operand: Array, compute: Vectors, spec: SfuSpec) -> Array:
    width = operand.shape[-1]
    rows = operand.reshape(-1, width)
    seen = np.ones(rows.shape, np.bool_)
    if op.attrs.get("is_causal"):
        seen = np.arange(width) <= (np.arange(len(rows)) % width)[:, None]
    if "kept_blocks" in op.attrs:
        seen = seen & seen_elements(op, operand.shape).reshape(rows.shape)
    # A row's vector is what it sees, one behind the other.
    length = seen.sum(axis=1)
    order = np.argsort(~seen, axis=1, kind="stable")
    packed = np.take_along_axis(np.where(seen, rows, 0), order, axis=1)
    x, scales = int8_codes(packed, 1)
    factor = float(op.attrs.get("scale", 1.0)) * np.log2(np.e)
    found = compute(op, x, np.zeros_like(x), _fixed(scales, factor, spec), length)
    shares = np.zeros(rows.shape, np.float32)
    np.put_along_axis(shares, order, found / np.float32(256), axis=1)
    return shares


def _fixed(scales: Array, factor: float, spec: SfuSpec) -> Array:
    """Return scales times ``factor`` as the unit takes them, no more than it holds."""
    fixed = np.rint(scales[:, 0].astype(np.float64) * factor * (1 << spec.scale_fraction_bits))
    return np.asarray(np.minimum(fixed, (1 << 16) - 1).astype(np.int64))
