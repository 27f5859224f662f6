"""Say what programs take to store, compiled for every length or for buckets of lengths.

Programs are counted, not built: a layer's instructions are emitted once and not kept, and what a
loop repeats is multiplied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.units import ceil_div
from hwsim.flightllm.body import BodyBuilder
from hwsim.flightllm.emit_prompt import PROMPT_BUCKET, emit_prompt
from hwsim.flightllm.emit_step import STEP_BUCKET, emit_step
from hwsim.flightllm.isa import LD, MISC, ST, SYS, UNITS, WORDS, program_bytes
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import FlightSpec

__all__ = [
    "at_length",
    "layer_counts",
    "product_cycles",
    "storage_of_lengths",
    "storage_report",
]

_WORD_BYTES = np.array([4 * WORDS[unit] for unit in range(len(UNITS))], np.int64)


class _Counter(BodyBuilder):
    """Count instructions per unit and the cycles of products; nothing is kept."""

    def __init__(self, spec: FlightSpec) -> None:
        super().__init__(spec)
        self.counts = [0] * len(UNITS)
        self.products: dict[tuple[int, int, Fraction], int] = {}

    def repeat(self, count: int, emit: Callable[[int], None]) -> None:
        before, products = list(self.counts), dict(self.products)
        emit(0)
        self.counts = [
            old + (new - old) * count for old, new in zip(before, self.counts, strict=True)
        ]
        for key, new in self.products.items():
            old = products.get(key, 0)
            self.products[key] = old + (new - old) * count

    def load(self, *_: Any, **__: Any) -> None:
        self.counts[LD] += 1

    def zero_fill(self, *_: Any, **__: Any) -> None:
        self.counts[LD] += 1

    def store(self, *_: Any, **__: Any) -> None:
        self.counts[ST] += 1

    def matrix(self, unit: int, k_blocks: int, density: Fraction, **_: Any) -> None:
        self.counts[unit] += 1
        key = (unit, k_blocks, density)
        self.products[key] = self.products.get(key, 0) + 1

    def misc(self, *_: Any, **__: Any) -> None:
        self.counts[MISC] += 1

    def barrier(self, release: int) -> None:
        self.counts[SYS] += 1


def layer_counts(layer: Layer, spec: FlightSpec) -> NDArray[np.int64]:
    """Return the instructions per unit of ``layer``, its barrier included : int64[6]."""
    counter = _Counter(spec)
    (emit_step if layer.tokens == 1 else emit_prompt)(counter, layer)
    counter.barrier(0)
    return np.array(counter.counts, np.int64)


def product_cycles(layer: Layer, spec: FlightSpec) -> Fraction:
    """Return how long the layer's MM or MV are busy, in cycles before the speed-up."""
    counter = _Counter(spec)
    (emit_step if layer.tokens == 1 else emit_prompt)(counter, layer)
    return sum(
        (count * counter.units.matrix(k_blocks, density).busy)
        for (_, k_blocks, density), count in counter.products.items()
    ) + Fraction(0)


def at_length(layer: Layer, tokens: int) -> Layer:
    """Return ``layer`` of a step at context ``tokens``, or of a prompt of ``tokens``."""
    sizes = {}
    if layer.context:
        sizes["context"] = tokens
        sizes |= {"mix": {"k": tokens}, "cache": {}}.get(layer.kind, {"n": tokens})
    if layer.tokens > 1:
        sizes["tokens"] = tokens
    return replace(layer, **sizes)


def storage_report(instructions: dict[str, int]) -> dict[str, Any]:
    """Return the bytes of the executed instructions of one core, by unit and in all."""
    return {
        "program_bytes": program_bytes(instructions),
        "bytes_by_unit": {
            unit.upper(): program_bytes({unit: count}) for unit, count in instructions.items()
        },
    }


def storage_of_lengths(
    step: Iterable[Layer], prompt: Iterable[Layer], spec: FlightSpec
) -> dict[str, Any]:
    """Return the bytes of the programs of all lengths up to ``spec.max_tokens``.

    Parameters
    ----------
    step, prompt : layers
        Of one step and of one prompt, each as often as it occurs, at any length; masks of
        attention are those of their length and left out.

    Returns
    -------
    dict
        ``steps_bytes`` and ``prompts_bytes``: one core's programs, one per bucket.
        ``one_per_length_bytes``: a program for each length and core. ``bucketed_bytes``: one per
        bucket and core. ``shared_bytes``: one per bucket; the cores' differ in base addresses.
    """
    steps = _bucket_bytes(_occurrences(step), STEP_BUCKET, spec)
    prompts = _bucket_bytes(_occurrences(prompt), PROMPT_BUCKET, spec)
    naive = STEP_BUCKET * sum(steps) + PROMPT_BUCKET * sum(prompts)
    bucketed = sum(steps) + sum(prompts)
    return {
        "max_tokens": spec.max_tokens,
        "steps_bytes": sum(steps),
        "prompts_bytes": sum(prompts),
        "one_per_length_bytes": naive * spec.cores,
        "bucketed_bytes": bucketed * spec.cores,
        "shared_bytes": bucketed,
    }


def _occurrences(layers: Iterable[Layer]) -> frozenset[tuple[Layer, int]]:
    """Return the different layers and how often each occurs, at no length and without masks."""
    bare = (at_length(replace(layer, mask="", mask_tokens=0), 2) for layer in layers)
    return frozenset(Counter(bare).items())


@lru_cache(maxsize=8)
def _bucket_bytes(
    times: frozenset[tuple[Layer, int]], bucket: int, spec: FlightSpec
) -> tuple[int, ...]:
    """Return the bytes of one core's program for each bucket of lengths."""
    known: dict[Layer, int] = {}

    def size(layer: Layer) -> int:
        if layer not in known:
            known[layer] = int(layer_counts(layer, spec) @ _WORD_BYTES)
        return known[layer]

    def sized(layer: Layer, length: int) -> int:
        if layer.context:
            return size(at_length(layer, length))
        # Without attention every group of rows has the same instructions, in front of a barrier.
        groups = ceil_div(length, bucket) if layer.tokens > 1 else 1
        barrier = int(_WORD_BYTES[SYS])
        return groups * (size(at_length(layer, bucket)) - barrier) + barrier

    return tuple(
        sum(count * sized(layer, length) for layer, count in times)
        for length in range(bucket, spec.max_tokens + 1, bucket)
    )
