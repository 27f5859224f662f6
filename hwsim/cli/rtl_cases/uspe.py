"""Draw what is played against one PE of the array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth.lib import data

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.float_units import SPECIALS
from hwsim.sat.spec import TileSpec
from hwsim.sat.uspe import Operation, PeInputs, Sum, Weight, play_pe
from rtl.cosim.vectors import Schedule, Vectors
from rtl.sat.uspe import op_layout, sum_layout, weight_layout

__all__ = ["random_operations", "uspe_case", "uspe_cases"]

SETTLE = [PeInputs()] * 32
"""Quiet cycles in which everything under way leaves."""


def uspe_case(spec: TileSpec, cycles: Sequence[PeInputs], *, seed: int = 0) -> Case:
    """Return what a PE must do in ``cycles``, each stream being valid exactly as they say."""
    # Weight registers keep stale words through a reset: shift zeros in, as the model starts with.
    clear = [PeInputs(is_os=True)] * spec.nm_n
    cycles = [*clear, *cycles, *SETTLE]
    outputs = play_pe(spec, cycles)
    streams: dict[str, list[int | None]] = {
        "i_west": _words(op_layout(spec), [step.west for step in cycles]),
        "i_weight": _words(weight_layout(spec), [step.weight for step in cycles]),
        "i_psum": _words(sum_layout(spec), [step.psum for step in cycles]),
        "o_east": _words(op_layout(spec), [step.east for step in outputs]),
        "o_weight": _words(weight_layout(spec), [step.weight for step in outputs]),
        "o_psum": _words(sum_layout(spec), [step.psum for step in outputs]),
    }
    words = {name: [word for word in per if word is not None] for name, per in streams.items()}
    quiet = {name: np.array([word is None for word in per]) for name, per in streams.items()}
    at = {name: np.flatnonzero(~pauses) for name, pauses in quiet.items()}
    sources = [name for name in streams if name.startswith("i_")]
    sinks = [name for name in streams if name.startswith("o_")]
    vectors = Vectors(
        inputs={name: words[name] for name in sources},
        expected={name: words[name] for name in sinks},
        source_gaps={name: quiet[name] for name in sources},
        waves={
            "i_is_os": [step.is_os for step in cycles],
            "i_last_slot": [step.last_slot for step in cycles],
            "i_take_over": [step.take_over for step in cycles],
            "i_shift": [step.shift for step in cycles],
            "i_place": [step.place for step in cycles],
        },
        seed=seed,
        name="operations",
    )
    return vectors, Schedule(
        {name: at[name] for name in sources}, {name: at[name] for name in sinks}
    )


def random_operations(
    rng: np.random.Generator, spec: TileSpec, cycles: int, *, is_os: bool, share: float
) -> list[PeInputs]:
    """Return ``cycles`` of operations at random, ``share`` of them empty, then a shift (OS).

    An operation that adds to a sum of the PE comes L cycles after the last one on its entry at the
    earliest; one word in sixteen is a corner of the format.
    """
    array, depth = spec.array, spec.array.interleave
    last_slot = int(rng.integers(spec.nm_n))
    steps: list[dict[str, Any]] = [{} for _ in range(cycles + array.multiplier_latency_cycles)]
    if not is_os:
        # Both loads are taken over in the cycle of their last value.
        for step in steps[: 2 * spec.nm_n]:
            step["weight"] = _random_weight(rng, spec)
        steps[spec.nm_n - 1]["take_over"] = steps[2 * spec.nm_n - 1]["take_over"] = True
    since = np.full(depth, array.adder_latency_cycles)
    is_open = np.zeros(depth, dtype=bool)
    for number in range(2 * spec.nm_n, cycles):
        since += 1
        if rng.random() < share:
            continue
        entry = int(rng.integers(depth))
        may_add = bool(is_open[entry] and since[entry] >= array.adder_latency_cycles)
        is_first = not may_add or bool(rng.random() < 0.1)
        is_last = bool(rng.random() < 0.3)
        group = tuple(_random_words(rng, spec.nm_m))
        slot = 0 if is_os else int(rng.integers(last_slot + 1))
        steps[number]["west"] = Operation(entry, slot, is_first, is_last, group)
        if is_os:
            steps[number]["weight"] = _random_weight(rng, spec)
        elif is_first:
            value = int(rng.standard_normal(1, dtype=np.float32).view(np.uint32)[0])
            arrival = number + array.multiplier_latency_cycles - 1
            steps[arrival]["psum"] = Sum(value, entry)
        since[entry] = 0
        is_open[entry] = is_os or not is_last
    steps += [{} for _ in SETTLE]
    if is_os:
        for place in rng.permutation(np.flatnonzero(is_open)).tolist():
            value = int(rng.integers(1 << 32))
            steps.append({"shift": True, "place": place, "psum": Sum(value, place)})
    return [PeInputs(is_os=is_os, last_slot=last_slot, **step) for step in steps]


def _random_words(rng: np.random.Generator, count: int) -> list[int]:
    words = rng.standard_normal(count).astype(np.float16).view(np.uint16)
    is_special = rng.random(count) < 1 / 16
    return np.where(is_special, rng.choice(SPECIALS, count), words).tolist()


def _random_weight(rng: np.random.Generator, spec: TileSpec) -> Weight:
    [value] = _random_words(rng, 1)
    return Weight(value, int(rng.integers(spec.nm_m)))


def _words(layout: data.StructLayout, records: Sequence[Any]) -> list[int | None]:
    """Return each record as a word of ``layout``, None for none.

    The layout's own constants say the same and take most of a long test's time.
    """
    places = [(name, field.offset) for name, field in layout]
    words: list[int | None] = []
    for record in records:
        if record is None:
            words.append(None)
            continue
        word = 0
        for name, offset in places:
            value = getattr(record, name)
            if isinstance(value, tuple):  # a group of FP16 words
                value = sum(element << 16 * i for i, element in enumerate(value))
            word |= int(value) << offset
        words.append(word)
    return words


def uspe_cases(spec: TileSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    cycles = []
    for share in (0.0, 0.4):
        for is_os in (False, True):
            cycles += random_operations(rng, spec, 1000, is_os=is_os, share=share)
    return [uspe_case(spec, cycles, seed=seed)]
