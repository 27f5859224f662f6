# amaranth: UnusedElaboratable=no
"""Do a layer's instructions start in the simulator when the RTL's scoreboard starts them?

The scoreboard is told what the units do: a unit takes its next instruction when it has room, and
completes each when its model says. If starts agree under these conditions in every cycle, the
simulator's times are the ones that units and scoreboard come to together.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hwsim.flightllm.body import Body, BodyBuilder, bits
from hwsim.flightllm.emit_prompt import emit_prompt
from hwsim.flightllm.emit_step import emit_step
from hwsim.flightllm.isa import LD, SYS, encode_mask
from hwsim.flightllm.lower import _balance
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.timing import BodyTimes, play_times
from hwsim.flightllm.token_scoreboard import TokenPlay, dispatch_cycles, play_scoreboard
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule, Vectors
from rtl.flightllm.token_scoreboard import TokenScoreboard
from tests.flightllm.tiny_model import STEP_LAYERS

SPEC = PRESETS["u280"]
assert isinstance(SPEC, FlightSpec)
LAYERS = [
    *STEP_LAYERS,
    Layer("norm", 1, n=512, function="rmsnorm"),
    Layer("linear", 128, k=512, n=96, functions=("silu", "mul"), operands=1),
]


def whole(layer: Layer) -> Body:
    """Return the layer with loads and stores rounded up to cycles, as a controller takes them."""
    b = BodyBuilder(SPEC)
    (emit_step if layer.tokens == 1 else emit_prompt)(b, layer)
    b.barrier(bits(LD))
    body = b.build()
    _balance(body.code)
    costs = tuple(Fraction(-(-c.numerator // c.denominator)) for c in body.costs)
    told = tuple(c + t - b for c, t, b in zip(costs, body.told, body.costs, strict=True))
    return replace(body, costs=costs, told=told)


def scoreboard_work(body: Body, times: BodyTimes) -> tuple[Vectors, list[np.ndarray]]:
    """Return what the scoreboard gets while the units behave as played, and the starts expected.

    The barrier before the layer completes in cycle 0; its followers start when that has passed.
    """
    late = dispatch_cycles(SPEC.tokens)
    assert times.per_cycle == 1
    code, told = body.code, np.array([int(t) for t in body.told])[body.code["cost"]]
    length = int((times.start + np.maximum(times.ticks, told)).max()) + late + 1
    inputs: dict[str, list[int]] = {}
    gaps, stalls, starts = {}, {}, []
    for u in range(6):
        mine = np.flatnonzero(code["unit"] == u)
        begin = times.start[mine] + late
        inputs[f"i__{u}"] = [
            encode_mask(u, int(row["wait"])) << 5 | encode_mask(u, int(row["release"]))
            for row in code[mine]
        ]
        done = np.maximum.accumulate(begin + told[mine] - late - np.arange(len(mine)))
        done = (done + np.arange(len(mine))).tolist()
        masks = [encode_mask(u, int(row["release"])) for row in code[mine]]
        if u == SYS:  # whoever waits for the barrier in front of the layer
            waits = code["unit"][(code["wait"] >> SYS & 1) > 0].tolist()
            done, masks = [0, *done], [encode_mask(SYS, bits(*waits)), *masks]
        inputs[f"done__{u}"] = masks
        gaps[f"done__{u}"] = np.ones(length, np.bool_)
        gaps[f"done__{u}"][done] = False
        gaps[f"i__{u}"] = np.zeros(0, np.bool_)
        is_busy = np.zeros(length, np.bool_)
        for first, ticks in zip(begin.tolist(), times.ticks[mine].tolist(), strict=True):
            is_busy[first + 1 : first + ticks] = True
        stalls[f"o__{u}"] = is_busy
        starts.append(begin)
    expected = {f"o__{u}": [x & 31 for x in inputs[f"i__{u}"]] for u in range(6)}
    vectors = Vectors(inputs, expected, gaps, stalls, seed=0, name="layer")
    return vectors, starts


def schedule(vectors: Vectors) -> Schedule:
    waits, releases = (
        [[f(x) for x in vectors.inputs[f"i__{u}"]] for u in range(6)]
        for f in (lambda x: x >> 5, lambda x: x & 31)
    )
    dones = [vectors.inputs[f"done__{u}"] for u in range(6)]
    play = TokenPlay(waits, releases, dones)
    cycles = play_scoreboard(SPEC.tokens, play, vectors.source_gaps, vectors.sink_stalls).cycles
    arrays = {name: np.array(found, np.int64) for name, found in cycles.items()}
    return Schedule(
        {name: found for name, found in arrays.items() if not name.startswith("o")},
        {name: found for name, found in arrays.items() if name.startswith("o")},
    )


@pytest.mark.evidence("flightllm", "T3")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.kind}-{layer.tokens}")
def test_starts_are_those_of_the_scoreboards_model(layer: Layer) -> None:
    body = whole(layer)
    vectors, starts = scoreboard_work(body, play_times(body))
    found = schedule(vectors)
    for u in range(6):
        assert found.emit_cycles[f"o__{u}"].tolist() == starts[u].tolist(), u


@pytest.mark.evidence("flightllm", "T3")
def test_starts_are_those_of_the_rtl() -> None:
    body = whole(LAYERS[1])
    vectors, starts = scoreboard_work(body, play_times(body))
    emits = {f"o__{u}": begin for u, begin in enumerate(starts)}
    accepts = schedule(vectors).accept_cycles
    check(run_pysim(TokenScoreboard(SPEC.tokens), vectors), vectors, Schedule(accepts, emits))


def test_a_completion_a_cycle_late_is_noticed() -> None:
    body = whole(LAYERS[3])
    late = replace(body, told=tuple(t + 1 for t in body.told))
    vectors, starts = scoreboard_work(body, play_times(body))
    wrong = scoreboard_work(late, play_times(late))[1]
    found = schedule(vectors)
    emits = {f"o__{u}": begin for u, begin in enumerate(wrong)}
    assert any(found.emit_cycles[name].tolist() != emits[name].tolist() for name in emits)
    with pytest.raises(CosimError):
        check(
            run_pysim(TokenScoreboard(SPEC.tokens), vectors), vectors,
            Schedule(found.accept_cycles, emits),
        )  # fmt: skip
