"""Draw what is played against the weight update engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.float_units import FP32_SPECIALS, SPECIALS
from hwsim.sat.spec import SatSpec
from hwsim.sat.wuve import play_wuve, update_weights, wuve_timing
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls

__all__ = ["RATES", "Update", "random_update", "wuve_case", "wuve_cases"]

RATES = {"lr": 0.1, "mu": 0.9, "wd": 5e-4, "inv_scale": 1 / 1024}
"""Learning rate, momentum and weight decay of SDGP's recipe but for the schedule; a loss scale."""

Update = tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.uint32]]
"""Words of gradients, weights and momentum, [transfers, lanes] each."""


def wuve_case(
    spec: SatSpec,
    update: Update,
    *,
    rates: Mapping[str, float] | None = None,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the engine must do with ``update``, and when, each stream stalling by itself."""
    dw, w, v = update
    rates = RATES if rates is None else rates
    w_new, v_new, w16 = update_weights(
        dw.view(np.float16), w.view(np.float32), v.view(np.float32), **rates
    )
    rng = np.random.default_rng(seed)
    gaps, stalls = (
        {name: random_stalls(rng, 2 * len(dw), stall_share) for name in names}
        for names in (("i_dw", "i_w", "i_v"), ("o_w", "o_v", "o_w16"))
    )
    vectors = Vectors(
        inputs={"i_dw": _pack(dw), "i_w": _pack(w), "i_v": _pack(v)},
        expected={
            "o_w": _pack(w_new.view(np.uint32)),
            "o_v": _pack(v_new.view(np.uint32)),
            "o_w16": _pack(w16.view(np.uint16)),
        },
        source_gaps=gaps,
        sink_stalls=stalls,
        statics={
            f"i_{name}": int(np.float32(rate).view(np.uint32)) for name, rate in rates.items()
        },
        seed=seed,
        name="update",
    )
    accepts, emits = play_wuve(
        wuve_timing(spec), len(dw), list(gaps.values()), list(stalls.values())
    )
    return vectors, Schedule(
        dict.fromkeys(gaps, accepts), dict(zip(stalls, list(emits), strict=True))
    )


def random_update(rng: np.random.Generator, transfers: int, lanes: int) -> Update:
    """Return words among which every path of the engine is common.

    A quarter are any words. The others are numbers as in training, of which a quarter have weights
    around FP16's smallest and largest numbers, and a quarter have momentum that nearly cancels the
    weight. One word in 32 is special.
    """
    shape = (transfers, lanes)
    kind = rng.integers(0, 4, shape)
    w = (rng.standard_normal(shape) / 16).astype(np.float32)
    edge = np.where(rng.random(shape) < 0.5, 65504.0, 2.0**-20)
    w = np.where(kind == 1, np.copysign(edge, w) * (1 + w / 64), w).astype(np.float32)
    v = (rng.standard_normal(shape) / 64).astype(np.float32)
    # lr mu v is about w, so that w' is what rounding left.
    v = np.where(kind == 2, w / np.float32(RATES["lr"] * RATES["mu"]), v).astype(np.float32)
    dw = (rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 12, shape)).astype(np.float16)
    words = [
        np.where(kind == 3, rng.integers(0, 1 << 8 * part.itemsize, shape), bits)
        for part in (dw, w, v)
        for bits in (part.view(np.uint16 if part.itemsize == 2 else np.uint32),)
    ]
    specials: list[NDArray[Any]] = [SPECIALS, FP32_SPECIALS, FP32_SPECIALS]
    words = [
        np.where(rng.random(shape) < 1 / 32, rng.choice(corners, shape), bits)
        for bits, corners in zip(words, specials, strict=True)
    ]
    return words[0].astype(np.uint16), words[1].astype(np.uint32), words[2].astype(np.uint32)


def _pack(words: NDArray[Any]) -> list[int]:
    return pack_words([(lane, 8 * words.itemsize) for lane in words.T])


def wuve_cases(spec: SatSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        wuve_case(spec, random_update(rng, 2048, spec.wuve.lanes), stall_share=share, seed=seed)
        for share in (0.0, 0.4)
    ]
