"""Compute what the special function unit's instructions do to INT8 codes, one by one.

An instruction says operation and beats; the arithmetic is that of the RTL's unit
(:func:`hwsim.flightllm.vector_sfu.run_job`). Scales are applied outside, as for products.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.emit_prompt import PROMPT_BUCKET
from hwsim.flightllm.isa import MISC
from hwsim.flightllm.lower import FlightProgram, Run
from hwsim.flightllm.unit_spec import SfuSpec
from hwsim.flightllm.vector_sfu import OPS, SfuJob, run_job

__all__ = ["core_vectors", "vector_names", "vector_operands"]

Codes = NDArray[np.int64]


def core_vectors(
    program: FlightProgram, inputs: Mapping[str, NDArray[Any]], spec: SfuSpec
) -> dict[str, NDArray[np.int16]]:
    """Return what each op with ``inputs[op.x]`` gives, int16[rows, width], by its instructions.

    Operands are those of :func:`vector_operands`. Raises :class:`InputError` if an op has no SFU
    instructions, or one that is too short for a vector that must not be divided.
    """
    found = {}
    for name in vector_names(inputs):
        x, y, scale, length = vector_operands(name, inputs)
        run = _run_of(program, name)
        code = program.bodies[run.body].code
        own = code[code["unit"] == MISC][run.by_sfu.index(name) :: len(run.by_sfu)]
        result = np.zeros(x.shape, np.int16)
        for row, elems in enumerate(length.tolist()):
            first = _number(run, row, len(own))
            done = 0
            while done < elems:
                op = OPS[own["mode"][first % len(own)]]
                most = int(own["k"][first % len(own)]) * spec.lanes
                part = slice(done, min(done + most, elems))
                job = _job(spec, op, part.stop - done, int(scale[row]))
                if job.is_two_pass and part.stop < elems:
                    raise InputError(f"op {name}", f"instructions over {elems} elements", str(most))
                result[row, part] = _execute(spec, job, x[row, part], y[row, part])
                done, first = part.stop, first + 1
        found[name] = result
    return found


def vector_names(inputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the ops of ``inputs`` that are vectors of the special function unit."""
    return [key.removesuffix(".x") for key in inputs if key.endswith(".x")]


def vector_operands(
    name: str, inputs: Mapping[str, NDArray[Any]]
) -> tuple[Codes, Codes, Codes, Codes]:
    """Return both operands int[rows, width], each row's fixed-point scale and its length.

    The second operand, the scale and the length (default: the width) are under ``op.y``,
    ``op.scale`` and ``op.length``. Raises :class:`InputError` for codes outside INT8.
    """
    x = inputs[f"{name}.x"]
    y = inputs.get(f"{name}.y", np.zeros_like(x))
    for key, values in (("x", x), ("y", y)):
        if values.dtype.kind not in "iu" or values.ndim != 2:
            raise InputError(f"{name}.{key}", "INT8 codes [rows, width]", str(values.dtype))
        if values.size and (values.min() < -128 or values.max() > 127):
            raise InputError(f"{name}.{key}", "codes of -128 to 127", str(values.max()))
    rows = (len(x),)
    scale = inputs.get(f"{name}.scale", np.zeros(rows, np.int64))
    length = inputs.get(f"{name}.length", np.full(rows, x.shape[1]))
    return x.astype(np.int64), y.astype(np.int64), scale, length


def _run_of(program: FlightProgram, name: str) -> Run:
    for run in program.runs:
        if name in run.by_sfu:
            return run
    raise InputError(f"op {name}", "SFU instructions in the program", "none")


def _number(run: Run, row: int, instructions: int) -> int:
    """Return which of an op's instructions is the first of vector ``row``.

    A prompt's are in the order of heads and tokens, tokens padded to their bucket. Those of a core
    with fewer heads are the same.
    """
    layer = run.layer
    if layer.kind in ("linear", "eltwise") or layer.tokens == 1:
        return row if layer.kind in ("scores", "softmax") else 0
    padded = ceil_div(layer.tokens, PROMPT_BUCKET) * PROMPT_BUCKET
    head, token = divmod(row, layer.tokens)
    return head % max(1, instructions // padded) * padded + token


def _job(spec: SfuSpec, op: Any, elems: int, scale: int) -> SfuJob:
    return SfuJob(op, ceil_div(elems, spec.lanes), scale, elems % spec.lanes)


def _execute(spec: SfuSpec, job: SfuJob, x: Codes, y: Codes) -> Codes:
    shape = (job.beats, spec.lanes)
    padded = [np.pad(v, (0, job.beats * spec.lanes - len(v))).reshape(shape) for v in (x, y)]
    return run_job(spec, job, *padded).reshape(-1)[: len(x)]
