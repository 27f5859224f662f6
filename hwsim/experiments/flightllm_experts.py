"""Weigh decoding experts on the fly against HBM: how many decoders QMoE's rate asks for."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hwsim.core.formats.qmoe import encode_rows
from hwsim.core.result import Claim
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.flightllm.expert_stream import StreamRates, decoders_for, stream_rates
from hwsim.flightllm.spec import PRESETS, FlightSpec

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["DECODERS", "charts", "claims", "independent_rows", "machine_rate", "rates"]

ZEROS = 0.885
"""Share of zeros that the dictionary is built for (QMoE's code)."""
SHAPES = ((6144, 2080), (2080, 6144))
"""Expert matrices of Switch c2048, rows and columns."""
MODEL = "switch-c2048"
DECODERS = tuple(3 << power for power in range(9))
"""On the whole board, alike on its three cores."""
_ROWS = 256
"""Rows that are drawn; all rows have one distribution."""


@cache
def independent_rows(columns: int) -> tuple[float, float]:
    """Return bits per weight, row overhead included, and weights per codeword of drawn rows."""
    rng = np.random.default_rng(0)
    digits = rng.choice(3, (_ROWS, columns), p=(ZEROS, (1 - ZEROS) / 2, (1 - ZEROS) / 2))
    compact = encode_rows(digits.astype(np.uint8), np.zeros((_ROWS, 2), np.uint16))
    return compact.size_bits / digits.size, digits.size / len(compact.codewords)


def rates() -> list[StreamRates]:
    """Return the rates of each number of decoders on a U280, mean of both matrices."""
    bits, weights = np.mean([independent_rows(columns) for _, columns in SHAPES], axis=0)
    return [stream_rates(_u280(), count, weights, bits) for count in DECODERS]


@cache
def machine_rate(decoders: int) -> float:
    """Return the expert weights per second of a simulated step with ``decoders`` on a U280.

    The machine's own time of the experts' layers: padding, vectors and barriers included.
    """
    per_core = decoders // _u280().cores
    settings = ("experts.format=qmoe", f"experts.decoders_per_core={per_core}")
    if not decoders:
        settings = ("experts.format=plain", "experts.decoders_per_core=1")
    result = execute(
        RunRequest(
            MODEL, "flightllm", "u280", phase="decode", kv_tokens=128, settings=settings
        )
    )  # fmt: skip
    experts = [one for one in result.layers if one.kind == "linear" and ".moe.e" in one.name]
    cycles = sum(one.cycles for one in experts)
    return sum(one.macs for one in experts) * result.clock_hz / cycles


def claims() -> list[Claim]:
    """Return the claims about the stream."""
    weights = float(np.mean([independent_rows(columns)[1] for _, columns in SHAPES]))
    return [
        Claim(
            "qmoe.codeword", "weights per codeword, 88.5 % zeros", weights, 21.7, "1", 0.01,
            "derived", True, "the codec of IST-DASLab/qmoe on independent weights",
        )
    ]  # fmt: skip


def _u280() -> FlightSpec:
    spec = PRESETS["u280"]
    assert isinstance(spec, FlightSpec)
    return spec


def charts() -> list[Chart]:
    """Return how many expert weights per second reach MV, over the decoders on the board."""
    from hwsim.report.experiment_figures import line_chart

    spec, found = _u280(), rates()
    weights = float(np.mean([independent_rows(columns)[1] for _, columns in SHAPES]))
    bits = spec.weight_bits_x10 / 10
    plain = stream_rates(spec, 1, weights, bits).memory
    need = [decoders_for(spec, rate, weights) for rate in (plain, found[0].engines)]
    caption = (
        f"U280, one token. A decoder expands a codeword per cycle ({weights:.1f} weights). "
        f"{need[0]} of them pass the rate at which HBM delivers weights of {bits:.1f} bits without "
        f"decoding, {need[1]} feed MV; HBM would deliver codewords of "
        f"{found[0].memory / found[0].engines:.1f} times as many weights as MV takes."
    )
    giga = 1e9
    series = {
        "decoders": [one.decoders / giga for one in found],
        "stream (the least)": [one.weights_per_s / giga for one in found],
        f"simulated, {MODEL}": [machine_rate(count) / giga for count in DECODERS],
        "simulated, not coded": [machine_rate(0) / giga] * len(found),
        "HBM, codewords": [one.memory / giga for one in found],
        f"HBM, {bits:.1f}-bit weights": [plain / giga] * len(found),
        "MV": [one.engines / giga for one in found],
    }
    return [
        line_chart(
            "flightllm-experts",
            "Experts decoded on the fly",
            caption,
            ("decoders", "weights per second (G/s)"),
            [str(count) for count in DECODERS],
            series,
            is_log=True,
        )
    ]
