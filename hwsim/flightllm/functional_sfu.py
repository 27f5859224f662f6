"""Compute what the special function unit's instructions do to INT8 codes, one by one.

An instruction says operation and beats; the arithmetic is that of the RTL's unit
(:func:`hwsim.flightllm.vector_sfu.run_rows`). Scales are applied outside, as for products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div
from hwsim.flightllm.emit_prompt import PROMPT_BUCKET
from hwsim.flightllm.isa import MISC
from hwsim.flightllm.lower import FlightProgram, Run, layer_body
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.unit_spec import SfuSpec
from hwsim.flightllm.vector_sfu import OPS, SfuJob, run_rows

__all__ = ["core_vectors", "vector_names", "vector_operands"]

Codes = NDArray[np.int64]


def core_vectors(
    program: FlightProgram, inputs: Mapping[str, NDArray[Any]], spec: FlightSpec
) -> dict[str, NDArray[np.int16]]:
    """Return what each op with ``inputs[op.x]`` gives, int16[rows, width], by its instructions.

    Operands are those of :func:`vector_operands`. Raises :class:`InputError` if an op has no SFU
    instructions, or one that is too short for a vector that must not be divided.
    """
    return {
        name: _vectors(program, name, *vector_operands(name, inputs), spec)
        for name in vector_names(inputs)
    }


def _vectors(
    program: FlightProgram,
    name: str,
    x: Codes,
    y: Codes,
    scale: Codes,
    length: Codes,
    spec: FlightSpec,
) -> NDArray[np.int16]:
    """Return the results of one op; instructions alike, a row each, are executed together."""
    run = _run_of(program, name)
    alike: dict[tuple[Any, int], list[tuple[int, int]]] = {}
    codes: dict[int, NDArray[np.void]] = {}
    for row, elems in enumerate(length.tolist()):
        head = _first_head(run, row, spec)
        if head not in codes:
            codes[head] = _instructions(program, run, head, spec)
        own = codes[head][run.by_sfu.index(name) :: len(run.by_sfu)]
        first, done = _number(run, row, len(own)), 0
        while done < elems:
            op = OPS[own["mode"][first % len(own)]]
            most = int(own["k"][first % len(own)]) * spec.sfu.lanes
            size = min(most, elems - done)
            if _job(spec.sfu, op, size).is_two_pass and size < elems:
                raise InputError(f"op {name}", f"instructions over {elems} elements", str(most))
            alike.setdefault((op, size), []).append((row, done))
            done, first = done + size, first + 1
    result = np.zeros(x.shape, np.int16)
    for (op, size), places in alike.items():
        rows, begins = np.array(places).T
        at = (rows[:, None], begins[:, None] + np.arange(size))
        job = _job(spec.sfu, op, size)
        result[at] = _execute(spec.sfu, job, scale[rows], x[at], y[at])
    return result


def _first_head(run: Run, row: int, spec: FlightSpec) -> int:
    """Return the first head of the core that has ``row``, -1 if all have equal instructions."""
    layer = run.layer
    if not layer.mask:
        return -1
    share = ceil_div(layer.heads // layer.group, spec.shares) * layer.group
    return row // layer.tokens // share * share


def _instructions(
    program: FlightProgram, run: Run, first_head: int, spec: FlightSpec
) -> NDArray[np.void]:
    """Return the SFU's instructions of the core that begins with ``first_head``."""
    body = program.bodies[run.body]
    if first_head >= 0:
        body = layer_body(replace(run.layer, first_head=first_head), 0, spec)
    return body.code[body.code["unit"] == MISC]


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


def _job(spec: SfuSpec, op: Any, elems: int) -> SfuJob:
    return SfuJob(op, ceil_div(elems, spec.lanes), 0, elems % spec.lanes)


def _execute(spec: SfuSpec, job: SfuJob, scale: Codes, x: Codes, y: Codes) -> Codes:
    """Return the results [rows, elems] of a job per row."""
    size = job.beats * spec.lanes - x.shape[1]
    padded = (np.pad(v, ((0, 0), (0, size))).reshape(-1, job.beats, spec.lanes) for v in (x, y))
    return run_rows(spec, job, scale, *padded).reshape(len(x), -1)[:, : x.shape[1]]
